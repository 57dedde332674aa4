"""softmax(q k) v in one walk over the keys (Milakov & Gimelshein 2018), by one thread alone.

Scores are in base 2 (exp2): the base is folded into the query. All sums are f32. Knows elements of
a key and a value; knows nothing of where they lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    """One query's. The caller fills `query`, already multiplied by the scale."""

    dim: int
    softcap: float
    query: Buffer
    out: Buffer
    state: Buffer
    """Running maximum, running sum, last score."""

    @classmethod
    def start(cls, dim: int, softcap: float = 0.0) -> RunningSoftmax:
        made = cls(dim, softcap, *(local((size,), "float32") for size in (dim, dim, 3)))
        with T.serial(dim) as i:
            store(made.out, i, T.float32(0))
        store(made.state, 0, T.float32(LOWEST))
        store(made.state, 1, T.float32(0))
        return made

    def begin_with(self, dot: Expr, value: Element) -> None:
        """The first key, whose scaled product with the query is known."""
        store(self.state, 0, score(dot, self.softcap))
        store(self.state, 1, T.float32(1))
        with T.serial(self.dim) as i:
            store(self.out, i, value(i))

    def take(self, key: Element, value: Element) -> None:
        """One key and its value."""
        state, out = self.state, self.out
        store(state, 2, T.float32(0))
        walk(self.dim, lambda i: store(state, 2, state[2] + self.query[i] * key(i)))
        if self.softcap:
            store(state, 2, score(state[2], self.softcap))
        peak = let(tirx.max(state[0], state[2]))
        shrink = let(T.exp2(state[0] - peak))
        weight = let(T.exp2(state[2] - peak))
        store(state, 1, state[1] * shrink + weight)
        store(state, 0, peak)
        walk(self.dim, lambda i: store(out, i, out[i] * shrink + weight * value(i)))

    def finish(self, write: Callable[[Expr, Expr], None]) -> None:
        """write(i, element i of the result); zeros where no key was taken."""
        total = let(tirx.max(self.state[1], tirx.const(TINY, "float32")))
        with T.serial(self.dim) as i:
            write(i, self.out[i] / total)


def walk(dim: int, step: Callable[[Expr], None]) -> None:
    """step(0) … step(dim - 1) in a loop that drivers leave one: Mesa unrolls up to 32 rounds over a
    thread's own memory, and then compiles for a minute."""
    unrolled = next(count for count in (8, 4, 2, 1) if dim // count > 32 or count == 1)
    with T.serial(dim // unrolled) as outer:
        for inner in range(unrolled):
            step(outer * unrolled + inner)
