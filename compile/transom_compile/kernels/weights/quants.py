"""How the words of a weight become numbers, eight elements (a piece) at a time.

Fields are masked where they stand, and the power of two by which they stand too high is divided out
of the other factor, once for many rows: one operation less than shifting. Types of up to four bits
make one word of eight nibbles of a piece; those of five and six bits make two words of four bytes,
even and odd elements. The bits above the low ones lie in the `.h` plane such that one shift and one
mask put them there (`docs/formats/shards.md`). Knows no scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx

from transom_compile.kernels.emit import Buffer, Expr, cast, exact, f16_of_pair, let
from transom_models.block_type import INPUT_GROUP

GROUP = INPUT_GROUP
PIECE = 8
"""A part of a group that is at most whole words of every block type."""
PIECES = GROUP // PIECE

Planes = Mapping[str, Buffer]


@dataclass(frozen=True)
class Place:
    """Piece `part` (0 to 3) of group `group` of a row. `part` may be known only to the shader."""

    row: Expr
    group: Expr
    part: Expr | int

    @property
    def piece(self) -> Expr:
        return self.group * PIECES + self.part

    def of_halves(self, values: Sequence[Expr]) -> Expr:
        """The one value that all pieces share, or that of the half which this piece is in."""
        if len(values) == 1:
            return values[0]
        first, second = values
        if isinstance(self.part, int):
            return first if self.part < PIECES // 2 else second
        return tirx.Select(self.part < PIECES // 2, first, second)


class Quants:
    """One way to read quants; `zero` is what a number stands for zero with."""

    zero: int = 0

    def shared(self, planes: Planes, row: Expr, group: Expr) -> tuple[Expr, ...]:
        """Words that all pieces of a group read, loaded once."""
        return ()

    def words(self, planes: Planes, place: Place, shared: Sequence[Expr]) -> tuple[Expr, ...]:
        """The words of one piece."""
        raise NotImplementedError

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        """Element k of the piece as float32, times 2**bits(k), without its scale."""
        raise NotImplementedError

    def bits(self, k: int) -> int:
        """How many bits too high `number(k)` stands."""
        return 0


class Floats(Quants):
    """F32: the words are the numbers."""

    def words(self, planes: Planes, place: Place, shared: Sequence[Expr]) -> tuple[Expr, ...]:
        return tuple(let(planes[""][place.row, place.piece * PIECE + k]) for k in range(PIECE))

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        return words[k]


class Halves(Quants):
    """F16: two to a word."""

    def words(self, planes: Planes, place: Place, shared: Sequence[Expr]) -> tuple[Expr, ...]:
        count = PIECE // 2
        return tuple(let(planes[""][place.row, place.piece * count + w]) for w in range(count))

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        return f16_of_pair(words[k // 2], k % 2)


class BrainHalves(Halves):
    """BF16: the upper half of a float32."""

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        word = words[k // 2]
        bits = word & _u32(0xFFFF0000) if k % 2 else word << _u32(16)
        return tirx.reinterpret("float32", bits)


class SignedBytes(Quants):
    """Q8_0: four to a word."""

    def words(self, planes: Planes, place: Place, shared: Sequence[Expr]) -> tuple[Expr, ...]:
        return tuple(let(planes[".q"][place.row, place.piece * 2 + w]) for w in range(2))

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        # Move the element to the top of an i32: its sign is then the sign.
        top = words[k // 4] << _u32(24 - 8 * (k % 4))
        return cast("float32", cast("int32", top) >> 24)


class Nibbles(Quants):
    """Four bits, eight to a word."""

    def __init__(self, zero: int = 0) -> None:
        self.zero = zero

    def words(self, planes: Planes, place: Place, shared: Sequence[Expr]) -> tuple[Expr, ...]:
        return (let(planes[".q"][place.row, place.piece]),)

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        if k == PIECE - 1:
            # In its place it would be the sign of an i32.
            return cast("float32", cast("int32", words[0] >> _u32(28)))
        return masked(words[0], 0xF << 4 * k)

    def bits(self, k: int) -> int:
        return 0 if k == PIECE - 1 else 4 * k


class Crumbs(Quants):
    """Two bits, and a third one above them where there is a `.h` plane: Q2_K and Q3_K.

    Two pieces share a word of `.q`, four a word of `.h`.
    """

    def __init__(self, *, high: bool = False, zero: int = 0) -> None:
        self.high = high
        self.zero = zero

    def shared(self, planes: Planes, row: Expr, group: Expr) -> tuple[Expr, ...]:
        low = tuple(let(planes[".q"][row, group * 2 + half]) for half in range(2))
        return (*low, let(planes[".h"][row, group])) if self.high else low

    def words(self, planes: Planes, place: Place, shared: Sequence[Expr]) -> tuple[Expr, ...]:
        word = two_bit_lanes(place, shared[:2])
        if self.high:
            word = word | (one_bit_lanes(place, shared[2]) << _u32(2))
        return (let(word),)

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        return masked(words[0], (7 if self.high else 3) << 4 * k)

    def bits(self, k: int) -> int:
        return 4 * k


class Bytes(Quants):
    """Nibbles with one or two bits above them in `.h`: two words of four bytes a piece."""

    def __init__(self, high_bits: int, zero: int = 0) -> None:
        self.high_bits = high_bits
        self.zero = zero

    def shared(self, planes: Planes, row: Expr, group: Expr) -> tuple[Expr, ...]:
        return tuple(
            let(planes[".h"][row, group * self.high_bits + w]) for w in range(self.high_bits)
        )

    def words(self, planes: Planes, place: Place, shared: Sequence[Expr]) -> tuple[Expr, ...]:
        low = let(planes[".q"][place.row, place.piece])
        if self.high_bits == 1:
            high, mask = let(one_bit_lanes(place, shared[0])), 0x01010101
        else:
            high, mask = let(two_bit_lanes(place, shared)), 0x03030303
        # The bits of an odd element already stand above where its nibble is shifted to.
        even = (low & _u32(0x0F0F0F0F)) | ((high & _u32(mask)) << _u32(4))
        odd = ((low >> _u32(4)) & _u32(0x0F0F0F0F)) | (high & _u32(mask << 4))
        return (let(even), let(odd))

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        return masked(words[k % 2], ((16 << self.high_bits) - 1) << self.bits(k))

    def bits(self, k: int) -> int:
        return 8 * (k // 2)


class Curve(Nibbles):
    """IQ4_NL's sixteen levels: a polynomial in the nibble, rounded, meets each of them exactly.

    Looking them up costs every adapter more: shaders have no fast table of their own. The
    polynomial is off by at most 0.44 (tests hold it), so its last bits do not matter.
    """

    COEFFICIENTS = (-126.567, 24.1738, -1.37193, 0.0310864, 0.00158604)
    """Of n**0, n**1, …; a minimax fit of degree 4 (degree 3 is off by 0.69)."""

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        nibble = words[0] >> _u32(4 * k)
        n = let(cast("float32", cast("int32", nibble & _u32(0xF))))
        value = tirx.const(self.COEFFICIENTS[-1], "float32")
        for coefficient in reversed(self.COEFFICIENTS[:-1]):
            value = value * n + tirx.const(coefficient, "float32")
        return tirx.round(value)

    def bits(self, k: int) -> int:
        return 0


class MiniFloats(Nibbles):
    """MXFP4's four-bit floats, doubled: 0, 1, 2, 3, 4, 6, 8, 12 by the lower bits m, then a sign.

    That is max(m, 2m - 4, 4m - 16), which holds in any power of two that m stands too high by.
    """

    def number(self, words: Sequence[Expr], k: int) -> Expr:
        unit = float(1 << 4 * k)
        m = let(masked(words[0], 7 << 4 * k))
        size = tirx.max(m, tirx.max(m * 2.0 - exact(4 * unit), m * 4.0 - exact(16 * unit)))
        negative = (words[0] & _u32(8 << 4 * k)) != _u32(0)
        return tirx.Select(negative, -size, size)

    def bits(self, k: int) -> int:
        return 4 * k


def one_bit_lanes(place: Place, word: Expr) -> Expr:
    """The bits of one piece, each at the bottom of its element's nibble."""
    return _shifted(word, place.part) & _u32(0x11111111)


def two_bit_lanes(place: Place, words: Sequence[Expr]) -> Expr:
    """The bit pairs of one piece, each at the bottom of its element's nibble."""
    odd = place.part % 2
    return _shifted(place.of_halves(words), odd * 2) & _u32(0x33333333)


def masked(word: Expr, mask: int) -> Expr:
    """A field where it stands, as float32; it must not hold the top bit.

    Through i32: converting unsigned numbers costs software adapters several instructions.
    """
    return cast("float32", cast("int32", word) & mask)


def _shifted(word: Expr, amount: Expr | int) -> Expr:
    if isinstance(amount, int):
        return word >> _u32(amount) if amount else word
    return word >> cast("uint32", amount)


def _u32(value: int) -> Expr:
    return tirx.const(value, "uint32")
