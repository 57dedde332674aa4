"""Asking other hosts over HTTP, whatever they do: the one place that opens connections.

Timeouts, redirects, tries, the bandwidth cap and cancelling are here. Nothing is decoded, and
whatever comes whole has a cap. Knows no registry, no digest and no file.
"""

import email.utils
import random
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

import urllib3
from urllib3 import exceptions

from transom_models.errors import TransomError
from transom_server.transfer.address import Address, InvalidAddress
from transom_server.transfer.sockets import Sockets
from transom_server.transfer.status import Cancelled, TransferOptions

# A blob at a registry, its CDN, and the CDN's region; more is a circle.
MAX_REDIRECTS: Final = 5
# What one read takes from a socket; all that a connection holds in memory of a body.
READ_BYTES: Final = 256 * 1024
# In the time that the next byte may take: a host that sends one now and then could hold us forever.
LEAST_BYTES: Final = 256
# Of an error's body nobody reads more than a line.
MAX_ERROR_BYTES: Final = 64 * 1024
# Busy, or behind a gateway that is: the same request may succeed later.
RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CANCEL_POLL_SECONDS: Final = 0.1

Body = bytes | BinaryIO | Iterable[bytes]
Headers = Mapping[str, str]
T = TypeVar("T")


class TransferError(TransomError):
    """The other side did not do its part; the text names it and says what it did."""


class Faltering(TransferError):
    """A failure that another try may get over. `wait`: seconds that the host asked for."""

    def __init__(self, text: str, wait: float = 0.0) -> None:
        super().__init__(text)
        self.wait = wait


