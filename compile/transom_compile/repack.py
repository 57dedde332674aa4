"""GGML blocks to stored tensors and back: one class per block type, found by its name.

Only moves bits: `unpack(repack(blocks)) == blocks` for every bit pattern, NaN scales included.
Vectorised and cut into slabs that stay in the processor's cache. The shapes come from
`transom_models.block_type`, the layout is written in `docs/formats/shards.md`.
Must not know files, architectures or TVM.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from transom_compile.sources.checkpoint import Blocks
from transom_models.block_type import block_type as find_block_type

Words = npt.NDArray[np.uint32]
Stored = npt.NDArray[np.uint32] | npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("Transom repacks on little-endian machines only: blocks are viewed as words")

# 16 384 blocks of 16 bytes, twice: fits a 2 MiB second-level cache, long enough to hide NumPy's
# overhead per call (measured: 1 024 blocks a slab are a third slower).
SLAB_BLOCKS = 16_384
_FOUR = np.uint64(4)
# In every 16-bit lane: the first byte's high nibble; shifted by four, the second's low nibble.
_MIDDLE_NIBBLES = np.uint64(0x00F0_00F0_00F0_00F0)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One plane of a parameter: its name is the parameter's plus `suffix`."""

    suffix: str
    array: Stored


class BlockRepacker:
    """How one block type moves between its blocks and its stored tensors.

    blocks: uint8 [rows, bytes per row]; shape: the parameter's, NumPy order.
    """

    name: ClassVar[str]
    registry: ClassVar[dict[str, "BlockRepacker"]] = {}

    def __init_subclass__(cls) -> None:
        BlockRepacker.registry[cls.name] = cls()

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        raise NotImplementedError

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        raise NotImplementedError

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        raise NotImplementedError


def repack(blocks: Blocks, block_type: str, shape: tuple[int, ...]) -> list[StoredTensor]:
    """Stored tensors of one parameter. Raises `UnsupportedBlockType`."""
    return _repacker(block_type).repack(blocks, shape)


def unpack(stored: Sequence[StoredTensor], block_type: str, shape: tuple[int, ...]) -> Blocks:
    """The exact inverse of `repack`: uint8 [rows, bytes per row]."""
    return _repacker(block_type).unpack(_planes(stored), shape)


def dequantize(stored: Sequence[StoredTensor], block_type: str, shape: tuple[int, ...]) -> Floats:
    """float32 values of the stored tensors, rounded exactly as ggml's reference does."""
    return _repacker(block_type).dequantize(_planes(stored), shape)


def _planes(stored: Sequence[StoredTensor]) -> Mapping[str, Stored]:
    return MappingProxyType({tensor.suffix: tensor.array for tensor in stored})


def _repacker(name: str) -> BlockRepacker:
    find_block_type(name, "of this parameter")
    return BlockRepacker.registry[name]


