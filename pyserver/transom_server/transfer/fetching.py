"""One file from another host, piece by piece, whatever happens to the connection or the bytes.

An answer is believed in nothing: its range, its length and, where it has one, its Content-Digest
are compared with what was asked. Knows neither which pieces are whose turn nor what is done with
the file.
"""

import base64
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from transom_models.digest import Digest, Hasher
from transom_server.transfer.http_client import (
    Answer,
    Faltering,
    Headers,
    HttpClient,
    TransferError,
    Tries,
)
from transom_server.transfer.pieces import PieceFile

# Below this a request costs more than the bytes it saves.
SMALLEST_SPAN: Final = 64 * 1024
# How often all pieces of a file whose digest is wrong are compared with the host's again.
REPAIRS: Final = 2

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.IGNORECASE)
_CONTENT_DIGEST: Final = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):")


class Source(Protocol):
    """Where a file's bytes come from."""

    @property
    def place(self) -> str:
        """The host that is asked, for people."""

    def open(self, headers: Headers) -> AbstractContextManager[Answer]:
        """Ask for it once. Raises as `HttpClient.open`."""

    def expect(self, answer: Answer, statuses: tuple[int, ...]) -> None:
        """Raises `TransferError` for an answer of another status."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to get: `size` in bytes, `digest` where it is known before."""

    key: str
    """File name of what is there of it; the same for the same bytes."""
    title: str
    """For people."""
    size: int
    digest: Digest | None
    source: Source
    version: str = ""
    """One word, other for other bytes, where no digest says what they are."""
    condition: str | None = None
    """If-Range: a range of another version than this is not wanted."""
    ranges: bool = True
    """Whether pieces may be asked for one by one."""


class HostHasNoRanges(Exception):
    """The host sends the whole file whatever is asked: see `Fetching.stream`."""


