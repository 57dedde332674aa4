"""What an encoder has and a decoder has not: LayerNorm, learned positions, attention without a
cache in both directions, pooling.

Two schedules, as elsewhere: `fallback` has no barrier and no shared memory, `gpu` shares rows over
the threads of a workgroup. All sums are f32. Knows shapes; knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    buffer_arg,
    cast,
    each,
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
from transom_compile.kernels.weights import GROUP, WeightReader

POSITION = -1
"""`add_rows`: token t takes row t."""

LOWEST = -5e4
"""Start of a running maximum in exp2 space: far below any score, still finite in f32."""

QUERIES, KEYS, VALUES = range(3)
"""Their order in a row of qkv."""

TILE_FLOATS = 2048
"""Keys, and as many values, that a workgroup shares: 16 KiB in all, what WebGPU promises."""


def add_rows(
    block_type: str, rows: int, cols: int, row: int, dtype: str, *, threads: int = 16
) -> object:
    """y[0, t, :] = x[0, t, :] + W[row, :], or W[t, :] where `row` is `POSITION`.

    x, y: (1, n, cols) of `dtype`.
    """
    groups = cols // GROUP
    name = "positions" if row == POSITION else f"row{row}"
    with kernel(f"add_{name}_{block_type.lower()}_{rows}x{cols}") as made:
        n = symbolic("n")
        x = buffer_arg("x", (1, n, cols), dtype)
        weight = WeightReader.declare(block_type, rows, cols)
        y = buffer_arg("y", (1, n, cols), dtype)
        with each(n * groups, threads) as at:
            token = let(at // groups)
            g = let(at % groups)
            group = weight.group(token if row == POSITION else tirx.const(row, "int32"), g)
            for k in range(GROUP):
                i = g * GROUP + k
                total = cast("float32", x[0, token, i]) + group.value(k)
                store(y, [0, token, i], cast(dtype, total))
    return made.prim_func


def layer_norm(width: int, epsilon: float, dtype: str, schedule: str) -> object:
    """y = (x - mean) / sqrt(variance + epsilon) * weight + bias (Ba, Kiros & Hinton 2016).

    x, y: (1, n, width) of `dtype`; weight, bias: float32 (width,). The variance is that of the
    centred values, in a second walk over the row: E[x^2] - E[x]^2 would cancel.
    """
    threads = 16 if schedule == "fallback" else 64
    with kernel(f"layer_norm_{width}") as made:
        n = symbolic("n")
        x = buffer_arg("x", (1, n, width), dtype)
        weight = buffer_arg("weight", (width,), "float32")
        bias = buffer_arg("bias", (width,), "float32")
        y = buffer_arg("y", (1, n, width), dtype)
        with launch(grid=(n,), threads=(threads,)) as ((t,), (tx,)):

            def value(i: Expr) -> Expr:
                return cast("float32", x[0, t, i])

            row_sum = _whole_row if schedule == "fallback" else _shared_row
            mean = let(row_sum(width, threads, tx, value) / float(width))

            def squared(i: Expr) -> Expr:
                centred = let(value(i) - mean)
                return centred * centred

            variance = let(row_sum(width, threads, tx, squared) / float(width))
            scale = let(1.0 / T.sqrt(variance + exact(epsilon)))
            with T.serial(-(-width // threads)) as step:
                i = let(step * threads + tx)
                with when(i < width):
                    normed = (value(i) - mean) * scale * weight[i] + bias[i]
                    store(y, [0, t, i], cast(dtype, normed))
    return made.prim_func


def _whole_row(width: int, _threads: int, _tx: Expr, term: Callable[[Expr], Expr]) -> Expr:
    """sum(term(i)) by every thread for itself."""
    total = local((1,), "float32")
    store(total, 0, T.float32(0))
    with T.serial(width) as i:
        store(total, 0, total[0] + term(i))
    return let(total[0])


def _shared_row(width: int, threads: int, tx: Expr, term: Callable[[Expr], Expr]) -> Expr:
    """sum(term(i)) by all threads together; each call has shared memory of its own."""
    total = local((1,), "float32")
    partial = shared((threads,), "float32")
    store(total, 0, T.float32(0))
    with T.serial(-(-width // threads)) as step:
        i = let(step * threads + tx)
        with when(i < width):
            store(total, 0, total[0] + term(i))
    store(partial, tx, total[0])
    barrier()
    store(total, 0, T.float32(0))
    with T.serial(threads) as i:
        store(total, 0, total[0] + partial[i])
    return let(total[0])


@dataclass(frozen=True)
class SelfAttention:
    """Every token sees every token: softmax(q k / sqrt(head_dim)) v, head by head.

    qkv: (1, n, 3 * heads * head_dim) of `dtype`, queries first, then keys, then values;
    y: (1, n, heads * head_dim).
    """

    heads: int
    head_dim: int
    dtype: str

    @property
    def width(self) -> int:
        return self.heads * self.head_dim

    @property
    def name(self) -> str:
        return f"self_attention_{self.heads}x{self.head_dim}"

    @property
    def query_scale(self) -> float:
        """Into base 2, for exp2."""
        return math.log2(math.e) / math.sqrt(self.head_dim)


def self_attention(shape: SelfAttention, schedule: str) -> object:
    """The kernel of a schedule."""
    return _attention_fallback(shape) if schedule == "fallback" else _attention_gpu(shape)


def _attention_fallback(shape: SelfAttention, *, threads: int = 16) -> object:
    """A thread owns one (query, head) and walks over all keys."""
    with kernel(shape.name) as made:
        n, qkv, y = _attention_args(shape)
        with each(n * shape.heads, threads) as at:
            query, head = let(at // shape.heads), let(at % shape.heads)
            softmax = _Softmax.start(shape, qkv, query, head)
            with T.serial(cast("int32", n)) as position:
                key, value = (
                    _reader(shape, qkv, position, which, head) for which in (KEYS, VALUES)
                )
                softmax.take(key, value)
            softmax.finish(y, query, head)
    return made.prim_func


def _attention_gpu(shape: SelfAttention, *, threads: int = 32) -> object:
    """A workgroup owns `threads` queries of one head; keys and values go through shared memory."""
    dim = shape.head_dim
    # Heads are multiples of 8, so a tile is loaded in whole rounds of 32 threads.
    tile = TILE_FLOATS // dim // 4 * 4
    with kernel(shape.name) as made:
        n, qkv, y = _attention_args(shape)
        grid = (tirx.floordiv(n + threads - 1, threads), shape.heads)
        with launch(grid=grid, threads=(threads,)) as ((block, head), (tx,)):
            count = let(cast("int32", n))
            query = let(block * threads + tx)
            # Queries past the end repeat the last one and are dropped at the store.
            softmax = _Softmax.start(shape, qkv, let(tirx.min(query, count - 1)), head)
            keys, values = (shared((tile, dim), "float32") for _ in (KEYS, VALUES))
            with T.serial(tirx.floordiv(count + tile - 1, tile)) as number:
                first = let(number * tile)
                with T.serial(tile * dim // threads) as step:
                    slot = let(step * threads + tx)
                    position = let(tirx.min(first + slot // dim, count - 1))
                    for which, slab in ((KEYS, keys), (VALUES, values)):
                        read = _reader(shape, qkv, position, which, head)
                        store(slab, [slot // dim, slot % dim], read(slot % dim))
                barrier()
                with T.serial(tirx.min(tile, count - first)) as row:
                    softmax.take(_row(keys, row), _row(values, row))
                barrier()
            with when(query < count):
                softmax.finish(y, query, head)
    return made.prim_func


def _attention_args(shape: SelfAttention) -> tuple[Expr, Buffer, Buffer]:
    n = symbolic("n")
    qkv = buffer_arg("qkv", (1, n, 3 * shape.width), shape.dtype)
    return n, qkv, buffer_arg("y", (1, n, shape.width), shape.dtype)


def _reader(
    shape: SelfAttention, qkv: Buffer, position: Expr, which: int, head: Expr
) -> Callable[[Expr], Expr]:
    """Element i of a position's query, key or value of one head, as float32."""
    start = which * shape.width
    return lambda i: cast("float32", qkv[0, position, head * shape.head_dim + start + i])