class Answer:
    """What a host answered; the body is still on the line."""

    def __init__(
        self, client: "HttpClient", response: urllib3.BaseHTTPResponse, address: Address
    ) -> None:
        self._client = client
        self._response = response
        self.address = address
        self.status = response.status

    def header(self, name: str) -> str | None:
        """A header's value, however often it came; None when it did not."""
        return self._response.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """The values of a header that may come more than once."""
        return list(self._response.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """Content-Length in bytes, where the answer has one."""
        text = self.header("Content-Length") or ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises `Faltering` when it ends before its length, or trickles."""
        timeout = self._client.patience.read_timeout
        since, came = time.monotonic(), 0
        while chunk := self._read(self._client.read_bytes):
            self._client.throttle(len(chunk))
            yield chunk
            came += len(chunk)
            if (now := time.monotonic()) - since >= timeout:
                if came < LEAST_BYTES:
                    raise Faltering(f"{self.address.place} sent {came} bytes in {timeout:g} s")
                since, came = now, 0

    def read(self, cap: int, what: str) -> bytes:
        """The whole body. Raises `TransferError` when it is longer than `cap` bytes."""
        if (self.length or 0) <= cap:
            data = self._read_up_to(cap)
            if len(data) <= cap:
                return data
        raise TransferError(f"{self.address.place}: {what} is larger than {cap} bytes")

    def read_error(self) -> bytes:
        """As much of the body as an error's text may have."""
        return self._read_up_to(MAX_ERROR_BYTES)[:MAX_ERROR_BYTES]

    def _read_up_to(self, cap: int) -> bytes:
        """The body, or one byte more of it than `cap`."""
        data = bytearray()
        while len(data) <= cap and (chunk := self._read(min(READ_BYTES, cap + 1 - len(data)))):
            data += chunk
        return bytes(data)

    def _read(self, count: int) -> bytes:
        self._client.check()
        try:
            return self._response.read1(count, decode_content=False) or b""
        except exceptions.HTTPError as error:
            raise self._client.failure(error, self.address) from error


class HttpClient:
    """Connections of one transfer, for as long as a `with` block. Threads may share it."""

    def __init__(self, options: TransferOptions) -> None:
        self._options = options
        self.patience = options.patience
        self._stopped = threading.Event()
        self._closed = threading.Event()
        self._throttle = _Throttle(options.bytes_per_second)
        self._answered: set[str] = set()
        self._sockets = Sockets()
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        rate = options.bytes_per_second
        # With a cap, smaller reads keep the flow even.
        self.read_bytes = READ_BYTES if rate is None else min(READ_BYTES, max(4096, rate // 8))

    def __enter__(self) -> Self:
        threading.Thread(target=self._watch, name="transom-cancel", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        for manager in self._pools.values():
            # `clear` alone leaves their connections to the garbage collector.
            for key in manager.pools.keys():
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
            manager.clear()

    # Stopping

    def stop(self) -> None:
        """Make every running and every later request end with `Cancelled`, from any thread."""
        self._stopped.set()
        self._sockets.shut_down()

    def check(self) -> None:
        """Raises `Cancelled` once the transfer is to end."""
        if self._stopped.is_set() or self._options.cancelled.is_set():
            raise Cancelled

    def pause(self, seconds: float) -> None:
        """Wait, unless cancelled."""
        deadline = time.monotonic() + seconds
        self.check()
        while (left := deadline - time.monotonic()) > 0:
            self._stopped.wait(min(left, _CANCEL_POLL_SECONDS))
            self.check()

    def throttle(self, count: int) -> None:
        """Wait until `count` bytes more are within the bandwidth cap."""
        if (seconds := self._throttle.take(count)) > 0:
            self.pause(seconds)

    def _watch(self) -> None:
        """A socket that waits for bytes cannot look at a flag: this does, in its place."""
        while not self._closed.is_set():
            if self._options.cancelled.wait(_CANCEL_POLL_SECONDS):
                self.stop()
                return

    # Asking

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        headers: Headers | None = None,
        authorization: str | None = None,
        body: Body | None = None,
        follow: bool = True,
    ) -> Iterator[Answer]:
        """Ask once. GET and HEAD `follow` redirects; `authorization` goes to the first origin only.

        Raises `Faltering` where another try makes sense, for statuses of `RETRIED` too, and
        `TransferError` or `InvalidAddress` where it does not. Other statuses are answers.
        """
        address = first = Address.parse(url).check(self._options.insecure)
        seen = {address.url}
        while True:
            allowed = authorization if address.origin == first.origin else None
            response = self._send(method, address, headers, allowed, body)
            answer = Answer(self, response, address)
            try:
                if answer.status not in _REDIRECTS or not (follow and method in ("GET", "HEAD")):
                    self._judge(answer)
                    yield answer
                    return
                if len(seen) > MAX_REDIRECTS:
                    raise TransferError(f"{first.place} redirects more than {MAX_REDIRECTS} times")
                location = answer.header("Location")
                if location is None:
                    raise TransferError(f"{address.place} redirects to nowhere (no Location)")
                address = address.redirected(location, self._options.insecure)
                if address.url in seen:
                    raise TransferError(f"{first.place} redirects in a circle, by {address.place}")
                seen.add(address.url)
            finally:
                _let_go(response)

    def patiently(self, action: Callable[[], T]) -> T:
        """Run `action` again, with growing pauses, while it raises `Faltering`."""
        tries = Tries(self)
        while True:
            try:
                return action()
            except Faltering as error:
                tries.failed(error)

    def _send(
        self,
        method: str,
        address: Address,
        headers: Headers | None,
        authorization: str | None,
        body: Body | None,
    ) -> urllib3.BaseHTTPResponse:
        self.check()
        sent = {"Accept-Encoding": "identity", "User-Agent": "transom", **(headers or {})}
        if authorization is not None:
            sent["Authorization"] = authorization
        try:
            response = self._pool(address).urlopen(
                method,
                address.url,
                headers=sent,
                body=body,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except exceptions.HTTPError as error:
            raise self.failure(error, address) from error
        self._answered.add(address.place)
        return response

    def _judge(self, answer: Answer) -> None:
        """Statuses that pass, and encodings: unpacking would let a small body fill the memory."""
        place, status = answer.address.place, answer.status
        if status in RETRIED:
            wait = min(_retry_after(answer), self.patience.longest_retry_after)
            busy = "is busy" if status in (429, 503) else "failed"
            raise Faltering(f"{place} {busy} (status {status})", wait)
        encoding = (answer.header("Content-Encoding") or "identity").strip().lower()
        if encoding != "identity":
            raise TransferError(f"{place} packed its answer ({encoding:.40}), unasked")

    def _pool(self, address: Address) -> urllib3.PoolManager:
        """Straight, or by the proxy that the environment names; loopback is never behind one."""
        proxies = urllib.request.getproxies()
        proxy = proxies.get(address.scheme) or proxies.get("all") or ""
        if address.is_loopback or urllib.request.proxy_bypass(address.host):
            proxy = ""
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._new_pool(proxy)
            return self._pools[proxy]

    def _new_pool(self, proxy: str) -> urllib3.PoolManager:
        timeout = urllib3.Timeout(
            connect=self.patience.connect_timeout, read=self.patience.read_timeout
        )
        # One more than transfer at once, for the small questions between.
        size = self._options.connections + 1
        pool = (
            urllib3.ProxyManager(proxy, timeout=timeout, maxsize=size)
            if proxy
            else urllib3.PoolManager(timeout=timeout, maxsize=size)
        )
        pool.pool_classes_by_scheme = self._sockets.pool_classes()
        return pool

    def failure(self, error: exceptions.HTTPError, address: Address) -> TransomError:
        """An error of the connection in our words; `Cancelled` when it was us who cut it."""
        try:
            self.check()
        except Cancelled as cancelled:
            return cancelled
        place = address.place
        match error:
            case exceptions.NameResolutionError():
                return self._unreachable(f"cannot find the host {address.host}", place)
            case exceptions.NewConnectionError():
                reason = getattr(error.__cause__, "strerror", None) or "no connection"
                return self._unreachable(f"cannot reach {place}: {reason.lower()}", place)
            case exceptions.ConnectTimeoutError():
                seconds = self.patience.connect_timeout
                return self._unreachable(f"{place} did not answer within {seconds:g} s", place)
            case exceptions.ReadTimeoutError():
                return Faltering(f"{place} sent nothing for {self.patience.read_timeout:g} s")
            case exceptions.SSLError():
                cause = error.args[0] if error.args else error
                if isinstance(cause, ssl.SSLCertVerificationError):
                    return TransferError(f"{place} shows a bad certificate: {cause.verify_message}")
                return Faltering(f"{place} broke off its TLS connection")
            case exceptions.ProxyError():
                return Faltering(f"the proxy of the environment does not reach {place}")
            case exceptions.LocationValueError():
                return InvalidAddress(f"{address.url:.160} is no address")
            case exceptions.ProtocolError():
                return Faltering(f"{place} closed the connection too early")
            case _:
                return Faltering(f"{place} answered what is not HTTP")

    def _unreachable(self, text: str, place: str) -> TransferError:
        """A host that never answered is a wrong name or a dead one: no use to ask again."""
        return Faltering(text) if place in self._answered else TransferError(text)


class Tries:
    """Counts failures in a row, and waits after each."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self._failures = 0

    def progress(self) -> None:
        """Something came: the count starts again."""
        self._failures = 0

    def failed(self, error: Faltering) -> None:
        """Wait before the next try. Raises `TransferError` when there shall be none."""
        patience = self._client.patience
        self._failures += 1
        if self._failures >= patience.tries:
            raise TransferError(
                f"{error}; gave up after {self._failures} tries without progress, "
                "the same command goes on where this one stopped"
            ) from error
        wait = min(patience.longest_wait, patience.first_wait * 2 ** (self._failures - 1))
        # Clients that failed together must not come back together.
        self._client.pause(max(error.wait, wait * random.uniform(0.5, 1)))


class _Throttle:
    """A bandwidth cap that any number of threads share."""

    def __init__(self, bytes_per_second: int | None) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, count: int) -> float:
        """Seconds to wait after `count` bytes."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            return self._free_at - now


def _let_go(response: urllib3.BaseHTTPResponse) -> None:
    """A body read to its end leaves the connection to the next request; any other is cut."""
    if response.length_remaining == 0:
        response.drain_conn()
    if response.closed:
        response.release_conn()
    else:
        response.close()


def _retry_after(answer: Answer) -> float:
    """Seconds that Retry-After asks for; 0 where it is absent or makes no sense."""
    text = (answer.header("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
