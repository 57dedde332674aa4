"""Upload sessions: blobs on their way in from a client, one file each below the scratch folder.

A session is its file: the name is a random id, the size is how far the client has come. So it
survives a restart of the server, and a server that dies while it writes leaves a shorter file that
the client can ask about. Files nobody comes back to are swept with the scratch folder. Whoever
writes or finishes a session holds its lock (flock). Knows the store; knows no HTTP.
"""

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.digest import Digest, Hasher
from transom_models.errors import TransomError
from transom_models.manifest import MAX_BLOB_BYTES
from transom_server.store import DigestMismatch, Store
from transom_server.store.partial_file import make_folders
from transom_server.store.scratch import UPLOADS

# Each is a file on our disk that a stranger asked for. A client has a handful at once.
MAX_UPLOADS: Final = 256
_COPY_BYTES: Final = 1024 * 1024
# 128 random bits: nobody finds another client's session. `fullmatch`, so no path gets through.
_ID: Final = re.compile(r"[0-9a-f]{32}")


class UploadNotFound(TransomError):
    """No such session: never begun, finished, cancelled, or too old."""


class UploadInvalid(TransomError):
    """The request says one thing and its body another."""


class UploadOutOfOrder(TransomError):
    """The bytes do not begin where the session's end. `size`: where that is."""

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size


class TooManyUploads(TransomError):
    """No session is free."""


class UploadFailed(TransomError):
    """Our disk would not take the bytes."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which bytes of the blob a body holds: the first, and how many."""

    first: int
    count: int


class Uploads:
    """The sessions of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = store.scratch / UPLOADS
        # Digests of what this process wrote, so that finishing need not read it all again. Only
        # believed where the size agrees; a session of an earlier process is read instead.
        self._hashers: dict[str, Hasher] = {}

    def start(self) -> str:
        """Begin a session; gives its id. Raises `TooManyUploads`."""
        with _explained():
            make_folders(self._folder)
            if sum(1 for _ in os.scandir(self._folder)) >= MAX_UPLOADS:
                raise TooManyUploads(
                    f"{MAX_UPLOADS} uploads are unfinished; finish or cancel one, or wait for "
                    "`transom gc`, which removes those of yesterday"
                )
            upload = secrets.token_hex(16)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self._folder / upload, flags, 0o600))
        if len(self._hashers) > MAX_UPLOADS:  # sessions that other processes ended
            self._hashers.clear()
        self._hashers[upload] = Hasher()
        return upload

    def size(self, upload: str) -> int:
        """Bytes that have come. Raises `UploadNotFound`."""
        try:
            return self._path(upload).stat().st_size
        except FileNotFoundError:
            raise _unknown(upload) from None

    def append(self, upload: str, body: BinaryIO, span: Span | None = None) -> int:
        """Add a body, all of it or nothing; gives the new size. `span` None: at the end.

        Raises `UploadNotFound`, `UploadOutOfOrder`, `UploadInvalid`, `UploadFailed`.
        """
        with self._locked(upload) as file:
            return self._append(upload, file, body, span)

    def finish(self, upload: str, digest: Digest, body: BinaryIO, span: Span | None = None) -> None:
        """Add a last body, which may be empty, and hand the blob to the store; ends the session.

        Raises as `append`, and `DigestMismatch`, which ends the session too: bytes that are there
        cannot be sent again.
        """
        with self._locked(upload) as file:
            size = self._append(upload, file, body, span)
            path = self._path(upload)
            hasher = self._hashers.pop(upload, None)
            with _explained():
                actual = (
                    hasher.digest()
                    if hasher is not None and hasher.size == size
                    else Digest.of_file(path)
                )
            if actual != digest:
                path.unlink()
                raise DigestMismatch(digest, actual)
            self._store.take_file(path, digest)

    def receive(self, digest: Digest, body: BinaryIO, span: Span | None = None) -> None:
        """Take a whole blob at once; nothing is left of it on any failure. Raises as both."""
        upload = self.start()
        try:
            self.finish(upload, digest, body, span)
        except BaseException:
            self._path(upload).unlink(missing_ok=True)
            raise

    def cancel(self, upload: str) -> None:
        """Forget the session and its bytes. Raises `UploadNotFound`."""
        with self._locked(upload):
            self._hashers.pop(upload, None)
            self._path(upload).unlink()

    def _append(self, upload: str, file: BinaryIO, body: BinaryIO, span: Span | None) -> int:
        size = file.seek(0, os.SEEK_END)
        if span is not None and span.first != size:
            raise UploadOutOfOrder(
                f"the upload has {size} bytes, so the next is {size}, not {span.first}", size
            )
        hasher = self._hashers.get(upload)
        try:
            with _explained():
                copied = _copy(body, file, hasher, MAX_BLOB_BYTES - size)
            if span is not None and copied != span.count:
                raise UploadInvalid(f"Content-Range has {span.count} bytes, the body {copied}")
        except BaseException:
            # Our own failure must not leave half a body, which the client would have to ask about.
            self._hashers.pop(upload, None)
            file.truncate(size)
            raise
        return size + copied

    @contextmanager
    def _locked(self, upload: str) -> Iterator[BinaryIO]:
        path = self._path(upload)
        try:
            # Unbuffered: what is written shows in the size at once, and truncation needs no flush.
            file = open(path, "r+b", buffering=0)
        except FileNotFoundError:
            raise _unknown(upload) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Whoever held the lock may have finished the session, or swept it away. A finished
            # one is a blob now, under the same inode but no longer under this name.
            try:
                same = os.path.samestat(path.stat(), os.fstat(file.fileno()))
            except FileNotFoundError:
                same = False
            if not same:
                raise _unknown(upload)
            yield file

    def _path(self, upload: str) -> Path:
        if _ID.fullmatch(upload) is None:
            raise _unknown(upload)
        return self._folder / upload


def _copy(body: BinaryIO, file: BinaryIO, hasher: Hasher | None, most: int) -> int:
    copied = 0
    while piece := body.read(_COPY_BYTES):
        copied += len(piece)
        if copied > most:
            raise UploadInvalid(f"a blob can have {MAX_BLOB_BYTES} bytes at most")
        if hasher is not None:
            hasher.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[file.write(rest) :]
    return copied


def _unknown(upload: str) -> UploadNotFound:
    return UploadNotFound(f"no upload {upload!r:.80}; begin one with POST …/blobs/uploads/")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason += "; free some space on the server"
        raise UploadFailed(f"the upload cannot be kept: {reason}") from error