def _row(slab: Buffer, row: Expr) -> Callable[[Expr], Expr]:
    return lambda i: slab[row, i]


@dataclass(frozen=True)
class _Softmax:
    """One query's running softmax (Milakov & Gimelshein 2018): one walk over keys and values."""

    shape: SelfAttention
    query: Buffer
    out: Buffer
    state: Buffer
    """Running maximum, running sum, last dot product."""

    @classmethod
    def start(cls, shape: SelfAttention, qkv: Buffer, query: Expr, head: Expr) -> _Softmax:
        mine = local((shape.head_dim,), "float32")
        out = local((shape.head_dim,), "float32")
        state = local((3,), "float32")
        read = _reader(shape, qkv, query, QUERIES, head)
        with T.serial(shape.head_dim) as i:
            store(mine, i, read(i) * exact(shape.query_scale))
            store(out, i, T.float32(0))
        store(state, 0, T.float32(LOWEST))
        store(state, 1, T.float32(0))
        return cls(shape, mine, out, state)

    def take(self, key: Callable[[Expr], Expr], value: Callable[[Expr], Expr]) -> None:
        """One key and its value, element by element."""
        state, out = self.state, self.out
        store(state, 2, T.float32(0))
        self._walk(lambda i: store(state, 2, state[2] + self.query[i] * key(i)))
        peak = let(tirx.max(state[0], state[2]))
        shrink = let(T.exp2(state[0] - peak))
        weight = let(T.exp2(state[2] - peak))
        store(state, 1, state[1] * shrink + weight)
        store(state, 0, peak)
        self._walk(lambda i: store(out, i, out[i] * shrink + weight * value(i)))

    def finish(self, y: Buffer, query: Expr, head: Expr) -> None:
        """Divide by the sum, which is 1 at least: the largest key's own weight."""
        with T.serial(self.shape.head_dim) as i:
            mean = self.out[i] / self.state[1]
            store(y, [0, query, head * self.shape.head_dim + i], cast(self.shape.dtype, mean))

    def _walk(self, step: Callable[[Expr], None], *, unrolled: int = 8) -> None:
        with T.serial(self.shape.head_dim // unrolled) as outer:
            for inner in range(unrolled):
                step(outer * unrolled + inner)


def pool(kind: str, width: int, dtype: str, *, threads: int = 16) -> object:
    """(1, n, width) of `dtype` -> float32 (1, width): the "mean" token, the first ("cls") or the
    "last" one."""
    with kernel(f"pool_{kind}_{width}") as made:
        n = symbolic("n")
        x = buffer_arg("x", (1, n, width), dtype)
        y = buffer_arg("y", (1, width), "float32")
        with each(width, threads) as i:
            count = let(cast("int32", n))
            if kind == "mean":
                total = local((1,), "float32")
                store(total, 0, T.float32(0))
                with T.serial(count) as token:
                    store(total, 0, total[0] + cast("float32", x[0, token, i]))
                store(y, [0, i], total[0] / cast("float32", count))
            else:
                token = count - 1 if kind == "last" else tirx.const(0, "int32")
                store(y, [0, i], cast("float32", x[0, token, i]))
    return made.prim_func
