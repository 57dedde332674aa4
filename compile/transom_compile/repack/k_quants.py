"""Super-blocks of 256: small integer scales of 16 or 32 elements, f16 scales of those.

The integers stay integers, since their product with the f16 is no f16. Layouts of the blocks:
ggml-org/ggml src/ggml-common.h; rounding: ggml-quants.c, `dequantize_row_*`.
"""

from collections.abc import Mapping

import numpy as np

from transom_compile.repack.base import Bytes, Floats, SlabRepacker, halves_of
from transom_compile.repack.bits import (
    ggml_nibbles,
    ggml_packed,
    lane_values,
    lanes_of,
    natural_nibbles,
    nibble_values,
    pack_six_bits,
    six_bits,
)
from transom_compile.repack.legacy import five_bit_values

_LOW, _TWO, _SIX = np.uint8(15), np.uint8(3), np.uint8(0x3F)


class Q4_K(SlabRepacker):
    """d, dmin, 12 bytes of 6-bit scales and minimums, nibbles. value = d * sc * q - dmin * m."""

    name = "Q4_K"
    RUN = 32

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        planes[".d"][:] = raw[:, :4]
        pack_six_bits(*_scales_and_minimums(raw[:, 4:16]), planes[".s"])
        natural_nibbles(raw[:, 16:], self.RUN, planes[".q"])

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :4] = planes[".d"]
        _put_scales_and_minimums(*six_bits(planes[".s"]), raw[:, 4:16])
        raw[:, 16:] = ggml_nibbles(planes[".q"], self.RUN)

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        scales, minimums = six_bits(planes[".s"])
        return _scaled_with_minimum(nibble_values(planes[".q"]), scales, minimums, planes[".d"])


class Q5_K(SlabRepacker):
    """As Q4_K, with 32 bytes of fifth bits before the nibbles."""

    name = "Q5_K"
    RUN = 32

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        planes[".d"][:] = raw[:, :4]
        pack_six_bits(*_scales_and_minimums(raw[:, 4:16]), planes[".s"])
        lanes_of(raw[:, 16:48], 1, planes[".h"])
        natural_nibbles(raw[:, 48:], self.RUN, planes[".q"])

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :4] = planes[".d"]
        _put_scales_and_minimums(*six_bits(planes[".s"]), raw[:, 4:16])
        raw[:, 16:48] = ggml_packed(planes[".h"], 1)
        raw[:, 48:] = ggml_nibbles(planes[".q"], self.RUN)

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        scales, minimums = six_bits(planes[".s"])
        return _scaled_with_minimum(five_bit_values(planes), scales, minimums, planes[".d"])


class Q6_K(SlabRepacker):
    """Nibbles, pairs of bits above them, 16 int8 scales, d. value = d * sc * (q - 32)."""

    name = "Q6_K"
    RUN = 64

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        natural_nibbles(raw[:, :128], self.RUN, planes[".q"])
        lanes_of(raw[:, 128:192], 2, planes[".h"])
        planes[".s"][:], planes[".d"][:] = raw[:, 192:208], raw[:, 208:]

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :128] = ggml_nibbles(planes[".q"], self.RUN)
        raw[:, 128:192] = ggml_packed(planes[".h"], 2)
        raw[:, 192:208], raw[:, 208:] = planes[".s"], planes[".d"]

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        quants = nibble_values(planes[".q"]) | lane_values(planes[".h"], 2) << np.uint8(4)
        scales = planes[".s"].view(np.int8).astype(np.float32)
        return _scaled(quants.view(np.int8) - np.int8(32), halves_of(planes[".d"]) * scales)


class Q3_K(SlabRepacker):
    """Third bits, quants of two bits, 12 bytes of 6-bit scales, d. value = d * (sc - 32) * (q - 4).

    ggml subtracts 4 where the third bit is 0; as a number of three bits that is q - 4.
    """

    name = "Q3_K"

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        lanes_of(raw[:, :32], 1, planes[".h"])
        lanes_of(raw[:, 32:96], 2, planes[".q"])
        scales = _sixteen_scales(raw[:, 96:108])
        pack_six_bits(scales[:, 0::2], scales[:, 1::2], planes[".s"])
        planes[".d"][:] = raw[:, 108:]

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :32] = ggml_packed(planes[".h"], 1)
        raw[:, 32:96] = ggml_packed(planes[".q"], 2)
        _put_sixteen_scales(_interleaved(*six_bits(planes[".s"])), raw[:, 96:108])
        raw[:, 108:] = planes[".d"]

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        quants = lane_values(planes[".q"], 2) | lane_values(planes[".h"], 1) << np.uint8(2)
        scales = _interleaved(*six_bits(planes[".s"])).view(np.int8) - np.int8(32)
        factors = halves_of(planes[".d"]) * scales.astype(np.float32)
        return _scaled(quants.view(np.int8) - np.int8(4), factors)


