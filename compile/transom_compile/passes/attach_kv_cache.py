"""Phase `attach`: add `create_tir_paged_kv_cache`, which engine and WebLLM call once."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import ir, relax, tirx
from tvm.relax.frontend.nn.llm import kv_cache as tvm_kv

from transom_compile.kernels import attention, rotary
from transom_compile.kernels.attention_shape import AttentionShape

ROPE_NONE, ROPE_NORMAL = 0, 1
"""TVM's RopeMode: the graph has turned queries and keys, or `split_rotary` does."""
LARGEST_TILED_HEAD = 128
"""TVM's f16 tiles take 29 KiB of workgroup memory for it, and for heads of 160 more than the 32 KiB
that tvmjs asks of a device."""


@tvm.transform.module_pass(opt_level=0, name="AttachKVCache")
class AttachKVCache:
    """The cache of a spec: TVM's tiled attention on GPUs where it can, else ours."""

    def __init__(self, spec: Any, dtype: str, schedule: str, target: Any) -> None:
        self.spec, self.dtype, self.schedule, self.target = spec, dtype, schedule, target

    def transform_module(self, module: Any, _context: Any) -> Any:
        builder = relax.BlockBuilder(module)
        sizes = ["max_sequences", "max_total", "prefill_chunk", "page_size", "sliding_window"]
        variables = [tirx.Var(name, "int64") for name in sizes]
        parameters = [
            relax.Var(f"{variable.name}_", relax.ShapeType([variable])) for variable in variables
        ]
        with builder.function("create_tir_paged_kv_cache", parameters):
            arguments = self._arguments(builder, variables)
            create = relax.call_pure_packed(
                "vm.builtin.paged_attention_kv_cache_create", *arguments, ty_args=relax.AnyType()
            )
            builder.emit_func_output(builder.emit(create))
        return builder.finalize()

    def _arguments(self, builder: Any, sizes: list[Any]) -> list[Any]:
        """The 28 arguments of TVM 0.27's constructor, in its order (`paged_kv_cache.cc`)."""
        spec, prim = self.spec, relax.prim_value
        shape = AttentionShape(spec.query_heads, spec.kv_heads, spec.head_dim, self.dtype)
        heads, dim = spec.kv_heads, spec.head_dim

        def add(prim_func: Any) -> Any:
            name = str(prim_func.attrs["global_symbol"])
            return builder.add_func(prim_func.without_attr("global_symbol"), name)

        def plain(prim_func: Any, name: str) -> Any:
            return builder.add_func(prim_func, name)

        def backend(function: Any) -> Any:
            return relax.Tuple([ir.StringImm("tirx"), function])

        absent = relax.Tuple([])
        ragged, paged, decode = self._attention(shape, add, plain)
        mha = int(tvm_kv.AttnKind.MHA)
        return [
            relax.ShapeExpr(sizes),
            relax.ShapeExpr([0, spec.layers]),
            prim(spec.query_heads),
            prim(heads),
            prim(dim),
            prim(dim),
            relax.ShapeExpr([mha] * spec.layers),
            prim(False),
            prim(ROPE_NONE if spec.rope is None else ROPE_NORMAL),
            prim(1.0),
            prim(1.0),
            prim(0),
            builder.emit(relax.op.zeros((), self.dtype)),
            add(attention.append(shape)),
            absent_function(),
            backend(ragged),
            backend(paged),
            backend(decode),
            absent,
            absent,
            absent,
            absent,
            absent,
            relax.Tuple(
                [
                    plain(
                        tvm_kv._merge_state_inplace(spec.query_heads, dim, self.dtype, self.target),
                        "kv_merge_state",
                    )
                ]
            ),
            add(rotary.split_rotary(shape, spec.rope)),
            plain(
                tvm_kv._copy_single_page(heads, attention.PAGE_SIZE, dim, self.dtype, self.target),
                "kv_copy_single_page",
            ),
            plain(
                tvm_kv._kv_cache_debug_get_kv(spec.layers, heads, dim, self.dtype), "kv_debug_get"
            ),
            plain(tvm_kv._compact_kv_copy(heads, dim, self.dtype, self.target), "kv_compact_copy"),
        ]

    def _attention(self, shape: AttentionShape, add: Any, plain: Any) -> tuple[Any, Any, Any]:
        """Ragged prefill, paged prefill and decode."""
        spec = self.spec
        plain_heads = not spec.window and not spec.softcap and spec.head_dim <= LARGEST_TILED_HEAD
        if self.schedule == "fallback" or not plain_heads:
            kind = attention.Attention(shape, self.schedule, spec.window, spec.softcap)
            return (
                add(attention.prefill_ragged(kind)),
                add(attention.prefill_paged(kind)),
                add(attention.decode(kind)),
            )
        heads, queries, dim = shape.kv_heads, shape.query_heads, shape.head_dim
        ragged = tvm_kv._attention_prefill_ragged(
            heads, queries, dim, dim, self.dtype, {}, self.target
        )
        paged = tvm_kv._attention_prefill(heads, queries, dim, self.dtype, False, {}, self.target)
        decode = tvm_kv._attention_decode(heads, queries, dim, self.dtype, False, {}, self.target)
        return (
            plain(ragged, "attention_prefill_ragged"),
            plain(paged, "attention_prefill_paged"),
            plain(decode, "attention_decode"),
        )


def absent_function() -> Any:
    """Stands where the constructor takes an optional function (MLA, which we do not build)."""
    return relax.prim_value(0)
