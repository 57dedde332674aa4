"""softmax(q k) v in one walk over the keys (Milakov & Gimelshein 2018), by one thread alone.

Scores are in base 2 (exp2): the base is folded into the query. All sums are f32. Knows elements of
a key and a value; knows nothing of where they lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.activations import soft_capped
from transom_compile.kernels.attention import LOWEST, TINY
from transom_compile.kernels.emit import Buffer, Expr, exact, let, local, store

Element = Callable[[Expr], Expr]
"""Element i of a vector, as float32."""


def into_base_2(scale: float, softcap: float) -> float:
    """What a query is multiplied by: capping wants the natural score, else the base goes in."""
    return scale if softcap else scale * math.log2(math.e)


def score(dot: Expr, softcap: float) -> Expr:
    """The score in base 2 of a scaled product."""
    return soft_capped(dot, softcap) * exact(math.log2(math.e)) if softcap else dot


@dataclass(frozen=True)
class RunningSoftmax:
    """That of some queries which share their keys and values: each of these is read once.

    The caller fills `query` (heads * dim), already multiplied by the scale.
    """

    heads: int
    dim: int
    softcap: float
    query: Buffer
    out: Buffer
    peaks: Buffer
    totals: Buffer
    scores: Buffer
    """Of each head: running maximum and running sum, the last score."""

    @classmethod
    def start(cls, heads: int, dim: int, softcap: float = 0.0) -> RunningSoftmax:
        sizes = (heads * dim, heads * dim, heads, heads, heads)
        made = cls(heads, dim, softcap, *(local((size,), "float32") for size in sizes))
        with T.serial(heads * dim) as i:
            store(made.out, i, T.float32(0))
        for head in range(heads):
            store(made.peaks, head, T.float32(LOWEST))
            store(made.totals, head, T.float32(0))
        return made

    def begin_with(self, dots: Sequence[Expr], value: Element) -> None:
        """The first key, whose scaled products with the queries are known."""
        for head, dot in enumerate(dots):
            store(self.peaks, head, score(dot, self.softcap))
            store(self.totals, head, T.float32(1))
        with T.serial(self.dim) as i:
            element = let(value(i))
            for head in range(self.heads):
                store(self.out, head * self.dim + i, element)

    def take(self, key: Element, value: Element) -> None:
        """One key and its value."""
        heads, dim, out, scores = range(self.heads), self.dim, self.out, self.scores
        for head in heads:
            store(scores, head, T.float32(0))

        def multiply(i: Expr) -> None:
            element = let(key(i))
            for head in heads:
                product = self.query[head * dim + i] * element
                store(scores, head, scores[head] + product)

        walk(dim, multiply)
        weights = [self._weigh(head) for head in heads]

        def add(i: Expr) -> None:
            element = let(value(i))
            for head, (shrink, weight) in enumerate(weights):
                at = head * dim + i
                store(out, at, out[at] * shrink + weight * element)

        walk(dim, add)

    def _weigh(self, head: int) -> tuple[Expr, Expr]:
        """By what the sums so far are multiplied, and by what the new value."""
        peaks, totals, scores = self.peaks, self.totals, self.scores
        if self.softcap:
            store(scores, head, score(scores[head], self.softcap))
        peak = let(tirx.max(peaks[head], scores[head]))
        shrink = let(T.exp2(peaks[head] - peak))
        weight = let(T.exp2(scores[head] - peak))
        store(totals, head, totals[head] * shrink + weight)
        store(peaks, head, peak)
        return shrink, weight

    def finish(self, write: Callable[[int, Expr, Expr], None]) -> None:
        """write(head, i, element i of its result); zeros where no key was taken."""
        for head in range(self.heads):
            total = let(tirx.max(self.totals[head], tirx.const(TINY, "float32")))
            with T.serial(self.dim) as i:
                write(head, i, self.out[head * self.dim + i] / total)


def walk(dim: int, step: Callable[[Expr], None]) -> None:
    """step(0) … step(dim - 1) in a loop that drivers leave one: Mesa unrolls up to 32 rounds over a
    thread's own memory, and then compiles for a minute."""
    unrolled = next(count for count in (8, 4, 2, 1) if dim // count > 32 or count == 1)
    with T.serial(dim // unrolled) as outer:
        for inner in range(unrolled):
            step(outer * unrolled + inner)
