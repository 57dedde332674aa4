"""What a row asks of the kernels that choose its token: the fields of `samplers`, and its place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tvm import tirx

from transom_compile.kernels.emit import Buffer, Expr, buffer_arg, exact, let, store, when

SAMPLER_FIELDS = 16
MOST_BIASES = 512
"""Tokens of one row that may have a bias."""
MIN_TEMPERATURE = 1e-6
"""Below this only equals could be drawn beside the likeliest, and quotients leave float32."""
LOWEST = -3.4028234663852886e38
"""The most negative float32: the logit of a token that is forbidden. WGSL may take it for granted
that there is no infinity."""
FORBIDDEN = -1e37
"""A logit below this is never drawn: a bias may have moved it a little off `LOWEST`."""


class Field(IntEnum):
    """Places in a row of `samplers`, int32 (rows, 16); FLOATS are there as their bits."""

    TEMPERATURE = 0
    TOP_K = 1
    TOP_P = 2
    MIN_P = 3
    TYPICAL_P = 4
    REPEAT_PENALTY = 5
    PRESENCE_PENALTY = 6
    FREQUENCY_PENALTY = 7
    LAST_N = 8
    SEED_LOW = 9
    SEED_HIGH = 10
    BIASES = 11
    HAS_MASK = 12


@dataclass(frozen=True)
class Sizes:
    """Sizes of the buffers that all functions of a program share."""

    vocab: int
    slots: int
    max_rows: int
    context_window: int

    def declare_inputs(self) -> Buffer:
        return buffer_arg("inputs", (3, self.max_rows), "int32")

    def declare_history(self) -> Buffer:
        return buffer_arg("history", (self.slots, self.context_window + 1), "int32")

    def declare_samplers(self) -> Buffer:
        return buffer_arg("samplers", (self.max_rows, SAMPLER_FIELDS), "int32")


@dataclass(frozen=True)
class SamplerRow:
    """One row of `samplers`."""

    samplers: Buffer
    row: Expr

    def integer(self, field: Field) -> Expr:
        return let(self.samplers[self.row, int(field)])

    def number(self, field: Field) -> Expr:
        return let(tirx.reinterpret("float32", self.samplers[self.row, int(field)]))

    @property
    def seed(self) -> tuple[Expr, Expr]:
        return self.integer(Field.SEED_LOW), self.integer(Field.SEED_HIGH)

    @property
    def temperature(self) -> Expr:
        return let(tirx.max(self.number(Field.TEMPERATURE), exact(MIN_TEMPERATURE)))

    @property
    def is_greedy(self) -> Expr:
        """As `Sampler.isGreedy`: rows that draw and rows that do not may go together."""
        nothing = exact(0)
        heat, share = self.number(Field.TEMPERATURE), self.number(Field.TOP_P)
        is_single = self.integer(Field.TOP_K) == 1
        return let(tirx.Or(is_single, tirx.Or(heat <= nothing, share <= nothing)))


def advance(inputs: Buffer, history: Buffer, row: Expr, token: Expr, sizes: Sizes) -> None:
    """The token becomes the row's input at the next position; an idle row stays as it is."""
    position = let(inputs[1, row])
    # `history` has no place after the last one: a row that is there has nothing to choose.
    with when(tirx.And(position >= 0, position < sizes.context_window)):
        store(inputs, [0, row], token)
        store(inputs, [1, row], position + 1)
        store(history, [inputs[2, row], position + 1], token)
