"""GGML block types that Transom stores without loss, and the planes each one becomes.

The one table that the repacker (NumPy), the graph (Relax) and the kernels (TIR) read, so that
none of them can disagree on a shape. Pure data: no NumPy, no TVM. Byte level:
`docs/formats/shards.md`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from transom_models.errors import TransomError

INPUT_GROUP = 32
"""Elements of the input axis that kernels take at a time: a part of every block type's blocks."""

SUPER_BLOCK = 256
"""Elements of a block of the K-quants and of IQ4_XS, which scale their scales once more."""

WORD_BYTES = 4
FALLBACK_SCHEME = "q4_k_m"
"""What to re-quantize to when a block type cannot run: llama.cpp's own default."""


class UnsupportedBlockType(TransomError):
    """A tensor uses a block type that Transom cannot store."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One stored tensor of a parameter: `<parameter><suffix>`, its shape and dtype."""

    suffix: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """How many bytes of each block lie in one plane.

    `by_row`: the plane has the parameter's rows and whole words of each block; else it is flat over
    all blocks, and the last word is padded.
    """

    suffix: str
    bytes_per_block: int
    by_row: bool = False

    def plane(self, shape: Sequence[int], elements: int) -> Plane:
        """The plane of a parameter of `shape`, whose blocks have so many elements."""
        if self.by_row:
            words = self.bytes_per_block // WORD_BYTES
            return Plane(self.suffix, (*shape[:-1], shape[-1] // elements * words), "uint32")
        words = -(-_count(shape) // elements * self.bytes_per_block // WORD_BYTES)
        return Plane(self.suffix, (words,), "uint32")


@dataclass(frozen=True, slots=True)
class BlockType:
    """One GGML storage unit: `elements` per block, `block_bytes` as GGML stores it.

    `layout`: the planes of a quantized type, which share the bytes of a block among them.
    """

    name: str
    elements: int
    block_bytes: int
    layout: tuple[PlaneLayout, ...] = ()

    def planes(self, shape: Sequence[int]) -> tuple[Plane, ...]:
        """Stored tensors of a parameter of `shape`, in NumPy order: the last axis is the input."""
        if self.layout:
            return tuple(part.plane(shape, self.elements) for part in self.layout)
        if self.block_bytes == WORD_BYTES:
            return (Plane("", tuple(shape), "float32"),)
        # Pairs of 16-bit floats: bind without shader-f16, widened in the kernel.
        if len(shape) > 1 and shape[-1] % 2 == 0:
            return (Plane("", (*shape[:-1], shape[-1] // 2), "uint32"),)
        return (Plane("", ((_count(shape) + 1) // 2,), "uint32"),)


def _count(shape: Sequence[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def _quantized(name: str, elements: int, **planes: int) -> BlockType:
    """Planes by their suffix without the dot, in order, each with its bytes per block."""
    layout = tuple(
        PlaneLayout(f".{suffix}", size, by_row=suffix in "qh") for suffix, size in planes.items()
    )
    return BlockType(name, elements, sum(planes.values()), layout)


# q: low bits of the quants. h: the bits above them. s: scales, of the sub-blocks where d scales
# them. m: minimums. d: scale and, where there is one, scale of the minimums of a super-block.
BLOCK_TYPES: Mapping[str, BlockType] = MappingProxyType(
    {
        block_type.name: block_type
        for block_type in (
            BlockType("F32", elements=1, block_bytes=4),
            BlockType("F16", elements=1, block_bytes=2),
            BlockType("BF16", elements=1, block_bytes=2),
            _quantized("Q4_0", 32, q=16, s=2),
            _quantized("Q4_1", 32, q=16, s=2, m=2),
            _quantized("Q5_0", 32, q=16, h=4, s=2),
            _quantized("Q5_1", 32, q=16, h=4, s=2, m=2),
            _quantized("Q8_0", 32, q=32, s=2),
            _quantized("Q2_K", SUPER_BLOCK, q=64, s=16, d=4),
            _quantized("Q3_K", SUPER_BLOCK, q=64, h=32, s=12, d=2),
            _quantized("Q4_K", SUPER_BLOCK, q=128, s=12, d=4),
            _quantized("Q5_K", SUPER_BLOCK, q=128, h=32, s=12, d=4),
            _quantized("Q6_K", SUPER_BLOCK, q=128, h=64, s=16, d=2),
            _quantized("IQ4_NL", 32, q=16, s=2),
            _quantized("IQ4_XS", SUPER_BLOCK, q=128, s=4, d=4),
            _quantized("MXFP4", 32, q=16, s=1),
        )
    }
)


def block_type(name: str, tensor: str) -> BlockType:
    """The table's row, or an error that names the tensor and the way out."""
    try:
        return BLOCK_TYPES[name]
    except KeyError:
        raise UnsupportedBlockType(
            f"tensor {tensor} has block type {name}, which Transom cannot run; re-quantize the "
            f"model: transom compile FILE --quantize {FALLBACK_SCHEME}"
        ) from None
