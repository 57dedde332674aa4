"""Small kernels around the matrix products: embedding rows, RMS norm, the last token's row."""

from __future__ import annotations

from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
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


def embedding(block_type: str, rows: int, cols: int, dtype: str, *, threads: int = 16) -> object:
    """y[t, :] = dequantize(W[tokens[t], :]); tokens int32 (n,), y (n, cols)."""
    groups = cols // GROUP
    with kernel(f"embedding_{block_type.lower()}_{rows}x{cols}") as made:
        n = symbolic("n")
        tokens = buffer_arg("tokens", (n,), "int32")
        weight = WeightReader.declare(block_type, rows, cols)
        y = buffer_arg("y", (n, cols), dtype)
        with each(n * groups, threads) as at:
            token = let(at // groups)
            g = let(at % groups)
            group = weight.group(tokens[token], g)
            for k in range(GROUP):
                store(y, [token, g * GROUP + k], cast(dtype, group.value(k)))
    return made.prim_func


def rms_norm(width: int, epsilon: float, tokens: int | None, dtype: str, schedule: str) -> object:
    """y = x / sqrt(mean(x^2) + epsilon) * weight, in f32 (RMSNorm, Zhang & Sennrich 2019).

    x, y: (1, n, width) of `dtype`; weight: float32 (width,).
    """
    # Without barriers every thread sums the whole row, so few threads are cheaper.
    threads = 16 if schedule == "fallback" else 64
    with kernel(f"rms_norm_{'decode' if tokens == 1 else 'prefill'}_{width}") as made:
        n = symbolic("n") if tokens is None else tokens
        x = buffer_arg("x", (1, n, width), dtype)
        weight = buffer_arg("weight", (width,), "float32")
        y = buffer_arg("y", (1, n, width), dtype)
        with launch(grid=(n,), threads=(threads,)) as ((t,), (tx,)):
            total = local((1,), "float32")
            store(total, 0, T.float32(0))
            if schedule == "fallback":
                with T.serial(width) as i:
                    value = let(cast("float32", x[0, t, i]))
                    store(total, 0, total[0] + value * value)
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
            scale = let(1.0 / T.sqrt(total[0] / float(width) + exact(epsilon)))
            with T.serial(-(-width // threads)) as step:
                i = let(step * threads + tx)
                with when(i < width):
                    value = cast("float32", x[0, t, i]) * scale * weight[i]
                    store(y, [0, t, i], cast(dtype, value))
    return made.prim_func


def take_last(width: int, dtype: str, *, threads: int = 64) -> object:
    """y[0, 0, :] = x[0, n - 1, :]; only the last position's logits are ever wanted."""
    with kernel(f"take_last_{width}") as made:
        n = symbolic("n")
        x = buffer_arg("x", (1, n, width), dtype)
        y = buffer_arg("y", (1, 1, width), dtype)
        with each(width, threads) as i:
            store(y, [0, 0, i], x[0, cast("int32", n) - 1, i])
    return made.prim_func
