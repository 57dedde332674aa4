"""Rotary embedding, KV append and barrier-free attention over TVM's paged KV cache.

Argument orders are those that TVM 0.27's `paged_kv_cache.cc` and `attn_backend.h` call with.
Scores are kept in base 2 (exp2), as TVM's merge kernel expects of the log-sum-exp. Only "normal"
rope mode: keys enter the cache already rotated. The gpu schedule takes TVM's own tiled attention
instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    buffer_arg,
    cast,
    each,
    exact,
    int_arg,
    kernel,
    let,
    local,
    store,
    when,
)

PAGE_SIZE = 16
"""Tokens in a page; WebLLM 0.2.86 asks for 16 and TVM's kernels assume it."""

LOWEST = -5e4
"""Start of a running maximum in exp2 space: far below any score, still finite in f32 and f16."""


@dataclass(frozen=True)
class AttentionShape:
    """Heads and head size of one attention layer."""

    query_heads: int
    kv_heads: int
    head_dim: int
    dtype: str


def split_rotary(
    shape: AttentionShape, frequencies: Sequence[float], *, threads: int = 32
) -> object:
    """(qkv, positions, q, k, v, apply_rope): split the fused projection and rotate q and k.

    Half-split ("neox") pairs (i, i + head_dim/2) turn by position * frequencies[i]. Frequencies are
    constants worked out in f64 when compiling; the angle is reduced to [-pi, pi] first, because
    WGSL promises sin and cos only there.
    """
    heads = shape.query_heads + 2 * shape.kv_heads
    half = shape.head_dim // 2
    with kernel("split_rotary") as made:
        n = tirx.Var("n", "int32")
        qkv = buffer_arg("qkv", (n, heads, shape.head_dim), shape.dtype)
        positions = buffer_arg("positions", (n,), "int32", offset=True)
        q = buffer_arg("q", (n, shape.query_heads, shape.head_dim), shape.dtype)
        k = buffer_arg("k", (n, shape.kv_heads, shape.head_dim), shape.dtype)
        v = buffer_arg("v", (n, shape.kv_heads, shape.head_dim), shape.dtype)
        apply_rope = int_arg("apply_rope")
        with each(n * (heads * half), threads) as at:
            i = let(at % half)
            head = let(at // half % heads)
            token = let(at // (half * heads))
            low = let(cast("float32", qkv[token, head, i]))
            high = let(cast("float32", qkv[token, head, i + half]))
            turns = local((2,), "float32")
            store(turns, 0, T.float32(1))
            store(turns, 1, T.float32(0))
            rotated = shape.query_heads + shape.kv_heads
            with when(tirx.And(apply_rope > 0, head < rotated)):
                angle = cast("float32", positions[token]) * _pick(frequencies, i, 0)
                reduced = let(_reduce_angle(let(angle)))
                store(turns, 0, T.cos(reduced))
                store(turns, 1, T.sin(reduced))
            first = let(cast(shape.dtype, low * turns[0] - high * turns[1]))
            second = let(cast(shape.dtype, high * turns[0] + low * turns[1]))
            _store_pair(q, token, head, i, half, first, second, 0, shape.query_heads)
            _store_pair(k, token, head, i, half, first, second, shape.query_heads, rotated)
            _store_pair(v, token, head, i, half, first, second, rotated, heads)
    return made.prim_func


def _store_pair(
    target: Buffer,
    token: Expr,
    head: Expr,
    i: Expr,
    half: int,
    first: Expr,
    second: Expr,
    start: int,
    stop: int,
) -> None:
    with when(tirx.And(head >= start, head < stop)):
        store(target, [token, head - start, i], first)
        store(target, [token, head - start, i + half], second)


def _pick(values: Sequence[float], index: Expr, base: int) -> Expr:
    """values[index - base] as a balanced tree of selects: constants without a buffer for them."""
    if len(values) == 1:
        return exact(values[0])
    middle = len(values) // 2
    left = _pick(values[:middle], index, base)
    right = _pick(values[middle:], index, base + middle)
    return tirx.Select(index < base + middle, left, right)


def _reduce_angle(angle: Expr) -> Expr:
    """angle modulo 2 pi in [-pi, pi] (Cody-Waite: 2 pi in three parts of growing precision)."""
    turns = let(T.round(angle * exact(1 / (2 * math.pi))))
    for part in (6.28125, 1.9350051879882812e-3, 3.0199159819567e-7):
        angle = let(angle - turns * exact(part))
    return angle


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


def decode(shape: AttentionShape, *, threads: int = 4) -> object:
    """One query a sequence over its pages; a thread owns one (sequence, head)."""
    with kernel("attention_decode") as made:
        batch = tirx.Var("batch", "int32")
        q = buffer_arg("q", (batch, shape.query_heads, shape.head_dim), shape.dtype)
        pages = _pages_arg(shape)
        table = _page_table_args(batch)
        buffer_arg("k_rope_pos_offset", (batch,), "int32", offset=True)
        buffer_arg("q_rope_position", (batch,), "int32", offset=True)
        output, lse = _output_args(shape, batch)
        softmax_scale = _rope_and_scale_args()
        with _each_query(shape, batch, threads) as (sequence, head):
            length = table.length(sequence)
            read = table.reader(pages, sequence, let(head // _group(shape)))
            _attend(shape, q, sequence, head, length, read, softmax_scale, output, lse)
    return made.prim_func


def prefill_paged(shape: AttentionShape, *, threads: int = 16) -> object:
    """Many queries a sequence over its pages (earlier chunks); a thread owns one (query, head)."""
    with kernel("attention_prefill_paged") as made:
        batch, total = tirx.Var("batch", "int32"), tirx.Var("total", "int32")
        q = buffer_arg("q", (total, shape.query_heads, shape.head_dim), shape.dtype)
        query_starts = buffer_arg("q_indptr", (batch + 1,), "int32", offset=True)
        pages = _pages_arg(shape)
        table = _page_table_args(batch)
        buffer_arg("k_rope_pos_offset", (batch,), "int32", offset=True)
        buffer_arg("q_rope_position", (total,), "int32", offset=True)
        output, lse = _output_args(shape, total)
        causal = int_arg("causal")
        softmax_scale = _rope_and_scale_args()
        with _each_query(shape, total, threads) as (query, head):
            sequence = _sequence_of(query, query_starts, batch)
            length = table.length(sequence)
            visible = _visible(query, query_starts, sequence, length, causal)
            read = table.reader(pages, sequence, let(head // _group(shape)))
            _attend(shape, q, query, head, visible, read, softmax_scale, output, lse)
    return made.prim_func


def prefill_ragged(shape: AttentionShape, *, threads: int = 16) -> object:
    """Many queries over the keys of this very chunk, before they enter the cache."""
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
        softmax_scale = _rope_and_scale_args()
        with _each_query(shape, total, threads) as (query, head):
            sequence = _sequence_of(query, query_starts, batch)
            start = let(kv_starts[sequence])
            length = let(kv_starts[sequence + 1] - start)
            visible = _visible(query, query_starts, sequence, length, causal)
            kv_head = let(head // _group(shape))

            def read(which: int, position: Expr) -> Callable[[Expr], Expr]:
                source = (k, v)[which]
                return lambda i: source[start + position, kv_head, i]

            _attend(shape, q, query, head, visible, read, softmax_scale, output, lse)
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


@contextmanager
def _each_query(shape: AttentionShape, queries: Expr, threads: int) -> Iterator[tuple[Expr, Expr]]:
    """A thread per (query, head)."""
    heads = shape.query_heads
    with each(queries * heads, threads) as at:
        yield let(at // heads), let(at % heads)


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


def _attend(
    shape: AttentionShape,
    q: Buffer,
    query: Expr,
    head: Expr,
    visible: Expr,
    read: Callable[[int, Expr], Callable[[Expr], Expr]],
    softmax_scale: Expr,
    output: Buffer,
    lse: Buffer,
) -> None:
    """softmax(q k) v by one thread, online (Milakov & Gimelshein 2018): one walk over the keys."""
    dim = shape.head_dim
    mine = local((dim,), "float32")
    out = local((dim,), "float32")
    state = local((3,), "float32")  # running maximum, running sum, last dot product
    scale = let(softmax_scale * exact(math.log2(math.e)))
    with T.serial(dim) as i:
        store(mine, i, cast("float32", q[query, head, i]) * scale)
        store(out, i, T.float32(0))
    store(state, 0, T.float32(LOWEST))
    store(state, 1, T.float32(0))
    with T.serial(visible) as position:
        key = read(0, position)
        store(state, 2, T.float32(0))
        _walk(dim, lambda i: store(state, 2, state[2] + mine[i] * cast("float32", key(i))))
        peak = let(tirx.max(state[0], state[2]))
        shrink = let(T.exp2(state[0] - peak))
        weight = let(T.exp2(state[2] - peak))
        store(state, 1, state[1] * shrink + weight)
        store(state, 0, peak)
        value = read(1, position)
        _walk(dim, lambda i: store(out, i, out[i] * shrink + weight * cast("float32", value(i))))
    total = let(tirx.max(state[1], tirx.const(1e-30, "float32")))
    with T.serial(dim) as i:
        store(output, [query, head, i], cast(shape.dtype, out[i] / total))
    store(lse, [query, head], state[0] + T.log2(total))


def _walk(dim: int, step: Callable[[Expr], None], *, unrolled: int = 8) -> None:
    with T.serial(dim // unrolled) as outer:
        for inner in range(unrolled):
            step(outer * unrolled + inner)
