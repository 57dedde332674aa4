"""One blob to a registry: asked for first, mounted where that helps, else sent piece by piece.

After a failure the registry is asked how far it is, and the upload goes on from there. A journal
keeps the session's address, so that a later run goes on too. Source: OCI distribution spec 1.1,
"Pushing blobs". Knows registries and one blob; knows no models.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self
from urllib.parse import urlencode

from transom_models.digest import Digest
from transom_server.store.partial_file import make_folders
from transom_server.transfer.address import MAX_URL_CHARS, Address, InvalidAddress
from transom_server.transfer.http_client import (
    Answer,
    Body,
    Faltering,
    Headers,
    TransferError,
    Tries,
)
from transom_server.transfer.registry_client import RegistryClient

PUSH: Final = "pull,push"
OCTET_STREAM: Final = "application/octet-stream"
# A registry that forgets an upload, or finds other bytes in it, may do so this often.
MAX_RESTARTS: Final = 3
# What a registry may want pieces to be at least; S3 and its likes want 5 MiB.
MAX_PIECE_BYTES: Final = 1024 * 1024 * 1024

_RANGE: Final = re.compile(r"(?:bytes[= ])?0-(\d{1,15})")
_LENGTH: Final = re.compile(r"\d{1,15}")


@dataclass(slots=True)
class _Session:
    """An upload at the registry. `offset`: bytes that are there; None: has to be asked."""

    address: Address
    offset: int | None


class BlobUpload:
    """Brings one blob to a registry. `tell` is told how many of its bytes are there."""

    def __init__(
        self,
        client: RegistryClient,
        digest: Digest,
        size: int,
        file: BinaryIO,
        *,
        piece_bytes: int,
        mount_from: str | None,
        tell: Callable[[int], None],
    ) -> None:
        self._client = client
        self._http = client.http
        self._digest = digest
        self._size = size
        self._file = file
        self._piece_bytes = piece_bytes
        self._mount_from = mount_from
        self._tell = tell
        self._what = f"blob {digest}"
        self._restarts = 0

    def run(self, folder: Path) -> None:
        """Send what the registry lacks; the journal lies in `folder`. Raises `TransferError`."""
        key = f"{self._client.url} {self._client.repository} {self._digest}"
        with _journal(folder / hashlib.sha256(key.encode()).hexdigest()) as journal:
            session = self._remembered(journal)
            tries = Tries(self._http)
            while True:
                try:
                    if session is None:
                        session = self._begin()
                        if session is None:
                            break  # it is there
                        journal.write(session.address.url)
                    elif session.offset is None:
                        session = self._ask(session)
                    elif session.offset < self._size:
                        self._send_piece(session, session.offset)
                        journal.write(session.address.url)
                        tries.progress()
                    elif self._finish(session):
                        break
                    else:
                        self._start_over()
                        session = None
                except Faltering as error:
                    if session is not None:
                        session.offset = None
                    tries.failed(error)
            journal.remove()
        self._tell(self._size)

    def _remembered(self, journal: "_Journal") -> _Session | None:
        """The session of an earlier run, if the journal has one that is still to be believed."""
        url = journal.read()
        try:
            return _Session(self._resolve(url), None) if url else None
        except TransferError:
            return None

    def _begin(self) -> _Session | None:
        """A new session, or None when the registry has the blob, by now or by a mount."""
        found = self._client.head_blob(self._digest)
        if found == self._size:
            return None
        if found is not None:
            raise TransferError(
                f"{self._client.place} has {found} bytes as {self._digest}, which has {self._size}"
            )
        path = "blobs/uploads/"
        if self._mount_from is not None:
            path += "?" + urlencode({"mount": self._digest, "from": self._mount_from}, safe=":/")
        with self._client.send("POST", path, body=lambda: b"", actions=PUSH) as answer:
            if answer.status == 201:
                return None
            self._client.expect(answer, (202,), self._what)
            least = answer.header("OCI-Chunk-Min-Length") or ""
            if _LENGTH.fullmatch(least):
                self._piece_bytes = max(self._piece_bytes, min(int(least), MAX_PIECE_BYTES))
            return _Session(self._location(answer), 0)

    def _ask(self, session: _Session) -> _Session | None:
        """How far the registry is; None when it knows the session no more."""
        with self._send("GET", session.address.url) as answer:
            match = _RANGE.fullmatch((answer.header("Range") or "").strip())
            if answer.status not in (200, 202, 204) or match is None:
                self._start_over()
                return None
            session.address = self._location(answer, session.address)
            # `0-0` is one byte, and what everybody says when there is none. No piece is one byte.
            there = int(match[1]) + 1
            session.offset = 0 if there == 1 else there
        if session.offset > self._size:
            self._start_over()
            return None
        self._tell(session.offset)
        return session

    def _send_piece(self, session: _Session, first: int) -> None:
        count = min(self._piece_bytes, self._size - first)
        headers = {
            "Content-Type": OCTET_STREAM,
            "Content-Length": str(count),
            "Content-Range": f"{first}-{first + count - 1}",
        }
        url = session.address.url
        with self._send("PATCH", url, headers, lambda: self._piece(first, count)) as answer:
            if answer.status in (404, 410, 416):
                # Another offset than ours, or no session: asking tells which.
                raise Faltering(f"{self._client.place} lost its place in {self._what}")
            self._client.expect(answer, (200, 201, 202, 204), self._what)
            session.address = self._location(answer, session.address)
            match = _RANGE.fullmatch((answer.header("Range") or "").strip())
        session.offset = first + count
        if match is not None and int(match[1]) + 1 != session.offset:
            raise Faltering(f"{self._client.place} took less of {self._what} than was sent")
        self._tell(session.offset)

    def _piece(self, first: int, count: int) -> Iterator[bytes]:
        """A piece's bytes, no faster than the cap lets them."""
        self._file.seek(first)
        left = count
        while left and (chunk := self._file.read(min(left, self._http.read_bytes))):
            self._http.check()
            self._http.throttle(len(chunk))
            left -= len(chunk)
            yield chunk
            self._tell(first + count - left)
        if left:
            raise TransferError(f"{self._what} is shorter in the store than it was")

    def _finish(self, session: _Session) -> bool:
        """Close the session; False when the registry says that the bytes are other ones."""
        joint = "&" if "?" in session.address.url else "?"
        url = session.address.url + joint + urlencode({"digest": self._digest}, safe=":")
        headers = {"Content-Type": OCTET_STREAM, "Content-Length": "0"}
        with self._send("PUT", url, headers, lambda: b"") as answer:
            if answer.status in (400, 404, 410, 416) and self._restarts < MAX_RESTARTS:
                return False
            self._client.expect(answer, (200, 201, 202, 204), self._what)
        return True

    def _start_over(self) -> None:
        """All bytes have to go again. Raises `TransferError` when that happened too often."""
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise TransferError(
                f"{self._client.place} forgot the upload of {self._what} {self._restarts} times"
            )
        self._tell(0)

    def _send(
        self,
        method: str,
        url: str,
        headers: Headers | None = None,
        body: Callable[[], Body] | None = None,
    ) -> AbstractContextManager[Answer]:
        """Ask at a session's address, which may be another host's: that one gets no login."""
        if Address.parse(url).origin == Address.parse(self._client.url).origin:
            return self._client.send(method, url, headers=headers, body=body, actions=PUSH)
        return self._http.open(method, url, headers=headers, body=None if body is None else body())

    def _location(self, answer: Answer, current: Address | None = None) -> Address:
        location = answer.header("Location")
        if location is not None:
            return self._resolve(location, answer.address)
        if current is None:
            raise TransferError(f"{self._client.place} does not say where {self._what} is to go")
        return current

    def _resolve(self, location: str, base: Address | None = None) -> Address:
        """The rules are those of a redirect: not to plain http, not to this machine."""
        try:
            return self._client.resolve(location, base)
        except InvalidAddress as error:
            raise TransferError(
                f"{self._client.place} takes uploads at no good address: {error}"
            ) from None


