"""The next token of every row from its logits, on the GPU, written where the next step reads it.

A row is a sequence, or a drafted token, of `inputs` (token ids, positions, slots). The largest
logit, or the largest logit + noise: which is a draw from the softmax, whatever the order and the
number of threads, so that all functions that draw choose the same token. Barrier-free: both
schedules share these kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    buffer_arg,
    exact,
    kernel,
    launch,
    let,
    local,
    store,
    symbolic,
    when,
)
from transom_compile.kernels.random_numbers import WORDS, gumbel, token_words
from transom_compile.kernels.sampler_row import (
    FORBIDDEN,
    LOWEST,
    SamplerRow,
    Sizes,
    advance,
)

CHUNKS = 256
"""Threads of a row for a reduction in two steps."""
THREADS = 64
NO_WEIGHT = -200.0
"""exp of this is nothing; of much less it may leave what a driver's exp can do."""


def chunk_largest(vocab: int) -> object:
    """(logits (n, vocab), best (n, CHUNKS), where (n, CHUNKS)): each thread's share of a row."""
    with kernel("chunk_largest") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, vocab), "float32")
        outputs = declare_best(n)
        with chunks(n) as (row, chunk), best_of(outputs, row, chunk) as best:
            with T.serial(-(-vocab // CHUNKS)) as i:
                token = let(i * CHUNKS + chunk)
                with when(token < vocab):
                    best.offer(let(logits[row, token]), token)
    return made.prim_func


def chunk_drawn(sizes: Sizes) -> object:
    """(logits, samplers, inputs, best, where): as `chunk_largest`, of logits / temperature + noise.

    A thread takes as many tokens at a time as it gets random words.
    """
    with kernel("chunk_drawn") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, sizes.vocab), "float32")
        samplers, inputs = sizes.declare_samplers(), sizes.declare_inputs()
        outputs = declare_best(n)
        with chunks(n) as (row, chunk), best_of(outputs, row, chunk) as best:
            draw = Draw.of(samplers, inputs, row)
            blocks = -(-sizes.vocab // WORDS)
            with T.serial(-(-blocks // CHUNKS)) as i:
                block = let(i * CHUNKS + chunk)
                with when(block < blocks):
                    words = token_words(draw.seed, draw.position, block)
                    for j in range(WORDS):
                        token = let(block * WORDS + j)
                        with when(token < sizes.vocab):
                            logit = let(logits[row, token])
                            best.offer(draw.score(logit, words[j]), token)
    return made.prim_func


def take_best(sizes: Sizes) -> object:
    """(best, where, inputs, history, chosen int32 (n,)): the best of the chunks, and `advance`."""
    with kernel("take_best") as made:
        n = symbolic("n")
        bests, where = declare_best(n)
        inputs, history = sizes.declare_inputs(), sizes.declare_history()
        chosen = buffer_arg("chosen", (n,), "int32")
        with launch(grid=(n,), threads=(1,)) as ((row,), _):
            best = Best.none()
            with T.serial(CHUNKS) as i:
                best.offer(let(bests[row, i]), let(where[row, i]))
            token = let(best.token[0])
            store(chosen, row, token)
            advance(inputs, history, row, token, sizes)
    return made.prim_func


@dataclass(frozen=True)
class Draw:
    """What chance is given for a row, read once."""

    seed: tuple[Expr, Expr]
    position: Expr
    """Of the token that is to be drawn."""
    temperature: Expr
    is_greedy: Expr

    @classmethod
    def of(cls, samplers: Buffer, inputs: Buffer, row: Expr) -> Draw:
        asked = SamplerRow(samplers, row)
        return cls(asked.seed, let(inputs[1, row] + 1), asked.temperature, asked.is_greedy)

    def score(self, logit: Expr, word: Expr) -> Expr:
        """What the drawn token has most of."""
        noisy = logit / self.temperature + gumbel(let(word))
        drawn = let(tirx.Select(logit > exact(FORBIDDEN), noisy, exact(LOWEST)))
        return let(tirx.Select(self.is_greedy, logit, drawn))


@dataclass(frozen=True)
class Best:
    """The largest value so far and its token; of equals the lowest id, as in NumPy and PyTorch."""

    value: Buffer
    token: Buffer

    @classmethod
    def none(cls) -> Best:
        value, token = local((1,), "float32"), local((1,), "int32")
        store(value, 0, exact(LOWEST))
        # Any token is better than this; where all are forbidden, it is the first.
        store(token, 0, tirx.const(0, "int32"))
        return cls(value, token)

    def offer(self, value: Expr, token: Expr) -> None:
        is_lower = tirx.And(value == self.value[0], token < self.token[0])
        with when(tirx.Or(value > self.value[0], is_lower)):
            store(self.value, 0, value)
            store(self.token, 0, token)


def declare_best(n: Expr) -> tuple[Buffer, Buffer]:
    values = buffer_arg("best", (n, CHUNKS), "float32")
    return values, buffer_arg("where", (n, CHUNKS), "int32")


@contextmanager
def chunks(n: Expr) -> Iterator[tuple[Expr, Expr]]:
    """CHUNKS threads of every row: the row, and the thread's number."""
    with launch(grid=(CHUNKS // THREADS, n), threads=(THREADS,)) as ((bx, row), (tx,)):
        yield row, let(bx * THREADS + tx)


@contextmanager
def best_of(outputs: tuple[Buffer, Buffer], row: Expr, chunk: Expr) -> Iterator[Best]:
    best = Best.none()
    yield best
    store(outputs[0], [row, chunk], best.value[0])
    store(outputs[1], [row, chunk], best.token[0])


def exp_of(below: Expr) -> Expr:
    """exp of a logit less the largest; a forbidden one gives 0."""
    return T.exp(tirx.max(below, exact(NO_WEIGHT)))
