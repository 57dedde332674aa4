"""Phase `select`: let products of one token take the RMS norm of their input along.

A norm is a dispatch for a row of a few hundred numbers, on which the next one waits. Where only
products of the same single token read it, each of them norms its input itself and the norm goes:

    h = transom.rms_norm(x, g, epsilon, 0)
    y = transom.linear(h, planes..., attributes...)
->  y = transom.normed_linear(x, g, planes..., epsilon, attributes...)

Runs before `SelectKernels`, in schedule "gpu", where a workgroup norms the row once for all rows of
the weight that it owns. Fallback kernels share nothing: every thread would norm for itself, at 1.1
to 1.2 times the cost of two kernels. Many tokens keep their norms too, and rows too long for
workgroup memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator

from transom_compile.kernels.linear_spec import MOST_NORMED_COLS
from transom_compile.passes.markers import PREFIX, Marker, marker_of

STORAGE_BUFFERS = 8
"""WebGPU's default maxStorageBuffersPerShaderStage: a device need not have more."""


@tvm.transform.module_pass(opt_level=0, name="FuseNorms")
class FuseNorms:
    """Rewrites norms of one token, with the products that read them, into `normed_linear`."""

    def __init__(self, schedule: str) -> None:
        self.schedule = schedule

    def transform_module(self, module: Any, _context: Any) -> Any:
        if self.schedule == "fallback":
            return module
        rewriter = _Rewriter(module)
        for global_var, function in module.functions.items():
            if isinstance(function, relax.Function):
                rewriter.norms = _norms_to_fuse(function)
                fused = relax.analysis.remove_all_unused(rewriter.visit_expr(function))
                rewriter.builder_.update_func(global_var, fused)
        return rewriter.builder_.get()


@mutator
class _Rewriter(PyExprMutator):
    norms: Mapping[Any, Marker]

    def visit_call_(self, call: Any) -> Any:
        marker = marker_of(call)
        if marker is None or marker.name != "linear" or marker.tensors[0] not in self.norms:
            return super().visit_call_(call)
        norm = self.norms[marker.tensors[0]]
        arguments = [*norm.tensors, *marker.tensors[1:], norm.fields[0], *marker.fields]
        arguments = [self.visit_expr(argument) for argument in arguments]
        return relax.call_dps_packed(f"{PREFIX}normed_linear", arguments, out_ty=marker.out)


def _norms_to_fuse(function: Any) -> dict[Any, Marker]:
    """By the variables they are bound to."""
    bound = relax.analysis.get_var2val(function)
    readers = readers_of(bound)
    markers = {variable: marker_of(value) for variable, value in bound.items()}
    return {
        variable: marker
        for variable, marker in markers.items()
        if marker is not None
        and is_plain_norm(marker)
        and int(marker.shape(0)[-1]) <= MOST_NORMED_COLS
        and all(_takes_norm(reader, variable) for reader in readers.get(variable, ()))
    }


def readers_of(bound: Mapping[Any, Any]) -> dict[Any, list[Marker | None]]:
    """By variable: who reads it, None for what is no marker."""
    readers: dict[Any, list[Marker | None]] = {}
    for value in bound.values():
        for read in relax.analysis.free_vars(value):
            readers.setdefault(read, []).append(marker_of(value))
    return readers


def is_plain_norm(marker: Marker) -> bool:
    """Whether this is an RMS norm of one token, with nothing added to it."""
    if marker.name != "rms_norm":
        return False
    _, residual = marker.attributes
    tokens = marker.shape(0)[1]
    return isinstance(tokens, tirx.IntImm) and int(tokens) == 1 and not residual


def _takes_norm(reader: Marker | None, norm: Any) -> bool:
    """Whether this is a product of the norm, with a binding left for the norm's weights."""
    if reader is None or reader.name != "linear":
        return False
    x, *others = reader.tensors
    if not x.same_as(norm) or any(other.same_as(norm) for other in others):
        return False
    return len([*reader.tensors, "the norm's weights", "output"]) <= STORAGE_BUFFERS
