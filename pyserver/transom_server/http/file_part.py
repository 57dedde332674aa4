"""A stretch of a file, as a file of its own. Knows no HTTP."""

import io
import os
from typing import BinaryIO


class FilePart(io.RawIOBase):
    """`count` bytes of a file from `first` on. Closes the file too."""

    def __init__(self, file: BinaryIO, first: int, count: int) -> None:
        super().__init__()
        self._file = file
        self._first = first
        self._count = count
        file.seek(first)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        left = self._count - self.tell()
        return self._file.read(left if size < 0 else min(size, left))

    def tell(self) -> int:
        return self._file.tell() - self._first

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._count}[whence]
        self._file.seek(self._first + min(max(base + offset, 0), self._count))
        return self.tell()

    def close(self) -> None:
        self._file.close()
        super().close()

    def place(self) -> tuple[int, int] | None:
        """The descriptor of the whole file, and where in it the next byte is; None without one."""
        try:
            return self._file.fileno(), self._file.tell()
        except OSError:
            return None