def _plane_shape(name: str, suffix: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    planes = find_block_type(name, "").planes(shape)
    return next(plane.shape for plane in planes if plane.suffix == suffix)


def _pair_halves(halves: npt.NDArray[np.uint16]) -> Words:
    """f16 bits [n] as u32 [ceil(n / 2)]: the even one in the low half, an odd tail padded by 0."""
    padded = np.zeros((halves.size + 1) // 2 * 2, np.uint16)
    padded[: halves.size] = halves
    return padded.view(np.uint32)


def _unpair_halves(words: Stored, count: int) -> npt.NDArray[np.uint16]:
    return np.ascontiguousarray(words).reshape(-1).view(np.uint16)[:count]


def _swap_middle_nibbles(lanes: npt.NDArray[np.uint64], scratch: npt.NDArray[np.uint64]) -> None:
    """Per 16-bit lane, exchange the first byte's high with the second byte's low nibble, in place.

    GGML keeps element j in a low and element j + 16 in a high nibble; after the exchange the first
    byte holds elements 2i, 2i + 1 and the second 2i + 16, 2i + 17. The exchange undoes itself.
    """
    np.right_shift(lanes, _FOUR, out=scratch)
    scratch ^= lanes
    scratch &= _MIDDLE_NIBBLES
    lanes ^= scratch
    np.left_shift(scratch, _FOUR, out=scratch)
    lanes ^= scratch


class _FourBit(BlockRepacker):
    """Blocks of 32: `header` f16 fields (scale, then minimum), then 16 bytes of nibbles."""

    name = ""
    suffixes: ClassVar[tuple[str, ...]] = (".s",)

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        header = len(self.suffixes)
        # u16 is the widest type that both 18- and 20-byte blocks are whole multiples of.
        source = blocks.reshape(-1).view(np.uint16).reshape(-1, header + 8)
        quants = np.empty((len(source), 16), np.uint8)
        slab = np.empty((SLAB_BLOCKS, 8), np.uint16)
        scratch = np.empty((SLAB_BLOCKS, 2), np.uint64)
        for start in range(0, len(source), SLAB_BLOCKS):
            count = min(SLAB_BLOCKS, len(source) - start)
            part = slab[:count]
            part[:] = source[start : start + count, header:]
            _swap_middle_nibbles(part.view(np.uint64), scratch[:count])
            halves = part.view(np.uint8)
            quants[start : start + count, :8] = halves[:, 0::2]
            quants[start : start + count, 8:] = halves[:, 1::2]
        words = quants.reshape(-1).view(np.uint32).reshape(_plane_shape(self.name, ".q", shape))
        fields = [
            StoredTensor(suffix, _pair_halves(source[:, column]))
            for column, suffix in enumerate(self.suffixes)
        ]
        return [StoredTensor(".q", words), *fields]

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        header = len(self.suffixes)
        quants = np.ascontiguousarray(planes[".q"]).reshape(-1).view(np.uint8).reshape(-1, 16)
        blocks = np.empty((len(quants), header + 8), np.uint16)
        for column, suffix in enumerate(self.suffixes):
            blocks[:, column] = _unpair_halves(planes[suffix], len(quants))
        lanes = np.empty((len(quants), 16), np.uint8)
        lanes[:, 0::2] = quants[:, :8]
        lanes[:, 1::2] = quants[:, 8:]
        words = lanes.view(np.uint64)
        _swap_middle_nibbles(words, np.empty_like(words))
        blocks[:, header:] = lanes.view(np.uint16)
        return _rows(blocks.view(np.uint8), shape)

    def _quants(self, planes: Mapping[str, Stored]) -> npt.NDArray[np.int8]:
        """Unsigned nibbles as int8 [blocks, 32], in element order."""
        nibbles = np.ascontiguousarray(planes[".q"]).reshape(-1).view(np.uint8).reshape(-1, 16, 1)
        pairs = (nibbles >> np.array([0, 4], np.uint8)) & np.uint8(15)
        return pairs.reshape(-1, 32).view(np.int8)


class Q4_0(_FourBit):
    """32 elements: f16 scale, 16 bytes of nibbles. value = s * (q - 8)."""

    name = "Q4_0"

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        quants = self._quants(planes) - np.int8(8)
        scales = _field(planes[".s"], len(quants))
        return (scales * quants.astype(np.float32)).reshape(shape)


class Q4_1(_FourBit):
    """32 elements: f16 scale, f16 minimum, 16 bytes of nibbles. value = s * q + m."""

    name = "Q4_1"
    suffixes = (".s", ".m")

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        quants = self._quants(planes)
        scales = _field(planes[".s"], len(quants))
        # Two roundings, as ggml does: product, then sum.
        return (scales * quants.astype(np.float32) + _field(planes[".m"], len(quants))).reshape(
            shape
        )


class Q8_0(BlockRepacker):
    """32 elements: f16 scale, 32 int8. value = s * q."""

    name = "Q8_0"

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        source = blocks.reshape(-1).view(np.uint16).reshape(-1, 17)
        words = np.ascontiguousarray(source[:, 1:]).reshape(-1).view(np.uint32)
        return [
            StoredTensor(".q", words.reshape(_plane_shape(self.name, ".q", shape))),
            StoredTensor(".s", _pair_halves(source[:, 0])),
        ]

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        quants = np.ascontiguousarray(planes[".q"]).reshape(-1).view(np.uint16).reshape(-1, 16)
        blocks = np.empty((len(quants), 17), np.uint16)
        blocks[:, 0] = _unpair_halves(planes[".s"], len(quants))
        blocks[:, 1:] = quants
        return _rows(blocks.view(np.uint8), shape)

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        quants = np.ascontiguousarray(planes[".q"]).reshape(-1).view(np.int8).reshape(-1, 32)
        scales = _field(planes[".s"], len(quants))
        return (quants.astype(np.float32) * scales).reshape(shape)


class F16(BlockRepacker):
    """Half floats, kept as pairs in u32 words."""

    name = "F16"

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        words = _pair_halves(blocks.reshape(-1).view(np.uint16))
        return [StoredTensor("", words.reshape(_plane_shape(self.name, "", shape)))]

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        count = int(np.prod(shape, dtype=np.int64))
        return _rows(_unpair_halves(planes[""], count).view(np.uint8), shape)

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        count = int(np.prod(shape, dtype=np.int64))
        halves = _unpair_halves(planes[""], count).view(np.float16)
        return halves.astype(np.float32).reshape(shape)


class F32(BlockRepacker):
    """Floats, kept as they are."""

    name = "F32"

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        return [StoredTensor("", blocks.reshape(-1).view(np.float32).reshape(shape))]

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        return _rows(np.ascontiguousarray(planes[""]).reshape(-1).view(np.uint8), shape)

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        return planes[""].astype(np.float32, copy=False).reshape(shape)


def _field(words: Stored, blocks: int) -> Floats:
    """f16 field of each block as float32 [blocks, 1]."""
    return _unpair_halves(words, blocks).view(np.float16).astype(np.float32).reshape(-1, 1)


def _rows(data: Blocks, shape: tuple[int, ...]) -> Blocks:
    return data.reshape(int(np.prod(shape[:-1], dtype=np.int64)), -1)
