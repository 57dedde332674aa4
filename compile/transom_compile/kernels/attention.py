"""KV append and attention over TVM's paged KV cache, with windows and capped scores.

Argument orders are those that TVM 0.27's `paged_kv_cache.cc` and `attn_backend.h` call with.
Scores are kept in base 2 (exp2), as TVM's merge kernel expects of the log-sum-exp. Keys enter the
cache already rotated. The cache tells a kernel nothing of the layer but the scale of its scores,
so a negative scale means: a windowed layer. Windowed layers keep all keys, which costs memory and
lets a conversation be taken back or saved.

`fallback`: a thread owns one (query, head) and meets nobody. `gpu`: a workgroup owns it. Models
without windows and caps take TVM's own tiled attention in the gpu schedule instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.activations import soft_capped
from transom_compile.kernels.attention_shape import AttentionShape
from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    buffer_arg,
    cast,
    each,
    exact,
    int_arg,
    kernel,
    launch,
    let,
    local,
    shared,
    store,
    when,
)

PAGE_SIZE = 16
"""Tokens in a page; WebLLM 0.2.86 asks for 16 and TVM's kernels assume it."""

LOWEST = -5e4
"""Start of a running maximum in exp2 space: far below any score, still finite in f32 and f16."""


TINY = 1e-30
"""Least sum of weights: a query that sees no key here weighs nothing when chunks are merged."""

LANES = 64
"""Threads of a workgroup in the gpu schedule; as many keys are scored at a time."""


@dataclass(frozen=True)
class Attention:
    """One kind of attention: heads, how far back windowed layers see, the cap on scores."""

    shape: AttentionShape
    schedule: str
    window: int = 0
    softcap: float = 0.0


