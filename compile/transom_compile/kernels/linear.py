"""Fused dequantize + matrix product, in the two schedules.

`fallback` needs no barrier and no shared memory: each thread walks whole rows of the weight.
Software adapters run each invocation as a SIMD lane and pay dearly for barriers (FACTS 3). `gpu`
splits each row over neighbouring lanes (coalesced loads) and meets once per workgroup; there one
token's product can take the RMS norm of its input along. Knows shapes and block types; knows no
model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.activations import activate, soft_capped
from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    buffer_arg,
    cast,
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
from transom_compile.kernels.norm import inverse_root
from transom_compile.kernels.weights import GROUP, PIECE, WeightReader

GPU_BATCH_TILE = 4
"""Tokens of a batch for which `gpu_lanes` unpacks a word of the weight once."""
LANES = 8
"""Threads that share a row in `gpu_lanes`."""
MOST_NORMED_COLS = 3584
"""A normed row lies in workgroup memory, of which any device has 16 KiB."""


class Phase(StrEnum):
    """How many tokens a product is made for."""

    DECODE = "decode"
    """One."""
    BATCH = "batch"
    """Any number; made for at most eight."""
    PREFILL = "prefill"
    """Any number; made for many."""


FALLBACK_ROWS = 8
"""Rows of the weight that a thread of `fallback` owns."""
FALLBACK_TILES = MappingProxyType({Phase.DECODE: 1, Phase.BATCH: 2, Phase.PREFILL: 4})
"""Tokens for which `fallback` unpacks a word once. Two for batches: a tile of four takes twice the
time where there are only two, and for up to eight saves SwiftShader a tenth at most."""


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
    `MOST_NORMED_COLS`, in schedule "gpu". In schedule "fallback" the product that makes x `hands_on`
    (its own y times the weights of the norm, float32 (1, 1, rows + sums), sums of squares last); then
    `norm` goes with `sums`, and x is that.
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

    @property
    def name(self) -> str:
        normed = "" if self.norm is None else "handed_" if self.sums else "normed_"
        normed += "handing_" if self.hands_on else ""
        dtypes = "" if self.in_dtype == self.out_dtype else f"_{self.out_dtype}"
        weight = f"{self.block_type.lower()}_{self.rows}x{self.cols}"
        return f"linear_{normed}{self.epilogue.name}_{self.phase}_{weight}{dtypes}"

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
class _Buffers:
    x: Buffer
    norm_weight: Buffer | None
    weight: WeightReader
    bias: Buffer | None
    residual: Buffer | None
    next_norm: Buffer | None
    y: Buffer
    handed: Buffer | None


def _declare(spec: LinearSpec) -> tuple[Expr, _Buffers]:
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
    return tokens, _Buffers(x, gains, weight, bias, residual, next_norm, y, handed)


def _finish(spec: LinearSpec, buffers: _Buffers, token: Expr, row: Expr, sums: list[Expr]) -> Expr:
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
    threads, blocks = _fallback_grid(rows, FALLBACK_ROWS)
    return threads * blocks


def _fallback_grid(out_rows: int, own_rows: int) -> tuple[int, int]:
    """Threads of a workgroup, and workgroups along the rows."""
    threads = _even_threads(-(-out_rows // own_rows))
    return threads, -(-out_rows // (own_rows * threads))


def linear(spec: LinearSpec, schedule: str) -> object:
    """The kernel of a product in a schedule."""
    if schedule == "fallback":
        return fallback(spec)
    return gpu_prefill(spec) if spec.phase == Phase.PREFILL else gpu_lanes(spec)


def fallback(spec: LinearSpec) -> object:
    """No barrier: a thread owns a tile of weight rows by tokens and walks along the input axis.

    Each word is unpacked once for all tokens of the tile, each x prepared once for all its rows.
    Tile sizes are measured on SwiftShader and llvmpipe (`docs/log.md`). Without shared memory every
    thread would norm the row for itself, which costs more than a kernel of its own.
    """
    if spec.norm is not None and not spec.sums:
        raise ValueError(f"{spec.name}: the fallback schedule has no fused norm")
    groups, pieces = spec.cols // GROUP, GROUP // PIECE
    halves, out_rows = spec.halves, spec.out_rows
    single = spec.single
    tile = FALLBACK_TILES[spec.phase]
    own_rows = FALLBACK_ROWS // halves
    threads, blocks = _fallback_grid(out_rows, own_rows)
    with kernel(spec.name) as made:
        n, b = _declare(spec)
        grid = (blocks,) if single else (blocks, tirx.floordiv(n + tile - 1, tile))
        with launch(grid=grid, threads=(threads,)) as (block, (tx,)):
            parts = own_rows * halves * tile
            acc = _zeros(parts)
            first = let((block[0] * threads + tx) * own_rows)
            last = cast("int32", n) - 1 if not single else 0
            # Rows and tokens past the end repeat the last one and are dropped at the store.
            own = [first + r for r in range(own_rows)]
            places = [0] if single else [let(block[1] * tile + t) for t in range(tile)]
            tokens = [0] if single else [let(tirx.min(place, last)) for place in places]
            rows = [
                let(_clamped(row, out_rows) + h * out_rows) for row in own for h in range(halves)
            ]
            with T.serial(groups) as g:
                headers = [b.weight.header(row, g) for row in rows]
                # A loop over pieces, not 32 elements unrolled: drivers compile it ten times faster.
                with T.serial(pieces) as p:
                    piece = let(g * pieces + p)
                    picked = [b.weight.piece(header, p) for header in headers]
                    for t, token in enumerate(tokens):
                        prepared = b.weight.prepare(_piece_of_x(b.x, token, piece))
                        for i, weights in enumerate(picked):
                            at = i * tile + t
                            store(acc, at, acc[at] + weights.dot(prepared))
            scale = _handed_scale(spec, b)
            squares = _zeros(1) if b.handed is not None else None
            for t, place in enumerate(places):
                for r, row in enumerate(own):
                    sums = [acc[(r * halves + h) * tile + t] for h in range(halves)]
                    if scale is not None:
                        sums = [let(total * scale) for total in sums]
                    inside = row < out_rows if single else tirx.And(place <= last, row < out_rows)
                    with when(inside):
                        value = _finish(spec, b, place, row, sums)
                        if b.handed is not None and squares is not None:
                            store(b.handed, [0, 0, row], value * b.next_norm[row])
                            store(squares, 0, squares[0] + value * value)
            if b.handed is not None and squares is not None:
                thread = let(block[0] * threads + tx)
                store(b.handed, [0, 0, out_rows + thread], squares[0])
    return made.prim_func


def _handed_scale(spec: LinearSpec, b: _Buffers) -> Expr | None:
    """One over the root mean square of x, from the sums that came with it."""
    if spec.norm is None or not spec.sums:
        return None
    total = _zeros(1)
    with T.serial(spec.sums) as i:
        store(total, 0, total[0] + b.x[0, 0, spec.cols + i])
    return let(inverse_root(total[0], spec.cols, spec.norm))


def gpu_lanes(spec: LinearSpec) -> object:
    """One token or a few: eight neighbouring threads share two rows, read neighbouring groups, meet
    once. A word is unpacked once for a tile of tokens."""
    rows, rows_per_thread = 8, 2
    groups, pieces = spec.cols // GROUP, GROUP // PIECE
    halves, out_rows = spec.halves, spec.out_rows
    single = spec.single
    tile = 1 if single else GPU_BATCH_TILE
    parts = rows_per_thread * halves * tile
    with kernel(spec.name) as made:
        n, b = _declare(spec)
        blocks = -(-out_rows // (rows * rows_per_thread))
        grid = (blocks,) if single else (blocks, tirx.floordiv(n + tile - 1, tile))
        with launch(grid=grid, threads=(LANES, rows)) as (block, (lane, ty)):
            acc = _zeros(parts)
            normed = _NormedRow.of(spec, b, lane, ty, rows)
            partial = shared((parts + (normed is not None), rows, LANES), "float32")
            start = block[0] * (rows * rows_per_thread) + ty
            own = [let(start + r * rows) for r in range(rows_per_thread)]
            read = [
                let(_clamped(row, out_rows) + h * out_rows) for row in own for h in range(halves)
            ]
            first = 0 if single else let(block[1] * tile)
            last = 0 if single else cast("int32", n) - 1
            # Tokens past the end repeat the last one and are dropped at the store.
            tokens = [0] if single else [let(tirx.min(first + t, last)) for t in range(tile)]
            with T.serial(-(-groups // LANES)) as step:
                g = let(step * LANES + lane)
                with when(g < groups):
                    headers = [b.weight.header(row, g) for row in read]
                    with T.serial(pieces) as p:
                        piece = let(g * pieces + p)
                        picked = [b.weight.piece(header, p) for header in headers]
                        for t, token in enumerate(tokens):
                            if normed is None:
                                xs = _piece_of_x(b.x, token, piece)
                            else:
                                xs = normed.piece(g, p)
                            prepared = b.weight.prepare(xs)
                            for i, weights in enumerate(picked):
                                at = i * tile + t
                                store(acc, at, acc[at] + weights.dot(prepared))
            for i in range(parts):
                store(partial, [i, ty, lane], acc[i])
            if normed is not None:
                store(partial, [parts, ty, lane], normed.squares)
            barrier()

            def met(part: Expr) -> Expr:
                return let(_sum([partial[part, ty, i] for i in range(LANES)]))

            # A lane finishes a token.
            place = 0 if single else let(first + lane)
            with when(lane < tile if single else tirx.And(lane < tile, place <= last)):
                if spec.norm is not None:
                    scale = let(inverse_root(met(parts), spec.cols, spec.norm))
                for r, row in enumerate(own):
                    at = 0 if single else lane
                    sums = [met((r * halves + h) * tile + at) for h in range(halves)]
                    if spec.norm is not None:
                        sums = [let(total * scale) for total in sums]
                    with when(row < out_rows):
                        _finish(spec, b, place, row, sums)
    return made.prim_func


@dataclass(frozen=True)
class _NormedRow:
    """x times the norm's weights, in shared memory; and of x's squares what each lane has found."""

    row: Buffer
    squares: Expr

    @classmethod
    def of(
        cls, spec: LinearSpec, b: _Buffers, lane: Expr, ty: Expr, rows: int
    ) -> _NormedRow | None:
        """The workgroup's threads make it together; None where the product has no norm."""
        if spec.norm is None or b.norm_weight is None:
            return None
        # A group has a place more than elements: lanes read the same element of neighbouring
        # groups, which so lie in different banks.
        row = shared((spec.cols // GROUP, GROUP + 1), "float32")
        partial = shared((LANES, rows), "float32")
        squares = _zeros(1)
        threads = LANES * rows
        with T.serial(-(-spec.cols // threads)) as step:
            i = let(step * threads + ty * LANES + lane)
            with when(i < spec.cols):
                value = let(cast("float32", b.x[0, 0, i]))
                store(squares, 0, squares[0] + value * value)
                store(row, [i // GROUP, i % GROUP], value * b.norm_weight[i])
        store(partial, [lane, ty], squares[0])
        barrier()
        return cls(row, let(_sum([partial[lane, i] for i in range(rows)])))

    def piece(self, group: Expr, part: Expr) -> list[Expr]:
        return [let(self.row[group, part * PIECE + k]) for k in range(PIECE)]


def gpu_prefill(spec: LinearSpec) -> object:
    """Any number of tokens: 64 weight rows by 16 tokens a workgroup, slabs of 32 in shared memory.

    16 x 4 threads; each owns 4 weight rows (2 gates and their 2 ups where gated) by 4 tokens.
    """
    across, down, token_tile, weight_rows = 16, 4, 16, 64
    threads = across * down
    groups, halves, out_rows = spec.cols // GROUP, spec.halves, spec.out_rows
    own_rows, own_tokens = weight_rows // across // halves, token_tile // down
    row_tile = across * own_rows
    with kernel(spec.name) as made:
        n, b = _declare(spec)
        grid = (-(-out_rows // row_tile), tirx.floordiv(n + token_tile - 1, token_tile))
        with launch(grid=grid, threads=(across, down)) as ((bx, by), (tx, ty)):
            acc = _zeros(own_rows * own_tokens * halves)
            x_slab = shared((GROUP, token_tile), spec.in_dtype)
            w_slab = shared((GROUP, weight_rows), "float32")
            thread = let(ty * across + tx)
            last = cast("int32", n) - 1
            # One thread dequantizes one row of the slab: gates first, then ups.
            own = _clamped(bx * row_tile + thread % row_tile, out_rows)
            slab_row = let(own + thread // row_tile * out_rows)
            with T.serial(groups) as g:
                group = b.weight.group(slab_row, g)
                for k in range(GROUP):
                    store(w_slab, [k, thread], group.value(k))
                with T.serial(token_tile * GROUP // threads) as step:
                    slot = let(step * threads + thread)
                    token = let(tirx.min(by * token_tile + slot // GROUP, last))
                    value = b.x[0, token, g * GROUP + slot % GROUP]
                    store(x_slab, [slot % GROUP, slot // GROUP], value)
                barrier()
                with T.serial(GROUP) as k:
                    xs = [
                        let(cast("float32", x_slab[k, ty * own_tokens + i]))
                        for i in range(own_tokens)
                    ]
                    for h in range(halves):
                        for j in range(own_rows):
                            value = let(w_slab[k, h * row_tile + tx + j * across])
                            for i in range(own_tokens):
                                at = (h * own_rows + j) * own_tokens + i
                                store(acc, at, acc[at] + value * xs[i])
                barrier()
            for i in range(own_tokens):
                for j in range(own_rows):
                    token = let(by * token_tile + ty * own_tokens + i)
                    row = let(bx * row_tile + tx + j * across)
                    with when(tirx.And(token <= last, row < out_rows)):
                        sums = [acc[(h * own_rows + j) * own_tokens + i] for h in range(halves)]
                        _finish(spec, b, token, row, sums)
    return made.prim_func


def _zeros(count: int) -> Buffer:
    made = local((count,), "float32")
    for i in range(count):
        store(made, i, T.float32(0))
    return made


def _piece_of_x(x: Buffer, token: Expr, piece: Expr) -> list[Expr]:
    return [let(cast("float32", x[0, token, piece * PIECE + k])) for k in range(PIECE)]


def _clamped(row: Expr, rows: int) -> Expr:
    return tirx.min(row, rows - 1)


def _sum(values: list[Expr]) -> Expr:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _even_threads(count: int) -> int:
    """Threads of a workgroup such that `count` threads fill whole workgroups, if that can be.

    Software adapters run a workgroup on one core: small ones balance the cores. A multiple of 8
    fills llvmpipe's SIMD lanes, one of 4 SwiftShader's.
    """
    return next((size for size in (16, 8, 12, 4) if count % size == 0), 16)
