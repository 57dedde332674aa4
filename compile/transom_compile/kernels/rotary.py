"""Rotary position embedding (RoFormer, Su et al. 2021) of queries and keys, half-split pairs.

Frequencies are constants worked out in f64 when compiling; the angle is reduced to [-pi, pi] first,
because WGSL promises sin and cos only there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.attention_shape import AttentionShape
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
    symbolic,
    when,
)
from transom_models.rope import Rope


def split_rotary(shape: AttentionShape, rope: Rope | None, *, threads: int = 32) -> object:
    """(qkv, positions, q, k, v, apply_rope): split the fused projection and turn q and k.

    TVM's cache calls it for every layer alike; with `rope` None it only splits.
    """
    heads, half = shape.all_heads, shape.head_dim // 2
    with kernel("split_rotary") as made:
        n = tirx.Var("n", "int32")
        qkv = buffer_arg("qkv", (n, heads, shape.head_dim), shape.dtype)
        positions = buffer_arg("positions", (n,), "int32", offset=True)
        q = buffer_arg("q", (n, shape.query_heads, shape.head_dim), shape.dtype)
        k = buffer_arg("k", (n, shape.kv_heads, shape.head_dim), shape.dtype)
        v = buffer_arg("v", (n, shape.kv_heads, shape.head_dim), shape.dtype)
        apply_rope = int_arg("apply_rope")
        with each(n * (heads * half), threads) as at:
            slot, head, token = let(at % half), let(at // half % heads), let(at // (half * heads))
            pair = pair_of(rope, slot, half)
            wanted = tirx.And(apply_rope > 0, head < shape.rotated_heads)
            by = turn_of(rope, slot, half, positions[token], wanted)
            values = turned([cast("float32", qkv[token, head, i]) for i in pair], by)
            starts = (0, shape.query_heads, shape.rotated_heads, heads)
            for target, start, stop in zip((q, k, v), starts, starts[1:], strict=False):
                with when(tirx.And(head >= start, head < stop)):
                    for i, value in zip(pair, values, strict=True):
                        store(target, [token, head - start, i], cast(shape.dtype, value))
    return made.prim_func


def rotate(shape: AttentionShape, rope: Rope, tokens: int | None, *, threads: int = 32) -> object:
    """(qkv, positions, y): queries and keys turned, values as they are.

    qkv, y: (1, n, all heads * head_dim); positions int32 (n,). For models whose layers turn by
    different frequencies: TVM's cache knows one set.
    """
    heads, half, dim = shape.all_heads, shape.head_dim // 2, shape.head_dim
    with kernel(f"rotate_{'decode' if tokens == 1 else 'prefill'}_{heads}x{dim}") as made:
        n = symbolic("n") if tokens is None else tokens
        qkv = buffer_arg("qkv", (1, n, heads * dim), shape.dtype)
        positions = buffer_arg("positions", (n,), "int32", offset=True)
        y = buffer_arg("y", (1, n, heads * dim), shape.dtype)
        with each(n * (heads * half), threads) as at:
            slot, head, token = let(at % half), let(at // half % heads), let(at // (half * heads))
            pair = [head * dim + i for i in pair_of(rope, slot, half)]
            wanted = head < shape.rotated_heads
            by = turn_of(rope, slot, half, positions[token], wanted)
            values = turned([cast("float32", qkv[0, token, i]) for i in pair], by)
            for i, value in zip(pair, values, strict=True):
                store(y, [0, token, i], cast(shape.dtype, value))
    return made.prim_func


def pair_of(rope: Rope | None, slot: Expr, half: int) -> list[Expr]:
    """The two elements of a head that slot 0..half-1 stands for.

    Slot i < pairs is the pair (i, i + pairs); the slots after it are neighbours that pass through.
    """
    pairs = half if rope is None else len(rope.frequencies)
    if pairs == half:
        return [slot, let(slot + half)]
    turns = slot < pairs
    return [
        let(tirx.Select(turns, slot, slot * 2)),
        let(tirx.Select(turns, slot + pairs, slot * 2 + 1)),
    ]


def turned(pair: Sequence[Expr], by: Sequence[Expr]) -> list[Expr]:
    """A pair turned by a cosine and a sine."""
    low, high = let(pair[0]), let(pair[1])
    if not by:
        return [low, high]
    cos, sin = by
    return [let(low * cos - high * sin), let(high * cos + low * sin)]


def turn_of(
    rope: Rope | None, slot: Expr, half: int, position: Expr, wanted: Expr | None = None
) -> list[Expr]:
    """Cosine and sine of a slot at a position, (1, 0) where it passes through; empty without rope.

    `wanted` holds for the heads that turn at all.
    """
    if rope is None:
        return []
    pairs = len(rope.frequencies)
    by = local((2,), "float32")
    if pairs < half:
        wanted = slot < pairs if wanted is None else tirx.And(wanted, slot < pairs)
    if wanted is None:
        _store_cos_sin(by, rope, slot, position)
    else:
        store(by, 0, T.float32(1))
        store(by, 1, T.float32(0))
        with when(wanted):
            _store_cos_sin(by, rope, slot, position)
    return [by[0], by[1]]


def _store_cos_sin(by: Buffer, rope: Rope, slot: Expr, position: Expr) -> None:
    # In the thread's memory: what only has a name, TVM's simplifier writes out at every use, and
    # the table of frequencies is long.
    angle = local((2,), "float32")
    store(angle, 0, cast("float32", position) * _pick(rope.frequencies, slot, 0))
    store(angle, 1, _reduce_angle(angle[0]))
    for i, value in enumerate((T.cos(angle[1]), T.sin(angle[1]))):
        store(by, i, value if rope.magnitude == 1.0 else value * exact(rope.magnitude))


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
