"""What a matrix product is: sizes, number of tokens, what follows the sum; its parameters.

Both schedules (`linear.py`) make their kernels of it. Knows shapes and block types; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from transom_compile.kernels.activations import activate, soft_capped
from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    buffer_arg,
    cast,
    exact,
    let,
    store,
    symbolic,
)
from transom_compile.kernels.weights import PIECE, WeightReader

MOST_NORMED_COLS = 3584
"""A normed row lies in workgroup memory, of which any device has 16 KiB."""
FALLBACK_ROWS = 8
"""Rows of the weight that a thread of `fallback` owns."""


SUBGROUP_THREADS = PIECE
"""Threads of a subgroup that fetch a piece of x together: each an element of it."""


class Phase(StrEnum):
    """How many tokens a product is made for."""

    DECODE = "decode"
    """One."""
    BATCH = "batch"
    """Any number; made for at most eight."""
    PREFILL = "prefill"
    """Any number; made for many."""


@dataclass(frozen=True)
class Epilogue:
    """What follows the sum, in this order.

    `bias` adds a float32 vector; `activation` applies ("" for none), and with `gated` W is gate
    rows over up rows and the result is act(gate) * up; times `scale`; `softcap` c > 0 gives
    c tanh(t / c); `residual` adds a tensor of y's shape.
    """

    bias: bool = False
    activation: str = ""
    gated: bool = False
    scale: float = 1.0
    softcap: float = 0.0
    residual: bool = False

    @property
    def name(self) -> str:
        gate = "gate" if self.gated else ""
        scaled = "scaled" if self.scale != 1.0 else ""
        capped = "capped" if self.softcap else ""
        bias, residual = "bias" * self.bias, "residual" * self.residual
        parts = [bias, self.activation, gate, scaled, capped, residual]
        return "_".join(part for part in parts if part) or "plain"


@dataclass(frozen=True)
class LinearSpec:
    """One product y[t, r] = sum_k W[r, k] x[t, k], then an epilogue.

    `norm`: epsilon of an RMS norm of x, whose weights come after x; for one token of at most
    `MOST_NORMED_COLS`, in schedule "gpu". In schedule "fallback" the product that makes x
    `hands_on` (its own y times the weights of the norm, float32 (1, 1, rows + sums), sums of
    squares last); then `norm` goes with `sums`, and x is that. `by_subgroup`, in schedule
    "fallback": the threads of a subgroup fetch x together (`for_subgroups`).
    """

    block_type: str
    rows: int
    cols: int
    phase: Phase
    in_dtype: str
    out_dtype: str
    epilogue: Epilogue = field(default_factory=Epilogue)
    norm: float | None = None
    sums: int = 0
    hands_on: bool = False
    by_subgroup: bool = False

    @property
    def name(self) -> str:
        normed = "" if self.norm is None else "handed_" if self.sums else "normed_"
        normed += "handing_" if self.hands_on else ""
        dtypes = "" if self.in_dtype == self.out_dtype else f"_{self.out_dtype}"
        weight = f"{self.block_type.lower()}_{self.rows}x{self.cols}"
        shared = "_by_subgroup" if self.by_subgroup else ""
        return f"linear_{normed}{self.epilogue.name}_{self.phase}_{weight}{dtypes}{shared}"

    @property
    def single(self) -> bool:
        return self.phase == Phase.DECODE

    @property
    def out_rows(self) -> int:
        return self.rows // self.halves

    @property
    def halves(self) -> int:
        """Weight rows that make one output row."""
        return 2 if self.epilogue.gated else 1


@dataclass(frozen=True)
class Buffers:
    """The parameters of a product, those that it has."""

    x: Buffer
    norm_weight: Buffer | None
    weight: WeightReader
    bias: Buffer | None
    residual: Buffer | None
    next_norm: Buffer | None
    y: Buffer
    handed: Buffer | None


def declare(spec: LinearSpec) -> tuple[Expr, Buffers]:
    """The number of tokens, and parameters in their order."""
    gains = None
    if spec.norm is not None and not (spec.single and (spec.sums or spec.cols <= MOST_NORMED_COLS)):
        raise ValueError(
            f"{spec.name}: only one token of {MOST_NORMED_COLS} or less is normed here"
        )
    tokens = 1 if spec.single else symbolic("n")
    x = buffer_arg("x", (1, tokens, spec.cols + spec.sums), spec.in_dtype)
    if spec.norm is not None and not spec.sums:
        gains = buffer_arg("norm_weight", (spec.cols,), "float32")
    weight = WeightReader.declare(spec.block_type, spec.rows, spec.cols)
    shape = (1, tokens, spec.out_rows)
    bias = buffer_arg("bias", (spec.rows,), "float32") if spec.epilogue.bias else None
    residual = buffer_arg("residual", shape, spec.out_dtype) if spec.epilogue.residual else None
    next_norm = buffer_arg("next_norm", (spec.out_rows,), "float32") if spec.hands_on else None
    y = buffer_arg("y", shape, spec.out_dtype)
    handed = None
    if spec.hands_on:
        wide = (1, tokens, spec.out_rows + handed_sums(spec.out_rows))
        handed = buffer_arg("handed", wide, "float32")
    return tokens, Buffers(x, gains, weight, bias, residual, next_norm, y, handed)


def for_subgroups(spec: LinearSpec) -> LinearSpec | None:
    """The same product of `fallback` for devices whose subgroups have `SUBGROUP_THREADS` threads or
    more; None where a workgroup's threads would not fill them."""
    threads, _ = fallback_grid(spec.out_rows, FALLBACK_ROWS // spec.halves)
    return replace(spec, by_subgroup=True) if threads % SUBGROUP_THREADS == 0 else None


def finish(spec: LinearSpec, buffers: Buffers, token: Expr, row: Expr, sums: list[Expr]) -> Expr:
    """Epilogue of one output element, which it gives back; `sums` has one total per half."""
    epilogue = spec.epilogue
    if buffers.bias is not None:
        sums = [total + buffers.bias[row + h * spec.out_rows] for h, total in enumerate(sums)]
    total = sums[0]
    if epilogue.activation:
        total = activate(epilogue.activation, let(total))
    if epilogue.gated:
        total = total * sums[1]
    if epilogue.scale != 1.0:
        total = total * exact(epilogue.scale)
    if epilogue.softcap:
        total = soft_capped(total, epilogue.softcap)
    if buffers.residual is not None:
        total = total + cast("float32", buffers.residual[0, token, row])
    total = let(cast(spec.out_dtype, total))
    store(buffers.y, [0, token, row], total)
    return total


def handed_sums(rows: int) -> int:
    """How many sums of squares a fallback product of so many rows hands on: one a thread."""
    threads, blocks = fallback_grid(rows, FALLBACK_ROWS)
    return threads * blocks


def fallback_grid(out_rows: int, own_rows: int) -> tuple[int, int]:
    """Threads of a workgroup, and workgroups along the rows."""
    threads = _even_threads(-(-out_rows // own_rows))
    return threads, -(-out_rows // (own_rows * threads))


def _even_threads(count: int) -> int:
    """Threads of a workgroup such that `count` threads fill whole workgroups, if that can be.

    Software adapters run a workgroup on one core: small ones balance the cores. A multiple of 8
    fills llvmpipe's SIMD lanes, one of 4 SwiftShader's.
    """
    return next((size for size in (16, 8, 12, 4) if count % size == 0), 16)
