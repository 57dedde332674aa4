"""pytest tests/pyserver/test_serve_signals.py: `transom serve` under the signals of its keeper."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for
from transom_server.store import Store

SECONDS = 30
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a system without SIGHUP")


class Served:
    """The command, its log as rows, and its address."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        assert process.stdout is not None
        self.process, self._log = process, log
        self.address = process.stdout.readline().strip().removeprefix("http://")

    def log(self) -> list[dict[str, Any]]:
        text = self._log.read_text() if self._log.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.log() if row["event"] == name]

    def status(self, path: str, **headers: str) -> int:
        connection = http.client.HTTPConnection(self.address, timeout=SECONDS)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


@contextmanager
def served(store: Store, folder: Path, *arguments: str) -> Iterator[Served]:
    program = "from transom_cli.main import main; main()"
    log = folder / "log"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--port", "0", "--log", "json", *arguments],
        env={
            **os.environ,
            "TRANSOM_MODELS": str(store.root),
            "TRANSOM_CONFIG": str(folder),
            "TRANSOM_LOG_FILE": str(log),
            "TRANSOM_WEB_DIR": "/none",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Served(process, log)
        finally:
            process.kill()


def test_settings_are_read_again_under_way(filled: Store, tmp_path: Path) -> None:
    settings = tmp_path / "transom.toml"
    settings.write_text('hosts = ["one.example"]\nqueue = 9\n')
    with served(filled, tmp_path, "--queue", "7") as server:
        assert server.status("/healthz", Host="one.example") == 200
        assert server.status("/healthz", Host="two.example") == 403
        kept = http.client.HTTPConnection(server.address, timeout=SECONDS)
        kept.request("GET", "/healthz")
        kept.getresponse().read()
        settings.write_text('hosts = ["two.example"]\nqueue = 8\nkv_type = "q8_0"\n')
        # Whoever rotates logs moves the file away first.
        (tmp_path / "log").rename(tmp_path / "log.1")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: bool(server.events("settings read again")))
        (row,) = server.events("settings read again")
        # The option comes before the file, so the queue is as it was.
        assert (row["changed"], row["needs_restart"]) == ("hosts", "kv_type")
        assert server.status("/healthz", Host="one.example") == 403
        assert server.status("/healthz", Host="two.example") == 200
        # The connection from before goes on.
        kept.request("GET", "/healthz")
        assert kept.getresponse().status == 200
        kept.close()
        settings.write_text("hosts = 3 3\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: bool(server.events("settings are as before")))
        assert "transom.toml" in server.events("settings are as before")[0]["reason"]
        assert server.status("/healthz", Host="two.example") == 200


@pytest.mark.parametrize("signals", [1, 2])
def test_a_download_is_let_through_and_a_second_signal_cuts_it(
    filled: Store, tmp_path: Path, signals: int
) -> None:
    digest = filled.put_bytes(os.urandom(1024) * 64 * 1024)
    with served(filled, tmp_path, "--grace", "300") as server:
        connection = http.client.HTTPConnection(server.address, timeout=SECONDS)
        connection.request("GET", f"/v2/x/blobs/{digest}")
        answer = connection.getresponse()
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: bool(server.events("ending")))
        if signals == 2:
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(SECONDS) == 0
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
        else:
            assert len(answer.read()) == 64 * 1024 * 1024
            assert server.process.wait(SECONDS) == 0
        connection.close()


def test_settings_that_cannot_be_are_one_line(filled: Store, tmp_path: Path) -> None:
    program = "from transom_cli.main import main; main()"
    for arguments, error in (
        (["--prot", "1"], "No such option"),
        (["--port", "x"], "TRANSOM_PORT: 'x' is not a port"),
        (["--settings", "/none.toml"], "cannot read the settings file /none.toml"),
        (["--log-file", "/none/log"], "TRANSOM_LOG_FILE: cannot write /none/log"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, "serve", *arguments],
            env={**os.environ, "TRANSOM_MODELS": str(filled.root)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 2
        assert error in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr
