"""How a kernel reads a stored weight: from planes of u32 to f32 values, block type by block type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transom_models.block_type import BLOCK_TYPES, BlockType
from tvm import tirx

from transom_compile.kernels.emit import Buffer, Expr, buffer_arg, cast, f16_of_pair, halved, let

GROUP = 32
"""Elements handled at a time: one block of every quantized type here."""


@dataclass(frozen=True)
class WeightReader:
    """The planes of one weight of shape (rows, cols), bound as kernel parameters.

    `group(row, index)` names the words and scales of elements [32*index, 32*index+32) of a row once;
    its `quant(k)` is the integer part of element k as f32, its `value(k)` the dequantized element.
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

    def group(self, row: Expr, index: Expr) -> WeightGroup:
        kind = self.block_type
        if kind.name == "F32":
            values = [let(self.planes[0][row, index * GROUP + k]) for k in range(GROUP)]
            return WeightGroup(self, values, None, None)
        words_per_group = GROUP // (kind.word_elements or 2)
        words = [
            let(self.planes[0][row, index * words_per_group + w]) for w in range(words_per_group)
        ]
        if kind.name == "F16":
            return WeightGroup(self, words, None, None)
        # Scales lie flat over rows, two to a word.
        flat = let(row * (self.cols // kind.elements) + index)
        scale = let(f16_of_pair(self.planes[1][flat // 2], flat % 2))
        minimum = let(f16_of_pair(self.planes[2][flat // 2], flat % 2)) if kind.has_min else None
        return WeightGroup(self, words, scale, minimum)


@dataclass(frozen=True)
class WeightGroup:
    """32 consecutive elements of one row, loaded once."""

    reader: WeightReader
    words: Sequence[Expr]
    scale: Expr | None
    minimum: Expr | None

    def quant(self, k: int) -> Expr:
        """Element k without scale, zero point and minimum, times 2**quant_bits(k), as float32.

        A nibble is masked where it stands instead of shifted down: one operation less, and the power
        of two is divided out of the other factor exactly, once for many rows.
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
            return cast("float32", tirx.reinterpret("int32", top) >> (32 - bits))
        if slot == kind.word_elements - 1:
            word = word >> tirx.const(bits * slot, "uint32")
            return cast("float32", tirx.reinterpret("int32", word))
        mask = ((1 << bits) - 1) << (bits * slot)
        return cast("float32", tirx.reinterpret("int32", word) & mask)

    def value(self, k: int) -> Expr:
        """Element k, dequantized: float32 arithmetic on exact parts."""
        kind = self.reader.block_type
        quant = self.quant(k)
        if self.scale is None:
            return quant
        bits = self.reader.quant_bits(k)
        if kind.zero:
            quant = quant - float(kind.zero << bits)
        scaled = halved(self.scale, bits)
        if self.minimum is not None:
            return quant * scaled + self.minimum
        return quant * scaled

    def dot(self, prepared: PreparedInput) -> Expr:
        """sum(value(k) * x[k]) over the group; scale and minimum are applied once."""
        total = self.quant(0) * prepared.scaled[0]
        for k in range(1, GROUP):
            total = self.quant(k) * prepared.scaled[k] + total
        if self.scale is None:
            return total
        if self.reader.block_type.zero:
            total = total - prepared.total * float(self.reader.block_type.zero)
        if self.minimum is not None:
            return total * self.scale + prepared.total * self.minimum
        return total * self.scale


@dataclass(frozen=True)
class PreparedInput:
    """One group of x, made ready for `WeightGroup.dot` of any number of rows."""

    scaled: Sequence[Expr]
    total: Expr | None
