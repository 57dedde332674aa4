"""Fused dequantize + matrix product, in the two schedules.

`fallback` needs no barrier and no shared memory: each thread walks whole rows of the weight.
Software adapters run each invocation as a SIMD lane and pay dearly for barriers (FACTS 3). `gpu`
splits each row over neighbouring lanes (coalesced loads) and meets once per workgroup; there one
token's product can take the RMS norm of its input along. Knows shapes and block types; knows no
model.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    cast,
    from_lane,
    kernel,
    launch,
    let,
    local,
    shared,
    store,
    subgroup_lane,
    when,
)
from transom_compile.kernels.linear_spec import (
    FALLBACK_ROWS,
    SUBGROUP_THREADS,
    Buffers,
    LinearSpec,
    Phase,
    declare,
    fallback_grid,
    finish,
)
from transom_compile.kernels.norm import inverse_root
from transom_compile.kernels.weights import GROUP, PIECE

GPU_BATCH_TILE = 4
"""Tokens of a batch for which `gpu_lanes` unpacks a word of the weight once."""
LANES = 8
"""Threads that share a row in `gpu_lanes`."""


FALLBACK_TILES = MappingProxyType({Phase.DECODE: 1, Phase.BATCH: 2, Phase.PREFILL: 4})
"""Tokens for which `fallback` unpacks a word once. Two for batches: a tile of four takes twice the
time where there are only two, and for up to eight saves SwiftShader a tenth at most."""
SUBGROUP_BATCH_TILE = 4
"""The same where subgroups fetch x, which then is no longer what takes the time: unpacking is."""


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

    All threads want the same x at the same time, and llvmpipe fetches it once for each of them.
    `by_subgroup`, each fetches one element of a piece and gets the others' from them.
    """
    if spec.norm is not None and not spec.sums:
        raise ValueError(f"{spec.name}: the fallback schedule has no fused norm")
    groups, pieces = spec.cols // GROUP, GROUP // PIECE
    halves, out_rows = spec.halves, spec.out_rows
    single = spec.single
    tile = FALLBACK_TILES[spec.phase]
    if spec.by_subgroup and spec.phase == Phase.BATCH:
        tile = SUBGROUP_BATCH_TILE
    own_rows = FALLBACK_ROWS // halves
    threads, blocks = fallback_grid(out_rows, own_rows)
    with kernel(spec.name) as made:
        n, b = declare(spec)
        grid = (blocks,) if single else (blocks, tirx.floordiv(n + tile - 1, tile))
        with launch(grid=grid, threads=(threads,)) as (block, (tx,)):
            parts = own_rows * halves * tile
            acc = _zeros(parts)
            lane = let(subgroup_lane() % SUBGROUP_THREADS) if spec.by_subgroup else None
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
                        prepared = b.weight.prepare(_piece_of_x(b.x, token, piece, lane))
                        for i, weights in enumerate(picked):
                            at = i * tile + t
                            store(acc, at, acc[at] + weights.dot(prepared))
            scale = _handed_scale(spec, b, lane)
            handing = None
            if b.handed is not None and b.next_norm is not None:
                handing = _Handing(b.handed, b.next_norm, out_rows, _zeros(1))
            for t, place in enumerate(places):
                for r, row in enumerate(own):
                    sums = [acc[(r * halves + h) * tile + t] for h in range(halves)]
                    if scale is not None:
                        sums = [let(total * scale) for total in sums]
                    inside = row < out_rows if single else tirx.And(place <= last, row < out_rows)
                    with when(inside):
                        value = finish(spec, b, place, row, sums)
                        if handing is not None:
                            handing.element(row, value)
            if handing is not None:
                handing.finish(let(block[0] * threads + tx))
    return made.prim_func


@dataclass(frozen=True)
class _Handing:
    """What a thread hands on: its elements times the next norm's weights, the sum of their
    squares."""

    handed: Buffer
    weights: Buffer
    rows: int
    squares: Buffer

    def element(self, row: Expr, value: Expr) -> None:
        store(self.handed, [0, 0, row], value * self.weights[row])
        store(self.squares, 0, self.squares[0] + value * value)

    def finish(self, thread: Expr) -> None:
        store(self.handed, [0, 0, self.rows + thread], self.squares[0])


def _handed_scale(spec: LinearSpec, b: Buffers, lane: Expr | None) -> Expr | None:
    """One over the root mean square of x, from the sums that came with it."""
    if spec.norm is None or not spec.sums:
        return None
    total = _zeros(1)
    shares = SUBGROUP_THREADS if lane is not None and spec.sums % SUBGROUP_THREADS == 0 else 1
    with T.serial(spec.sums // shares) as i:
        at = i if shares == 1 else i * shares + lane
        store(total, 0, total[0] + b.x[0, 0, spec.cols + at])
    found = total[0] if shares == 1 else _sum(_of_lanes(let(total[0])))
    return let(inverse_root(let(found), spec.cols, spec.norm))


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
        n, b = declare(spec)
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
                        finish(spec, b, place, row, sums)
    return made.prim_func


@dataclass(frozen=True)
class _NormedRow:
    """x times the norm's weights, in shared memory; and of x's squares what each lane has found."""

    row: Buffer
    squares: Expr

    @classmethod
    def of(cls, spec: LinearSpec, b: Buffers, lane: Expr, ty: Expr, rows: int) -> _NormedRow | None:
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
        n, b = declare(spec)
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
                        finish(spec, b, token, row, sums)
    return made.prim_func


def _zeros(count: int) -> Buffer:
    made = local((count,), "float32")
    for i in range(count):
        store(made, i, T.float32(0))
    return made


def _piece_of_x(x: Buffer, token: Expr, piece: Expr, lane: Expr | None = None) -> list[Expr]:
    """With `lane`, its own element fetched, and the others' by the subgroup."""
    if lane is not None:
        return _of_lanes(let(cast("float32", x[0, token, piece * PIECE + lane])))
    return [let(cast("float32", x[0, token, piece * PIECE + k])) for k in range(PIECE)]


def _of_lanes(own: Expr) -> list[Expr]:
    return [let(from_lane(own, k)) for k in range(SUBGROUP_THREADS)]


def _clamped(row: Expr, rows: int) -> Expr:
    return tirx.min(row, rows - 1)


def _sum(values: list[Expr]) -> Expr:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
