"""Root mean square norms (RMSNorm, Zhang & Sennrich 2019): over a row, or head by head."""

from __future__ import annotations

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.attention_shape import AttentionShape
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


def rms_norm(
    width: int,
    epsilon: float,
    tokens: int | None,
    dtype: str,
    schedule: str,
    *,
    residual: bool = False,
) -> object:
    """y = x / sqrt(mean(x^2) + epsilon) * weight (+ residual), in f32.

    x, residual, y: (1, n, width) of `dtype`; weight: float32 (width,).
    """
    # Without barriers every thread sums the whole row, so few threads are cheaper.
    threads = 16 if schedule == "fallback" else 64
    added = "_residual" if residual else ""
    with kernel(f"rms_norm{added}_{'decode' if tokens == 1 else 'prefill'}_{width}") as made:
        n = symbolic("n") if tokens is None else tokens
        x = buffer_arg("x", (1, n, width), dtype)
        weight = buffer_arg("weight", (width,), "float32")
        added_to = buffer_arg("residual", (1, n, width), dtype) if residual else None
        y = buffer_arg("y", (1, n, width), dtype)
        with launch(grid=(n,), threads=(threads,)) as ((t,), (tx,)):
            total = local((1,), "float32")
            store(total, 0, T.float32(0))
            if schedule == "fallback":
                _add_squares(total, x, t, 0, width)
            else:
                partial = shared((threads,), "float32")
                with T.serial(-(-width // threads)) as step:
                    i = let(step * threads + tx)
                    with when(i < width):
                        value = let(cast("float32", x[0, t, i]))
                        store(total, 0, total[0] + value * value)
                store(partial, tx, total[0])
                barrier()
                store(total, 0, T.float32(0))
                with T.serial(threads) as i:
                    store(total, 0, total[0] + partial[i])
            scale = let(inverse_root(total[0], width, epsilon))
            with T.serial(-(-width // threads)) as step:
                i = let(step * threads + tx)
                with when(i < width):
                    value = cast("float32", x[0, t, i]) * scale * weight[i]
                    if added_to is not None:
                        value = value + cast("float32", added_to[0, t, i])
                    store(y, [0, t, i], cast(dtype, value))
    return made.prim_func


def head_norm(shape: AttentionShape, epsilon: float, tokens: int | None, schedule: str) -> object:
    """RMS norm of each query head and each key head of a fused projection; values pass through.

    qkv, y: (1, n, (query heads + 2 kv heads) * head_dim); weights: float32 (head_dim,). One thread
    a head in the fallback schedule, else 32 that share the elements and sum for themselves: a head
    is short.
    """
    dim, rotated, heads = shape.head_dim, shape.rotated_heads, shape.all_heads
    lanes = 1 if schedule == "fallback" else 32
    with kernel(f"head_norm_{'decode' if tokens == 1 else 'prefill'}_{heads}x{dim}") as made:
        n = symbolic("n") if tokens is None else tokens
        qkv = buffer_arg("qkv", (1, n, heads * dim), shape.dtype)
        q_weight = buffer_arg("q_weight", (dim,), "float32")
        k_weight = buffer_arg("k_weight", (dim,), "float32")
        y = buffer_arg("y", (1, n, heads * dim), shape.dtype)
        with each(n * (heads * lanes), 32) as at:
            lane, head = let(at % lanes), let(at // lanes % heads)
            token = let(at // (lanes * heads))
            start = let(head * dim)
            state = local((1,), "float32")
            store(state, 0, T.float32(0))
            _add_squares(state, qkv, token, start, dim)
            scale = let(inverse_root(state[0], dim, epsilon))
            with T.serial(-(-dim // lanes)) as step:
                i = let(step * lanes + lane)
                with when(i < dim):
                    value = let(cast("float32", qkv[0, token, start + i]))
                    at_i = [0, token, start + i]
                    with when(head < shape.query_heads):
                        store(y, at_i, cast(shape.dtype, value * scale * q_weight[i]))
                    with when(tirx.And(head >= shape.query_heads, head < rotated)):
                        store(y, at_i, cast(shape.dtype, value * scale * k_weight[i]))
                    with when(head >= rotated):
                        store(y, at_i, cast(shape.dtype, value))
    return made.prim_func


def _add_squares(total: Buffer, x: Buffer, token: Expr, start: Expr | int, count: int) -> None:
    with T.serial(count) as i:
        value = let(cast("float32", x[0, token, start + i]))
        store(total, 0, total[0] + value * value)


def inverse_root(squares: Expr, count: int, epsilon: float) -> Expr:
    """1 / sqrt(mean + epsilon) of a sum of `count` squares."""
    return 1.0 / T.sqrt(squares / float(count) + exact(epsilon))
