"""A server between a client and a real one that does to the answers whatever a test asks.

It forwards each GET and HEAD to the server behind it, and a plan says what happens to the answer on
its way back: nothing (None), or one `Fault`. Every answer is counted, in bytes of body that left.
"""

import gzip
import http.client
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request, as a plan sees it. `number` counts from 0; `first` of a Range, or None."""

    number: int
    method: str
    path: str
    first: int | None

    @property
    def is_blob(self) -> bool:
        return "/blobs/" in self.path


@dataclass(frozen=True)
class Answered:
    """An answer that left: bytes of body, whether by fault or not."""

    asked: Asked
    status: int
    sent: int


@dataclass
class Answer:
    """What goes back: changed by a fault before it does. `length` None: as long as the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    length: int | None = None
    cut_at: int | None = None
    """Body bytes to send before the connection ends, with whatever length was promised."""
    stall_at: int | None = None
    """Body bytes to send before nothing comes any more, on an open connection."""
    trickle: float = 0.0
    """Seconds between each two bytes of the rest, in place of nothing."""
    delay: float = 0.0
    raw: bytes | None = None
    """Sent in place of all of it."""


# A client that does not hang up is cut off before.
LEAVING_SECONDS = 15
# A machine that does much else at the same time.
UPSTREAM_SECONDS = 60

Fault = Callable[[Answer], None]
Plan = Callable[[Asked], Fault | None]


# Faults


def drop(at: int) -> Fault:
    """The connection ends after so many bytes of the body."""

    def change(answer: Answer) -> None:
        answer.cut_at = at

    return change


def truncate(by: int) -> Fault:
    """The body is shorter, and its Content-Length says so too."""

    def change(answer: Answer) -> None:
        answer.body = answer.body[: max(0, len(answer.body) - by)]

    return change


def lengthen(by: int) -> Fault:
    """The body is longer, and its Content-Length says so too."""

    def change(answer: Answer) -> None:
        answer.body += bytes(by)

    return change


def promise(by: int) -> Fault:
    """Content-Length is off by so many bytes; then the connection ends."""

    def change(answer: Answer) -> None:
        answer.length = max(0, len(answer.body) + by)
        answer.cut_at = len(answer.body)

    return change


def flip(at: int, bit: int = 1) -> Fault:
    """One bit of one byte is another."""

    def change(answer: Answer) -> None:
        if answer.body:
            body = bytearray(answer.body)
            body[at % len(body)] ^= bit
            answer.body = bytes(body)

    return change


def stall(at: int) -> Fault:
    """After so many bytes nothing comes, and the connection stays."""

    def change(answer: Answer) -> None:
        answer.stall_at = at

    return change


def trickle(at: int, seconds: float) -> Fault:
    """After so many bytes there is one now and then."""

    def change(answer: Answer) -> None:
        answer.stall_at, answer.trickle = at, seconds

    return change


def slow(seconds: float) -> Fault:
    """The first byte takes its time."""

    def change(answer: Answer) -> None:
        answer.delay = seconds

    return change


def status(code: int, **headers: str) -> Fault:
    """Another status, without a body: `status(503, Retry_After="1")`."""

    def change(answer: Answer) -> None:
        answer.status, answer.body = code, b""
        answer.headers = {key.replace("_", "-"): value for key, value in headers.items()}

    return change


def redirect(location: str) -> Fault:
    return status(307, Location=location)


def header(name: str, value: str | None) -> Fault:
    """A header is another, or gone."""

    def change(answer: Answer) -> None:
        answer.headers.pop(name, None)
        if value is not None:
            answer.headers[name] = value

    return change


def other_range(by: int = 1) -> Fault:
    """Content-Range tells of other bytes than were asked for."""

    def change(answer: Answer) -> None:
        if "Content-Range" in answer.headers:
            span, _, total = answer.headers["Content-Range"].removeprefix("bytes ").partition("/")
            first, last = (int(part) + by for part in span.split("-"))
            answer.headers["Content-Range"] = f"bytes {first}-{last}/{total}"

    return change


def other_total(total: str) -> Fault:
    """Content-Range tells of a file of another size."""

    def change(answer: Answer) -> None:
        if "Content-Range" in answer.headers:
            span = answer.headers["Content-Range"].partition("/")[0]
            answer.headers["Content-Range"] = f"{span}/{total}"

    return change


def packed(answer: Answer) -> None:
    """gzip, that nobody asked for."""
    answer.body = gzip.compress(answer.body)
    answer.headers["Content-Encoding"] = "gzip"


def silent(answer: Answer) -> None:
    """The connection ends before there is an answer."""
    answer.raw = b""


def babble(answer: Answer) -> None:
    """It is not HTTP."""
    answer.raw = b"SSH-2.0-OpenSSH_9.2\r\n"


def random_faults(seed: int, share: float) -> Plan:
    """So large a share of answers has a fault, drawn from all kinds that may be got over."""
    dice = random.Random(seed)
    lock = threading.Lock()

    def plan(asked: Asked) -> Fault | None:
        with lock:
            if dice.random() >= share:
                return None
            at = dice.randrange(200_000)
            faults: list[Fault] = [
                drop(at),
                truncate(1 + at % 1000),
                lengthen(1 + at % 1000),
                promise(1 + at % 1000),
                promise(-1 - at % 1000),
                flip(at, 1 << at % 8),
                stall(at),
                status(429, Retry_After="0"),
                status(503, Retry_After="1"),
                status(500),
                other_range(),
                other_range(-1),
                other_total("12345"),
                silent,
                babble,
                slow(0.01),
            ]
            return dice.choice(faults)

    return plan


