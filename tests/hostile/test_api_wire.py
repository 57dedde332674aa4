"""pytest tests/hostile/test_api_wire.py: what clients may do to the connection itself.

Raw bytes over a socket: lengths that can be read in two ways, chunks without end, headers that come
byte by byte, bodies from whoever has no key. What is refused is told, and others are answered
meanwhile.
"""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.api_server import Target, read_all, target
from transom_server.access.api_keys import create_key
from transom_server.app import create_app
from transom_server.http.request_body import (
    MAX_CHUNK_LINE_BYTES,
    MAX_FRAMING_BYTES,
    MEMORY_BYTES,
)
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
# Of the server that reads a body of tens of megabytes into a file.
MOST_GROWTH = 150 << 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("wire")) as server:
        assert server.chat().status == 200
        before = server.memory()
        yield server
        grown = server.memory() - before
        assert grown < MOST_GROWTH, f"grown by {grown >> 20} MiB"


@pytest.fixture(autouse=True)
def _goes_on(server: Target) -> Iterator[None]:
    yield
    assert server.chat().status == 200


def statuses(data: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3})", data)]


def refused(server: Target, request: bytes, status: int = 400) -> None:
    """One answer, in the dialect, and the connection ends: what follows is read as nothing."""
    with server.wire() as wire:
        with contextlib.suppress(ConnectionError):
            wire.sendall(request)
        data = read_all(wire)
    assert statuses(data) == [status], data[:300]
    body = data.partition(b"\r\n\r\n")[2]
    if request.startswith(b"POST /v1/"):
        assert json.loads(body)["error"]["type"] == "invalid_request_error"


# Lengths

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 0x5\r\n\r\nhello",
        b"Content-Length: 5 \x0b\r\n\r\nhello",
        b"Content-Length:\r\n\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\nhello",
        b"Content Length: 5\r\n\r\nhello",
        b"Content-Length : 5\r\n\r\nhello",
        b"X: a\nContent-Length: 5\r\n\r\nhello",
        b"X: a\rContent-Length: 5\r\n\r\nhello",
        b"X\0: a\r\n\r\n",
    ],
)
def test_lengths_that_can_be_read_in_two_ways(server: Target, fields: bytes) -> None:
    refused(server, HEAD + fields + SMUGGLED)
    assert "smuggled" not in server.log.read_text()


