"""How a kernel reads a stored weight: from planes of u32 to f32 values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    buffer_arg,
    cast,
    exact,
    f16_of_pair,
    halved,
    let,
)
from transom_models.block_type import BLOCK_TYPES, INPUT_GROUP, BlockType

GROUP = INPUT_GROUP

PIECE = 8
"""A part of a group that is whole words of every block type."""


@dataclass(frozen=True)
class WeightReader:
    """The planes of one weight of shape (rows, cols), bound as kernel parameters.

    `group(row, index)` names the words and scales of some elements of a row once; its `value(k)` is
    element k dequantized, its `dot` the product with as many elements of x.
    """

    block_type: BlockType
    rows: int
    cols: int
    planes: tuple[Buffer, ...]

    @classmethod
    def declare(cls, block_type: str, rows: int, cols: int) -> WeightReader:
        kind = BLOCK_TYPES[block_type]
        planes = tuple(
            buffer_arg(f"w{plane.suffix.replace('.', '_')}", plane.shape, plane.dtype)
            for plane in kind.planes((rows, cols))
        )
        return cls(kind, rows, cols, planes)

    def quant_bits(self, k: int) -> int:
        """How many bits too high `WeightGroup.quant(k)` stands."""
        kind = self.block_type
        if not kind.word_elements or kind.signed:
            return 0
        slot = k % kind.word_elements
        return 0 if slot == kind.word_elements - 1 else 32 // kind.word_elements * slot

    def prepare(self, xs: Sequence[Expr]) -> PreparedInput:
        """x[k] / 2**quant_bits(k) for a group, and sum(x) where the block type needs it."""
        scaled = []
        for k, x in enumerate(xs):
            scaled.append(halved(x, self.quant_bits(k)))
        if not (self.block_type.zero or self.block_type.has_min):
            return PreparedInput(scaled, None)
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return PreparedInput(scaled, let(total))

    def scales(self, row: Expr, index: Expr) -> Scales:
        """Scale and minimum of elements [32*index, 32*index+32) of a row, loaded once."""
        kind = self.block_type
        if not kind.word_elements:
            return Scales(None, None)
        # Scales lie flat over rows, two to a word.
        flat = let(row * (self.cols // kind.elements) + index)
        scale = let(f16_of_pair(self.planes[1][flat // 2], flat % 2))
        minimum = let(f16_of_pair(self.planes[2][flat // 2], flat % 2)) if kind.has_min else None
        return Scales(scale, minimum)

    def group(
        self, row: Expr, index: Expr, scales: Scales | None = None, *, size: int = GROUP
    ) -> WeightGroup:
        """Elements [size*index, size*index+size) of a row; `scales` if they were loaded before."""
        kind = self.block_type
        per_word = kind.word_elements or (2 if kind.name == "F16" else 1)
        count = size // per_word
        words = [let(self.planes[0][row, index * count + w]) for w in range(count)]
        return WeightGroup(self, words, scales or self.scales(row, index))


@dataclass(frozen=True)
class Scales:
    """What turns quants into values; None where the block type has no such part."""

    scale: Expr | None
    minimum: Expr | None


@dataclass(frozen=True)
class WeightGroup:
    """Some consecutive elements of one row within one block, loaded once."""

    reader: WeightReader
    words: Sequence[Expr]
    scales: Scales

    def quant(self, k: int) -> Expr:
        """Element k without scale, zero point and minimum, times 2**quant_bits(k), as float32.

        A nibble is masked where it stands instead of shifted down: one operation less, and the
        power of two is divided out of the other factor exactly, once for many rows.
        """
        kind = self.reader.block_type
        if kind.name == "F32":
            return self.words[k]
        if kind.name == "F16":
            return f16_of_pair(self.words[k // 2], k % 2)
        bits = 32 // kind.word_elements
        word, slot = self.words[k // kind.word_elements], k % kind.word_elements
        if kind.signed:
            # Move the element to the top of an i32: its sign is then the sign.
            top = word << tirx.const(32 - bits * (slot + 1), "uint32")
            return cast("float32", cast("int32", top) >> (32 - bits))
        # Through i32: converting unsigned numbers costs software adapters several instructions.
        if slot == kind.word_elements - 1:
            word = word >> tirx.const(bits * slot, "uint32")
            return cast("float32", cast("int32", word))
        mask = ((1 << bits) - 1) << (bits * slot)
        return cast("float32", cast("int32", word) & mask)

    def value(self, k: int) -> Expr:
        """Element k, dequantized: float32 arithmetic on exact parts."""
        kind, scale, minimum = self.reader.block_type, self.scales.scale, self.scales.minimum
        quant = self.quant(k)
        if scale is None:
            return quant
        bits = self.reader.quant_bits(k)
        if kind.zero:
            quant = quant - exact(float(kind.zero << bits))
        scaled = quant * halved(scale, bits)
        return scaled if minimum is None else scaled + minimum

    def dot(self, prepared: PreparedInput) -> Expr:
        """sum(value(k) * x[k]) over the group; scale and minimum are applied once."""
        kind, scale, minimum = self.reader.block_type, self.scales.scale, self.scales.minimum
        total = self.quant(0) * prepared.scaled[0]
        for k in range(1, len(prepared.scaled)):
            total = self.quant(k) * prepared.scaled[k] + total
        if scale is None:
            return total
        sum_x: Expr = prepared.total
        if kind.zero:
            total = total - sum_x * float(kind.zero)
        return total * scale if minimum is None else total * scale + sum_x * minimum


@dataclass(frozen=True)
class PreparedInput:
    """One group of x, made ready for `WeightGroup.dot` of any number of rows."""

    scaled: Sequence[Expr]
    total: Expr | None
