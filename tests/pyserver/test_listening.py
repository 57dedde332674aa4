"""pytest tests/pyserver/test_listening.py: many connections, and those that do nothing."""

import errno
import http.client
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.fake_engine import FakeLoader
from tests.pyserver.native_models import put_native
from tests.waiting import wait_for
from transom_server.app import create_app
from transom_server.engines import choice
from transom_server.http import listening
from transom_server.http.listening import connection_limit
from transom_server.http.serving import Server, serving
from transom_server.http.task_threads import BASE_THREADS
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 30
STREAMS = 3 * BASE_THREADS
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> FakeLoader:
    loader = FakeLoader("one", " two", " three")
    loader.parallel = 4 * STREAMS
    monkeypatch.setattr(choice, "LlamaCpp", loader)
    return loader


@pytest.fixture
def server(tmp_path: Path, loader: FakeLoader) -> Iterator[Server]:
    put_native(Store(tmp_path), "tiny")
    config = Config.read({}, models=str(tmp_path), port="0")
    with serving(create_app(config), config) as server:
        yield server


def connect(server: Server) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
    connection.connect()
    return connection


def begin(server: Server) -> http.client.HTTPResponse:
    """A stream whose first word has come."""
    connection = connect(server)
    connection.request("POST", "/api/chat", json.dumps(BODY))
    answer = connection.getresponse()
    assert b"one" in answer.readline()
    return answer


def is_well(server: Server) -> bool:
    connection = connect(server)
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
    connection.close()
    return status == 200


def test_streams_that_say_nothing_keep_nobody_from_an_answer(
    server: Server, loader: FakeLoader
) -> None:
    loader.go.clear()
    server._threads._idle_seconds = 0.05
    streams = [begin(server) for _ in range(STREAMS)]
    assert server.thread_count >= STREAMS
    assert is_well(server)
    loader.go.set()
    for stream in streams:
        assert b'"done":true' in stream.read().replace(b" ", b"")
        stream.close()
    wait_for(lambda: server.thread_count == BASE_THREADS)


def test_clients_that_vanish_leave_no_thread_behind(server: Server, loader: FakeLoader) -> None:
    loader.go.clear()
    server._threads._idle_seconds = 0.05
    streams = [begin(server) for _ in range(STREAMS)]
    for stream in streams:
        stream.close()
    wait_for(lambda: server.thread_count == BASE_THREADS and not server._server.active_channels)
    assert is_well(server)


def test_a_client_that_stops_reading_is_let_go(
    server: Server, loader: FakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would hold its place in the model for ever."""
    monkeypatch.setattr(listening, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr(server._server.adj, "cleanup_interval", 0)
    monkeypatch.setattr(server._server, "next_channel_cleanup", 0)
    loader._pieces = ("one", *(("x" * 1_000_000,) * 64))
    stream = begin(server)
    wait_for(lambda: server._server.busy_count() == 0)
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        stream.read()
    stream.close()


def test_more_connections_than_there_may_be_wait(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._server.adj, "connection_limit", len(server._map) + 2)
    first, second = connect(server), connect(server)
    wait_for(lambda: len(server._server.active_channels) == 2)
    late = connect(server)
    late.request("GET", "/healthz")
    first.request("GET", "/healthz")
    assert first.getresponse().read()
    assert len(server._server.active_channels) == 2
    first.close()
    second.close()
    assert late.getresponse().status == 200
    late.close()


def test_without_descriptors_it_goes_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "ACCEPT_AGAIN_SECONDS", 0.05)
    failures = iter([errno.EMFILE, errno.ENFILE, errno.ECONNABORTED])
    real = server._server.accept

    def accept() -> Any:
        for number in failures:
            raise OSError(number, "as the system says it")
        return real()

    monkeypatch.setattr(server._server, "accept", accept)
    assert is_well(server)
    assert next(failures, None) is None


def test_descriptors_set_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = (100, 5000)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: raised.append(pair))
    few = connection_limit()
    assert raised == [(5000, 5000)]
    assert 1000 < few < 5000 / 2
    limits = (100, resource.RLIM_INFINITY)
    assert connection_limit() == listening.MOST_CONNECTIONS
    assert raised[-1][1] == resource.RLIM_INFINITY
    limits = (300, 300)
    assert 1 <= connection_limit() < 100
    limits = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert connection_limit() == listening.MOST_CONNECTIONS


def test_clients_that_vanish_without_a_word_are_found_out() -> None:
    names = {option for level, option, _ in listening.socket_options()}
    assert {socket.TCP_NODELAY, socket.SO_KEEPALIVE} <= names
