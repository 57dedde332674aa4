"""Nibbles that stand for sixteen levels which are not evenly spaced: IQ4_NL, IQ4_XS, MXFP4."""

from collections.abc import Mapping

import numpy as np

from transom_compile.repack.base import Bytes, Floats, SlabRepacker, halves_of
from transom_compile.repack.bits import ggml_nibbles, natural_nibbles, nibble_values

RUN = 16
IQ4_LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""ggml-org/ggml src/ggml-common.h, `kvalues_iq4nl`."""
MXFP4_LEVELS = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
"""OCP Microscaling Formats 1.0, E2M1, doubled so that they are integers."""
_IQ4 = np.array(IQ4_LEVELS, np.float32)
_MXFP4 = np.array(MXFP4_LEVELS, np.float32)


class IQ4_NL(SlabRepacker):
    """32 elements: f16 scale, nibbles. value = s * level."""

    name = "IQ4_NL"

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        planes[".s"][:] = raw[:, :2]
        natural_nibbles(raw[:, 2:], RUN, planes[".q"])

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :2], raw[:, 2:] = planes[".s"], ggml_nibbles(planes[".q"], RUN)

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        return halves_of(planes[".s"]) * _IQ4[nibble_values(planes[".q"])]


class IQ4_XS(SlabRepacker):
    """256 elements: d, upper pairs of eight 6-bit scales, their low nibbles, then nibbles.

    value = d * (sc - 32) * level.
    """

    name = "IQ4_XS"

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        planes[".d"][:], planes[".s"][:] = raw[:, :4], raw[:, 4:8]
        natural_nibbles(raw[:, 8:], RUN, planes[".q"])

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :4], raw[:, 4:8] = planes[".d"], planes[".s"]
        raw[:, 8:] = ggml_nibbles(planes[".q"], RUN)

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        pairs = np.ascontiguousarray(planes[".d"][:, 2:]).view(np.uint16)
        upper = pairs >> np.arange(0, 16, 2, dtype=np.uint16) & np.uint16(3)
        scales = nibble_values(planes[".s"]) | upper.astype(np.uint8) << np.uint8(4)
        signed = (scales.view(np.int8) - np.int8(32)).astype(np.float32)
        factors = halves_of(planes[".d"][:, :2]) * signed
        levels = _IQ4[nibble_values(planes[".q"])]
        return (factors[:, :, None] * levels.reshape(*factors.shape, -1)).reshape(levels.shape)


class MXFP4(SlabRepacker):
    """32 elements: a power of two (E8M0), nibbles. value = 2**(e - 128) * level."""

    name = "MXFP4"

    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        planes[".s"][:] = raw[:, :1]
        natural_nibbles(raw[:, 1:], RUN, planes[".q"])

    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        raw[:, :1], raw[:, 1:] = planes[".s"], ggml_nibbles(planes[".q"], RUN)

    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        # The levels are doubled, so the power of two is halved: e = 0 gives 2**-128, subnormal.
        scales = np.ldexp(np.float32(1), planes[".s"].astype(np.int32) - 128)
        # The largest exponents overflow to infinity, as in ggml.
        with np.errstate(over="ignore"):
            return scales.astype(np.float32) * _MXFP4[nibble_values(planes[".q"])]
