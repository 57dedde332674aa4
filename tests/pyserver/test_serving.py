"""pytest tests/pyserver/test_serving.py: the app on a real socket, under waitress."""

import http.client
import io
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from tests.waiting import wait_for
from transom_models.digest import Digest
from transom_server.app import create_app
from transom_server.http.serving import CannotListen, Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store


@pytest.fixture
def config(filled: Store) -> Config:
    return Config.read({}, models=str(filled.root), port="0")


@pytest.fixture
def server(config: Config) -> Iterator[Server]:
    with serving(create_app(config), config) as server:
        yield server


def test_large_blobs_whole_and_in_part(server: Server, filled: Store) -> None:
    data = os.urandom(3_000_001)
    url = f"{server.url}/v2/x/blobs/{filled.put_bytes(data)}"
    with urllib.request.urlopen(url) as response:
        assert response.read() == data
    request = urllib.request.Request(url, headers={"Range": "bytes=1000-2000999"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 206
        assert response.headers["Content-Length"] == "2000000"
        assert response.read() == data[1000:2_001_000]


def test_one_connection_serves_many(server: Server, filled: Store) -> None:
    digest = filled.put_bytes(b"abc")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for headers in ({}, {"Range": "bytes=1-1"}, {"Range": "bytes=9-"}, {}):
        connection.request("GET", f"/v2/x/blobs/{digest}", headers=headers)
        response = connection.getresponse()
        assert response.read() in (b"abc", b"b", b"")
        assert response.will_close is False
    connection.request("HEAD", f"/v2/x/blobs/{digest}")
    head = connection.getresponse()
    assert head.read() == b""
    assert head.headers["Content-Length"] == "3"
    connection.close()


def test_many_downloads_at_once(server: Server, filled: Store) -> None:
    data = os.urandom(2_000_000)
    digest = filled.put_blob(io.BytesIO(data))
    found: list[Digest] = []

    def download() -> None:
        with urllib.request.urlopen(f"{server.url}/v2/x/blobs/{digest}") as response:
            found.append(Digest.of(response.read()))

    threads = [threading.Thread(target=download) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [digest] * 24


def test_a_client_that_goes_away_harms_nobody(server: Server, filled: Store) -> None:
    digest = filled.put_bytes(bytes(5_000_000))
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            request = f"GET /v2/x/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            client.sendall(request.encode())
            assert client.recv(100).startswith(b"HTTP/1.1 200")
    with urllib.request.urlopen(f"{server.url}/healthz") as response:
        assert response.status == 200


def test_without_a_host_there_is_no_answer(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 403")


def test_a_taken_port_is_said(server: Server, config: Config) -> None:
    taken = Config.read({}, port=str(server.port))
    with pytest.raises(CannotListen, match=f"port {server.port} is taken"):
        Server(create_app(config), taken)
    with pytest.raises(CannotListen, match="cannot listen on"):
        Server(create_app(config), Config.read({}, host="no.such.host.invalid"))


def test_stopping_ends_threads_and_frees_the_port(config: Config) -> None:
    before = threading.active_count()
    with serving(create_app(config), config) as server:
        # A connection that stays open must not keep the server alive.
        idle = socket.create_connection(("127.0.0.1", server.port))
        port = server.port
    # A thread that has said its last word still has to leave.
    wait_for(lambda: threading.active_count() <= before)
    idle.close()
    with serving(create_app(config), Config.read({}, port=str(port))) as again:
        assert again.port == port
