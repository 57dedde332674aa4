"""Pictures for models that see."""

import struct
import zlib

import numpy as np


def png(seed: int) -> bytes:
    """28 x 28 pixels of noise."""
    rows = np.random.default_rng(seed).integers(0, 256, (28, 28 * 3), dtype=np.uint8)
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + crc(kind + data)

    def crc(data: bytes) -> bytes:
        return struct.pack(">I", zlib.crc32(data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    )
