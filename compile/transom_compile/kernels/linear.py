"""Fused dequantize + matrix product, in the two schedules.

`fallback` needs no barrier and no shared memory: each thread walks whole rows of the weight. Software
adapters run each invocation as a SIMD lane and pay dearly for barriers (FACTS 3).
`gpu` splits each row over neighbouring lanes (coalesced loads) and meets once per workgroup.
Knows shapes and block types; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    buffer_arg,
    cast,
    kernel,
    launch,
    let,
    local,
    shared,
    store,
    symbolic,
    when,
)
from transom_compile.kernels.weights import GROUP, WeightReader


@dataclass(frozen=True)
class LinearSpec:
    """One product y[t, r] = sum_k W[r, k] x[t, k], then an epilogue.

    `tokens`: 1 for decode, None for any number (prefill). `epilogue`: "none"; "residual" adds a tensor
    of y's shape; "silu_gate" takes W as gate rows over up rows and gives silu(gate) * up.
    """

    block_type: str
    rows: int
    cols: int
    tokens: int | None
    in_dtype: str
    out_dtype: str
    epilogue: str = "none"

    @property
    def name(self) -> str:
        kind = "decode" if self.tokens == 1 else "prefill"
        dtypes = "" if self.in_dtype == self.out_dtype else f"_{self.out_dtype}"
        return f"linear_{self.epilogue}_{kind}_{self.block_type.lower()}_{self.rows}x{self.cols}{dtypes}"

    @property
    def out_rows(self) -> int:
        return self.rows // 2 if self.epilogue == "silu_gate" else self.rows

    @property
    def halves(self) -> int:
        """Weight rows that make one output row."""
        return 2 if self.epilogue == "silu_gate" else 1


@dataclass(frozen=True)
class _Buffers:
    x: Buffer
    weight: WeightReader
    residual: Buffer | None
    y: Buffer


def _declare(spec: LinearSpec) -> tuple[Expr, _Buffers]:
    tokens = symbolic("n") if spec.tokens is None else spec.tokens
    x = buffer_arg("x", (1, tokens, spec.cols), spec.in_dtype)
    weight = WeightReader.declare(spec.block_type, spec.rows, spec.cols)
    shape = (1, tokens, spec.out_rows)
    residual = (
        buffer_arg("residual", shape, spec.out_dtype) if spec.epilogue == "residual" else None
    )
    return tokens, _Buffers(x, weight, residual, buffer_arg("y", shape, spec.out_dtype))


def _finish(spec: LinearSpec, buffers: _Buffers, token: Expr, row: Expr, sums: list[Expr]) -> None:
    """Epilogue of one output element; `sums` has one total per half."""
    total = sums[0]
    if spec.epilogue == "silu_gate":
        gate = let(total)
        total = gate / (1.0 + T.exp(-gate)) * sums[1]
    elif buffers.residual is not None:
        total = total + cast("float32", buffers.residual[0, token, row])
    store(buffers.y, [0, token, row], cast(spec.out_dtype, total))


def fallback_decode(spec: LinearSpec, *, rows_per_thread: int = 4) -> object:
    """One token, no barrier: a thread owns `rows_per_thread` whole rows and shares each x among them."""
    groups = spec.cols // GROUP
    halves, out_rows = spec.halves, spec.out_rows
    threads = _even_threads(-(-out_rows // rows_per_thread))
    with kernel(spec.name) as made:
        _, b = _declare(spec)
        blocks = -(-out_rows // (rows_per_thread * threads))
        with launch(grid=(blocks,), threads=(threads,)) as ((bx,), (tx,)):
            acc = local((rows_per_thread * halves,), "float32")
            for i in range(rows_per_thread * halves):
                store(acc, i, T.float32(0))
            first = let((bx * threads + tx) * rows_per_thread)
            with T.serial(groups) as g:
                xs = [let(cast("float32", b.x[0, 0, g * GROUP + k])) for k in range(GROUP)]
                prepared = b.weight.prepare(xs)
                for r in range(rows_per_thread):
                    for h in range(halves):
                        group = b.weight.group(first + r + h * out_rows, g)
                        i = r * halves + h
                        store(acc, i, acc[i] + group.dot(prepared))
            for r in range(rows_per_thread):
                sums = [acc[r * halves + h] for h in range(halves)]
                if out_rows % (rows_per_thread * threads):
                    with when(first + r < out_rows):
                        _finish(spec, b, 0, first + r, sums)
                else:
                    _finish(spec, b, 0, first + r, sums)
    return made.prim_func


def fallback_prefill(
    spec: LinearSpec, *, rows_per_thread: int = 2, tokens_per_thread: int = 4
) -> object:
    """Any number of tokens, no barrier: a thread owns a small tile and dequantizes each weight once."""
    groups = spec.cols // GROUP
    halves, out_rows = spec.halves, spec.out_rows
    tile = tokens_per_thread
    threads = _even_threads(-(-out_rows // rows_per_thread), workgroups=1)
    with kernel(spec.name) as made:
        n, b = _declare(spec)
        blocks = -(-out_rows // (rows_per_thread * threads))
        grid = (blocks, tirx.floordiv(n + tile - 1, tile))
        with launch(grid=grid, threads=(threads,)) as ((bx, by), (tx,)):
            acc = local((rows_per_thread * halves * tile,), "float32")
            for i in range(rows_per_thread * halves * tile):
                store(acc, i, T.float32(0))
            first = let((bx * threads + tx) * rows_per_thread)
            last = cast("int32", n) - 1
            tokens = [let(tirx.min(by * tile + t, last)) for t in range(tile)]
            with T.serial(groups) as g:
                picked = [
                    b.weight.group(first + r + h * out_rows, g)
                    for r in range(rows_per_thread)
                    for h in range(halves)
                ]
                for k in range(GROUP):
                    xs = [let(cast("float32", b.x[0, t, g * GROUP + k])) for t in tokens]
                    for i, group in enumerate(picked):
                        value = let(group.value(k))
                        for t in range(tile):
                            at = i * tile + t
                            store(acc, at, acc[at] + value * xs[t])
            for t in range(tile):
                for r in range(rows_per_thread):
                    inside = by * tile + t <= last
                    if out_rows % (rows_per_thread * threads):
                        inside = tirx.And(inside, first + r < out_rows)
                    with when(inside):
                        at = [(r * halves + h) * tile + t for h in range(halves)]
                        _finish(spec, b, by * tile + t, first + r, [acc[i] for i in at])
    return made.prim_func


def gpu_decode(spec: LinearSpec, *, lanes: int = 8, rows: int = 8) -> object:
    """One token: `lanes` neighbouring threads share a row, read neighbouring groups, and meet once."""
    groups = spec.cols // GROUP
    halves, out_rows = spec.halves, spec.out_rows
    with kernel(spec.name) as made:
        _, b = _declare(spec)
        with launch(grid=(-(-out_rows // rows),), threads=(lanes, rows)) as ((bx,), (lane, ty)):
            acc = local((halves,), "float32")
            partial = shared((halves, rows, lanes), "float32")
            for h in range(halves):
                store(acc, h, T.float32(0))
            row = let(bx * rows + ty)
            with T.serial(-(-groups // lanes)) as step:
                g = let(step * lanes + lane)
                with when(g < groups):
                    xs = [let(cast("float32", b.x[0, 0, g * GROUP + k])) for k in range(GROUP)]
                    prepared = b.weight.prepare(xs)
                    for h in range(halves):
                        group = b.weight.group(row + h * out_rows, g)
                        store(acc, h, acc[h] + group.dot(prepared))
            for h in range(halves):
                store(partial, [h, ty, lane], acc[h])
            barrier()
            with when(tirx.And(lane == 0, row < out_rows)):
                sums = [let(_sum([partial[h, ty, i] for i in range(lanes)])) for h in range(halves)]
                _finish(spec, b, 0, row, sums)
    return made.prim_func


def gpu_prefill(spec: LinearSpec, *, side: int = 8, per_thread: int = 4) -> object:
    """Any number of tokens: a square tile of outputs per workgroup, slabs of one group in shared memory.

    `side` x `side` threads, each with `per_thread` x `per_thread` outputs.
    """
    groups = spec.cols // GROUP
    halves, out_rows = spec.halves, spec.out_rows
    tile = side * per_thread
    weight_rows = tile * halves
    with kernel(spec.name) as made:
        n, b = _declare(spec)
        grid = (-(-out_rows // tile), tirx.floordiv(n + tile - 1, tile))
        with launch(grid=grid, threads=(side, side)) as ((bx, by), (tx, ty)):
            acc = local((per_thread * per_thread * halves,), "float32")
            x_slab = shared((GROUP, tile), spec.in_dtype)
            w_slab = shared((GROUP, weight_rows), "float32")
            for i in range(per_thread * per_thread * halves):
                store(acc, i, T.float32(0))
            thread = let(ty * side + tx)
            last = cast("int32", n) - 1
            with T.serial(groups) as g:
                # Each thread dequantizes whole groups of rows, then copies its share of x.
                with T.serial(-(-weight_rows // (side * side))) as step:
                    slot = let(step * (side * side) + thread)
                    with when(slot < weight_rows):
                        half = let(slot // tile)
                        row = let(tirx.min(bx * tile + slot % tile, out_rows - 1) + half * out_rows)
                        group = b.weight.group(row, g)
                        for k in range(GROUP):
                            store(w_slab, [k, slot], group.value(k))
                with T.serial(tile * GROUP // (side * side)) as step:
                    slot = let(step * (side * side) + thread)
                    token = let(tirx.min(by * tile + slot // GROUP, last))
                    value = b.x[0, token, g * GROUP + slot % GROUP]
                    store(x_slab, [slot % GROUP, slot // GROUP], value)
                barrier()
                with T.serial(GROUP) as k:
                    xs = [
                        let(cast("float32", x_slab[k, ty * per_thread + i]))
                        for i in range(per_thread)
                    ]
                    for h in range(halves):
                        for j in range(per_thread):
                            value = let(w_slab[k, h * tile + tx + j * side])
                            for i in range(per_thread):
                                at = (h * per_thread + j) * per_thread + i
                                store(acc, at, acc[at] + value * xs[i])
                barrier()
            for i in range(per_thread):
                for j in range(per_thread):
                    token = by * tile + ty * per_thread + i
                    row = bx * tile + tx + j * side
                    with when(tirx.And(token <= last, row < out_rows)):
                        sums = [acc[(h * per_thread + j) * per_thread + i] for h in range(halves)]
                        _finish(spec, b, token, row, sums)
    return made.prim_func


def _sum(values: list[Expr]) -> Expr:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _even_threads(count: int, *, most: int = 64, workgroups: int = 4) -> int:
    """Threads of a workgroup such that `count` threads split evenly over at least `workgroups`.

    Software adapters run a workgroup on one core: unequal work leaves cores idle. A multiple of 4
    fills SwiftShader's SIMD lanes.
    """
    sizes = [size for size in range(4, most + 1, 4) if count % size == 0]
    spread = [size for size in sizes if count // size >= workgroups]
    return max(spread or sizes or [most])
