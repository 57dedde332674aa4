"""A far-away object as a file to read and to seek in, fetched in blocks that grow as it is read.

Small blocks after each seek, so that little is fetched in vain; large ones for whoever reads on, so
that requests do not set the speed. Knows no object store: `fetch` brings bytes.
"""

import errno
import io
import os
from collections.abc import Callable
from typing import Final

# The first block costs about as much as the request for it; the largest is what a reader holds in
# memory, and takes a good line longer than the request.
FIRST_BLOCK: Final = 256 * 1024
LARGEST_BLOCK: Final = 8 * 1024 * 1024

Fetch = Callable[[int, int], bytes]


class ObjectFile(io.RawIOBase):
    """`size` bytes; `fetch(first, count)` gives some of them. One thread at a time."""

    def __init__(self, size: int, fetch: Fetch) -> None:
        super().__init__()
        self._size = size
        self._fetch = fetch
        self._position = 0
        # No byte from here on is fetched beyond what a `read` asks for.
        self._wanted = size
        self._block = b""
        self._block_at = 0
        self._next_count = FIRST_BLOCK

    def will_read(self, first: int, count: int) -> None:
        """Go to `first`, and fetch nothing in advance beyond `count` bytes from there."""
        self.seek(first)
        self._wanted = min(first + count, self._size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Exactly `size` bytes, fewer at the end only; all that are left when negative."""
        self._check_open()
        left = max(self._size - self._position, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        pieces = []
        while wanted > 0:
            piece = self._buffered(wanted)
            pieces.append(piece)
            self._position += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "cannot seek to before the first byte")
        self._position = base + offset
        return self._position

    def close(self) -> None:
        self._block = b""
        super().close()

    def _buffered(self, wanted: int) -> bytes:
        """At least one byte at the position, `wanted` at most."""
        at = self._position - self._block_at
        if not 0 <= at < len(self._block):
            read_on = self._position == self._block_at + len(self._block) and self._block
            if not read_on:
                self._next_count = FIRST_BLOCK
            ahead = min(self._next_count, self._wanted - self._position)
            self._load(max(ahead, min(wanted, LARGEST_BLOCK)))
            self._next_count = min(2 * self._next_count, LARGEST_BLOCK)
            at = 0
        return self._block[at : at + wanted]

    def _load(self, count: int) -> None:
        count = min(count, self._size - self._position)
        block = self._fetch(self._position, count)
        if len(block) != count:
            raise OSError(errno.EIO, f"got {len(block)} bytes of {count}; the object has changed")
        self._block, self._block_at = block, self._position

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
