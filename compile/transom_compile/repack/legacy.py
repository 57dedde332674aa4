"""Blocks of 32 with an f16 scale and perhaps an f16 minimum: GGML's first block types."""

from collections.abc import Mapping

import numpy as np

from transom_compile.repack.base import Bytes, Floats, SlabRepacker, halves_of
from transom_compile.repack.bits import (
    ggml_bits,
    ggml_nibbles,
    lane_values,
    lanes_of_bits,
    natural_nibbles,
    nibble_values,
)

RUN = 16
"""Bytes of nibbles in a block: elements 0 to 15 low, 16 to 31 high."""


class _FourOrFiveBits(SlabRepacker):
    """f16 fields (scale, then minimum), four bytes of fifth bits perhaps, 16 bytes of nibbles."""

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        fields, fifth_bits, nibbles = self._parts(raw)
        natural_nibbles(nibbles, RUN, planes[".q"])
        if fifth_bits is not None:
            lanes_of_bits(fifth_bits, planes[".h"])
        for suffix, field in fields.items():
            planes[suffix][:] = field

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        fields, fifth_bits, nibbles = self._parts(raw)
        nibbles[:] = ggml_nibbles(planes[".q"], RUN)
        if fifth_bits is not None:
            fifth_bits[:] = ggml_bits(planes[".h"])
        for suffix, field in fields.items():
            field[:] = planes[suffix]

    def _parts(self, raw: Bytes) -> tuple[dict[str, Bytes], Bytes | None, Bytes]:
        """Views of a block's fields by their plane, of its fifth bits, of its nibbles."""
        suffixes = [part.suffix for part in self.kind.layout]
        fields = [suffix for suffix in suffixes if suffix in (".s", ".m")]
        of_fields = {suffix: raw[:, 2 * i : 2 * i + 2] for i, suffix in enumerate(fields)}
        start = 2 * len(fields)
        if ".h" not in suffixes:
            return of_fields, None, raw[:, start:]
        return of_fields, raw[:, start : start + 4], raw[:, start + 4 :]


class Q4_0(_FourOrFiveBits):
    """value = s * (q - 8)."""

    name = "Q4_0"

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        quants = nibble_values(planes[".q"]).view(np.int8) - np.int8(8)
        return halves_of(planes[".s"]) * quants.astype(np.float32)


class Q4_1(_FourOrFiveBits):
    """value = s * q + m, rounded twice as ggml does: product, then sum."""

    name = "Q4_1"

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        quants = nibble_values(planes[".q"]).astype(np.float32)
        return halves_of(planes[".s"]) * quants + halves_of(planes[".m"])


class Q5_0(_FourOrFiveBits):
    """value = s * (q - 16)."""

    name = "Q5_0"

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        quants = five_bit_values(planes).view(np.int8) - np.int8(16)
        return halves_of(planes[".s"]) * quants.astype(np.float32)


class Q5_1(_FourOrFiveBits):
    """value = s * q + m, rounded twice."""

    name = "Q5_1"

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        quants = five_bit_values(planes).astype(np.float32)
        return halves_of(planes[".s"]) * quants + halves_of(planes[".m"])


class Q8_0(SlabRepacker):
    """f16 scale, 32 int8. value = s * q."""

    name = "Q8_0"

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        planes[".s"][:], planes[".q"][:] = raw[:, :2], raw[:, 2:]

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :2], raw[:, 2:] = planes[".s"], planes[".q"]

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        return planes[".q"].view(np.int8).astype(np.float32) * halves_of(planes[".s"])


def five_bit_values(planes: Mapping[str, Bytes]) -> Bytes:
    """Elements of `.q` and a `.h` of width 1, 0 to 31."""
    return nibble_values(planes[".q"]) | lane_values(planes[".h"], 1) << np.uint8(4)
