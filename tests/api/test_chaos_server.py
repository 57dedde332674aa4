"""pytest tests/api/test_chaos_server.py: the server itself is killed, or told to end under load."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.chaos import (
    DIALECTS,
    ask,
    engines,
    is_running,
    put_endless,
    stream,
)
from tests.e2e.commands import serve, transom
from tests.processes import children
from tests.waiting import wait_for
from transom_server.store import Store

SETTINGS = {"TRANSOM_PARALLEL": "8", "TRANSOM_GRACE": "1"}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    put_endless(Store(tmp_path / "models"))
    return tmp_path / "models"


def test_killed_it_leaves_no_process_behind_and_starts_again(models: Path, tmp_path: Path) -> None:
    with ExitStack() as streams:
        with serve(models, tmp_path / "log", environment=SETTINGS) as server:
            for _ in range(3):
                streams.enter_context(stream(server.address))
            orphans = children(server.pid)
            assert engines(server.pid)
            os.kill(server.pid, signal.SIGKILL)
            wait_for(lambda: not any(map(is_running, orphans)), "its processes end with it")
    assert transom("verify", store=models).returncode == 0
    with serve(models, tmp_path / "again", environment=SETTINGS) as server:
        assert ask(server.address)[0] == 200


def test_told_to_end_under_load(models: Path, tmp_path: Path) -> None:
    """After the time of grace each stream ends with its dialect's own error."""
    with ExitStack() as streams, serve(models, tmp_path / "log", environment=SETTINGS) as server:
        open_streams = [
            (dialect, streams.enter_context(stream(server.address, dialect)))
            for dialect in DIALECTS
        ]
        processes = children(server.pid)
        os.kill(server.pid, signal.SIGTERM)
        # Side by side: what a reader leaves for later is not waited for.
        with ThreadPoolExecutor(len(open_streams)) as pool:
            read = list(pool.map(lambda opened: opened[1].read(), open_streams))
        for (dialect, _), said in zip(open_streams, read, strict=True):
            assert dialect.error(said) == "the server is ending; ask again in a moment"
        wait_for(lambda: not any(map(is_running, [*processes, server.pid])), "all end")


def test_two_servers_on_one_store(models: Path, tmp_path: Path) -> None:
    with (
        serve(models, tmp_path / "one", environment=SETTINGS) as one,
        serve(models, tmp_path / "two", environment=SETTINGS) as two,
    ):
        with stream(one.address):
            assert ask(two.address)[0] == 200
            assert transom("cp", "endless", "other", store=models).returncode == 0
            assert ask(one.address, model="other")[0] == 200
        os.kill(one.pid, signal.SIGKILL)
        assert ask(two.address, model="other")[0] == 200
