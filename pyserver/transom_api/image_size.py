"""How large a picture says it is, before anybody unpacks it. Pure.

A file of a few kilobytes can unpack to gigabytes. The decoder that reads it later (stb_image, in
llama.cpp) believes the same fields as this.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Final

# A large camera's photograph has 50 million; unpacked these are 200 MB.
MAX_PIXELS: Final = 64 * 1024 * 1024
# Markers of a JPEG that are followed by its size: start of frame, but for the tables between them.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length.
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
# Photographs have a dozen segments before their frame; previews and colour profiles, some more.
_MAX_SEGMENTS: Final = 4096


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height; None where the file is of no known kind, or breaks off before that."""
    for start, read in _READERS.items():
        if data.startswith(start):
            try:
                width, height = read(data)
            except (struct.error, IndexError, _Damaged):
                return None
            return abs(width), abs(height)
    return None


class _Damaged(Exception):
    """There is no size where it should be."""


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise _Damaged
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", data, 14)
    # A height below zero: rows from the top.
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    at = 2
    for _ in range(_MAX_SEGMENTS):
        at = data.find(b"\xff", at)
        if at < 0:
            break
        while data[at] == 0xFF:  # as many of them as it likes
            at += 1
        marker = data[at]
        at += 1
        if marker in _BARE:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        at += length
    raise _Damaged


_READERS: Final[Mapping[bytes, Callable[[bytes], tuple[int, int]]]] = {
    b"\x89PNG\r\n\x1a\n": _png,
    b"\xff\xd8\xff": _jpeg,
    b"GIF8": _gif,
    b"BM": _bmp,
}
