"""pytest -s tests/api/test_chaos_clients.py: clients that vanish, and clients that hardly read.

Afterwards the server holds what it held before, every slot is free, and the model computes nothing.
"""

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.chaos import (
    CHAT,
    Held,
    ask,
    cpu_seconds,
    engines,
    held,
    metrics,
    put_endless,
    stream,
)
from tests.e2e.commands import Server, serve
from tests.waiting import wait_for
from transom_server.store import Store

CLIENTS = 1000
AT_ONCE = 50
SLOW_READERS = 50
SLOW_TOKENS = 300
# Beside a thousand connections these are few; one that stayed of each kind would be two hundred.
MORE_DESCRIPTORS = 20
MORE_THREADS = 10
# Python gives little back of what many threads took at once; a leak of a frame's buffer for each
# client (64 KiB) would be more.
MORE_BYTES = 48_000_000
# What the server keeps for a reader: a megabyte of frames at most, and its thread.
MOST_BYTES_A_READER = 1_500_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("clients")
    put_endless(Store(folder / "models"))
    settings = {"TRANSOM_PARALLEL": "8", "TRANSOM_GRACE": "1"}
    with serve(folder / "models", folder / "log", environment=settings) as running:
        assert ask(running.address)[0] == 200
        yield running


def connected(server: Server) -> socket.socket:
    host, _, port = server.address.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def request(**fields: object) -> bytes:
    body = json.dumps({"model": "endless", "stream": True, **CHAT.body, **fields}).encode()
    head = f"POST {CHAT.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def says_nothing(wire: socket.socket) -> None:
    time.sleep(0.05)


def says_half(wire: socket.socket) -> None:
    wire.sendall(request()[:-20])


def leaves_at_once(wire: socket.socket) -> None:
    wire.sendall(request())


def leaves_in_the_middle(wire: socket.socket) -> None:
    wire.sendall(request())
    assert wire.recv(1024)


def resets_in_the_middle(wire: socket.socket) -> None:
    leaves_in_the_middle(wire)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


KINDS: tuple[Callable[[socket.socket], None], ...] = (
    says_nothing,
    says_half,
    leaves_at_once,
    leaves_in_the_middle,
    resets_in_the_middle,
)


def vanish(server: Server, count: int) -> None:
    def one(number: int) -> None:
        with connected(server) as wire:
            KINDS[number % len(KINDS)](wire)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(count)))


def wait_until_idle(server: Server) -> None:
    def is_idle() -> bool:
        figures = metrics(server.address)
        return figures["transom_running_requests"] == figures["transom_waiting_requests"] == 0

    wait_for(is_idle, "nobody is served any more")
    (engine,) = engines(server.pid)

    def computes_nothing() -> bool:
        before = cpu_seconds(engine)
        time.sleep(0.5)
        return cpu_seconds(engine) - before <= 0.05

    wait_for(computes_nothing, "the model computes nothing")


def assert_no_more(server: Server, before: Held, engine_before: Held) -> None:
    (engine,) = engines(server.pid)
    # Threads end when nothing was there for them to do for ten seconds.
    wait_for(lambda: held(server.pid).threads <= before.threads + MORE_THREADS, "threads end")
    wait_for(
        lambda: held(server.pid).descriptors <= before.descriptors + MORE_DESCRIPTORS,
        "descriptors are closed",
    )
    after, engine_after = held(server.pid), held(engine)
    print(f"\nserver: {before}; after {after}\nmodel: {engine_before}; after {engine_after}")
    assert after.resident_bytes <= before.resident_bytes + MORE_BYTES
    assert engine_after.descriptors <= engine_before.descriptors + MORE_DESCRIPTORS
    assert engine_after.threads <= engine_before.threads + MORE_THREADS
    assert engine_after.resident_bytes <= engine_before.resident_bytes + MORE_BYTES


def test_a_thousand_clients_that_vanish(server: Server) -> None:
    vanish(server, CLIENTS // 10)
    wait_until_idle(server)
    (engine,) = engines(server.pid)
    before, engine_before = held(server.pid), held(engine)
    begun = time.monotonic()
    vanish(server, CLIENTS)
    print(f"\n{CLIENTS} clients in {time.monotonic() - begun:.1f} s")
    wait_until_idle(server)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(server.address), range(8)))
    assert [status for status, _ in answers] == [200] * 8
    assert_no_more(server, before, engine_before)
    assert engines(server.pid) == [engine]


def seconds_of_a_stream(server: Server) -> float:
    begun = time.monotonic()
    with stream(server.address, CHAT, max_tokens=SLOW_TOKENS) as response:
        assert response.read().endswith(b"[DONE]\n\n")
    return time.monotonic() - begun


def test_slow_readers_hold_up_nobody(server: Server) -> None:
    """Fifty that take one byte a second: their frames wait for them, the model does not."""
    alone = min(seconds_of_a_stream(server) for _ in range(3))
    wait_until_idle(server)
    (engine,) = engines(server.pid)
    before, engine_before = held(server.pid), held(engine)
    readers = [connected(server) for _ in range(SLOW_READERS)]
    try:
        for wire in readers:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.sendall(request(max_tokens=SLOW_TOKENS))
        # Two bytes of each, a second apart, while the rest is written.
        for _ in range(2):
            for wire in readers:
                assert wire.recv(1)
            time.sleep(1)
        wait_until_idle(server)
        # They are only connections by now, and the machine's own noise does not last.
        wait_for(lambda: seconds_of_a_stream(server) < 3 * alone, "a stream is as fast as alone")
        during = held(server.pid)
        print(f"\nbeside slow readers: {during}")
        most = before.resident_bytes + SLOW_READERS * MOST_BYTES_A_READER
        assert during.resident_bytes <= most
        # Whoever takes its time still gets all of it.
        rest = b""
        while not rest.endswith(b"0\r\n\r\n"):
            piece = readers[0].recv(65536)
            assert piece, rest[-200:]
            rest += piece
        assert b"[DONE]" in rest
    finally:
        for wire in readers:
            wire.close()
    assert_no_more(server, before, engine_before)
