"""GGML blocks to stored tensors and back: one class per block type, found by its name.

Only moves bits: `unpack(repack(blocks)) == blocks` for every bit pattern, NaN scales included.
Vectorised and cut into slabs that stay in the processor's cache. The shapes come from
`transom_models.block_type`, the layout is written in `docs/formats/shards.md`.
Must not know files, architectures or TVM.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

# Imported for their classes, which register themselves.
import transom_compile.repack.codebooks
import transom_compile.repack.floats
import transom_compile.repack.k_quants
import transom_compile.repack.legacy  # noqa: F401
from transom_compile.repack.base import BlockRepacker, Floats, Stored, StoredTensor
from transom_compile.sources.checkpoint import Blocks
from transom_models.block_type import block_type as find_block_type

__all__ = ["BlockRepacker", "StoredTensor", "dequantize", "repack", "unpack"]


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
