"""Sounds inside a request: base64 text to the bytes of a file that an engine reads, and how long it
is. Pure.

The engine decodes all that a file holds before it looks at it, so nothing is believed that a header
says of itself: a WAV's sizes have to agree with its bytes, the frames of an MP3 and of a FLAC are
counted. A minute of silence is a few hundred bytes of FLAC.
"""

import base64
import binascii
import struct
from typing import Final, NoReturn

from transom_api.chat import Audio
from transom_api.fields import Fields

FORMATS: Final = ("wav", "mp3", "flac")
# Twenty windows of half a minute, each hundreds of tokens; decoded they are 38 MB.
MAX_SECONDS: Final = 600
# Below, sound is no speech any more; above, nothing records. The engine makes 16,000 of any rate.
MIN_RATE: Final = 8_000
MAX_RATE: Final = 192_000
MAX_CHANNELS: Final = 8
# PCM, floats, A-law, mu-law, and what says itself which of them it is.
_WAV_KINDS: Final = (1, 3, 6, 7, 0xFFFE)
_WAV_BITS: Final = (8, 16, 24, 32, 64)
_FLAC_BLOCKS: Final = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{code: 256 << (code - 8) for code in range(8, 16)},
}
_MP3_RATES: Final = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_MP3_KBITS: Final = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# What players write behind the last frame, and fill up with.
_MP3_REST: Final = 4096


class _Unreadable(Exception):
    """What is wrong with the file."""


def read_sound(fields: Fields, name: str, kind: str) -> Audio:
    """A field that is a sound file in base64, of the format that is said. Raises `InvalidField`."""

    def refuse(reason: str) -> NoReturn:
        fields.refuse(name, reason)

    try:
        data = base64.b64decode(fields.required_text(name), validate=True)
    except (binascii.Error, ValueError):
        refuse("is not base64")
    try:
        seconds = {"wav": _wav, "mp3": _mp3, "flac": _flac}[kind](data)
    except (_Unreadable, struct.error) as error:
        reason = str(error) if isinstance(error, _Unreadable) else "it breaks off"
        refuse(f"is no {kind.upper()} file that can be read: {reason}")
    if not 0 < seconds <= MAX_SECONDS:
        refuse(f"lasts {seconds:.0f} seconds; a sound may last up to {MAX_SECONDS}, and some time")
    return Audio(data, kind, seconds)


def _check(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE:
        raise _Unreadable(f"{rate} samples a second are not from {MIN_RATE} to {MAX_RATE}")
    if not 1 <= channels <= MAX_CHANNELS:
        raise _Unreadable(f"it has {channels} channels")


def _wav(data: bytes) -> float:
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _Unreadable("it does not begin as one")
    at, frame, rate = 12, 0, 0
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        at += 8
        if name == b"fmt ":
            kind, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", data, at)
            _check(rate, channels)
            if kind not in _WAV_KINDS or bits not in _WAV_BITS or frame != channels * bits // 8:
                raise _Unreadable(f"its samples (kind {kind}, {bits} bits) cannot be read")
        if name == b"data":
            if not frame:
                raise _Unreadable("it does not say what its samples are")
            if size > len(data) - at:
                raise _Unreadable(f"it says {size} bytes of sound, and has {len(data) - at}")
            return float(size / frame / rate)
        at += size + size % 2
    raise _Unreadable("there is no sound in it")


def _flac(data: bytes) -> float:
    if data[:4] != b"fLaC" or data[4] & 0x7F or data[5:8] != b"\0\0\x22":
        raise _Unreadable("it does not begin as one")
    packed = int.from_bytes(data[18:26], "big")
    rate, channels = packed >> 44, (packed >> 41 & 7) + 1
    _check(rate, channels)
    samples = 0
    at = data.find(b"\xff", 42)
    while 0 <= at < len(data) - 5:
        # Each frame begins with these bits and its own check sum, so none is overlooked.
        if data[at + 1] & 0xFE == 0xF8:
            samples += _flac_frame(data, at)
        at = data.find(b"\xff", at + 1)
    said = packed & (1 << 36) - 1
    if not said:
        raise _Unreadable("it does not say how long it is")
    if said > samples:
        raise _Unreadable(f"it says {said} samples, and has {samples}")
    return samples / rate


def _flac_frame(data: bytes, at: int) -> int:
    """Samples of the frame whose header is here; 0 where none is."""
    size_code, rate_code, first = data[at + 2] >> 4, data[at + 2] & 15, data[at + 4]
    extra = 0 if first < 0x80 else 8 - (first ^ 0xFF).bit_length() - 1
    sized = at + 5 + max(0, extra)
    end = sized + {6: 1, 7: 2}.get(size_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if end >= len(data) or _crc8(data[at:end]) != data[end]:
        return 0
    if size_code in (6, 7):
        return int.from_bytes(data[sized : sized + size_code - 5], "big") + 1
    return _FLAC_BLOCKS.get(size_code, 0)


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value


def _mp3(data: bytes) -> float:
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) >= at + 10:
        high, *rest = data[at + 6 : at + 10]
        size = high & 0x7F
        for byte in rest:
            size = size << 7 | byte & 0x7F
        at += 10 + size
    seconds = 0.0
    while at + 4 <= len(data):
        length, lasts = _mp3_frame(int.from_bytes(data[at : at + 4], "big"))
        if not length:
            break
        at, seconds = at + length, seconds + lasts
    if not seconds:
        raise _Unreadable("it does not begin as one")
    if len(data) - at > _MP3_REST:
        raise _Unreadable(f"byte {at} begins no frame")
    return seconds


def _mp3_frame(head: int) -> tuple[int, float]:
    """Bytes and seconds of the frame with this header; 0 where it is none."""
    version, rate_code, bits_code = head >> 19 & 3, head >> 10 & 3, head >> 12 & 15
    is_layer_3 = head >> 21 == 0x7FF and head >> 17 & 3 == 1
    if not is_layer_3 or version == 1 or rate_code == 3 or bits_code in (0, 15):
        return 0, 0.0
    rate, is_first = _MP3_RATES[version][rate_code], version == 3
    samples = 1152 if is_first else 576
    length = samples // 8 * 1000 * _MP3_KBITS[is_first][bits_code] // rate + (head >> 9 & 1)
    return length, samples / rate
