"""Attention over pages by workgroups: one for each query of a head, or for a tile of its queries.

Barriers stand where all threads of a workgroup meet: loops around them count by what `inputs` says
of the workgroup's own rows.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.attention import LOWEST, PAGE_SIZE, TINY
from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    cast,
    exact,
    launch,
    let,
    local,
    shared,
    store,
    when,
)
from transom_compile.kernels.paged_cache import Cache, PagedAttention
from transom_compile.kernels.running_softmax import Element, score

LANES = 128
"""Threads that share one query."""

COLUMNS = 16
"""Partial maxima of `LANES` scores."""

KEYS, CHUNK = 32, 32
"""Keys of a tile; elements of a head that lie in shared memory at a time."""

PADDED = CHUNK + 1

ACROSS, DOWN = 16, 8
"""Threads of a tile: along keys or elements, along queries."""

LOADED = ACROSS * DOWN // CHUNK
"""Rows of a slab that all threads load at once."""


def attend_row(
    kind: PagedAttention,
    lane: Expr,
    query: Buffer,
    span: tuple[Expr, Expr],
    read: Callable[[Expr], tuple[Element, Element]],
    write: Callable[[Expr, Expr], None],
    own: tuple[Element, Element] | None = None,
) -> None:
    """One query over the keys first <= position < stop, and `own` before them.

    `LANES` keys at a time: each thread scores one, then owns an element of the result; where heads
    are short, teams of threads take turns at the values. `query` is shared and scaled already.
    """
    dim, (first, stop) = kind.shape.head_dim, span
    width = min(dim, LANES)
    teams, parts = LANES // width, -(-dim // width)
    team, element = let(lane // width), let(lane % width)
    scores, peaks = shared((LANES,), "float32"), shared((COLUMNS,), "float32")
    out = local((parts,), "float32")
    state = local((3,), "float32")  # running maximum, this thread's share of the sum, own score

    def owned(part: int) -> Expr:
        return element + part * width

    def score_of(key: Element) -> None:
        store(state, 2, T.float32(0))
        with T.serial(dim) as i:
            store(state, 2, state[2] + query[i] * key(i))
        if kind.softcap:
            store(state, 2, score(state[2], kind.softcap))

    for part in range(parts):
        store(out, part, T.float32(0))
    store(state, 0, T.float32(LOWEST))
    store(state, 1, T.float32(0))
    barrier()
    if own is not None:
        key, value = own
        score_of(key)
        store(state, 0, state[2])
        with when(lane == 0):
            store(state, 1, T.float32(1))
        for part in range(parts):
            with when(tirx.And(team == 0, owned(part) < dim)):
                store(out, part, value(owned(part)))
    rounds = let(tirx.floordiv(tirx.max(stop - first, 0) + (LANES - 1), LANES))
    with T.serial(rounds) as number:
        start = let(first + number * LANES)
        position = let(start + lane)
        store(state, 2, T.float32(LOWEST))
        with when(position < stop):
            score_of(read(position)[0])
        store(scores, lane, state[2])
        barrier()
        with when(lane < COLUMNS):
            store(peaks, lane, scores[lane])
            with T.serial(LANES // COLUMNS - 1) as row:
                store(peaks, lane, tirx.max(peaks[lane], scores[lane + (row + 1) * COLUMNS]))
        barrier()
        before = let(state[0])
        with T.serial(COLUMNS) as column:
            store(state, 0, tirx.max(state[0], peaks[column]))
        shrink = let(T.exp2(before - state[0]))
        weight = T.exp2(state[2] - state[0])
        store(state, 2, tirx.Select(position < stop, weight, T.float32(0)))
        store(state, 1, state[1] * shrink + state[2])
        store(scores, lane, state[2])
        barrier()
        for part in range(parts):
            store(out, part, out[part] * shrink)
        with when(team < teams):
            count = tirx.min(stop - start, LANES)
            with T.serial(tirx.floordiv(count - team + (teams - 1), teams)) as turn:
                at = let(turn * teams + team)
                value = read(let(start + at))[1]
                for part in range(parts):
                    with when(owned(part) < dim):
                        store(out, part, out[part] + scores[at] * value(owned(part)))
        barrier()
    partial = shared((LANES,), "float32")
    store(scores, lane, state[1])
    store(partial, lane, out[0])
    barrier()
    store(state, 1, T.float32(TINY))
    with T.serial(LANES) as i:
        store(state, 1, state[1] + scores[i])
    with when(team == 0):
        # Only heads of one part leave threads for more than one team.
        with T.serial(teams - 1) as other:
            store(out, 0, out[0] + partial[(other + 1) * width + element])
        for part in range(parts):
            with when(owned(part) < dim):
                write(owned(part), out[part] / state[1])


def attend_tiles(kind: PagedAttention, cache: Cache, q: Buffer, out: Buffer, n: Expr) -> None:
    """Rows that are consecutive positions of one slot: a workgroup takes a tile of queries of one
    head through tiles of keys, `CHUNK` elements of the heads at a time."""
    shape, dim = kind.shape, kind.shape.head_dim
    # Registers hold a thread's part of the result.
    queries = 32 if dim <= 128 else 16
    mine, chunks = queries // DOWN, -(-dim // CHUNK)
    grid = (tirx.floordiv(n + (queries - 1), queries), shape.query_heads)
    with launch(grid=grid, threads=(ACROSS, DOWN)) as ((block, head), (tx, ty)):
        count, base = let(cast("int32", n)), let(cast("int32", block) * queries)
        kv_head, slot = let(head // shape.group), cache.slot(base)
        lane = let(ty * ACROSS + tx)
        row_of, column = let(lane // CHUNK), let(lane % CHUNK)
        begin = cache.position(base)
        end = begin + tirx.min(count - base, queries)
        stop = let(tirx.Select(begin >= 0, end, tirx.const(0, "int32")))
        # Whole pages, so that a row of a tile is always in the same half.
        start = let(kind.first(begin) // PAGE_SIZE * PAGE_SIZE)
        # Keys, then values. Flat, or TVM takes off the padding that spreads rows over banks.
        slab = shared((KEYS * PADDED,), "float32")
        asked = shared((queries, CHUNK), "float32")
        weights = shared((queries, KEYS), "float32")
        place = local((mine,), "int32")
        dots = local((mine * 2,), "float32")
        peak, total = local((mine,), "float32"), local((mine,), "float32")
        result = local((mine * chunks * 2,), "float32")

        def row(r: int) -> Expr:
            return ty * mine + r

        def load(which: int, key: Expr, pages: list[Expr], first_column: Expr | int) -> None:
            i = let(first_column + column)
            for step in range(KEYS // LOADED):
                at = row_of + step * LOADED
                page = pages[step * LOADED // PAGE_SIZE]
                source = [page, which, kv_head, at % PAGE_SIZE, tirx.min(i, dim - 1)]
                known = tirx.And(key + at < stop, i < dim)
                value = cast("float32", cache.pages[tuple(source)])
                store(slab, at * PADDED + column, tirx.Select(known, value, T.float32(0)))

        for r in range(mine):
            known = base + row(r) < count
            own = cache.inputs[1, tirx.min(base + row(r), count - 1)]
            store(place, r, tirx.Select(known, own, tirx.const(-1, "int32")))
            store(peak, r, T.float32(LOWEST))
            store(total, r, T.float32(0))
        for i in range(mine * chunks * 2):
            store(result, i, T.float32(0))
        with T.serial(tirx.floordiv(tirx.max(stop - start, 0) + (KEYS - 1), KEYS)) as tile:
            key = let(start + tile * KEYS)
            pages = [
                let(cache.table[slot, tirx.min(key // PAGE_SIZE + i, kind.pages_per_slot - 1)])
                for i in range(KEYS // PAGE_SIZE)
            ]

            # No constant, or drivers unroll loops over it; and the last tile has fewer.
            filled = let(tirx.min(stop - key, KEYS))

            def visible(r: int, c: int) -> Expr:
                at = key + tx + c * ACROSS
                seen = at <= place[r]
                return tirx.And(seen, at > place[r] - kind.window) if kind.window else seen

            for i in range(mine * 2):
                store(dots, i, T.float32(0))
            with T.serial(chunks) as chunk:
                i = let(chunk * CHUNK + column)
                for step in range(queries // LOADED):
                    at = row_of + step * LOADED
                    token = tirx.min(base + at, count - 1)
                    value = cast("float32", q[0, token, head * dim + tirx.min(i, dim - 1)])
                    store(asked, [at, column], tirx.Select(i < dim, value, T.float32(0)))
                load(0, key, pages, chunk * CHUNK)
                barrier()
                with T.serial(CHUNK) as i:
                    for r in range(mine):
                        for c in range(2):
                            product = asked[row(r), i] * slab[(tx + c * ACROSS) * PADDED + i]
                            store(dots, r * 2 + c, dots[r * 2 + c] + product)
                barrier()
            for r in range(mine):
                for c in range(2):
                    scaled = let(dots[r * 2 + c] * exact(kind.query_scale))
                    store(dots, r * 2 + c, score(scaled, kind.softcap))
                    value = tirx.Select(visible(r, c), dots[r * 2 + c], T.float32(LOWEST))
                    store(weights, [row(r), tx + c * ACROSS], value)
            barrier()
            for r in range(mine):
                before = let(peak[r])
                with T.serial(filled) as i:
                    store(peak, r, tirx.max(peak[r], weights[row(r), i]))
                shrink = let(T.exp2(before - peak[r]))
                store(total, r, total[r] * shrink)
                for i in range(chunks * 2):
                    at = r * chunks * 2 + i
                    store(result, at, result[at] * shrink)
            barrier()
            for r in range(mine):
                for c in range(2):
                    weight = T.exp2(dots[r * 2 + c] - peak[r])
                    value = tirx.Select(visible(r, c), weight, T.float32(0))
                    store(weights, [row(r), tx + c * ACROSS], value)
            for chunk in range(chunks):
                load(1, key, pages, chunk * CHUNK)
                barrier()
                with T.serial(filled) as i:
                    for r in range(mine):
                        if chunk == 0:
                            store(total, r, total[r] + weights[row(r), i])
                        for c in range(2):
                            at = (r * chunks + chunk) * 2 + c
                            product = weights[row(r), i] * slab[i * PADDED + tx + c * ACROSS]
                            store(result, at, result[at] + product)
                barrier()
        for r in range(mine):
            sum_of_weights = let(tirx.max(total[r], T.float32(TINY)))
            for chunk in range(chunks):
                for c in range(2):
                    i = chunk * CHUNK + tx + c * ACROSS
                    with when(tirx.And(base + row(r) < count, i < dim)):
                        value = result[(r * chunks + chunk) * 2 + c] / sum_of_weights
                        at_i = [0, base + row(r), head * dim + i]
                        store(out, at_i, cast(shape.dtype, value))
