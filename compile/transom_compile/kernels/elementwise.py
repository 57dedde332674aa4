"""Small kernels around the matrix products: embedding rows, gates, the last token's row."""

from __future__ import annotations

from tvm import tirx

from transom_compile.kernels.activations import activate
from transom_compile.kernels.emit import (
    buffer_arg,
    cast,
    each,
    exact,
    kernel,
    let,
    store,
    symbolic,
)
from transom_compile.kernels.weights import GROUP, WeightReader


def embedding(
    block_type: str,
    rows: int,
    cols: int,
    dtype: str,
    *,
    scale: float = 1.0,
    first_row: int | None = None,
    threads: int = 16,
) -> object:
    """y[t, :] = scale * dequantize(W[tokens[t], :]); tokens int32 (n,), y (n, cols).

    `first_row`: W is a later piece of a matrix, that row its first. Tokens of other pieces keep
    what `before` (n, cols) has. The first piece needs no such care: whatever it finds for a token
    beyond its rows is replaced.
    """
    groups = cols // GROUP
    piece = "" if first_row is None else f"_from_{first_row}"
    with kernel(f"embedding_{block_type.lower()}_{rows}x{cols}{piece}") as made:
        n = symbolic("n")
        tokens = buffer_arg("tokens", (n,), "int32")
        weight = WeightReader.declare(block_type, rows, cols)
        before = None if first_row is None else buffer_arg("before", (n, cols), dtype)
        y = buffer_arg("y", (n, cols), dtype)
        with each(n * groups, threads) as at:
            token = let(at // groups)
            g = let(at % groups)
            own = let(tokens[token] - (first_row or 0))
            group = weight.group(let(tirx.max(tirx.min(own, rows - 1), 0)), g)
            for k in range(GROUP):
                value = group.value(k) if scale == 1.0 else group.value(k) * exact(scale)
                value = cast(dtype, value)
                if before is not None:
                    inside = tirx.And(own >= 0, own < rows)
                    value = tirx.Select(inside, value, before[token, g * GROUP + k])
                store(y, [token, g * GROUP + k], value)
    return made.prim_func


def multiply(
    width: int, tokens: int | None, dtype: str, activation: str, *, threads: int = 64
) -> object:
    """y = act(gate) * up, in f32; all (1, n, width) of `dtype`."""
    with kernel(f"multiply_{activation}_{'decode' if tokens == 1 else 'prefill'}_{width}") as made:
        n = symbolic("n") if tokens is None else tokens
        gate = buffer_arg("gate", (1, n, width), dtype)
        up = buffer_arg("up", (1, n, width), dtype)
        y = buffer_arg("y", (1, n, width), dtype)
        with each(n * width, threads) as at:
            t, i = let(at // width), let(at % width)
            value = activate(activation, let(cast("float32", gate[0, t, i])))
            store(y, [0, t, i], cast(dtype, value * cast("float32", up[0, t, i])))
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
