"""Pictures for documents: a screenshot as a PNG of at most 256 colours, a third of its size.

Reads the PNGs that Chromium writes (8 bits a channel, not interlaced; PNG specification, sections 9
and 11). Anti-aliased text has more colours than 256; the rare ones become their nearest neighbours.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = 256

Bytes = NDArray[np.uint8]


def reduced(png: bytes) -> bytes:
    """The same picture with a palette."""
    pixels = _pixels(png)
    height, width, _ = pixels.shape
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    colours, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    palette, nearest = _palette(_channels(colours), counts)
    rows = nearest[where].reshape(height, width)
    # Each row begins with its filter: none.
    data = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1).tobytes()
    return SIGNATURE + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette.tobytes()),
            _chunk(b"IDAT", zlib.compress(data, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _palette(colours: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[Bytes, Bytes]:
    """Colours to keep, and for each colour the number of the one that it becomes: the commonest,
    then, one by one, those that would be missed most."""
    far = np.full(len(colours), np.iinfo(np.int64).max)
    nearest = np.zeros(len(colours), np.uint8)
    common = np.argsort(counts)[::-1]
    kept = []
    for number in range(min(COLOURS, len(colours))):
        missed = common[number] if number < COLOURS // 4 else np.argmax(counts * far)
        kept.append(colours[missed])
        distance = ((colours - colours[missed]) ** 2).sum(axis=1)
        nearest[distance < far] = number
        far = np.minimum(far, distance)
    return np.array(kept, np.uint8), nearest


def _channels(packed: NDArray[np.uint32]) -> NDArray[np.int64]:
    return np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1).astype(np.int64)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += length + 12


def _pixels(png: bytes) -> Bytes:
    """Rows, columns and channels: red, green, blue. A screenshot is opaque."""
    assert png.startswith(SIGNATURE)
    chunks = list(_chunks(png))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    assert (depth, interlaced) == (8, 0)
    channels = {2: 3, 6: 4}[kind]
    packed = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
    lines = np.frombuffer(packed, np.uint8).reshape(height, 1 + width * channels)
    above = np.zeros((width, channels), np.uint8)
    rows = []
    for line in lines:
        above = _unfiltered(int(line[0]), line[1:].reshape(width, channels), above)
        rows.append(above)
    return np.stack(rows)[:, :, :3]


def _unfiltered(kind: int, row: Bytes, above: Bytes) -> Bytes:
    if kind == 0:
        return row
    if kind == 1:
        return np.cumsum(row, axis=0, dtype=np.uint8)
    if kind == 2:
        return row + above
    return _predicted(kind, row, above)


def _predicted(kind: int, row: Bytes, above: Bytes) -> Bytes:
    """Average and Paeth, where each pixel needs the one before it."""
    channels = row.shape[1]
    given, up = row.reshape(-1).tolist(), above.reshape(-1).tolist()
    found = [0] * len(given)
    for at, value in enumerate(given):
        left, corner = (found[at - channels], up[at - channels]) if at >= channels else (0, 0)
        guess = (left + up[at]) // 2 if kind == 3 else _paeth(left, up[at], corner)
        found[at] = (value + guess) & 255
    return np.array(found, np.uint8).reshape(row.shape)


def _paeth(left: int, up: int, corner: int) -> int:
    """Whichever is nearest to left + up - corner."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda each: abs(guess - each))
