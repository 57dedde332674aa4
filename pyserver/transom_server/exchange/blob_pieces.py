"""Blobs of a layout that are larger than the files its host takes: in pieces, side by side.

    blobs/sha256/<hex>.000, <hex>.001, …    PIECE_BYTES each, the last one what is left

An image layout's index may have annotations; one of them, in bytes, says which blobs those are:
all that are larger. The page fetches a large blob in pieces of this very size anyway, so each of
them is one plain request, which every host understands. Docs: `docs/static-sites.md`. Knows no
store.
"""

import io
from collections.abc import Callable
from typing import BinaryIO, Final

from transom_models.errors import TransomError
from transom_models.manifest import MAX_MANIFEST_BYTES, Index
from transom_models.media_types import ANNOTATION_MAX_FILE

# As PIECE_BYTES of web/src/store/pieces.ts.
PIECE_BYTES: Final = 4 * 1024 * 1024
# Indexes and manifests are never in pieces.
MIN_MAX_FILE_BYTES: Final = max(PIECE_BYTES, MAX_MANIFEST_BYTES)
# Room for a blob of 256 GiB; who claims more than this would have us look for files without end.
MAX_PIECES: Final = 65_536

Open = Callable[[str], BinaryIO]


class InvalidLimit(TransomError):
    """A largest file that no site can keep to, or that is no number."""


def check_limit(max_file_bytes: int) -> int:
    """The limit itself. Raises `InvalidLimit`."""
    if max_file_bytes < MIN_MAX_FILE_BYTES:
        raise InvalidLimit(
            f"files of at most {max_file_bytes} bytes are too small; "
            f"the least is {MIN_MAX_FILE_BYTES} (4 MiB)"
        )
    return max_file_bytes


def limit_of(index: Index) -> int | None:
    """The largest file of a layout in bytes, None where it has no limit. Raises `InvalidLimit`."""
    text = index.annotations.get(ANNOTATION_MAX_FILE)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidLimit(f"{ANNOTATION_MAX_FILE} is a number of bytes, not {text!r:.40}")
    return check_limit(int(text))


def is_in_pieces(size: int, limit: int | None) -> bool:
    """Whether a blob of `size` bytes lies in pieces, where files have at most `limit` bytes."""
    return limit is not None and size > limit


def piece_name(name: str, number: int) -> str:
    """`<hex>.007`: what piece number 7 of a blob is called."""
    return f"{name}.{number:03d}"


def piece_sizes(size: int) -> list[int]:
    """Bytes of each piece of a blob of `size` bytes."""
    whole, rest = divmod(size, PIECE_BYTES)
    return [PIECE_BYTES] * whole + ([rest] if rest else [])


def file_names(name: str, size: int, limit: int | None) -> list[str]:
    """The files that a blob lies in: itself, or its pieces."""
    if not is_in_pieces(size, limit):
        return [name]
    return [piece_name(name, number) for number in range(len(piece_sizes(size)))]


class JoinedPieces(io.RawIOBase):
    """The pieces `<name>.000`, `.001`, … of a blob, one after the other, until one is missing.

    Raises `FileNotFoundError` where there is none at all.
    """

    def __init__(self, open_file: Open, name: str) -> None:
        self._open, self._name = open_file, name
        self._number = 0
        self._file: BinaryIO | None = open_file(piece_name(name, 0))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while self._file is not None:
            data = self._file.read(len(buffer))
            if data:
                buffer[: len(data)] = data
                return len(data)
            self._next()
        return 0

    def _next(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        self._number += 1
        if self._number < MAX_PIECES:
            try:
                self._file = self._open(piece_name(self._name, self._number))
            except FileNotFoundError:
                return

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def join_pieces(open_file: Open, name: str) -> BinaryIO:
    """Pieces as one file, to read; the caller closes it. Raises `FileNotFoundError`."""
    return io.BufferedReader(JoinedPieces(open_file, name))


def size_of_pieces(size_of: Callable[[str], int], name: str) -> int:
    """Bytes of all pieces that are there. Raises `FileNotFoundError` where there is none."""
    size = size_of(piece_name(name, 0))
    for number in range(1, MAX_PIECES):
        try:
            size += size_of(piece_name(name, number))
        except FileNotFoundError:
            break
    return size
