"""Types without blocks: float32 as it is, 16-bit floats as pairs in words."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from transom_compile.repack.base import BlockRepacker, Floats, Stored, StoredTensor, rows_of
from transom_compile.sources.checkpoint import Blocks

Halves = npt.NDArray[np.uint16]


class F32(BlockRepacker):
    """Floats, kept as they are."""

    name = "F32"

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        return [StoredTensor("", blocks.reshape(-1).view(np.float32).reshape(shape))]

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        return rows_of(np.ascontiguousarray(planes[""]).reshape(-1).view(np.uint8), shape)

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        return planes[""].astype(np.float32, copy=False).reshape(shape)


class _Pairs(BlockRepacker):
    """The even element in the low half of a word; an odd tail is padded by zero."""

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        (plane,) = self.kind.planes(shape)
        halves = blocks.reshape(-1).view(np.uint16)
        padded = np.zeros((halves.size + 1) // 2 * 2, np.uint16)
        padded[: halves.size] = halves
        return [StoredTensor("", padded.view(np.uint32).reshape(plane.shape))]

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        return rows_of(_halves(planes[""], shape).view(np.uint8), shape)


class F16(_Pairs):
    """IEEE half floats."""

    name = "F16"

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        return _halves(planes[""], shape).view(np.float16).astype(np.float32).reshape(shape)


class BF16(_Pairs):
    """The upper halves of float32."""

    name = "BF16"

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        words = _halves(planes[""], shape).astype(np.uint32) << np.uint32(16)
        return words.view(np.float32).reshape(shape)


def _halves(words: Stored, shape: tuple[int, ...]) -> Halves:
    count = int(np.prod(shape, dtype=np.int64))
    return np.ascontiguousarray(words).reshape(-1).view(np.uint16)[:count]
