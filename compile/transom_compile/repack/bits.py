"""Bits of many blocks into the order of the planes and back: nibbles, and the bits above them.

GGML interleaves elements for SIMD lanes of a CPU: a byte holds elements that stand 16, 32 or 64
apart. Planes hold eight neighbours in a word (`docs/formats/shards.md`). Words of 64 bits are used
throughout, since NumPy's cost is per operation. Knows no block type.
"""

import numpy as np
import numpy.typing as npt

from transom_compile.repack.base import Bytes

Words = npt.NDArray[np.uint32]
Longs = npt.NDArray[np.uint64]

PIECES = 4
"""Pieces of eight elements in a group of 32."""
PACKED_BYTES = 32
"""GGML packs the bits above the nibbles, and quants of two bits, into runs of so many bytes."""
# In every 16-bit lane: the first byte's high nibble; shifted by four, the second's low nibble.
_MIDDLE_NIBBLES = np.uint64(0x00F0_00F0_00F0_00F0)
_FOUR = np.uint64(4)
# Steps that bring the low nibbles of eight bytes into the low word, the high ones into the high.
_UNSHUFFLE = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in (
        (4, 0x00F0_00F0_00F0_00F0),
        (8, 0x0000_FF00_0000_FF00),
        (16, 0x0000_0000_FFFF_0000),
    )
)
_LANE_MASKS = {1: np.uint64(0x1111_1111_1111_1111), 2: np.uint64(0x3333_3333_3333_3333)}
_BYTES = np.arange(256, dtype=np.uint32)
# Bit k of a byte at the bottom of nibble k.
_SPREAD = sum(((_BYTES >> k & 1) << 4 * k for k in range(8)), start=np.zeros_like(_BYTES))


