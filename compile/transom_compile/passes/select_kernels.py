"""Phase `select`: give every marker operation (`transom.linear`, …) the kernel of a schedule.

Knows which kernel serves which marker, shape, dtype and schedule. The graph says what, this says
how. Equal calls in different layers share one kernel: 30 layers compile no more shaders than one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import ir, relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from transom_compile.kernels import elementwise, encoder, linear, norm, rotary
from transom_compile.kernels.attention_shape import AttentionShape
from transom_models.rope import Rope

PREFIX = "transom."


@dataclass(frozen=True)
class Marker:
    """A marker call taken apart."""

    name: str
    tensors: Sequence[Any]
    attributes: Sequence[Any]
    out: Any

    def shape(self, index: int) -> Any:
        return self.tensors[index].ty.shape.values

    def dtype(self, index: int) -> str:
        return str(self.tensors[index].ty.dtype)


@tvm.transform.module_pass(opt_level=0, name="SelectKernels")
class SelectKernels:
    """Rewrites each `call_dps_packed("transom.*")` into `call_tir` of a scheduled PrimFunc."""

    def __init__(self, schedule: str) -> None:
        self.schedule = schedule

    def transform_module(self, module: Any, _context: Any) -> Any:
        rewriter = _Rewriter(module, self.schedule)
        for global_var, function in module.functions.items():
            if isinstance(function, relax.Function):
                rewriter.builder_.update_func(global_var, rewriter.visit_expr(function))
        return rewriter.builder_.get()


@mutator
class _Rewriter(PyExprMutator):
    def __init__(self, module: Any, schedule: str) -> None:
        super().__init__(module)
        self.schedule = schedule
        self._made: dict[tuple[object, ...], Any] = {}

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        if call.op != ir.Op.get("relax.call_dps_packed"):
            return call
        function, arguments = call.args
        if not isinstance(function, relax.ExternFunc):
            return call
        symbol = str(function.global_symbol)
        if not symbol.startswith(PREFIX):
            return call
        tensors = [field for field in arguments.fields if isinstance(field.ty, relax.TensorType)]
        rest = [field for field in arguments.fields if not isinstance(field.ty, relax.TensorType)]
        out = call.ty_args[0]
        marker = Marker(
            symbol.removeprefix(PREFIX), tensors, [_plain(field) for field in rest], out
        )
        return relax.call_tir(self._kernel(marker), tensors, out)

    def _kernel(self, marker: Marker) -> Any:
        prim_func = MARKERS[marker.name](marker, self.schedule)
        name = str(prim_func.attrs["global_symbol"])
        # Names are for people and leave some attributes out, such as a norm's epsilon.
        key = (name, *marker.attributes)
        if key not in self._made:
            self._made[key] = self.builder_.add_func(prim_func.without_attr("global_symbol"), name)
        return self._made[key]


def _plain(field: Any) -> str | int | float:
    value = field.value
    return str(value) if isinstance(field, ir.StringImm) else value


def _tokens(extent: Any) -> int | None:
    """The static number of tokens, None where it is symbolic."""
    return int(extent) if isinstance(extent, tirx.IntImm) else None


def _linear(marker: Marker, schedule: str) -> Any:
    block_type, rows, bias, activation, gated, scale, softcap, residual = marker.attributes
    _, tokens, cols = marker.shape(0)
    spec = linear.LinearSpec(
        block_type=block_type,
        rows=int(rows),
        cols=int(cols),
        tokens=_tokens(tokens),
        in_dtype=marker.dtype(0),
        out_dtype=str(marker.out.dtype),
        epilogue=linear.Epilogue(
            bias=bool(bias),
            activation=activation,
            gated=bool(gated),
            scale=float(scale),
            softcap=float(softcap),
            residual=bool(residual),
        ),
    )
    if schedule == "fallback":
        return linear.fallback(spec)
    return linear.gpu_decode(spec) if spec.tokens == 1 else linear.gpu_prefill(spec)


def _embedding(marker: Marker, _schedule: str) -> Any:
    block_type, rows, scale, first_row, later = marker.attributes
    return elementwise.embedding(
        block_type,
        int(rows),
        int(marker.out.shape.values[-1]),
        str(marker.out.dtype),
        scale=float(scale),
        first_row=int(first_row) if later else None,
    )


def _rms_norm(marker: Marker, schedule: str) -> Any:
    epsilon, residual = marker.attributes
    _, tokens, width = marker.shape(0)
    return norm.rms_norm(
        int(width),
        float(epsilon),
        _tokens(tokens),
        marker.dtype(0),
        schedule,
        residual=bool(residual),
    )


def _head_norm(marker: Marker, schedule: str) -> Any:
    heads, kv_heads, head_dim, epsilon = marker.attributes
    shape = _attention_shape(marker, heads, kv_heads, head_dim)
    return norm.head_norm(shape, float(epsilon), _tokens(marker.shape(0)[1]), schedule)


def _rope(marker: Marker, _schedule: str) -> Any:
    heads, kv_heads, head_dim, magnitude, *frequencies = marker.attributes
    shape = _attention_shape(marker, heads, kv_heads, head_dim)
    turns = Rope(tuple(float(f) for f in frequencies), float(magnitude))
    return rotary.rotate(shape, turns, _tokens(marker.shape(0)[1]))


def _attention_shape(marker: Marker, heads: Any, kv_heads: Any, head_dim: Any) -> AttentionShape:
    return AttentionShape(int(heads), int(kv_heads), int(head_dim), marker.dtype(0))


def _multiply(marker: Marker, _schedule: str) -> Any:
    (activation,) = marker.attributes
    _, tokens, width = marker.shape(0)
    return elementwise.multiply(int(width), _tokens(tokens), marker.dtype(0), activation)


def _take_last(marker: Marker, _schedule: str) -> Any:
    return elementwise.take_last(int(marker.shape(0)[-1]), marker.dtype(0))


def _add_rows(marker: Marker, _schedule: str) -> Any:
    block_type, rows, row = marker.attributes
    cols = int(marker.shape(0)[-1])
    return encoder.add_rows(block_type, int(rows), cols, int(row), marker.dtype(0))


def _layer_norm(marker: Marker, schedule: str) -> Any:
    (epsilon,) = marker.attributes
    return encoder.layer_norm(int(marker.shape(0)[-1]), float(epsilon), marker.dtype(0), schedule)


def _self_attention(marker: Marker, schedule: str) -> Any:
    (heads,) = marker.attributes
    head_dim = int(marker.shape(0)[-1]) // 3 // int(heads)
    shape = encoder.SelfAttention(int(heads), head_dim, marker.dtype(0))
    return encoder.self_attention(shape, schedule)


def _pool(marker: Marker, _schedule: str) -> Any:
    (kind,) = marker.attributes
    return encoder.pool(kind, int(marker.shape(0)[-1]), marker.dtype(0))


MARKERS: dict[str, Callable[[Marker, str], Any]] = {
    "linear": _linear,
    "embedding": _embedding,
    "rms_norm": _rms_norm,
    "head_norm": _head_norm,
    "rope": _rope,
    "multiply": _multiply,
    "take_last": _take_last,
    "add_rows": _add_rows,
    "layer_norm": _layer_norm,
    "self_attention": _self_attention,
    "pool": _pool,
}
