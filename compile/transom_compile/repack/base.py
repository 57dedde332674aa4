"""What all repackers share: their registry, their planes, and the walk over slabs of blocks."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from transom_compile.sources.checkpoint import Blocks
from transom_models.block_type import BLOCK_TYPES, BlockType

Bytes = npt.NDArray[np.uint8]
Stored = npt.NDArray[np.uint32] | npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]

if sys.byteorder != "little":  # pragma: no cover
    raise ImportError("Transom repacks on little-endian machines only: blocks are viewed as words")

# With a slab's copies and planes it fits a 2 MiB second-level cache, and is long enough to hide
# NumPy's overhead per call (measured: 16 KiB are a third slower, 4 MiB by a half).
SLAB_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One plane of a parameter: its name is the parameter's plus `suffix`."""

    suffix: str
    array: Stored


class BlockRepacker(ABC):
    """How one block type moves between its blocks and its stored tensors.

    blocks: uint8 [rows, bytes per row]; shape: the parameter's, NumPy order.
    """

    name: ClassVar[str] = ""
    registry: ClassVar[dict[str, "BlockRepacker"]] = {}

    def __init_subclass__(cls) -> None:
        if cls.name:
            BlockRepacker.registry[cls.name] = cls()

    @property
    def kind(self) -> BlockType:
        """The table's row."""
        return BLOCK_TYPES[self.name]

    @abstractmethod
    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]: ...

    @abstractmethod
    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks: ...

    @abstractmethod
    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats: ...


class SlabRepacker(BlockRepacker):
    """A quantized block type. Its three methods see some blocks, and each plane's bytes of them.

    raw: [blocks, bytes of a block]; planes: suffix -> [blocks, bytes of a block in that plane].
    """

    @abstractmethod
    def pack(self, raw: Bytes, planes: Mapping[str, Bytes]) -> None:
        """Fill the planes."""

    @abstractmethod
    def restore(self, planes: Mapping[str, Bytes], raw: Bytes) -> None:
        """Fill the blocks."""

    @abstractmethod
    def values(self, planes: Mapping[str, Bytes]) -> Floats:
        """[blocks, elements of a block], in the order of the row."""

    def repack(self, blocks: Blocks, shape: tuple[int, ...]) -> list[StoredTensor]:
        raw = blocks.reshape(-1, self.kind.block_bytes)
        stored = [
            StoredTensor(plane.suffix, np.empty(plane.shape, np.uint32))
            for plane in self.kind.planes(shape)
        ]
        views = self._views({tensor.suffix: tensor.array for tensor in stored}, len(raw))
        for tensor, layout in zip(stored, self.kind.layout, strict=True):
            # Words without a block stay zero.
            tensor.array.reshape(-1).view(np.uint8)[len(raw) * layout.bytes_per_block :] = 0
        for some in self._slabs(len(raw)):
            self.pack(raw[some], {suffix: view[some] for suffix, view in views.items()})
        return stored

    def unpack(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Blocks:
        count = self._count(shape)
        views = self._views(planes, count)
        raw = np.empty((count, self.kind.block_bytes), np.uint8)
        for some in self._slabs(count):
            self.restore({suffix: view[some] for suffix, view in views.items()}, raw[some])
        return rows_of(raw, shape)

    def dequantize(self, planes: Mapping[str, Stored], shape: tuple[int, ...]) -> Floats:
        count = self._count(shape)
        views = self._views(planes, count)
        values = np.empty((count, self.kind.elements), np.float32)
        for some in self._slabs(count):
            values[some] = self.values({suffix: view[some] for suffix, view in views.items()})
        return values.reshape(shape)

    def _count(self, shape: tuple[int, ...]) -> int:
        return int(np.prod(shape, dtype=np.int64)) // self.kind.elements

    def _slabs(self, count: int) -> Iterator[slice]:
        step = SLAB_BYTES // self.kind.block_bytes
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def _views(self, planes: Mapping[str, Stored], count: int) -> dict[str, Bytes]:
        views = {}
        for layout in self.kind.layout:
            size = layout.bytes_per_block
            flat = np.ascontiguousarray(planes[layout.suffix]).reshape(-1).view(np.uint8)
            views[layout.suffix] = flat[: count * size].reshape(count, size)
        return views


def halves_of(data: Bytes) -> Floats:
    """Bytes of f16 [n, 2k] as float32 [n, k]."""
    return np.ascontiguousarray(data).view(np.float16).astype(np.float32)


def rows_of(data: Bytes, shape: tuple[int, ...]) -> Blocks:
    """Blocks as `repack` takes them: one row for each of the parameter's."""
    return data.reshape(int(np.prod(shape[:-1], dtype=np.int64)), -1)