# The server


@dataclass
class FlakyServer:
    """Where it listens, what it was asked, and what it does: `plan` may be changed any time."""

    port: int
    upstream: int | None
    plan: Plan = field(default=lambda asked: None)
    ranges: bool = True
    """False: a Range header is not heard."""
    digests: bool = True
    """False: no Content-Digest reaches the client."""
    answered: list[Answered] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    """Headers of every request, names in lower case."""
    lock: threading.Condition = field(default_factory=threading.Condition)
    leaving: int = 0
    """Answers on their way."""
    stopping: threading.Event = field(default_factory=threading.Event)
    connections: list[socket.socket] = field(default_factory=list)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def blob_bytes(self) -> int:
        """Bytes of blobs that left."""
        return sum(row.sent for row in self.all_answered() if row.asked.is_blob)

    def all_answered(self) -> list[Answered]:
        """All that left, once nothing is leaving: a client may have the last byte of an answer
        before that is counted here."""
        with self.lock:
            assert self.lock.wait_for(lambda: not self.leaving, LEAVING_SECONDS), self.requests
            return [*self.answered]

    def forget(self) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: not self.leaving, LEAVING_SECONDS), self.requests
            self.answered.clear()
            self.requests.clear()


@contextmanager
def flaky_server(upstream: int | None) -> Iterator[FlakyServer]:
    """A flaky server before the one on port `upstream` of this machine.

    None: before nothing, so all that it answers is the plan's; it starts from a 404.
    """

    class Handler(_Handler):
        fake: FlakyServer

    listening = _Listening(("127.0.0.1", 0), Handler)
    fake = Handler.fake = FlakyServer(listening.server_address[1], upstream)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield fake
    finally:
        fake.stopping.set()
        listening.shutdown()
        thread.join()
        for connection in fake.connections:
            with suppress(OSError):  # ended already
                connection.shutdown(socket.SHUT_RDWR)
        listening.server_close()


class _Listening(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5
    fake: FlakyServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Quiet."""

    def setup(self) -> None:
        super().setup()
        self.fake.connections.append(self.connection)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        fake = self.fake
        answer = self._forward()
        span = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        with fake.lock:
            fake.leaving += 1
            number = len(fake.requests)
            fake.requests.append({key.lower(): value for key, value in self.headers.items()})
        asked = Asked(number, self.command, self.path, int(span) if span else None)
        if not fake.digests:
            answer.headers.pop("Content-Digest", None)
        sent = 0
        try:
            fault = fake.plan(asked)
            if fault is not None:
                fault(answer)
            sent = self._send(answer)
        except OSError:
            self.close_connection = True
        finally:
            with fake.lock:
                fake.answered.append(Answered(asked, answer.status, sent))
                fake.leaving -= 1
                fake.lock.notify_all()

    def _forward(self) -> Answer:
        if self.fake.upstream is None:
            return Answer(404, {}, b"")
        upstream = http.client.HTTPConnection(
            "127.0.0.1", self.fake.upstream, timeout=UPSTREAM_SECONDS
        )
        skipped = {"host", "connection"} | (set() if self.fake.ranges else {"range", "if-range"})
        headers = {key: value for key, value in self.headers.items() if key.lower() not in skipped}
        with closing(upstream):
            upstream.request(self.command, self.path, headers=headers)
            response = upstream.getresponse()
            body = response.read()
        kept = {
            key: value
            for key, value in response.getheaders()
            if key.lower() not in ("content-length", "connection", "date", "via")
        }
        length = response.getheader("Content-Length") if self.command == "HEAD" else None
        return Answer(response.status, kept, body, int(length) if length else None)

    def _send(self, answer: Answer) -> int:
        if self.fake.stopping.wait(answer.delay) and answer.delay:
            self.close_connection = True
            return 0
        if answer.raw is not None:
            self.wfile.write(answer.raw)
            self.close_connection = True
            return 0
        lines = [f"HTTP/1.1 {answer.status} Whatever"]
        lines += [f"{key}: {value}" for key, value in answer.headers.items()]
        length = len(answer.body) if answer.length is None else answer.length
        lines.append(f"Content-Length: {length}")
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        ends = [at for at in (answer.cut_at, answer.stall_at) if at is not None]
        body = answer.body[: min(ends)] if ends else answer.body
        self.wfile.write(body)
        self.wfile.flush()
        if answer.stall_at is not None and answer.stall_at < len(answer.body):
            self._wait_for_end(answer)
        if answer.cut_at is not None or answer.stall_at is not None:
            self.close_connection = True
        return len(body)

    def _wait_for_end(self, answer: Answer) -> None:
        """Until the client gives up, or the test is over."""
        self.connection.settimeout(answer.trickle or 0.05)
        give_up = time.monotonic() + 5
        while not self.fake.stopping.is_set() and time.monotonic() < give_up:
            with suppress(socket.timeout):
                self.connection.recv(1)
                return
            if answer.trickle:
                self.wfile.write(b"\0")