class _Journal:
    """The address of an upload, kept for the next run. Without a file it forgets."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """The journal, locked; one without a file while another process has it in hand."""
        make_folders(path.parent)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # It may have been removed between the two lines.
                if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                    return cls(path, descriptor)
            except BlockingIOError:
                os.close(descriptor)
                return cls(path, None)
            except FileNotFoundError:
                pass
            os.close(descriptor)

    def read(self) -> str:
        """The address, or nothing."""
        if self._descriptor is None:
            return ""
        line = os.pread(self._descriptor, MAX_URL_CHARS + 1, 0).partition(b"\n")
        return line[0].decode("ascii", errors="replace") if line[1] else ""

    def write(self, url: str) -> None:
        """Keep an address. A process killed in the middle leaves the old one or the new one."""
        if self._descriptor is not None:
            line = url.encode() + b"\n"
            os.pwrite(self._descriptor, line, 0)
            os.ftruncate(self._descriptor, len(line))

    def remove(self) -> None:
        """The upload is done."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let others at it, if there is anything in it."""
        if self._descriptor is not None:
            if os.fstat(self._descriptor).st_size == 0:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)


@contextmanager
def _journal(path: Path) -> Iterator[_Journal]:
    journal = _Journal.open(path)
    try:
        yield journal
    finally:
        journal.close()
