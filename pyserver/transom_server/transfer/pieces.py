"""A file on its way in pieces: its bytes, what is there of them, and the lock on it.

    <folder>/<key>            the bytes, at their places; sparse until they have come
    <folder>/<key>.pieces     journal: a line that says what the file is, then `number sha256` of
                              each piece that came

Whoever is killed leaves a file that the next one goes on with. A journal may lie (half a line, a
disk that lost power): each piece it names is hashed again, in order, while the digest of the whole
follows. Knows no HTTP and no store. Needs a POSIX system (flock, pwrite).
"""

import errno
import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from transom_models.digest import Digest, Hasher
from transom_server.store import StoreError
from transom_server.store.partial_file import make_folders

JOURNAL_SUFFIX: Final = ".pieces"
# Large enough that hashing, not Python, sets the speed; each connection may hold one of these.
HASH_BYTES: Final = 256 * 1024
# A million pieces, 16 TiB of them; a longer journal is none of ours.
_MAX_JOURNAL_BYTES: Final = 70 * 1024 * 1024
_FORMAT: Final = "transom-pieces 1"
_LINE: Final = re.compile(rb"(\d{1,12}) ([0-9a-f]{64})")


class DamagedPiece(Exception):
    """What is on the disk of a piece is not what its journal says. The piece is missing now."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class PieceFile:
    """One file in pieces, locked by this object. Threads may share it."""

    def __init__(
        self, path: Path, data: int, journal: int, size: int, piece_bytes: int, version: str
    ) -> None:
        """See `open_pieces`. `data` and `journal` are descriptors that this now owns."""
        self.path = path
        self.size = size
        self.piece_bytes = piece_bytes
        self.count = -(-size // piece_bytes)
        self._data = data
        self._journal = journal
        self._header = f"{_FORMAT} {size} {piece_bytes} {version}\n".encode()
        self._done: dict[int, Digest] = {}
        self._lock = threading.Lock()
        # Of the whole, up to where all is there. A copy per piece start: a piece that turns out
        # wrong must not cost reading everything again.
        self._whole = [Hasher()]
        self._following = threading.Lock()
        # Pieces that an earlier process left; what this one wrote needs no second look.
        self._found: frozenset[int] = frozenset()

    # What is there

    def place(self, number: int) -> tuple[int, int]:
        """First byte and count of bytes of a piece."""
        first = number * self.piece_bytes
        return first, min(self.piece_bytes, self.size - first)

    def missing(self) -> list[int]:
        """Numbers of the pieces that are not there, in order."""
        with self._lock:
            return [number for number in range(self.count) if number not in self._done]

    def present_bytes(self) -> int:
        """Bytes of the pieces that are there."""
        with self._lock:
            return sum(self.place(number)[1] for number in self._done)

    def digest_of(self, number: int) -> Digest | None:
        """What a piece is, or None when it is not there."""
        with self._lock:
            return self._done.get(number)

    # Writing

    def write(self, offset: int, chunk: bytes | memoryview) -> None:
        """Put bytes at their place; they count once `finish` was called for their piece."""
        with _explained(self.path):
            view = memoryview(chunk)
            while view:
                written = os.pwrite(self._data, view, offset)
                view, offset = view[written:], offset + written

    def finish(self, number: int, digest: Digest) -> None:
        """All bytes of a piece were written, and are `digest`: keep that, whoever is killed.

        Not flushed to the disk: what a power cut takes of it, the next process finds out.
        """
        if self.count == 1:  # all of it: the store puts that on the disk, once
            with self._lock:
                self._done[number] = digest
            return
        with _explained(self.path):
            with self._lock:
                self._done[number] = digest
                os.write(self._journal, f"{number} {digest.hex}\n".encode())

    def forget(self, number: int) -> None:
        """A piece is to be fetched again; the digest of the whole goes back to before it."""
        with self._lock:
            self._done.pop(number, None)
            del self._whole[number + 1 :]

    # Reading

    def follow(self, check: Callable[[], None]) -> None:
        """Take the digest of the whole as far as pieces are there without a gap.

        One thread at a time; others return at once. `check` may raise to stop. Raises
        `DamagedPiece`.
        """
        # Whoever is turned away has finished its piece before; so the one inside looks once more
        # after it let go.
        while self._is_behind():
            if not self._following.acquire(blocking=False):
                return
            try:
                self._catch_up(check)
            finally:
                self._following.release()

    def _is_behind(self) -> bool:
        with self._lock:
            return len(self._whole) - 1 in self._done

    def _catch_up(self, check: Callable[[], None]) -> None:
        while self._is_behind():
            number = len(self._whole) - 1
            whole = self._whole[number].copy()
            if not self._hash(number, whole, check):
                self.forget(number)
                raise DamagedPiece(number)
            with self._lock:
                self._whole.append(whole)

    def whole_digest(self) -> Digest | None:
        """Digest of the file, once `follow` has come to its end."""
        with self._lock:
            return self._whole[-1].digest() if len(self._whole) > self.count else None

    def _hash(self, number: int, whole: Hasher, check: Callable[[], None]) -> bool:
        """Feed a piece to the hasher of the whole; whether the disk still has what was found."""
        own = Hasher() if number in self._found else None
        first, length = self.place(number)
        for offset in range(first, first + length, HASH_BYTES):
            check()
            with _explained(self.path):
                chunk = os.pread(self._data, min(HASH_BYTES, first + length - offset), offset)
            whole.update(chunk)
            if own is not None:
                own.update(chunk)
        return own is None or own.digest() == self.digest_of(number)

    # The end

    def published(self) -> None:
        """The file has its name in the store: what told of its pieces goes."""
        with suppress(FileNotFoundError):
            _journal_path(self.path).unlink()

    def discard(self) -> None:
        """Give up all that came."""
        for path in (self.path, _journal_path(self.path)):
            with suppress(FileNotFoundError):
                path.unlink()

    def close(self) -> None:
        """Let go of the lock. What is there stays for the next."""
        for descriptor in (self._data, self._journal):
            os.close(descriptor)

    # The journal

    def recover(self) -> None:
        """Read what an earlier process left; a journal of another file or cut starts anew."""
        with _explained(self.path):
            os.lseek(self._journal, 0, os.SEEK_SET)
            with os.fdopen(os.dup(self._journal), "rb") as file:
                text = file.read(_MAX_JOURNAL_BYTES)
            if not text.startswith(self._header):
                # Bytes of another version must not be taken for this one's.
                os.ftruncate(self._data, 0)
                os.ftruncate(self._journal, 0)
                os.write(self._journal, self._header)
            else:
                good = len(self._header)
                for line in text[good:].splitlines(keepends=True):
                    match = _LINE.fullmatch(line[:-1])
                    if not line.endswith(b"\n") or match is None or int(match[1]) >= self.count:
                        break
                    self._done[int(match[1])] = Digest(match[2].decode())
                    good += len(line)
                os.ftruncate(self._journal, good)
            # Sparse: the space that is not written yet is not taken.
            os.ftruncate(self._data, self.size)
            self._found = frozenset(self._done)


def open_pieces(
    folder: Path, key: str, size: int, piece_bytes: int, version: str = ""
) -> PieceFile | None:
    """The file `key` of `size` bytes in `folder`, with what an earlier process left of it.

    `version`: one word that changes when the bytes behind the address may have. None: another
    process, or thread, has it in hand. Raises `StoreError`.
    """
    path = folder / key
    with _explained(path):
        make_folders(folder)
        data = _lock_file(path)
        if data is None:
            return None
        try:
            journal = _lock_file(_journal_path(path), os.O_APPEND)
        except BaseException:
            os.close(data)
            raise
        if journal is None:
            # Whoever has it may have just published the bytes: then this is a new file.
            if os.fstat(data).st_size == 0:
                path.unlink(missing_ok=True)
            os.close(data)
            return None
    pieces = PieceFile(path, data, journal, size, piece_bytes, version)
    try:
        pieces.recover()
    except BaseException:
        pieces.close()
        raise
    return pieces


def _lock_file(path: Path, flags: int = 0) -> int | None:
    """Open a file, made when missing, and lock it; None when somebody else has."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Published or swept before it was locked: then the name is another file's, or free.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _journal_path(path: Path) -> Path:
    return path.with_name(path.name + JOURNAL_SUFFIX)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an operating system's error into one line with a way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason += "; free some space, or set TRANSOM_MODELS to a folder on another disk"
        raise StoreError(f"cannot write {path}: {reason}") from error
