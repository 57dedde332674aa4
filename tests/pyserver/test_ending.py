"""pytest tests/pyserver/test_ending.py: the first signal lets answers end, the second does not."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.fake_engine import FakeLoader
from tests.pyserver.native_models import put_native
from tests.waiting import wait_for
from transom_server.app import create_app
from transom_server.engines import choice
from transom_server.http.serving import Server
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 30
HELLO = {"role": "user", "content": "hello"}
PATHS: dict[str, tuple[dict[str, Any], bytes]] = {
    "/v1/chat/completions": ({"messages": [HELLO]}, b'"code"'),
    "/v1/messages": ({"messages": [HELLO], "max_tokens": 9}, b"event: error"),
    "/api/chat": ({"messages": [HELLO]}, b'"error"'),
}


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> FakeLoader:
    """Engines that say one word, and the others when they are told to."""
    loader = FakeLoader("one", " two", " three")
    loader.go.clear()
    loader.parallel = 4
    monkeypatch.setattr(choice, "LlamaCpp", loader)
    return loader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put_native(Store(tmp_path / "models"), "tiny")
    return tmp_path / "models"


@contextmanager
def running(folder: Path, grace: int) -> Iterator[tuple[Server, threading.Thread]]:
    config = Config.read({}, models=str(folder), port="0", grace=str(grace))
    server = Server(create_app(config), config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server, thread
    finally:
        if thread.is_alive():
            server.stop()
        thread.join()


def connect(server: Server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)


def begin(server: Server, path: str = "/api/chat") -> http.client.HTTPResponse:
    """A stream whose first word has come."""
    connection = connect(server)
    body = {**PATHS[path][0], "model": "tiny", "stream": True}
    connection.request("POST", path, json.dumps(body))
    answer = connection.getresponse()
    assert answer.status == 200
    while b"one" not in answer.readline():
        pass
    return answer


def test_answers_end_and_nothing_new_begins(folder: Path, loader: FakeLoader) -> None:
    with running(folder, 300) as (server, thread):
        answer = begin(server)
        open_before, other = connect(server), connect(server)
        for connection in (open_before, other):
            connection.request("GET", "/readyz")
            assert json.load(connection.getresponse())["status"] == "ok"
        server.end()
        wait_for(lambda: refused(server))
        open_before.request("GET", "/readyz")
        ready = open_before.getresponse()
        assert (ready.status, json.load(ready)["status"]) == (503, "ending")
        open_before.request("GET", "/healthz")
        assert open_before.getresponse().read()
        other.request("GET", "/api/tags")
        late = other.getresponse()
        assert (late.status, late.headers["Retry-After"] is not None) == (503, True)
        assert "ending" in json.load(late)["error"]
        assert thread.is_alive()
        loader.go.set()
        rest = answer.read()
        assert b"three" in rest
        assert b'"done":true' in rest.replace(b" ", b"")
        # Nobody has to close a connection for it.
        thread.join(SECONDS)
        assert not thread.is_alive()
        open_before.close()
        other.close()


def test_without_answers_it_ends_at_once(folder: Path, loader: FakeLoader) -> None:
    with running(folder, 300) as (server, thread):
        idle = connect(server)
        idle.connect()
        server.end()
        thread.join(SECONDS)
        assert not thread.is_alive()
        idle.close()


@pytest.mark.parametrize("path", PATHS)
def test_what_has_no_grace_left_ends_with_the_dialects_error(
    folder: Path, loader: FakeLoader, path: str
) -> None:
    with running(folder, 0) as (server, thread):
        answer = begin(server, path)
        server.end()
        rest = answer.read()
        assert b"the server is ending" in rest
        assert PATHS[path][1] in rest
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_a_whole_answer_without_grace_is_a_503(folder: Path, loader: FakeLoader) -> None:
    with running(folder, 0) as (server, thread):
        connection = connect(server)
        body = {"model": "tiny", "messages": [HELLO], "stream": False}
        connection.request("POST", "/api/chat", json.dumps(body))
        wait_for(lambda: bool(loader.loaded and loader.loaded[0].requests))
        server.end()
        answer = connection.getresponse()
        assert answer.status == 503
        assert "ending" in json.load(answer)["error"]
        thread.join(SECONDS)
        connection.close()


def test_a_second_signal_waits_for_nobody(folder: Path, loader: FakeLoader) -> None:
    with running(folder, 300) as (server, thread):
        answer = begin(server)
        server.end()
        wait_for(lambda: refused(server))
        assert thread.is_alive()
        server.end()
        thread.join(SECONDS)
        assert not thread.is_alive()
        answer.close()


def refused(server: Server) -> bool:
    connection = connect(server)
    try:
        connection.connect()
    except ConnectionError:
        return True
    finally:
        connection.close()
    return False
