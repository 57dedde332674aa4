"""What the numbers of a group of 32 elements are multiplied by, and what is added to them.

K-quants scale their scales: small integers for 16 or 32 elements, one f16 for 256. Their product
is made here, in f32, where it is exact; storing it as f16 would not be. Knows no quants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from transom_compile.kernels.emit import Expr, cast, f16_of_pair, let
from transom_compile.kernels.weights.quants import GROUP, Planes
from transom_models.block_type import SUPER_BLOCK

GROUPS = SUPER_BLOCK // GROUP
"""Groups of a super-block."""


@dataclass(frozen=True)
class Factors:
    """Of one group: none, one for all its elements, or one for each half of them."""

    scales: Sequence[Expr] = ()
    minimums: Sequence[Expr] = ()


class Scales:
    """One way to read scales: this one has none."""

    has_minimum = False

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        return Factors()


class Halves(Scales):
    """An f16 scale a group, and an f16 minimum where there is a `.m` plane."""

    def __init__(self, *, minimum: bool = False) -> None:
        self.has_minimum = minimum

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        # Scales lie flat over rows, two to a word.
        flat = let(row * (cols // GROUP) + group)
        scale = let(f16_of_pair(planes[".s"][flat // 2], flat % 2))
        if not self.has_minimum:
            return Factors([scale])
        return Factors([scale], [let(f16_of_pair(planes[".m"][flat // 2], flat % 2))])


class Exponents(Scales):
    """MXFP4: a power of two a group, half of what its byte says since the levels are doubled."""

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        flat = let(row * (cols // GROUP) + group)
        byte = let(_bits(planes[".s"][flat // 4], flat % 4 * 8, 8))
        # 0 and 1 are below the smallest normal f32.
        tiny = tirx.const(0x200000, "uint32") << cast("uint32", byte)
        bits = tirx.Select(byte < 2, tiny, cast("uint32", byte - 1) << tirx.const(23, "uint32"))
        return Factors([let(tirx.reinterpret("float32", bits))])


@dataclass(frozen=True)
class SuperBlock:
    """Where a group stands: the number of its super-block, and its own within that."""

    number: Expr
    group: Expr

    @classmethod
    def of(cls, row: Expr, group: Expr, cols: int) -> SuperBlock:
        number = let(row * (cols // SUPER_BLOCK) + group // GROUPS)
        return cls(number, let(group % GROUPS))

    def single(self, planes: Planes) -> Expr:
        """The f16 scale where `.d` has nothing else."""
        return let(f16_of_pair(planes[".d"][self.number // 2], self.number % 2))

    def six_bits(self, planes: Planes) -> tuple[Expr, Expr]:
        """The group's two 6-bit numbers as int32: low nibbles in two words, the rest in a third."""
        first = self.number * 3
        low = let(_shifted(planes[".s"][first + self.group // 4], self.group % 4 * 8))
        high = let(_shifted(planes[".s"][first + 2], self.group * 4))
        one = (low & 15) | ((high & 3) << 4)
        other = ((low >> 4) & 15) | ((high & 12) << 2)
        return one, other

    def half_word(self, planes: Planes) -> Expr:
        """The group's two bytes of `.s`, in the low half of an int32."""
        word = planes[".s"][self.number * 4 + self.group // 2]
        return let(_shifted(word, self.group % 2 * 16))


class SixBitMinimum(Scales):
    """Q4_K and Q5_K: d * scale and -dmin * minimum, both of 6 bits."""

    has_minimum = True

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        block = SuperBlock.of(row, group, cols)
        scale, minimum = block.six_bits(planes)
        both = let(planes[".d"][block.number])
        return Factors(
            [let(f16_of_pair(both, 0) * cast("float32", scale))],
            [let(f16_of_pair(both, 1) * -cast("float32", minimum))],
        )


class SixBitHalves(Scales):
    """Q3_K: d * (scale - 32), a scale of 6 bits for each 16 elements."""

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        block = SuperBlock.of(row, group, cols)
        d = block.single(planes)
        return Factors([let(d * cast("float32", s - 32)) for s in block.six_bits(planes)])


class NibbleMinimum(Scales):
    """Q2_K: d * scale and -dmin * minimum, both of 4 bits and for each 16 elements."""

    has_minimum = True

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        block = SuperBlock.of(row, group, cols)
        word = block.half_word(planes)
        both = let(planes[".d"][block.number])
        d, dmin = let(f16_of_pair(both, 0)), let(f16_of_pair(both, 1))
        scales = [let(d * cast("float32", word >> at & 15)) for at in (0, 8)]
        minimums = [let(dmin * -cast("float32", word >> at & 15)) for at in (4, 12)]
        return Factors(scales, minimums)


class ByteHalves(Scales):
    """Q6_K: d * scale, a signed byte for each 16 elements."""

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        block = SuperBlock.of(row, group, cols)
        d, word = block.single(planes), block.half_word(planes)
        return Factors([let(d * cast("float32", word << up >> 24)) for up in (24, 16)])


class SplitSixBit(Scales):
    """IQ4_XS: d * (scale - 32); low nibbles in `.s`, high pairs beside d."""

    def factors(self, planes: Planes, row: Expr, group: Expr, cols: int) -> Factors:
        block = SuperBlock.of(row, group, cols)
        both = let(planes[".d"][block.number])
        low = _bits(planes[".s"][block.number], block.group * 4, 4)
        high = _bits(both, block.group * 2 + 16, 2)
        scale = cast("float32", (low | (high << 4)) - 32)
        return Factors([let(f16_of_pair(both, 0) * scale)])


def _shifted(word: Expr, amount: Expr) -> Expr:
    """A word moved down, as int32: its top bits are not meant to be used."""
    return cast("int32", word >> cast("uint32", amount))


def _bits(word: Expr, start: Expr, count: int) -> Expr:
    return _shifted(word, start) & ((1 << count) - 1)
