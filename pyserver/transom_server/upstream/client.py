"""Asking another server for an answer, whatever it does: one connection a request.

A thread reads, so that whoever waits can look whether anybody still does; it ends with its
connection. Everything that comes has a cap, and every wait an end. Knows no dialect.
"""

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

from urllib3 import exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection

from transom_api.engine import Cancelled, EngineFailed, RequestCancelled
from transom_server.transfer.address import Address
from transom_server.upstream.settings import UpstreamSetting

CONNECT_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
READ_BYTES: Final = 64 * 1024
# Read ahead of a slow client: 4 MiB; then the other server waits, as TCP has it.
MAX_AHEAD: Final = 64
# A vector of 4096 numbers is 80 KB as text, and 2048 of them may be asked for at once.
MAX_BODY_BYTES: Final = 256 * 1024 * 1024
MAX_ERROR_BYTES: Final = 64 * 1024
_WANTED: Final = ("identity", "")


class UpstreamFailed(EngineFailed):
    """Another server did not do its part; the text names it."""


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins. `kind` is its media type, in lower case."""

    status: int
    kind: str
    retry_after: str | None = None


class Exchange:
    """A request and its answer, for as long as a `with` block."""

    def __init__(
        self,
        setting: UpstreamSetting,
        path: str,
        body: bytes | None,
        cancelled: Cancelled,
        *,
        accept: str = "application/json",
        timeout: float | None = None,
    ) -> None:
        """`path` is below the server's address. Nothing is sent before the block begins."""
        self._setting = setting
        self._address = Address.parse(urljoin(setting.address.url.rstrip("/") + "/", path))
        self._body = body
        self._cancelled = cancelled
        self._accept = accept
        self._timeout = setting.timeout if timeout is None else timeout
        self._came: queue.Queue[Head | bytes | Exception | None] = queue.Queue(MAX_AHEAD)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._wire: socket.socket | None = None

    def __enter__(self) -> Self:
        threading.Thread(target=self._run, name="transom-upstream", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        with self._lock:
            if self._wire is not None:
                # The plain socket's own: TLS would say goodbye to a peer that may not listen.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._wire, socket.SHUT_RDWR)

    def head(self) -> Head:
        """Raises `UpstreamFailed`, `RequestCancelled`."""
        found = self._next(time.monotonic() + self._timeout)
        if not isinstance(found, Head):
            raise self.failed("it closed the connection without an answer")
        return found

    def chunks(self, deadline: "Deadline") -> Iterator[bytes]:
        """The body as it comes, until the `deadline`, which whoever reads may move."""
        while isinstance(data := self._next(deadline), bytes):
            yield data

    def read(self, most: int = MAX_BODY_BYTES) -> bytes:
        """The whole body."""
        data = bytearray()
        for chunk in self.chunks(Deadline(self._timeout)):
            data += chunk
            if len(data) > most:
                raise self.failed(f"its answer is longer than {most} bytes")
        return bytes(data)

    def failed(self, why: str) -> UpstreamFailed:
        """An error that names the server."""
        return UpstreamFailed(f"{self._setting.place}: {why}")

    def _next(self, deadline: "float | Deadline") -> Head | bytes | None:
        while True:
            if self._cancelled():
                raise RequestCancelled("nobody waits for this answer any more")
            end = deadline if isinstance(deadline, float) else deadline.at
            try:
                found = self._came.get(timeout=max(0.0, min(POLL_SECONDS, end - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= end:
                    raise self.failed(f"nothing came for {self._timeout:g} s") from None
                continue
            if isinstance(found, Exception):
                raise self.failed(_reason(found)) from found
            return found

    # In the thread

    def _run(self) -> None:
        connection: HTTPConnection | None = None
        try:
            connection = self._connection()
            connection.connect()
            wire = connection.sock
            assert wire is not None
            wire.settimeout(self._timeout)
            with self._lock:
                self._wire = wire
            if not self._closed.is_set():
                self._ask(connection)
        except Exception as error:
            self._put(error)
        finally:
            with self._lock:
                self._wire = None
            if connection is not None:
                connection.close()

    def _ask(self, connection: HTTPConnection) -> None:
        parts = urlsplit(self._address.url)
        connection.request(
            "GET" if self._body is None else "POST",
            parts.path,
            body=self._body,
            headers=self._headers(),
            preload_content=False,
            decode_content=False,
        )
        response = connection.getresponse()
        with contextlib.closing(response):
            if response.headers.get("Content-Encoding", "").strip().lower() not in _WANTED:
                raise HTTPException("its answer is packed, which was not asked for")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            self._put(Head(response.status, kind, response.headers.get("Retry-After")))
            while data := response.read1(READ_BYTES, decode_content=False):
                if not self._put(data):
                    return
            self._put(None)

    def _connection(self) -> HTTPConnection:
        address = self._address
        if address.scheme == "http":
            return HTTPConnection(address.host, address.port, timeout=CONNECT_SECONDS)
        return HTTPSConnection(
            address.host,
            address.port,
            timeout=CONNECT_SECONDS,
            ssl_context=ssl.create_default_context(),
        )

    def _headers(self) -> Mapping[str, str]:
        headers = {
            "Accept": self._accept,
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "transom",
        }
        if self._setting.key is not None:
            headers["Authorization"] = f"Bearer {self._setting.key}"
        return headers

    def _put(self, item: Head | bytes | Exception | None) -> bool:
        """Whether anybody is there to take it."""
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._came.put(item, timeout=POLL_SECONDS)
                return True
        return False


class Deadline:
    """So many seconds from now, and from each `move`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.move()

    def move(self) -> None:
        self.at = time.monotonic() + self._seconds


def _reason(error: Exception) -> str:
    """What a connection died of, in a few words."""
    if isinstance(error, exceptions.NameResolutionError):
        return "nobody knows this host"
    cause = error.__cause__ or error.__context__
    if isinstance(error, TimeoutError | exceptions.TimeoutError):
        return "it does not answer in time"
    if isinstance(error, exceptions.NewConnectionError) and isinstance(cause, OSError):
        error = cause
    if isinstance(error, ssl.SSLError):
        return f"no safe connection: {error.reason or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, exceptions.ProtocolError | exceptions.HTTPError):
        return "it broke off its answer"
    return f"{error or type(error).__name__}"[:300]