def append(shape: AttentionShape, *, threads: int = 64) -> object:
    """(pages, k, v, positions): write new keys and values to their slots; slot -1 is skipped."""
    row = shape.kv_heads * shape.head_dim
    with kernel("kv_append") as made:
        n = tirx.Var("n", "int32")
        pages = _pages_arg(shape)
        k = buffer_arg("k", (n, shape.kv_heads, shape.head_dim), shape.dtype)
        v = buffer_arg("v", (n, shape.kv_heads, shape.head_dim), shape.dtype)
        slots = buffer_arg("slots", (n,), "int32", offset=True)
        with each(n * row, threads) as at:
            token = let(at // row)
            head = let(at % row // shape.head_dim)
            i = let(at % shape.head_dim)
            slot = let(slots[token])
            with when(slot >= 0):
                page = let(slot // PAGE_SIZE)
                store(pages, [page, 0, head, slot % PAGE_SIZE, i], k[token, head, i])
                store(pages, [page, 1, head, slot % PAGE_SIZE, i], v[token, head, i])
    return made.prim_func


def decode(attention: Attention) -> object:
    """One query a sequence over its pages."""
    shape = attention.shape
    with kernel("attention_decode") as made:
        batch = tirx.Var("batch", "int32")
        q = buffer_arg("q", (batch, shape.query_heads, shape.head_dim), shape.dtype)
        pages = _pages_arg(shape)
        table = _page_table_args(batch)
        key_offsets = buffer_arg("k_rope_pos_offset", (batch,), "int32", offset=True)
        positions = buffer_arg("q_rope_position", (batch,), "int32", offset=True)
        output, lse = _output_args(shape, batch)
        scale = _rope_and_scale_args()
        with _each_query(attention, batch, threads=4) as query:
            sequence = query.index
            length = table.length(sequence)
            first = _first_key(attention, positions[sequence] - key_offsets[sequence], scale)
            read = table.reader(pages, sequence, let(query.head // _group(shape)))
            _attend(attention, q, query, _Keys(first, length, read), scale, output, lse)
    return made.prim_func


def prefill_paged(attention: Attention) -> object:
    """Many queries a sequence over its pages (earlier chunks)."""
    shape = attention.shape
    with kernel("attention_prefill_paged") as made:
        batch, total = tirx.Var("batch", "int32"), tirx.Var("total", "int32")
        q = buffer_arg("q", (total, shape.query_heads, shape.head_dim), shape.dtype)
        query_starts = buffer_arg("q_indptr", (batch + 1,), "int32", offset=True)
        pages = _pages_arg(shape)
        table = _page_table_args(batch)
        key_offsets = buffer_arg("k_rope_pos_offset", (batch,), "int32", offset=True)
        positions = buffer_arg("q_rope_position", (total,), "int32", offset=True)
        output, lse = _output_args(shape, total)
        causal = int_arg("causal")
        scale = _rope_and_scale_args()
        with _each_query(attention, total, threads=16) as query:
            sequence = _sequence_of(query.index, query_starts, batch)
            length = table.length(sequence)
            visible = _visible(query.index, query_starts, sequence, length, causal)
            first = _first_key(attention, positions[query.index] - key_offsets[sequence], scale)
            read = table.reader(pages, sequence, let(query.head // _group(shape)))
            _attend(attention, q, query, _Keys(first, visible, read), scale, output, lse)
    return made.prim_func


def prefill_ragged(attention: Attention) -> object:
    """Many queries over the keys of this very chunk, before they enter the cache."""
    shape = attention.shape
    with kernel("attention_prefill_ragged") as made:
        batch = tirx.Var("batch", "int32")
        total, kv_total = tirx.Var("total", "int32"), tirx.Var("kv_total", "int32")
        q = buffer_arg("q", (total, shape.query_heads, shape.head_dim), shape.dtype)
        query_starts = buffer_arg("q_indptr", (batch + 1,), "int32", offset=True)
        k = buffer_arg("k", (kv_total, shape.kv_heads, shape.head_dim), shape.dtype)
        v = buffer_arg("v", (kv_total, shape.kv_heads, shape.head_dim), shape.dtype)
        kv_starts = buffer_arg("kv_indptr", (batch + 1,), "int32", offset=True)
        buffer_arg("q_rope_position", (total,), "int32", offset=True)
        buffer_arg("k_rope_pos_offset", (batch,), "int32", offset=True)
        output, lse = _output_args(shape, total)
        causal = int_arg("causal")
        scale = _rope_and_scale_args()
        with _each_query(attention, total, threads=16) as query:
            sequence = _sequence_of(query.index, query_starts, batch)
            start = let(kv_starts[sequence])
            length = let(kv_starts[sequence + 1] - start)
            visible = _visible(query.index, query_starts, sequence, length, causal)
            # Queries and keys of a chunk begin at the same position.
            first = _first_key(attention, query.index - query_starts[sequence], scale)
            kv_head = let(query.head // _group(shape))

            def read(which: int, position: Expr) -> Callable[[Expr], Expr]:
                source = (k, v)[which]
                return lambda i: source[start + position, kv_head, i]

            _attend(attention, q, query, _Keys(first, visible, read), scale, output, lse)
    return made.prim_func


def _group(shape: AttentionShape) -> int:
    return shape.query_heads // shape.kv_heads


def _pages_arg(shape: AttentionShape) -> Buffer:
    pages = tirx.Var("pages_count", "int32")
    sizes = (pages, 2, shape.kv_heads, PAGE_SIZE, shape.head_dim)
    return buffer_arg("pages", sizes, shape.dtype, offset=True)


@dataclass(frozen=True)
class _PageTable:
    starts: Buffer
    pages: Buffer
    last_page_length: Buffer

    def length(self, sequence: Expr) -> Expr:
        """Cached tokens of a sequence."""
        count = let(self.starts[sequence + 1] - self.starts[sequence])
        full = (count - 1) * PAGE_SIZE + self.last_page_length[sequence]
        return let(tirx.Select(count > 0, full, tirx.const(0, "int32")))

    def reader(
        self, pages: Buffer, sequence: Expr, kv_head: Expr
    ) -> Callable[[int, Expr], Callable[[Expr], Expr]]:
        """read(0 for keys or 1 for values, position) -> element i."""
        start = let(self.starts[sequence])

        def read(which: int, position: Expr) -> Callable[[Expr], Expr]:
            page = let(self.pages[start + position // PAGE_SIZE])
            return lambda i: pages[page, which, kv_head, position % PAGE_SIZE, i]

        return read


def _page_table_args(batch: Expr) -> _PageTable:
    count = tirx.Var("table_pages", "int32")
    return _PageTable(
        buffer_arg("page_indptr", (batch + 1,), "int32", offset=True),
        buffer_arg("page_values", (count,), "int32", offset=True),
        buffer_arg("length_info", (batch,), "int32", offset=True),
    )


def _output_args(shape: AttentionShape, queries: Expr) -> tuple[Buffer, Buffer]:
    output = buffer_arg("output", (queries, shape.query_heads, shape.head_dim), shape.dtype)
    return output, buffer_arg("lse", (queries, shape.query_heads), "float32")


def _rope_and_scale_args() -> Expr:
    """Rope arguments for inline mode, unused here, then the softmax scale."""
    int_arg("rotary_mode")
    int_arg("rope_scale", "float32")
    int_arg("rope_theta", "float32")
    return int_arg("softmax_scale", "float32")


@dataclass(frozen=True)
class _Query:
    """What a thread works on; `lane` is its number among those that share it, None if alone."""

    index: Expr
    head: Expr
    lane: Expr | None


@contextmanager
def _each_query(attention: Attention, queries: Expr, *, threads: int) -> Iterator[_Query]:
    """A thread, or a workgroup of `LANES`, per (query, head)."""
    heads = attention.shape.query_heads
    if attention.schedule == "fallback":
        with each(queries * heads, threads) as at:
            yield _Query(let(at // heads), let(at % heads), None)
    else:
        with launch(grid=(queries * heads,), threads=(LANES,)) as ((at,), (lane,)):
            yield _Query(let(at // heads), let(at % heads), lane)


def _sequence_of(query: Expr, starts: Buffer, batch: Expr) -> Expr:
    found = local((1,), "int32")
    store(found, 0, tirx.const(0, "int32"))
    with T.serial(batch) as b, when(query >= starts[b + 1]):
        store(found, 0, b + 1)
    return let(found[0])


def _visible(query: Expr, starts: Buffer, sequence: Expr, length: Expr, causal: Expr) -> Expr:
    """How many keys this query may see: with a causal mask the last query sees all."""
    behind = starts[sequence + 1] - 1 - query
    return let(tirx.Select(causal > 0, length - behind, length))


def _first_key(attention: Attention, own: Expr, scale: Expr) -> Expr:
    """The first key that a query whose own key is number `own` sees; see the module on the sign."""
    zero = tirx.const(0, "int32")
    if not attention.window:
        return zero
    start = tirx.max(own + (1 - attention.window), zero)
    return let(tirx.Select(scale < tirx.const(0, "float32"), start, zero))


@dataclass(frozen=True)
class _Keys:
    """Keys `first` <= position < `stop`; read(0 for keys or 1 for values, position) -> element."""

    first: Expr
    stop: Expr
    read: Callable[[int, Expr], Callable[[Expr], Expr]]


def _attend(
    attention: Attention,
    q: Buffer,
    query: _Query,
    keys: _Keys,
    scale: Expr,
    output: Buffer,
    lse: Buffer,
) -> None:
    """softmax(q k) v, online (Milakov & Gimelshein 2018): one walk over the keys."""
    if attention.window:
        scale = tirx.abs(scale)
    # Capping wants the natural score; else the base is folded into the query.
    scale = let(scale if attention.softcap else scale * exact(math.log2(math.e)))
    if query.lane is None:
        _attend_alone(attention, q, query, keys, scale, output, lse)
    else:
        _attend_together(attention, q, query, query.lane, keys, scale, output, lse)


def _score(attention: Attention, dot: Expr) -> Expr:
    """The score in base 2."""
    if not attention.softcap:
        return dot
    return soft_capped(dot, attention.softcap) * exact(math.log2(math.e))


def _attend_alone(
    attention: Attention,
    q: Buffer,
    query: _Query,
    keys: _Keys,
    scale: Expr,
    output: Buffer,
    lse: Buffer,
) -> None:
    shape = attention.shape
    dim = shape.head_dim
    mine = local((dim,), "float32")
    out = local((dim,), "float32")
    state = local((3,), "float32")  # running maximum, running sum, last score
    with T.serial(dim) as i:
        store(mine, i, cast("float32", q[query.index, query.head, i]) * scale)
        store(out, i, T.float32(0))
    store(state, 0, T.float32(LOWEST))
    store(state, 1, T.float32(0))
    with T.serial(tirx.max(keys.stop - keys.first, tirx.const(0, "int32"))) as step:
        position = let(keys.first + step)
        key = keys.read(0, position)
        store(state, 2, T.float32(0))
        _walk(dim, lambda i: store(state, 2, state[2] + mine[i] * cast("float32", key(i))))
        if attention.softcap:
            store(state, 2, _score(attention, state[2]))
        peak = let(tirx.max(state[0], state[2]))
        shrink = let(T.exp2(state[0] - peak))
        weight = let(T.exp2(state[2] - peak))
        store(state, 1, state[1] * shrink + weight)
        store(state, 0, peak)
        value = keys.read(1, position)
        _walk(dim, lambda i: store(out, i, out[i] * shrink + weight * cast("float32", value(i))))
    total = let(tirx.max(state[1], tirx.const(TINY, "float32")))
    with T.serial(dim) as i:
        store(output, [query.index, query.head, i], cast(shape.dtype, out[i] / total))
    store(lse, [query.index, query.head], state[0] + T.log2(total))


def _attend_together(
    attention: Attention,
    q: Buffer,
    query: _Query,
    lane: Expr,
    keys: _Keys,
    scale: Expr,
    output: Buffer,
    lse: Buffer,
) -> None:
    """`LANES` keys at a time: each thread scores one, then owns some elements of the result."""
    shape = attention.shape
    dim = shape.head_dim
    own = -(-dim // LANES)
    mine = shared((dim,), "float32")
    scores = shared((LANES,), "float32")
    out = local((own,), "float32")
    state = local((3,), "float32")  # running maximum, running sum, own score
    for part in range(own):
        store(out, part, T.float32(0))
        with when(lane + part * LANES < dim):
            i = let(lane + part * LANES)
            store(mine, i, cast("float32", q[query.index, query.head, i]) * scale)
    store(state, 0, T.float32(LOWEST))
    store(state, 1, T.float32(0))
    tiles = let(tirx.floordiv(tirx.max(keys.stop - keys.first, 0) + (LANES - 1), LANES))
    with T.serial(tiles) as tile:
        start = let(keys.first + tile * LANES)
        barrier()
        store(state, 2, T.float32(LOWEST))
        with when(start + lane < keys.stop):
            key = keys.read(0, let(start + lane))
            store(state, 2, T.float32(0))
            _walk(dim, lambda i: store(state, 2, state[2] + mine[i] * cast("float32", key(i))))
            if attention.softcap:
                store(state, 2, _score(attention, state[2]))
        store(scores, lane, state[2])
        barrier()
        before = let(state[0])
        count = let(tirx.min(keys.stop - start, LANES))
        with T.serial(count) as i:
            store(state, 0, tirx.max(state[0], scores[i]))
        shrink = let(T.exp2(before - state[0]))
        store(state, 1, state[1] * shrink)
        for part in range(own):
            store(out, part, out[part] * shrink)
        with T.serial(count) as i:
            weight = let(T.exp2(scores[i] - state[0]))
            store(state, 1, state[1] + weight)
            value = keys.read(1, let(start + i))
            for part in range(own):
                with when(lane + part * LANES < dim):
                    element = cast("float32", value(lane + part * LANES))
                    store(out, part, out[part] + weight * element)
    total = let(tirx.max(state[1], tirx.const(TINY, "float32")))
    for part in range(own):
        with when(lane + part * LANES < dim):
            value_at = [query.index, query.head, lane + part * LANES]
            store(output, value_at, cast(shape.dtype, out[part] / total))
    with when(lane == 0):
        store(lse, [query.index, query.head], state[0] + T.log2(total))


def _walk(dim: int, step: Callable[[Expr], None], *, unrolled: int = 8) -> None:
    with T.serial(dim // unrolled) as outer:
        for inner in range(unrolled):
            step(outer * unrolled + inner)