class Fetching:
    """Gets the pieces of one file into its `PieceFile`. Threads may fetch different pieces."""

    def __init__(
        self, http: HttpClient, wanted: Wanted, file: PieceFile, tell: Callable[[int], None]
    ) -> None:
        """`tell` is told of bytes that came; less than zero: of bytes that came in vain."""
        self._http = http
        self._wanted = wanted
        self._file = file
        self._tell = tell
        self._streams = threading.Event()
        if not wanted.ranges:
            self._streams.set()
        self._streaming = threading.Lock()

    def fetch(self, number: int) -> None:
        """Get one piece and keep it. Raises `TransferError`, `HostHasNoRanges`."""
        self._file.finish(number, self._fetch(number, self._tell))

    @property
    def streams(self) -> bool:
        """Whether the host turned out to send the whole file whatever is asked."""
        return self._streams.is_set()

    def stream(self) -> None:
        """Get all missing pieces out of whole answers, from a host that has no ranges.

        One thread at a time; others return at once.
        """
        if not self._streaming.acquire(blocking=False):
            return
        try:
            self._streams.set()
            tries = Tries(self._http)
            while self._file.missing():
                try:
                    self._stream_once(tries)
                except Faltering as error:
                    tries.failed(error)
        finally:
            self._streaming.release()

    def settle(self) -> Digest:
        """The digest of the file, all of which is there. Raises `TransferError`.

        Where it is not the one wanted, pieces are compared with the host's again: a bit that
        flipped on the way did so in one of them.
        """
        for _ in range(REPAIRS):
            if self._is_right() or not self._compare_again():
                break
        digest = self._file.whole_digest()
        assert digest is not None
        if not self._is_right():
            self._file.discard()
            raise TransferError(
                f"{self._wanted.title} came from {self._wanted.source.place} as other bytes than "
                f"its digest promises, each time: {digest}; nothing of it was kept"
            )
        return digest

    # A piece

    def _fetch(self, number: int, tell: Callable[[int], None], fresh: bool = False) -> Digest:
        first, length = self._file.place(number)
        span = _Span(first, length)
        tries = Tries(self._http)
        mark = first
        try:
            while True:
                try:
                    if span.left:
                        self._fetch_span(span, tell, fresh)
                    if not span.left:
                        digest = span.hasher.digest()
                        if self._may_be(number, digest):
                            return digest
                        tell(-length)
                        mark, span = first, _Span(first, length)
                        raise Faltering(
                            f"{self._wanted.title} came from {self._wanted.source.place} as other "
                            "bytes than its digest promises"
                        )
                except Faltering as error:
                    if span.at - mark >= min(SMALLEST_SPAN, length):
                        mark = span.at
                        tries.progress()
                    tries.failed(error)
        except BaseException:
            tell(first - span.at)
            raise

    def _may_be(self, number: int, digest: Digest) -> bool:
        """A piece that is the whole file has a known digest."""
        return self._file.count > 1 or self._wanted.digest in (None, digest)

    def _fetch_span(self, span: "_Span", tell: Callable[[int], None], fresh: bool) -> None:
        """Get the next bytes of a piece; what came and may be trusted is in `span` after."""
        if self.streams and not fresh:
            raise HostHasNoRanges
        first, count = span.at, min(span.ask, span.left)
        ranged = (first, count) != (0, self._wanted.size)
        headers = {"Want-Content-Digest": "sha-256=1"} if ranged else {}
        if ranged:
            headers["Range"] = f"bytes={first}-{first + count - 1}"
            if self._wanted.condition is not None:
                headers["If-Range"] = self._wanted.condition
        if fresh:
            headers["Cache-Control"] = "no-cache"  # the flipped bit may lie in a cache on the way
        with self._wanted.source.open(headers) as answer:
            if ranged:
                self._check_part(answer, first, count, fresh)
            else:
                self._wanted.source.expect(answer, (200,))
                self._check_length(answer, count)
            promised = _content_digest(answer) if ranged else None
            self._read_span(answer, span, count, promised, tell)

    def _read_span(
        self,
        answer: Answer,
        span: "_Span",
        count: int,
        promised: Digest | None,
        tell: Callable[[int], None],
    ) -> None:
        whole = span.hasher.copy()
        # Of the range alone; from a piece's start on that is the same.
        own = Hasher() if promised is not None and whole.size > 0 else None
        got = 0
        place = answer.address.place
        try:
            for chunk in answer.chunks():
                if got + len(chunk) > count:
                    tell(-got)
                    got, whole = 0, span.hasher
                    raise Faltering(f"{place} sent more bytes than were asked for")
                self._file.write(span.at + got, chunk)
                whole.update(chunk)
                if own is not None:
                    own.update(chunk)
                got += len(chunk)
                tell(len(chunk))
            if got < count:
                raise Faltering(f"{place} closed the connection too early")
            if promised not in (None, (own or whole).digest()):
                raise Faltering(f"{place} sent bytes that are not what their Content-Digest says")
        except BaseException:
            if promised is None:
                span.take(got, whole)
            else:
                # Half a range cannot be checked. A smaller one may come through.
                tell(-got)
                if got < count:
                    span.ask = max(SMALLEST_SPAN, got // 2)
            raise
        span.take(got, whole)
        span.ask *= 2

    def _check_part(self, answer: Answer, first: int, count: int, fresh: bool) -> None:
        """Raises unless this is the part that was asked for."""
        place = answer.address.place
        self._check_version(answer)
        if answer.status == 200:
            if fresh:
                raise Faltering(f"{place} sent all of {self._wanted.title} when asked for a part")
            raise HostHasNoRanges
        last = first + count - 1
        if answer.status == 416:
            raise Faltering(f"{place} says that it has no bytes {first}-{last}, and it must have")
        self._wanted.source.expect(answer, (206,))
        text = answer.header("Content-Range") or ""
        match = _CONTENT_RANGE.fullmatch(text.strip())
        if match is None or (int(match[1]), int(match[2])) != (first, last):
            raise Faltering(f"{place} sent {text!r:.60} when asked for bytes {first}-{last}")
        if match[3] not in ("*", str(self._wanted.size)):
            raise Faltering(
                f"{place} says that {self._wanted.title} has {match[3]} bytes, not "
                f"{self._wanted.size}"
            )
        self._check_length(answer, count)

    def _check_version(self, answer: Answer) -> None:
        """Raises when the answer says, by ETag or date, that it is of another version."""
        condition = self._wanted.condition
        if condition is not None and answer.status in (200, 206):
            seen = answer.header("ETag" if condition.startswith('"') else "Last-Modified")
            if seen not in (None, condition):
                raise TransferError(
                    f"{self._wanted.title} changed at {answer.address.place} while it came; "
                    "the same command starts again with what is there now"
                )

    def _check_length(self, answer: Answer, count: int) -> None:
        if answer.length not in (None, count):
            raise Faltering(
                f"{answer.address.place} wants to send {answer.length} bytes of "
                f"{self._wanted.title} instead of {count}"
            )

    # All of it

    def _stream_once(self, tries: Tries) -> None:
        size, place = self._wanted.size, None
        at, hasher, partial = 0, Hasher(), 0
        missing = set(self._file.missing())
        try:
            with self._wanted.source.open({}) as answer:
                self._wanted.source.expect(answer, (200,))
                self._check_version(answer)
                self._check_length(answer, size)
                place = answer.address.place
                for chunk in answer.chunks():
                    if at + len(chunk) > size:
                        raise Faltering(f"{place} sent more bytes than {self._wanted.title} has")
                    view = memoryview(chunk)
                    while view:
                        number = at // self._file.piece_bytes
                        end = sum(self._file.place(number))
                        part, view = view[: end - at], view[end - at :]
                        hasher.update(part)
                        if number in missing:
                            self._file.write(at, part)
                            self._tell(len(part))
                            partial += len(part)
                        at += len(part)
                        if at < end:
                            continue
                        if number in missing:
                            self._file.finish(number, hasher.digest())
                            tries.progress()
                        hasher, partial = Hasher(), 0
            if at < size:
                raise Faltering(f"{place} closed the connection too early")
        except BaseException:
            self._tell(-partial)
            raise

    # A digest that is wrong

    def _is_right(self) -> bool:
        return self._wanted.digest in (None, self._file.whole_digest())

    def _compare_again(self) -> bool:
        """Fetch piece by piece again until the digest is right; whether any piece differed."""
        if self.streams:
            return self._stream_again()
        differed = False
        for number in range(self._file.count):
            before = self._file.digest_of(number)
            after = self._fetch(number, _nobody, fresh=True)
            if after == before:
                continue
            differed = True
            self._file.forget(number)
            self._file.finish(number, after)
            self._file.follow(self._http.check)
            if self._is_right():
                break
        return differed

    def _stream_again(self) -> bool:
        """The same where there are no ranges: all at once."""
        before = [self._file.digest_of(number) for number in range(self._file.count)]
        for number in range(self._file.count):
            self._file.forget(number)
        self._tell(-self._wanted.size)
        self.stream()
        self._file.follow(self._http.check)
        return before != [self._file.digest_of(number) for number in range(self._file.count)]


class _Span:
    """How far a piece has come: bytes are trusted up to `at`, and `hasher` took them."""

    def __init__(self, first: int, length: int) -> None:
        self.at = first
        self.end = first + length
        self.ask = length
        """How many to ask for next, at most."""
        self.hasher = Hasher()

    @property
    def left(self) -> int:
        return self.end - self.at

    def take(self, count: int, hasher: Hasher) -> None:
        self.at += count
        self.hasher = hasher


def _content_digest(answer: Answer) -> Digest | None:
    """What the host says these bytes are (RFC 9530), where it does."""
    match = _CONTENT_DIGEST.search(answer.header("Content-Digest") or "")
    return None if match is None else Digest(base64.b64decode(match[1]).hex())


def _nobody(count: int) -> None:
    """Whoever counts what came has counted these bytes before."""
