"""One weight, bound as kernel parameters and read group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from transom_compile.kernels.emit import Expr, buffer_arg, exact, halved, let
from transom_compile.kernels.weights import quants, scales
from transom_compile.kernels.weights.quants import GROUP, PIECE, PIECES, Place, Planes, Quants
from transom_compile.kernels.weights.scales import Factors, Scales
from transom_models.block_type import BLOCK_TYPES

FORMATS: Mapping[str, tuple[Quants, Scales]] = MappingProxyType(
    {
        "F32": (quants.Floats(), Scales()),
        "F16": (quants.Halves(), Scales()),
        "BF16": (quants.BrainHalves(), Scales()),
        "Q4_0": (quants.Nibbles(zero=8), scales.Halves()),
        "Q4_1": (quants.Nibbles(), scales.Halves(minimum=True)),
        "Q5_0": (quants.Bytes(1, zero=16), scales.Halves()),
        "Q5_1": (quants.Bytes(1), scales.Halves(minimum=True)),
        "Q8_0": (quants.SignedBytes(), scales.Halves()),
        "Q2_K": (quants.Crumbs(), scales.NibbleMinimum()),
        "Q3_K": (quants.Crumbs(high=True, zero=4), scales.SixBitHalves()),
        "Q4_K": (quants.Nibbles(), scales.SixBitMinimum()),
        "Q5_K": (quants.Bytes(1), scales.SixBitMinimum()),
        "Q6_K": (quants.Bytes(2, zero=32), scales.ByteHalves()),
        "IQ4_NL": (quants.Curve(), scales.Halves()),
        "IQ4_XS": (quants.Curve(), scales.SplitSixBit()),
        "MXFP4": (quants.MiniFloats(), scales.Exponents()),
    }
)
"""An element's value is scale * (number - zero) + minimum."""


@dataclass(frozen=True)
class WeightReader:
    """The planes of one weight of shape (rows, cols), bound as kernel parameters.

    A row is read in groups of 32 elements. `group` gives the values of a whole group, for kernels
    that dequantize. `header` and `piece` give products with x: what a group shares is loaded once
    and its four pieces are a loop, since drivers take long over unrolled groups.
    """

    cols: int
    planes: Planes
    quants: Quants
    scales: Scales

    @classmethod
    def declare(cls, block_type: str, rows: int, cols: int) -> WeightReader:
        planes = {
            plane.suffix: buffer_arg(f"w{plane.suffix.replace('.', '_')}", plane.shape, plane.dtype)
            for plane in BLOCK_TYPES[block_type].planes((rows, cols))
        }
        return cls(cols, planes, *FORMATS[block_type])

    def prepare(self, xs: Sequence[Expr]) -> PreparedInput:
        """Eight elements of x, each without the bits its number stands too high by."""
        scaled = [halved(x, self.quants.bits(k)) for k, x in enumerate(xs)]
        if not (self.quants.zero or self.scales.has_minimum):
            return PreparedInput(scaled, None)
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return PreparedInput(scaled, let(total))

    def header(self, row: Expr, group: Expr) -> Header:
        """What elements [32*group, 32*group+32) of a row share, loaded once."""
        shared = self.quants.shared(self.planes, row, group)
        return Header(row, group, self.scales.factors(self.planes, row, group, self.cols), shared)

    def piece(self, header: Header, part: Expr | int) -> WeightPiece:
        """Elements [8*part, 8*part+8) of a group."""
        place = Place(header.row, header.group, part)
        words = self.quants.words(self.planes, place, header.shared)
        scale, minimum = (
            place.of_halves(values) if values else None
            for values in (header.factors.scales, header.factors.minimums)
        )
        return WeightPiece(self.quants, words, scale, minimum)

    def group(self, row: Expr, index: Expr) -> WeightGroup:
        """Elements [32*index, 32*index+32) of a row."""
        header = self.header(row, index)
        return WeightGroup([self.piece(header, part) for part in range(PIECES)])


@dataclass(frozen=True)
class Header:
    """Scales, minimums and shared words of one group."""

    row: Expr
    group: Expr
    factors: Factors
    shared: Sequence[Expr]


@dataclass(frozen=True)
class PreparedInput:
    """Eight elements of x, made ready for `WeightPiece.dot` of any number of rows."""

    scaled: Sequence[Expr]
    total: Expr | None


@dataclass(frozen=True)
class WeightPiece:
    """Eight elements of a row with one scale and one minimum, loaded once."""

    quants: Quants
    words: Sequence[Expr]
    scale: Expr | None
    minimum: Expr | None

    def value(self, k: int) -> Expr:
        """Element k, dequantized: float32 arithmetic on exact parts."""
        number, bits = self.quants.number(self.words, k), self.quants.bits(k)
        if self.scale is None:
            return number
        if self.quants.zero:
            number = number - exact(float(self.quants.zero << bits))
        scaled = number * halved(self.scale, bits)
        return scaled if self.minimum is None else scaled + self.minimum

    def dot(self, prepared: PreparedInput) -> Expr:
        """sum(value(k) * x[k]) over the piece; scale and minimum are applied once."""
        total = self.quants.number(self.words, 0) * prepared.scaled[0]
        for k in range(1, PIECE):
            total = self.quants.number(self.words, k) * prepared.scaled[k] + total
        if self.scale is None:
            return total
        sum_x: Expr = prepared.total
        if self.quants.zero:
            total = total - sum_x * float(self.quants.zero)
        scaled = total * self.scale
        return scaled if self.minimum is None else scaled + sum_x * self.minimum


@dataclass(frozen=True)
class WeightGroup:
    """32 elements of a row."""

    pieces: Sequence[WeightPiece]

    def value(self, k: int) -> Expr:
        """Element k, dequantized."""
        return self.pieces[k // PIECE].value(k % PIECE)


__all__ = ["GROUP", "PIECE", "WeightReader"]
