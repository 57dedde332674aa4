"""Graph parts that several architectures share, written as marker operations.

A layer says *what* is computed (`transom.linear` on planes of Q4_1, `transom.rms_norm`, …) as a
call to an external function of that name; the compiler's `select_kernels` pass decides *how*, per
schedule, dtype and shape. So an architecture file knows nothing of kernels, and kernels know no
model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import ir, relax
from tvm.relax.frontend import nn

from transom_models.block_type import block_type

Tensor = Any
"""`tvm.relax.frontend.nn.Tensor`; TVM ships no types."""


def marker(
    name: str, tensors: Sequence[Tensor], attributes: Sequence[object], out: Tensor
) -> Tensor:
    """Emit `transom.<name>(tensors..., attributes...)` with one output shaped like `out`."""
    arguments = [tensor._expr for tensor in tensors]
    for attribute in attributes:
        if isinstance(attribute, str):
            arguments.append(ir.StringImm(attribute))
        else:
            arguments.append(relax.prim_value(attribute))
    call = relax.call_dps_packed(f"transom.{name}", arguments, out_ty=out._expr.ty)
    return nn.Tensor(_expr=relax.BlockBuilder.current().emit(call))


class Weight(nn.Module):
    """A stored matrix (rows, cols): the planes of its block type as parameters `q`, `s`, `m`."""

    def __init__(self, name: str, kind: str, rows: int, cols: int) -> None:
        self.kind, self.rows, self.cols = kind, rows, cols
        self._suffixes = []
        for plane in block_type(kind, name).planes((rows, cols)):
            parameter = nn.Parameter(plane.shape, dtype=plane.dtype)
            setattr(self, plane.suffix.removeprefix(".") or "data", parameter)
            self._suffixes.append(plane.suffix)

    @property
    def planes(self) -> list[Tensor]:
        return [getattr(self, suffix.removeprefix(".") or "data") for suffix in self._suffixes]


def linear(
    x: Tensor,
    weight: Weight,
    *,
    residual: Tensor | None = None,
    gated: bool = False,
    dtype: str | None = None,
) -> Tensor:
    """x W^T of shape (1, n, rows) from x (1, n, cols), with an epilogue fused in.

    `residual` of the result's shape is added; `gated` takes W as gate rows over up rows and gives
    silu(gate) * up of shape (1, n, rows / 2). `dtype` of the result, that of x if not given.
    """
    epilogue = "silu_gate" if gated else "residual" if residual is not None else "none"
    rows = weight.rows // 2 if gated else weight.rows
    out = nn.Tensor.placeholder((*x.shape[:-1], rows), dtype or x.dtype)
    tensors = [x, *weight.planes, *([] if residual is None else [residual])]
    return marker("linear", tensors, [weight.kind, weight.rows, epilogue], out)


class Linear(nn.Module):
    """`linear` with its own weight."""

    def __init__(self, name: str, kind: str, rows: int, cols: int) -> None:
        self.weight = Weight(name, kind, rows, cols)

    def forward(self, x: Tensor, **options: Any) -> Tensor:
        return linear(x, self.weight, **options)


class Embedding(nn.Module):
    """Rows of a stored matrix by token id."""

    def __init__(self, name: str, kind: str, rows: int, cols: int) -> None:
        self.weight = Weight(name, kind, rows, cols)

    def forward(self, tokens: Tensor, dtype: str) -> Tensor:
        """tokens: int32 (n,) -> (n, cols) of `dtype`."""
        out = nn.Tensor.placeholder((tokens.shape[0], self.weight.cols), dtype)
        attributes = [self.weight.kind, self.weight.rows]
        return marker("embedding", [tokens, *self.weight.planes], attributes, out)


class RMSNorm(nn.Module):
    """x / rms(x) * weight, in f32."""

    def __init__(self, width: int, epsilon: float) -> None:
        self.weight = nn.Parameter((width,), dtype="float32")
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        out = nn.Tensor.placeholder(x.shape, x.dtype)
        return marker("rms_norm", [x, self.weight], [float(self.epsilon)], out)


@dataclass(frozen=True)
class CacheSpec:
    """What a paged KV cache holds: `frequencies` are the rotary angles per position, one a pair."""

    layers: int
    query_heads: int
    kv_heads: int
    head_dim: int
    frequencies: tuple[float, ...]


def take_last(x: Tensor) -> Tensor:
    """(1, n, width) -> (1, 1, width): the last position."""
    return marker("take_last", [x], [], nn.Tensor.placeholder((1, 1, x.shape[-1]), x.dtype))


def rope_frequencies(theta: float, rotary_dim: int) -> list[float]:
    """Angle per position of each pair (RoFormer, Su et al. 2021), worked out in f64."""
    return [float(theta) ** (-2.0 * i / rotary_dim) for i in range(rotary_dim // 2)]