def natural_nibbles(source: Bytes, run: int, out: Bytes) -> None:
    """Nibbles into the order of elements, two neighbours to a byte.

    source, out: [blocks, bytes]. In each run of so many bytes GGML has one half of the elements in
    the low nibbles and the other half in the high ones.
    """
    lanes = source.copy()
    _swap_middle_nibbles(lanes)
    pairs = lanes.view(np.uint16).reshape(-1, run // 2)
    runs = out.reshape(-1, run)
    runs[:, : run // 2] = pairs & np.uint16(0xFF)
    runs[:, run // 2 :] = pairs >> np.uint16(8)


def ggml_nibbles(natural: Bytes, run: int) -> Bytes:
    """The inverse of `natural_nibbles`."""
    runs = natural.reshape(-1, run)
    lanes = np.empty_like(runs)
    lanes[:, 0::2] = runs[:, : run // 2]
    lanes[:, 1::2] = runs[:, run // 2 :]
    _swap_middle_nibbles(lanes)
    return lanes.reshape(natural.shape)


def nibble_values(natural: Bytes) -> Bytes:
    """Elements [blocks, 2 * bytes], 0 to 15."""
    pairs = natural[:, :, None] >> np.array([0, 4], np.uint8) & np.uint8(15)
    return pairs.reshape(len(natural), -1)


def lanes_of(source: Bytes, width: int, out: Bytes) -> None:
    """Bits above the nibbles, or quants of two bits, into lanes. source, out: [blocks, bytes].

    GGML: in each run of 32 bytes, element l of group j is the `width` bits of byte l from bit
    width * j. Out: of a group, element 8p + k is in word p / (4 / width), nibble k of it, from bit
    width * (p % (4 / width)) of that nibble: one shift and one mask give a shader a piece.
    """
    per_word, groups = PIECES // width, 8 // width
    pieces = _by_piece(source.reshape(-1, PACKED_BYTES))
    lanes = out.view(np.uint32).reshape(-1, groups, width)
    for j in range(groups // 2):
        # One nibble holds this group's bits and those of the group that is half the run away.
        found = [(piece >> np.uint64(width * j)) & _LANE_MASKS[width] for piece in pieces]
        for word in range(width):
            both = found[word * per_word]
            for p in range(1, per_word):
                both |= found[word * per_word + p] << np.uint64(width * p)
            _unshuffle(both)
            halves = both.view(np.uint32).reshape(-1, 2)
            lanes[:, j, word] = halves[:, 0]
            lanes[:, j + groups // 2, word] = halves[:, 1]


def ggml_packed(lanes: Bytes, width: int) -> Bytes:
    """The inverse of `lanes_of`."""
    per_word, groups = PIECES // width, 8 // width
    words = lanes.reshape(-1, PACKED_BYTES).view(np.uint32).reshape(-1, groups, width)
    packed = np.zeros((len(words), PIECES), np.uint64)
    for j in range(groups // 2):
        for word in range(width):
            halves = np.stack([words[:, j, word], words[:, j + groups // 2, word]], axis=1)
            both = halves.view(np.uint64).reshape(-1)
            _shuffle(both)
            for p in range(per_word):
                bits = (both >> np.uint64(width * p)) & _LANE_MASKS[width]
                packed[:, word * per_word + p] |= bits << np.uint64(width * j)
    return packed.view(np.uint8).reshape(lanes.shape)


def lane_values(lanes: Bytes, width: int) -> Bytes:
    """Elements [blocks, 8 / width * bytes] of what `lanes_of` made, 0 to 2**width - 1."""
    element = np.arange(32, dtype=np.uint32)
    piece, per_word = element // 8, PIECES // width
    words = np.ascontiguousarray(lanes).view(np.uint32).reshape(len(lanes), -1, width)
    shifts = element % 8 * 4 + piece % per_word * width
    bits = words[:, :, piece // per_word] >> shifts & np.uint32((1 << width) - 1)
    return bits.astype(np.uint8).reshape(len(lanes), -1)


def lanes_of_bits(source: Bytes, out: Bytes) -> None:
    """32 bits in the order of elements (Q5_0, Q5_1) into lanes of width 1: [blocks, 4]."""
    lanes = out.view(np.uint32)
    lanes[:, 0] = _SPREAD[source[:, 0]]
    for p in range(1, PIECES):
        lanes[:, 0] |= _SPREAD[source[:, p]] << np.uint32(p)


def ggml_bits(lanes: Bytes) -> Bytes:
    """The inverse of `lanes_of_bits`."""
    return np.packbits(lane_values(lanes, 1), axis=1, bitorder="little")


def pack_six_bits(first: Bytes, second: Bytes, out: Bytes) -> None:
    """Two 6-bit numbers for each of eight groups: [blocks, 8] each into [blocks, 12].

    Byte j: low nibbles of group j, the first number's lower. The other four bytes: the upper pairs,
    nibble j of group j.
    """
    out[:, :8] = first & np.uint8(15) | second << np.uint8(4)
    upper = first >> np.uint8(4) | second >> np.uint8(4) << np.uint8(2)
    out[:, 8:] = upper[:, 0::2] | upper[:, 1::2] << np.uint8(4)


def six_bits(packed: Bytes) -> tuple[Bytes, Bytes]:
    """The inverse of `pack_six_bits`."""
    low = packed[:, :8]
    upper = nibble_values(packed[:, 8:])
    first = low & np.uint8(15) | (upper & np.uint8(3)) << np.uint8(4)
    second = low >> np.uint8(4) | upper >> np.uint8(2) << np.uint8(4)
    return first, second


def _by_piece(runs: Bytes) -> list[Longs]:
    """[n, 32] -> four arrays [n] of eight bytes, contiguous."""
    longs = np.ascontiguousarray(runs).view(np.uint64)
    return [np.ascontiguousarray(longs[:, p]) for p in range(PIECES)]


def _swap_middle_nibbles(lanes: Bytes) -> None:
    """Per two bytes, exchange the first one's high with the second one's low nibble, in place.

    GGML keeps element j in a low and element j + run in a high nibble; after the exchange the first
    byte holds elements 2i, 2i + 1 and the second 2i + run, 2i + run + 1. It undoes itself.
    """
    _swap_bits(lanes.reshape(-1).view(np.uint64), _FOUR, _MIDDLE_NIBBLES)


def _unshuffle(words: Longs) -> None:
    for shift, mask in _UNSHUFFLE:
        _swap_bits(words, shift, mask)


def _shuffle(words: Longs) -> None:
    for shift, mask in reversed(_UNSHUFFLE):
        _swap_bits(words, shift, mask)


def _swap_bits(words: Longs, shift: np.uint64, mask: np.uint64) -> None:
    """Exchange the masked bits with those `shift` below them, in place."""
    scratch = np.right_shift(words, shift)
    scratch ^= words
    scratch &= mask
    words ^= scratch
    np.left_shift(scratch, shift, out=scratch)
    words ^= scratch
