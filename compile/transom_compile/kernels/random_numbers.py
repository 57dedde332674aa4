"""Random numbers without state: the same function of seed, position and token on GPU and CPU.

Philox 4x32 with ten rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1,
2, 3", 2011). `web/src/worker/random.ts` is the same, bit for bit.
"""

from __future__ import annotations

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import Buffer, Expr, cast, exact, halved, let, local, store

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
WORDS = 4
"""Random words of one `philox`, one for each of so many tokens."""
SMALL = 1 / 64
"""Below this, log(1 - v) is taken from its series: the smallest numbers decide who is drawn."""


def philox(counter: list[Expr], key: list[Expr]) -> Buffer:
    """Four random words (uint32, in private memory) for a counter of four and a key of two."""
    state = local((WORDS + 2,), "uint32")
    for i, word in enumerate([*counter, *key]):
        store(state, i, word)
    with T.serial(ROUNDS):
        high0, low0 = _product(let(state[0]), MULTIPLIERS[0])
        high1, low1 = _product(let(state[2]), MULTIPLIERS[1])
        mixed0 = let(high1 ^ state[1] ^ state[4])
        mixed1 = let(high0 ^ state[3] ^ state[5])
        for i, word in enumerate([mixed0, low1, mixed1, low0]):
            store(state, i, word)
        for i, step in enumerate(KEY_STEPS):
            store(state, WORDS + i, state[WORDS + i] + _word(step))
    return state


def token_words(seed: tuple[Expr, Expr], position: Expr, block: Expr) -> Buffer:
    """Random words of the tokens WORDS * block and on, at a position. All arguments int32."""
    zero = _word(0)
    counter = [cast("uint32", block), cast("uint32", position), zero, zero]
    return philox(counter, [cast("uint32", word) for word in seed])


def gumbel(word: Expr) -> Expr:
    """-log(-log(1 - v)) with v = (word + 1/2) / 2**32: noise after Gumbel.

    The largest of logit + noise is a draw from the softmax of the logits.
    """
    half = exact(0.5)
    v = let(halved(cast("float32", word) + half, 32))
    # 1 - v from the integer: v itself may round to 1.
    rest = let(halved(cast("float32", word ^ _word(0xFFFFFFFF)) + half, 32))
    series = v * (exact(1) + v * (half + v * (exact(1 / 3) + v * exact(0.25))))
    waiting = let(tirx.Select(v < exact(SMALL), series, -T.log(rest)))
    return -T.log(waiting)


def _word(value: int) -> Expr:
    return tirx.const(value, "uint32")


def _product(word: Expr, factor: int) -> tuple[Expr, Expr]:
    """High and low word of a product of 64 bits, which WGSL does not have."""
    sixteen, mask = _word(16), _word(0xFFFF)
    factor_high, factor_low = _word(factor >> 16), _word(factor & 0xFFFF)
    word_high, word_low = let(word >> sixteen), let(word & mask)
    lowest = let(word_low * factor_low)
    middle = let(word_high * factor_low + (lowest >> sixteen))
    crossed = let(word_low * factor_high + (middle & mask))
    high = let(word_high * factor_high + (middle >> sixteen) + (crossed >> sixteen))
    return high, let(word * _word(factor))
