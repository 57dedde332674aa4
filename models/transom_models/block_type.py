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
"""Elements of the input axis that kernels take at a time: one block of every quantized type."""


class UnsupportedBlockType(TransomError):
    """A tensor uses a block type that Transom cannot store."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One stored tensor of a parameter: `<parameter><suffix>`, its shape and dtype."""

    suffix: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class BlockType:
    """One GGML storage unit.

    `elements` per block and `block_bytes` as GGML stores it. `word_elements`: elements in one u32
    of the `.q` plane, 0 for types without planes. An element's value is `s * (q - zero) + m`.
    """

    name: str
    elements: int
    block_bytes: int
    word_elements: int = 0
    zero: int = 0
    signed: bool = False
    has_min: bool = False

    def planes(self, shape: Sequence[int]) -> tuple[Plane, ...]:
        """Stored tensors of a parameter of `shape`, in NumPy order: the last axis is the input."""
        cols = shape[-1]
        count = 1
        for extent in shape:
            count *= extent
        if self.name == "F32":
            return (Plane("", tuple(shape), "float32"),)
        if self.name == "F16":
            # Pairs of f16 bits: binds without shader-f16, widened in the kernel.
            if len(shape) > 1 and cols % 2 == 0:
                return (Plane("", (*shape[:-1], cols // 2), "uint32"),)
            return (Plane("", ((count + 1) // 2,), "uint32"),)
        halves = (count // self.elements + 1) // 2
        scales = [Plane(".s", (halves,), "uint32")]
        if self.has_min:
            scales.append(Plane(".m", (halves,), "uint32"))
        return (Plane(".q", (*shape[:-1], cols // self.word_elements), "uint32"), *scales)


BLOCK_TYPES: Mapping[str, BlockType] = MappingProxyType(
    {
        block_type.name: block_type
        for block_type in (
            BlockType("F32", elements=1, block_bytes=4),
            BlockType("F16", elements=1, block_bytes=2),
            BlockType("Q4_0", elements=32, block_bytes=18, word_elements=8, zero=8),
            BlockType("Q4_1", elements=32, block_bytes=20, word_elements=8, has_min=True),
            BlockType("Q8_0", elements=32, block_bytes=34, word_elements=4, signed=True),
        )
    }
)


def block_type(name: str, tensor: str) -> BlockType:
    """The table's row, or an error that names the tensor and the way out."""
    try:
        return BLOCK_TYPES[name]
    except KeyError:
        known = ", ".join(BLOCK_TYPES)
        raise UnsupportedBlockType(
            f"tensor {tensor} has block type {name}, which Transom cannot run yet; "
            f"quantize the model to one of {known} first"
        ) from None
