"""Phase `select`: give every marker operation (`transom.linear`, …) the kernel of a schedule.

Knows which kernel serves which marker, shape, dtype and schedule. The graph says what, this says
how. Equal calls in different layers share one kernel: 30 layers compile no more shaders than one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from transom_compile.kernels import elementwise, encoder, linear, linear_spec, norm, paged, rotary
from transom_compile.kernels.attention_shape import AttentionShape
from transom_compile.kernels.paged_cache import PagedAttention
from transom_compile.passes.markers import FEW_ROWS, Marker, marker_of
from transom_models.rope import Rope

INSTEAD = "transom.instead"
"""Attribute of a kernel: another one that does the same, for devices with subgroups."""


@tvm.transform.module_pass(opt_level=0, name="SelectKernels")
class SelectKernels:
    """Rewrites each `call_dps_packed("transom.*")` into `call_tir` of a scheduled PrimFunc.

    With `alternatives`, a kernel that has one for subgroups names it in its attribute `INSTEAD`;
    nobody calls it.
    """

    def __init__(self, schedule: str, *, alternatives: bool = False) -> None:
        self.schedule = schedule
        self.alternatives = alternatives

    def transform_module(self, module: Any, _context: Any) -> Any:
        rewriter = _Rewriter(module, self.schedule, self.alternatives)
        for global_var, function in module.functions.items():
            if isinstance(function, relax.Function):
                rewriter.few_rows = bool(function.attrs.get(FEW_ROWS, 0))
                rewriter.builder_.update_func(global_var, rewriter.visit_expr(function))
        return rewriter.builder_.get()


@mutator
class _Rewriter(PyExprMutator):
    def __init__(self, module: Any, schedule: str, alternatives: bool) -> None:
        super().__init__(module)
        self.schedule = schedule
        self.alternatives = alternatives
        self.few_rows = False
        self._made: dict[tuple[object, ...], Any] = {}

    def visit_call_(self, call: Any) -> Any:
        call = super().visit_call_(call)
        marker = marker_of(call)
        if marker is None:
            return call
        outs = marker.outs
        return relax.call_tir(
            self._kernel(marker), marker.tensors, outs if len(outs) > 1 else outs[0]
        )

    def _kernel(self, marker: Marker) -> Any:
        marker = replace(marker, few_rows=self.few_rows)
        prim_func: Any
        if marker.name in PRODUCTS:
            prim_func = linear.linear(PRODUCTS[marker.name](marker), self.schedule)
        else:
            prim_func = MARKERS[marker.name](marker, self.schedule)
        name = str(prim_func.attrs["global_symbol"])
        # Names are for people and leave some attributes out, such as a norm's epsilon, and the size
        # of `inputs`.
        key = (name, *marker.attributes, *(str(tensor.ty) for tensor in marker.tensors))
        if key not in self._made:
            instead = self._alternative(marker)
            if instead is not None:
                prim_func = prim_func.with_attr(INSTEAD, instead)
            self._made[key] = self.builder_.add_func(prim_func.without_attr("global_symbol"), name)
        return self._made[key]

    def _alternative(self, marker: Marker) -> str | None:
        """The name of another kernel for the same product, where there is one."""
        if not self.alternatives or self.schedule != "fallback" or marker.name not in PRODUCTS:
            return None
        spec = linear_spec.for_subgroups(PRODUCTS[marker.name](marker))
        if spec is None:
            return None
        # Its name for the outside keeps it, though nobody calls it.
        return str(self.builder_.add_func(linear.fallback(spec), spec.name).name_hint)


def _tokens(extent: Any) -> int | None:
    """The static number of tokens, None where it is symbolic."""
    return int(extent) if isinstance(extent, tirx.IntImm) else None


def _linear(marker: Marker) -> linear_spec.LinearSpec:
    return _product(marker, marker.attributes)


def _normed_linear(marker: Marker) -> linear_spec.LinearSpec:
    epsilon, *attributes = marker.attributes
    return _product(marker, attributes, norm=float(epsilon))


def _handing_linear(marker: Marker) -> linear_spec.LinearSpec:
    return _product(marker, marker.attributes, hands_on=True)


def _handed_linear(marker: Marker) -> linear_spec.LinearSpec:
    epsilon, sums, *attributes = marker.attributes
    return _product(marker, attributes, norm=float(epsilon), sums=int(sums))


def _product(
    marker: Marker, attributes: Sequence[Any], *, sums: int = 0, **norm: Any
) -> linear_spec.LinearSpec:
    block_type, rows, bias, activation, gated, scale, softcap, residual = attributes
    _, tokens, cols = marker.shape(0)
    return linear_spec.LinearSpec(
        block_type=block_type,
        rows=int(rows),
        cols=int(cols) - sums,
        phase=_phase(tokens, marker.few_rows),
        in_dtype=marker.dtype(0),
        out_dtype=str(marker.outs[0].dtype),
        epilogue=linear_spec.Epilogue(
            bias=bool(bias),
            activation=activation,
            gated=bool(gated),
            scale=float(scale),
            softcap=float(softcap),
            residual=bool(residual),
        ),
        sums=sums,
        **norm,
    )


def _phase(tokens: Any, few_rows: bool) -> linear_spec.Phase:
    if _tokens(tokens) == 1:
        return linear_spec.Phase.DECODE
    return linear_spec.Phase.BATCH if few_rows else linear_spec.Phase.PREFILL


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


def _attention_step(marker: Marker, schedule: str) -> Any:
    kind, rest = _paged(marker, schedule)
    tokens = _tokens(marker.shape(0)[1])
    return paged.attention_step(kind, _input_size(marker), _turns(rest), tokens)


def _rope_append(marker: Marker, _schedule: str) -> Any:
    heads, kv_heads, head_dim, *turns = marker.attributes
    return paged.rope_append(
        _attention_shape(marker, heads, kv_heads, head_dim),
        _input_size(marker),
        _turns(turns),
        _tokens(marker.shape(0)[1]),
        pages_per_slot=_pages_per_slot(marker),
    )


def _attend(marker: Marker, schedule: str) -> Any:
    kind, (one_sequence,) = _paged(marker, schedule)
    tokens = _tokens(marker.shape(0)[1])
    return paged.attend(kind, _input_size(marker), tokens, one_sequence=bool(one_sequence))


def _paged(marker: Marker, schedule: str) -> tuple[PagedAttention, Sequence[Any]]:
    """The kind of attention, and the attributes behind those that say it."""
    heads, kv_heads, head_dim, scale, window, softcap, *rest = marker.attributes
    kind = PagedAttention(
        _attention_shape(marker, heads, kv_heads, head_dim),
        schedule,
        _pages_per_slot(marker),
        float(scale),
        int(window),
        float(softcap),
    )
    return kind, rest


def _turns(attributes: Sequence[Any]) -> Rope | None:
    if not attributes:
        return None
    magnitude, *frequencies = attributes
    return Rope(tuple(float(f) for f in frequencies), float(magnitude))


def _input_size(marker: Marker) -> int:
    return int(marker.shape(1)[1])


def _pages_per_slot(marker: Marker) -> int:
    return int(marker.shape(2)[1])


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


PRODUCTS: dict[str, Callable[[Marker], linear_spec.LinearSpec]] = {
    "linear": _linear,
    "normed_linear": _normed_linear,
    "handing_linear": _handing_linear,
    "handed_linear": _handed_linear,
}
MARKERS: dict[str, Callable[[Marker, str], Any]] = {
    "embedding": _embedding,
    "rms_norm": _rms_norm,
    "head_norm": _head_norm,
    "rope": _rope,
    "attention_step": _attention_step,
    "rope_append": _rope_append,
    "attend": _attend,
    "multiply": _multiply,
    "take_last": _take_last,
    "add_rows": _add_rows,
    "layer_norm": _layer_norm,
    "self_attention": _self_attention,
    "pool": _pool,
}
