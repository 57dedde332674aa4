"""Fused dequantize + matrix product, in the two schedules.

`fallback` needs no barrier and no shared memory: each thread walks whole rows of the weight.
Software adapters run each invocation as a SIMD lane and pay dearly for barriers (FACTS 3). `gpu`
splits each row over neighbouring lanes (coalesced loads) and meets once per workgroup. Knows
shapes and block types; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
from transom_compile.kernels.weights import GROUP, PIECE, WeightReader


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

    `tokens`: 1 for decode, None for any number (prefill).
    """

    block_type: str
    rows: int
    cols: int
    tokens: int | None
    in_dtype: str
    out_dtype: str
    epilogue: Epilogue = field(default_factory=Epilogue)

    @property
    def name(self) -> str:
        kind = "decode" if self.tokens == 1 else "prefill"
        dtypes = "" if self.in_dtype == self.out_dtype else f"_{self.out_dtype}"
        weight = f"{self.block_type.lower()}_{self.rows}x{self.cols}"
        return f"linear_{self.epilogue.name}_{kind}_{weight}{dtypes}"

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
    weight: WeightReader
    bias: Buffer | None
    residual: Buffer | None
    y: Buffer


def _declare(spec: LinearSpec) -> tuple[Expr, _Buffers]:
    tokens = symbolic("n") if spec.tokens is None else spec.tokens
    x = buffer_arg("x", (1, tokens, spec.cols), spec.in_dtype)
    weight = WeightReader.declare(spec.block_type, spec.rows, spec.cols)
    shape = (1, tokens, spec.out_rows)
    bias = buffer_arg("bias", (spec.rows,), "float32") if spec.epilogue.bias else None
    residual = buffer_arg("residual", shape, spec.out_dtype) if spec.epilogue.residual else None
    return tokens, _Buffers(x, weight, bias, residual, buffer_arg("y", shape, spec.out_dtype))


def _finish(spec: LinearSpec, buffers: _Buffers, token: Expr, row: Expr, sums: list[Expr]) -> None:
    """Epilogue of one output element; `sums` has one total per half."""
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
    store(buffers.y, [0, token, row], cast(spec.out_dtype, total))


def fallback(spec: LinearSpec) -> object:
    """No barrier: a thread owns a tile of weight rows by tokens and walks along the input axis.

    Each word is unpacked once for all tokens of the tile, each x prepared once for all its rows.
    Tile sizes are measured on SwiftShader and llvmpipe (`docs/log.md`).
    """
    groups, pieces = spec.cols // GROUP, GROUP // PIECE
    halves, out_rows = spec.halves, spec.out_rows
    single = spec.tokens == 1
    tile = 1 if single else 4
    own_rows = 8 // halves
    threads = _even_threads(-(-out_rows // own_rows))
    blocks = -(-out_rows // (own_rows * threads))
    with kernel(spec.name) as made:
        n, b = _declare(spec)
        grid = (blocks,) if single else (blocks, tirx.floordiv(n + tile - 1, tile))
        with launch(grid=grid, threads=(threads,)) as (block, (tx,)):
            acc = local((own_rows * halves * tile,), "float32")
            for i in range(own_rows * halves * tile):
                store(acc, i, T.float32(0))
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
            for t, place in enumerate(places):
                for r, row in enumerate(own):
                    sums = [acc[(r * halves + h) * tile + t] for h in range(halves)]
                    inside = row < out_rows if single else tirx.And(place <= last, row < out_rows)
                    with when(inside):
                        _finish(spec, b, place, row, sums)
    return made.prim_func


def gpu_decode(
    spec: LinearSpec, *, lanes: int = 8, rows: int = 8, rows_per_thread: int = 2
) -> object:
    """One token: `lanes` neighbouring threads share a row, read neighbouring groups, meet once."""
    groups, pieces = spec.cols // GROUP, GROUP // PIECE
    halves, out_rows = spec.halves, spec.out_rows
    parts = rows_per_thread * halves
    with kernel(spec.name) as made:
        _, b = _declare(spec)
        blocks = -(-out_rows // (rows * rows_per_thread))
        with launch(grid=(blocks,), threads=(lanes, rows)) as ((bx,), (lane, ty)):
            acc = local((parts,), "float32")
            partial = shared((parts, rows, lanes), "float32")
            for i in range(parts):
                store(acc, i, T.float32(0))
            start = bx * (rows * rows_per_thread) + ty
            own = [let(start + r * rows) for r in range(rows_per_thread)]
            read = [
                let(_clamped(row, out_rows) + h * out_rows) for row in own for h in range(halves)
            ]
            with T.serial(-(-groups // lanes)) as step:
                g = let(step * lanes + lane)
                with when(g < groups):
                    headers = [b.weight.header(row, g) for row in read]
                    with T.serial(pieces) as p:
                        piece = let(g * pieces + p)
                        prepared = b.weight.prepare(_piece_of_x(b.x, 0, piece))
                        for i, header in enumerate(headers):
                            weights = b.weight.piece(header, p)
                            store(acc, i, acc[i] + weights.dot(prepared))
            for i in range(parts):
                store(partial, [i, ty, lane], acc[i])
            barrier()
            with when(lane == 0):
                for r, row in enumerate(own):
                    sums = [
                        let(_sum([partial[r * halves + h, ty, i] for i in range(lanes)]))
                        for h in range(halves)
                    ]
                    with when(row < out_rows):
                        _finish(spec, b, 0, row, sums)
    return made.prim_func


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
            acc = local((own_rows * own_tokens * halves,), "float32")
            x_slab = shared((GROUP, token_tile), spec.in_dtype)
            w_slab = shared((GROUP, weight_rows), "float32")
            for i in range(own_rows * own_tokens * halves):
                store(acc, i, T.float32(0))
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


def _piece_of_x(x: Buffer, token: Expr, piece: Expr) -> list[Expr]:
    return [let(cast("float32", x[0, token, piece * PIECE + k])) for k in range(PIECE)]


def _clamped(row: Expr, rows: int) -> Expr:
    return tirx.min(row, rows - 1)


def _sum(values: list[Expr]) -> Expr:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _even_threads(count: int, *, most: int = 16) -> int:
    """Threads of a workgroup, at most 16, such that `count` threads fill whole workgroups.

    Software adapters run a workgroup on one core: small ones balance the cores. A multiple of 4
    fills SwiftShader's SIMD lanes.
    """
    sizes = [size for size in range(4, most + 1, 4) if count % size == 0]
    return max(sizes, default=most)