class Q2_K(SlabRepacker):
    """16 bytes (scale low, minimum high), quants of two bits, d, dmin.

    value = d * sc * q - dmin * m.
    """

    name = "Q2_K"

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        planes[".s"][:], planes[".d"][:] = raw[:, :16], raw[:, 80:]
        lanes_of(raw[:, 16:80], 2, planes[".q"])

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :16], raw[:, 80:] = planes[".s"], planes[".d"]
        raw[:, 16:80] = ggml_packed(planes[".q"], 2)

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        scales, minimums = planes[".s"] & _LOW, planes[".s"] >> np.uint8(4)
        return _scaled_with_minimum(lane_values(planes[".q"], 2), scales, minimums, planes[".d"])


def _scaled(quants: np.ndarray, factors: Floats) -> Floats:
    """Each factor times as many quants as share it."""
    by_factor = quants.astype(np.float32).reshape(*factors.shape, -1)
    return (factors[:, :, None] * by_factor).reshape(quants.shape)


def _scaled_with_minimum(quants: Bytes, scales: Bytes, minimums: Bytes, d: Bytes) -> Floats:
    """d * sc * q - dmin * m, every product rounded, as ggml does; `d` holds d and dmin."""
    both = halves_of(d)
    factors = both[:, :1] * scales.astype(np.float32)
    lowest = both[:, 1:] * minimums.astype(np.float32)
    values = _scaled(quants, factors).reshape(*lowest.shape, -1)
    return (values - lowest[:, :, None]).reshape(quants.shape)


def _scales_and_minimums(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Q4_K's 12 bytes -> scales [n, 8], minimums [n, 8], 0 to 63.

    Bytes 0 to 3: scales 0 to 3, and on top the upper pairs of scales 4 to 7; bytes 4 to 7: likewise
    for minimums; bytes 8 to 11: low nibbles of scales 4 to 7, above them those of the minimums.
    """
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    top = np.uint8(6)
    scales = [first & _SIX, third & _LOW | first >> top << np.uint8(4)]
    minimums = [second & _SIX, third >> np.uint8(4) | second >> top << np.uint8(4)]
    return np.concatenate(scales, axis=1), np.concatenate(minimums, axis=1)


def _put_scales_and_minimums(scales: Bytes, minimums: Bytes, out: Bytes) -> None:
    four, top = np.uint8(4), np.uint8(6)
    out[:, :4] = scales[:, :4] | scales[:, 4:] >> four << top
    out[:, 4:8] = minimums[:, :4] | minimums[:, 4:] >> four << top
    out[:, 8:] = scales[:, 4:] & _LOW | minimums[:, 4:] << four


def _sixteen_scales(packed: Bytes) -> Bytes:
    """Q3_K's 12 bytes -> [n, 16], 0 to 63.

    Bytes 0 to 7: low nibbles of scales 0 to 7, above them those of 8 to 15; byte 8 + i: upper pairs
    of scales i, i + 4, i + 8, i + 12.
    """
    low = [packed[:, :8] & _LOW, packed[:, :8] >> np.uint8(4)]
    upper = [packed[:, 8:] >> np.uint8(at) & _TWO for at in (0, 2, 4, 6)]
    scales: Bytes = np.concatenate(low, axis=1) | np.concatenate(upper, axis=1) << np.uint8(4)
    return scales


def _put_sixteen_scales(scales: Bytes, out: Bytes) -> None:
    out[:, :8] = scales[:, :8] & _LOW | scales[:, 8:] << np.uint8(4)
    upper = scales >> np.uint8(4)
    out[:, 8:] = upper[:, :4]
    for i, at in ((4, 2), (8, 4), (12, 6)):
        out[:, 8:] |= upper[:, i : i + 4] << np.uint8(at)


def _interleaved(even: Bytes, odd: Bytes) -> Bytes:
    both: Bytes = np.stack([even, odd], axis=2)
    return both.reshape(len(even), -1)
