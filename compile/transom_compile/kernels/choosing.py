"""The next token of every row from its logits, on the GPU, written where the next step reads it.

A row is a sequence, or a drafted token, of `inputs` (token ids, positions, slots). The largest
logit, or the largest logit + noise: which is a draw from the softmax, whatever the order and the
number of threads, so that all functions that draw choose the same token.

Schedule "fallback" has no barriers; in "gpu" a workgroup joins what its threads found.
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
    barrier,
    buffer_arg,
    exact,
    kernel,
    launch,
    let,
    local,
    shared,
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
"""Threads of a row for sums in two steps."""
THREADS = 64
"""Threads of a workgroup."""
NO_WEIGHT = -200.0
"""exp of this is nothing; of much less it may leave what a driver's exp can do."""


@dataclass(frozen=True)
class Spread:
    """How the tokens of a row are shared out to find the best of them in two steps."""

    threads: int
    parts: int
    """Of which there are results after the first step."""

    @property
    def is_joined(self) -> bool:
        return self.parts < self.threads

    def declare(self, n: Expr) -> tuple[Buffer, Buffer]:
        values = buffer_arg("best", (n, self.parts), "float32")
        return values, buffer_arg("where", (n, self.parts), "int32")


SPREADS = {"fallback": Spread(256, 256), "gpu": Spread(THREADS * THREADS, THREADS)}


def chunk_largest(vocab: int, schedule: str) -> object:
    """(logits (n, vocab), best (n, parts), where (n, parts)): each thread's share of a row."""
    spread = SPREADS[schedule]
    with kernel("chunk_largest") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, vocab), "float32")
        outputs = spread.declare(n)
        with (
            chunks(n, spread.threads) as (row, chunk),
            best_of(outputs, spread, row, chunk) as best,
        ):
            with T.serial(-(-vocab // spread.threads)) as i:
                token = let(i * spread.threads + chunk)
                with when(token < vocab):
                    best.offer(let(logits[row, token]), token)
    return made.prim_func


def chunk_drawn(sizes: Sizes, schedule: str) -> object:
    """(logits, samplers, inputs, best, where): as `chunk_largest`, of logits / temperature + noise.

    A thread takes as many tokens at a time as it gets random words.
    """
    spread = SPREADS[schedule]
    with kernel("chunk_drawn") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, sizes.vocab), "float32")
        samplers, inputs = sizes.declare_samplers(), sizes.declare_inputs()
        outputs = spread.declare(n)
        with (
            chunks(n, spread.threads) as (row, chunk),
            best_of(outputs, spread, row, chunk) as best,
        ):
            draw = Draw.of(samplers, inputs, row)
            blocks = -(-sizes.vocab // WORDS)
            with T.serial(-(-blocks // spread.threads)) as i:
                block = let(i * spread.threads + chunk)
                with when(block < blocks):
                    words = token_words(draw.seed, draw.position, block)
                    for j in range(WORDS):
                        token = let(block * WORDS + j)
                        with when(token < sizes.vocab):
                            logit = let(logits[row, token])
                            best.offer(draw.score(logit, words[j]), token)
    return made.prim_func


def take_best(sizes: Sizes, schedule: str) -> object:
    """(best, where, inputs, history, chosen int32 (n,)): the best of the parts, and `advance`."""
    spread = SPREADS[schedule]
    threads = THREADS if spread.is_joined else 1
    with kernel("take_best") as made:
        n = symbolic("n")
        bests, where = spread.declare(n)
        inputs, history = sizes.declare_inputs(), sizes.declare_history()
        chosen = buffer_arg("chosen", (n,), "int32")
        with launch(grid=(n,), threads=(threads,)) as ((row,), (lane,)):
            best = Best.none()
            with T.serial(spread.parts // threads) as i:
                part = let(i * threads + lane)
                best.offer(let(bests[row, part]), let(where[row, part]))
            if spread.is_joined:
                best.join(lane)
            with when(lane == 0):
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

    def join(self, lane: Expr) -> None:
        """The first of the workgroup's threads gets the best of them all."""
        values, tokens = shared((THREADS,), "float32"), shared((THREADS,), "int32")
        half = THREADS // 2
        while half > 0:
            store(values, lane, self.value[0])
            store(tokens, lane, self.token[0])
            barrier()
            with when(lane < half):
                rival = fetched(values[lane + half], "float32")
                self.offer(rival, fetched(tokens[lane + half], "int32"))
            barrier()
            half //= 2

    def write(self, outputs: tuple[Buffer, Buffer], row: Expr, place: Expr) -> None:
        store(outputs[0], [row, place], self.value[0])
        store(outputs[1], [row, place], self.token[0])


@contextmanager
def chunks(n: Expr, threads: int) -> Iterator[tuple[Expr, Expr]]:
    """So many threads of every row: the row, and the thread's number."""
    with launch(grid=(threads // THREADS, n), threads=(THREADS,)) as ((bx, row), (tx,)):
        yield row, let(bx * THREADS + tx)


@contextmanager
def best_of(
    outputs: tuple[Buffer, Buffer], spread: Spread, row: Expr, thread: Expr
) -> Iterator[Best]:
    """What is offered to it within `chunks`, written where the second step looks for it."""
    best = Best.none()
    yield best
    if not spread.is_joined:
        best.write(outputs, row, thread)
        return
    lane = let(thread % THREADS)
    best.join(lane)
    with when(lane == 0):
        best.write(outputs, row, let(thread // THREADS))


def fetched(value: Expr, dtype: str) -> Expr:
    """As `let`, of what lies in shared memory: TVM does not look for barriers before a `let`."""
    copy = local((1,), dtype)
    store(copy, 0, value)
    return copy[0]


def exp_of(below: Expr) -> Expr:
    """exp of a logit less the largest; a forbidden one gives 0."""
    return T.exp(tirx.max(below, exact(NO_WEIGHT)))
