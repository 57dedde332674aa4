"""The Range header, as RFC 9110 section 14 has it. Pure: knows no files and no Flask."""

import re
from typing import Final

# First and last byte, either may be missing. Digits beyond any file size are still well formed.
_SINGLE: Final = re.compile(r"bytes[ \t]*=[ \t]*(\d{0,100})-(\d{0,100})[ \t]*", re.IGNORECASE)


class UnsatisfiableRange(ValueError):
    """The range is well formed and holds no byte of the file."""


def read_range(header: str, size: int) -> tuple[int, int] | None:
    """First byte and count of bytes that a Range header asks of a file of `size` bytes.

    None: answer with the whole file. That is right for headers that are malformed or of a unit we
    do not know, and allowed for those that ask for several ranges, which no client of ours does.
    Raises `UnsatisfiableRange`.
    """
    match = _SINGLE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last so many bytes
        count = min(int(match[2]), size)
        if count == 0:
            raise UnsatisfiableRange
        return size - count, count
    first = int(match[1])
    last = int(match[2]) if match[2] else max(first, size - 1)
    if last < first:
        return None
    if first >= size:
        raise UnsatisfiableRange
    return first, min(last, size - 1) - first + 1