@pytest.mark.parametrize(
    "coding", [b"gzip", b"identity", b"chunked, gzip", b"xchunked", b"\x0bchunked"]
)
def test_codings_that_nobody_knows(server: Target, coding: bytes) -> None:
    with server.wire() as wire:
        wire.sendall(HEAD + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n" + SMUGGLED)
        data = read_all(wire)
    assert len(statuses(data)) == 1
    assert statuses(data)[0] in (400, 501)
    assert "smuggled" not in server.log.read_text()


def test_an_old_client_has_no_chunks(server: Target) -> None:
    old = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
    refused(server, old + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED)


def test_one_length_is_right(server: Target) -> None:
    body = b'{"model":"tiny","max_tokens":2,"messages":[{"role":"user","content":"x"}]}'
    whole = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    coded = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    for request in (whole, coded):
        with server.wire() as wire:
            wire.sendall(request)
            assert statuses(read_all(wire)) == [200]


# Chunks

CODED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "chunks",
    [
        b"5;" + b"x" * (2 * MAX_CHUNK_LINE_BYTES),
        b"0" * (2 * MAX_CHUNK_LINE_BYTES),
        b"\r\n" * (MAX_FRAMING_BYTES + 10_000),
        b"1\r\na\r\n" * MAX_FRAMING_BYTES,
        b"0\r\n" + b"X: y\r\n" * (MAX_FRAMING_BYTES // 4),
        b"zz\r\n",
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b"5\r\nhelloworld\r\n",
    ],
)
def test_chunks_that_are_mostly_frames(server: Target, chunks: bytes) -> None:
    refused(server, CODED + chunks)


def test_chunks_without_end_are_cut_at_the_limit(server: Target) -> None:
    piece = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with server.wire() as wire:
        sent = 0
        with contextlib.suppress(ConnectionError):
            wire.sendall(CODED)
            for sent in range(200):  # noqa: B007 (how far it came)
                wire.sendall(piece)
        assert sent < 100
        with contextlib.suppress(ConnectionError):
            assert statuses(wire.recv(65536)) in ([413], [])


def test_others_are_answered_while_chunks_trickle(server: Target) -> None:
    ends = threading.Event()

    def trickle() -> None:
        with server.wire() as wire, contextlib.suppress(ConnectionError):
            wire.sendall(CODED)
            while not ends.is_set():
                wire.sendall(b"1\r\na\r\n" * 5000)

    attackers = [threading.Thread(target=trickle) for _ in range(3)]
    for attacker in attackers:
        attacker.start()
    try:
        for _ in range(10):
            assert server.ask("/healthz", method="GET").status == 200
    finally:
        ends.set()
        for attacker in attackers:
            attacker.join()


# Headers


def test_headers_over_their_size(server: Target) -> None:
    for fields in (b"X: " + b"x" * 100_000, b"a: b\r\n" * 20_000, b"x" * 100_000):
        with server.wire() as wire:
            with contextlib.suppress(ConnectionError):
                wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n\r\n")
            assert statuses(read_all(wire)) == [431]


@pytest.mark.parametrize(
    "line",
    [
        b"GET /healthz",
        b"GET  HTTP/1.1",
        b"\x16\x03\x01\x02\0\x01",
        b"GET /healthz HTTP/9.9",
        b"\0",
        b"PRI * HTTP/2.0",
    ],
)
def test_first_lines_that_are_none(server: Target, line: bytes) -> None:
    with server.wire() as wire:
        wire.sendall(line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = read_all(wire)
    assert all(status < 500 for status in statuses(data)), data[:200]


@pytest.mark.parametrize("last", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc", b"GET /he"])
def test_headers_that_trickle_end_as_idle_connections_do(tmp_path: Path, last: bytes) -> None:
    """Each byte that comes is no reason to wait for the next (slowloris)."""
    with small_server(tmp_path) as (server, _):
        adjustments = server._server.adj
        adjustments.channel_timeout = adjustments.cleanup_interval = 1
        server._server.next_channel_cleanup = 0
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
            wire.sendall(last)
            closed = False
            deadline = time.monotonic() + 30
            while not closed and time.monotonic() < deadline:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    wire.sendall(b"x")
                wire.settimeout(0.2)
                try:
                    closed = wire.recv(1) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    closed = True
            assert closed


@contextlib.contextmanager
def small_server(folder: Path) -> Iterator[tuple[Server, Path]]:
    store = Store(folder / "models")
    config = Config.read({}, models=str(store.root), port="0")
    with serving(create_app(config), config) as server:
        yield server, folder


def test_hundreds_of_open_connections_block_nobody(server: Target) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(server.wire()).sendall(HEAD + b"Content-Length: 99\r\n\r\n{")
        assert server.chat().status == 200


# Bodies of those who have no key


def test_a_stranger_sends_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_CONFIG", str(tmp_path / "config"))
    key = create_key(tmp_path / "config" / "api_keys.json", "a", now=time.time())
    with small_server(tmp_path) as (server, _):
        for shown, size, status in (
            (b"", MEMORY_BYTES + 1, 413),
            (b"", MEMORY_BYTES, 401),
            (b"Authorization: Bearer " + key.encode() + b"\r\n", MEMORY_BYTES + 1, 400),
        ):
            with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
                head = HEAD + b"Connection: close\r\n" + shown
                with contextlib.suppress(ConnectionError):
                    wire.sendall(head + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
                found = statuses(read_all(wire))
            # Whoever goes on sending may lose the answer on its way.
            assert found == [status] or (status == 413 and not found)
