"""A network that drops, stalls, truncates and flips bits, between a browser and a server.

A proxy: what is no blob passes; of blobs a share, by a seeded throw, arrives badly. It remembers
which ranges it sent and whether they arrived whole. Knows HTTP and nothing of Transom but the
address of a blob.
"""

import http.client
import http.server
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["drop", "stall", "truncate", "flip"]

CHUNK_BYTES = 64 * 1024
STALL_SECONDS = 60
"""Longer than any client waits."""
HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Sent:
    """A range of a blob, as it went out."""

    visit: int
    digest: str
    first: int
    last: int
    """Offset of its last byte."""
    fault: Fault | None
    is_whole: bool
    """Every byte was handed to the system before the client hung up."""


@dataclass
class BadNetwork:
    """What the test tells the proxy, and what the proxy tells the test."""

    upstream: str
    seed: int
    faults: tuple[Fault, ...] = ()
    """None: a good network."""
    fault_share: float = 0.0
    bytes_per_second: float = 60e6
    """Of one connection."""
    visit: int = 0
    sent: list[Sent] = field(default_factory=list)
    address: str = ""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def throw(self) -> Fault | None:
        with self._lock:
            if not self.faults or self._random.random() >= self.fault_share:
                return None
            return self._random.choice(self.faults)

    def somewhere(self, size: int) -> int:
        with self._lock:
            return self._random.randrange(size) if size else 0

    def note(self, sent: Sent) -> None:
        with self._lock:
            self.sent.append(sent)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    network: BadNetwork

    def do_GET(self) -> None:
        visit = self.network.visit
        status, headers, body = self._ask()
        blob = re.search(r"/blobs/(sha256:[0-9a-f]{64})$", self.path)
        fault = self.network.throw() if blob and len(body) > CHUNK_BYTES else None
        is_whole = False
        try:
            is_whole = self._answer(status, headers, body, fault)
        except OSError:
            # The client hung up: its visit is over.
            self.close_connection = True
        if blob:
            first = int(re.sub(r"^bytes (\d+)-.*$", r"\1", headers.get("Content-Range", "0")))
            self.network.note(Sent(visit, blob[1], first, first + len(body) - 1, fault, is_whole))

    def _ask(self) -> tuple[int, dict[str, str], bytes]:
        upstream = urlsplit(self.network.upstream)
        connection = http.client.HTTPConnection(upstream.netloc, timeout=60)
        headers = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in {"host", "connection", "accept-encoding"}
        }
        try:
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in HOP_HEADERS}
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None
    ) -> bool:
        end = len(body) if fault in (None, "flip") else self.network.somewhere(len(body))
        if fault == "flip":
            at = self.network.somewhere(len(body))
            body = body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault == "truncate":
            # Without a length, an end that comes too early looks like the end.
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, end, CHUNK_BYTES):
            chunk = body[start : min(end, start + CHUNK_BYTES)]
            self.wfile.write(chunk)
            time.sleep(len(chunk) / self.network.bytes_per_second)
        if fault == "stall":
            visit, until = self.network.visit, time.monotonic() + STALL_SECONDS
            while time.monotonic() < until and self.network.visit == visit:
                time.sleep(0.05)
        if fault in ("drop", "stall"):
            self.close_connection = True
        return end == len(body) and fault is None

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # so did the client

    def log_message(self, *_: object) -> None:
        """What was sent is in `BadNetwork.sent`."""


@contextmanager
def between(network: BadNetwork) -> Iterator[BadNetwork]:
    """Run the proxy until the block ends; its address is in `network.address`."""
    handler = type("Handler", (_Handler,), {"network": network})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        network.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield network
        finally:
            network.visit += 1
            server.shutdown()
            thread.join()
