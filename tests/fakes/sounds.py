"""Sounds for models that hear."""

import struct

import numpy as np


def wav(pitch: float = 440, seconds: float = 0.5, rate: int = 16_000) -> bytes:
    """A tone, as 16 bits in one channel."""
    times = np.arange(int(seconds * rate)) / rate
    samples = (np.sin(2 * np.pi * pitch * times) * 20_000).astype("<i2").tobytes()
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    data = struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI4s", b"RIFF", 4 + len(head) + len(data), b"WAVE") + head + data


def mp3(frames: int = 20) -> bytes:
    """Silence of 32 kbit/s at 44,100 samples a second, 1152 in each frame."""
    return (b"\xff\xfb\x10\xc4" + bytes(100)) * frames


def flac(frames: int = 1, block: int = 4096, rate: int = 16_000, said: int | None = None) -> bytes:
    """Silence of one channel in 16 bits; a frame says that all its samples are 0."""
    packed = rate << 44 | 15 << 36 | (frames * block if said is None else said)
    blocks = struct.pack(">HH", *[min(block, 65_535)] * 2)
    info = blocks + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80\0\0\x22" + info + b"".join(_frame(n, block) for n in range(frames))


def _frame(number: int, block: int) -> bytes:
    head = b"\xff\xf8\x70\x08" + _number(number) + struct.pack(">H", block - 1)
    head += bytes([_crc(head, 8, 0x07)])
    body = head + b"\0\0\0"
    return body + struct.pack(">H", _crc(body, 16, 0x8005))


def _number(value: int) -> bytes:
    return bytes([value]) if value < 0x80 else bytes([0xC0 | value >> 6, 0x80 | value & 0x3F])


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value, top = 0, 1 << (bits - 1)
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = ((value << 1) ^ polynomial if value & top else value << 1) & (2 * top - 1)
    return value
