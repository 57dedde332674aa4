"""Phase `select`: in schedule "fallback", products hand on the RMS norm of what they give.

Fallback kernels share nothing, so a product that norms its input for itself does so in every thread
(`fuse_norms.py`). But the thread that makes an element of x can give it times the norm's weight as
well, and the sum of the squares it has made; whoever reads x normed adds these few sums and scales
its own:

    x = transom.linear(…, attributes...)
    h = transom.rms_norm(x, g, epsilon, 0)
    y = transom.linear(h, planes..., attributes...)
->  x, h = transom.handing_linear(…, g, attributes...)
    y = transom.handed_linear(h, planes..., epsilon, sums, attributes...)

A dispatch less for each norm of one token. A norm whose x no product makes, such as the first
layer's, stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from transom_compile.kernels.linear_spec import handed_sums
from transom_compile.passes.fuse_norms import STORAGE_BUFFERS, is_plain_norm, readers_of
from transom_compile.passes.markers import PREFIX, Marker, marker_of


@tvm.transform.module_pass(opt_level=0, name="HandOnNorms")
class HandOnNorms:
    """Rewrites products, norms of one token and the products that read these, as above."""

    def __init__(self, schedule: str) -> None:
        self.schedule = schedule

    def transform_module(self, module: Any, _context: Any) -> Any:
        if self.schedule != "fallback":
            return module
        rewriter = _Rewriter(module)
        for global_var, function in module.functions.items():
            if isinstance(function, relax.Function):
                rewriter.norms = _norms_to_hand_on(function)
                rewriter.makers = {norm.x: norm for norm in rewriter.norms.values()}
                rewriter.handed = {}
                changed = relax.analysis.remove_all_unused(rewriter.visit_expr(function))
                rewriter.builder_.update_func(global_var, changed)
        return rewriter.builder_.get()


@dataclass(frozen=True)
class _Norm:
    """A norm that can go: of x, which the product `maker` gives."""

    x: Any
    gains: Any
    marker: Marker
    sums: int
    """How many sums of squares `maker` hands on."""


@mutator
class _Rewriter(PyExprMutator):
    norms: Mapping[Any, _Norm]
    makers: Mapping[Any, _Norm]
    handed: dict[Any, Any]
    """By x: the same times the norm's weights, and the sums of squares."""

    def visit_var_binding_(self, binding: Any) -> None:
        norm = self.makers.get(binding.var)
        maker = marker_of(binding.value)
        if norm is None or maker is None:
            super().visit_var_binding_(binding)
            return
        # The norm's weights are taken out of the parameters right before the norm: too late here.
        gains = self.builder_.emit(self.visit_expr(norm.gains))
        width = int(maker.out.shape.values[-1])
        handed = relax.TensorType((1, 1, width + norm.sums), "float32")
        both = self.builder_.emit(
            relax.call_dps_packed(
                f"{PREFIX}handing_linear",
                [
                    *(self.visit_expr(tensor) for tensor in maker.tensors),
                    gains,
                    *maker.fields,
                ],
                out_ty=[maker.out, handed],
            )
        )
        self.set_var_remap(binding.var, self.builder_.emit(relax.TupleGetItem(both, 0)))
        self.handed[binding.var] = self.builder_.emit(relax.TupleGetItem(both, 1))

    def visit_call_(self, call: Any) -> Any:
        marker = marker_of(call)
        if marker is None or marker.name != "linear" or marker.tensors[0] not in self.norms:
            return super().visit_call_(call)
        norm = self.norms[marker.tensors[0]]
        others = [self.visit_expr(tensor) for tensor in marker.tensors[1:]]
        attributes = [norm.marker.fields[0], relax.prim_value(norm.sums), *marker.fields]
        return relax.call_dps_packed(
            f"{PREFIX}handed_linear",
            [self.handed[norm.x], *others, *attributes],
            out_ty=marker.out,
        )


def _norms_to_hand_on(function: Any) -> dict[Any, _Norm]:
    """By the variables they are bound to; of each x one at most."""
    bound = relax.analysis.get_var2val(function)
    readers = readers_of(bound)
    found: dict[Any, _Norm] = {}
    taken = set()
    for variable, value in bound.items():
        marker = marker_of(value)
        if marker is None or not is_plain_norm(marker):
            continue
        x = marker.tensors[0]
        maker = marker_of(bound[x]) if x in bound else None
        if (
            maker is not None
            and x not in taken
            and _can_hand_on(maker)
            and all(_reads_normed(reader, variable) for reader in readers.get(variable, ()))
        ):
            taken.add(x)
            gains = bound[marker.tensors[1]]
            found[variable] = _Norm(x, gains, marker, handed_sums(int(maker.out.shape.values[-1])))
    return found


def _can_hand_on(maker: Marker) -> bool:
    """A product in f32 that has two bindings left."""
    if maker.name not in ("linear",) or str(maker.out.dtype) != "float32":
        return False
    return len([*maker.tensors, "the norm's weights", "x", "x normed"]) <= STORAGE_BUFFERS


def _reads_normed(reader: Marker | None, norm: Any) -> bool:
    if reader is None or reader.name != "linear":
        return False
    x, *others = reader.tensors
    return bool(x.same_as(norm)) and not any(other.same_as(norm) for other in others)
