"""A llama as MLC writes it, in TVM's nn.Module: what upstream's compiler makes of a model.

Group quantization of 32, four bits, symmetric (MLC's q4f32_1); dequantizing is part of the matrix
product; schedules are dlight's; cache kernels and samplers are TVM's own. Only for comparisons:
Transom's own way is compile/transom_compile. Knows no files.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, te, tirx
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import op
from tvm.relax.frontend.nn.llm.kv_cache import PagedKVCache, RopeMode, TIRPagedKVCache
from tvm.s_tir import dlight
from tvm.target import Target
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    barrier,
    buffer_arg,
    kernel,
    launch,
    let,
    local,
    shared,
    store,
    symbolic,
    when,
)

GROUP, PER_WORD, ZERO = 32, 8, 7
"""Weights with one scale; in a word; what a stored 0 to 14 is less."""


@dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    epsilon: float
    rope_theta: float
    context_window: int = 2048
    prefill_chunk: int = 512


def _weight(words: Any, scales: Any, row: Any, column: Any) -> Any:
    bits = tirx.const(4, "uint32")
    word = words[row, column // PER_WORD]
    nibble = (word >> ((column % PER_WORD).astype("uint32") * bits)) & tirx.const(15, "uint32")
    return (nibble.astype("float32") - float(ZERO)) * scales[row, column // GROUP]


class Linear(nn.Module):  # type: ignore[misc]
    def __init__(self, columns: int, rows: int) -> None:
        self.rows, self.columns = rows, columns
        self.q_weight = nn.Parameter((rows, columns // PER_WORD), "uint32")
        self.q_scale = nn.Parameter((rows, columns // GROUP), "float32")

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        rows, columns = self.rows, self.columns

        def product(x: Any, words: Any, scales: Any) -> Any:
            weight = te.compute(
                (rows, columns), lambda i, j: _weight(words, scales, i, j), name="dequantize"
            )
            k = te.reduce_axis((0, columns), name="k")
            return te.compute(
                (x.shape[0], x.shape[1], rows),
                lambda b, i, j: te.sum(x[b, i, k] * weight[j, k], axis=k),
                name="NT_matmul",
            )

        return op.tensor_expr_op(product, "dequantize_matmul", [x, self.q_weight, self.q_scale])

    def rows_of(self, ids: nn.Tensor) -> nn.Tensor:
        def take(ids: Any, words: Any, scales: Any) -> Any:
            return te.compute(
                (ids.shape[0], self.columns),
                lambda i, j: _weight(words, scales, ids[i], j),
                name="take",
            )

        return op.tensor_expr_op(take, "dequantize_take", [ids, self.q_weight, self.q_scale])


def _add_rms_norm(width: int, epsilon: float, tokens: int | None) -> Any:
    """(x + y, its norm): MLC fuses the two as well."""
    threads = 256
    with kernel(f"add_rms_norm_{'decode' if tokens == 1 else 'prefill'}") as made:
        n = symbolic("n") if tokens is None else tokens
        x = buffer_arg("x", (1, n, width), "float32")
        y = buffer_arg("y", (1, n, width), "float32")
        weight = buffer_arg("weight", (width,), "float32")
        total = buffer_arg("total", (1, n, width), "float32")
        normed = buffer_arg("normed", (1, n, width), "float32")
        with launch(grid=(n,), threads=(threads,)) as ((t,), (tx,)):
            squares = local((1,), "float32")
            partial = shared((threads,), "float32")
            store(squares, 0, T.float32(0))
            with T.serial(-(-width // threads)) as step:
                i = let(step * threads + tx)
                with when(i < width):
                    value = let(x[0, t, i] + y[0, t, i])
                    store(total, [0, t, i], value)
                    store(squares, 0, squares[0] + value * value)
            store(partial, tx, squares[0])
            barrier()
            store(squares, 0, T.float32(0))
            with T.serial(threads) as i:
                store(squares, 0, squares[0] + partial[i])
            scale = let(tirx.rsqrt(squares[0] / T.float32(width) + T.float32(epsilon)))
            with T.serial(-(-width // threads)) as step:
                i = let(step * threads + tx)
                with when(i < width):
                    value = x[0, t, i] + y[0, t, i]
                    store(normed, [0, t, i], value * scale * weight[i])
    return made.prim_func


class Layer(nn.Module):  # type: ignore[misc]
    def __init__(self, shape: Shape, index: int) -> None:
        self.shape, self.index = shape, index
        heads = shape.heads + 2 * shape.kv_heads
        self.attn_norm = nn.Parameter((shape.hidden,), "float32")
        self.qkv = Linear(shape.hidden, heads * shape.head_dim)
        self.o = Linear(shape.heads * shape.head_dim, shape.hidden)
        self.ffn_norm = nn.Parameter((shape.hidden,), "float32")
        self.gate_up = Linear(shape.hidden, 2 * shape.feed_forward)
        self.down = Linear(shape.feed_forward, shape.hidden)

    def attention(self, x: nn.Tensor, cache: PagedKVCache) -> nn.Tensor:
        shape = self.shape
        _, n, _ = x.shape
        heads = shape.heads + 2 * shape.kv_heads
        qkv = op.reshape(self.qkv(x), (1, n, heads, shape.head_dim))
        out = cache.attention_with_fused_qkv(self.index, qkv, shape.heads, shape.head_dim**-0.5)
        return self.o(op.reshape(out, (1, n, shape.heads * shape.head_dim)))

    def feed_forward(self, x: nn.Tensor) -> nn.Tensor:
        gate, up = op.split(self.gate_up(x), 2, axis=-1)
        return self.down(op.silu(gate) * up)


class Llama(nn.Module):  # type: ignore[misc]
    def __init__(self, shape: Shape, target: Any) -> None:
        self.shape, self.target = shape, target
        self.embedding = Linear(shape.hidden, shape.vocabulary)
        self.layers = nn.ModuleList([Layer(shape, index) for index in range(shape.layers)])
        self.output_norm = nn.Parameter((shape.hidden,), "float32")

    def embed(self, input_ids: nn.Tensor) -> nn.Tensor:
        return self.embedding.rows_of(input_ids)

    def prefill(self, input_embed: nn.Tensor, paged_kv_cache: PagedKVCache) -> Any:
        return self._forward(input_embed, paged_kv_cache, None)

    def decode(self, input_embed: nn.Tensor, paged_kv_cache: PagedKVCache) -> Any:
        return self._forward(input_embed, paged_kv_cache, 1)

    def _forward(self, x: nn.Tensor, cache: PagedKVCache, tokens: int | None) -> Any:
        weights = [weight for layer in self.layers for weight in (layer.attn_norm, layer.ffn_norm)]
        after = [*weights[1:], self.output_norm]
        normed = op.rms_norm(x, weights[0], [-1], self.shape.epsilon)
        for layer in self.layers:
            for part in (lambda h, it=layer: it.attention(h, cache), layer.feed_forward):
                x, normed = self._add_norm(x, part(normed), after.pop(0), tokens)
        last = op.tensor_expr_op(
            lambda h: te.compute(
                (1, 1, h.shape[2]), lambda i, _, k: h[i, h.shape[1] - 1, k], "last"
            ),
            "last",
            [normed],
        )
        return self.embedding(last), cache

    def _add_norm(self, x: nn.Tensor, y: nn.Tensor, weight: nn.Tensor, tokens: int | None) -> Any:
        made = _add_rms_norm(self.shape.hidden, self.shape.epsilon, tokens)
        like = nn.Tensor.placeholder(x.shape, "float32")
        name = str(made.attrs["global_symbol"])
        return op.tensor_ir_op(
            made.without_attr("global_symbol"), name, [x, y, weight], [like, like]
        )

    def softmax_with_temperature(self, logits: nn.Tensor, temperature: nn.Tensor) -> nn.Tensor:
        return op.softmax(logits / op.reshape(temperature, (1, 1, 1)), axis=-1)

    def argsort_probs(self, probs: nn.Tensor) -> Any:
        indices = op.argsort(probs, axis=1, descending=True, dtype="int32")
        shape = (1, self.shape.vocabulary)
        values = op.tensor_expr_op(
            lambda probs, order: te.compute(
                shape, lambda i, j: probs[i, order[i, j]], "take_sorted"
            ),
            "take_sorted_probs",
            [probs, indices],
        )
        return values, indices

    def sample_with_top_p(
        self,
        sorted_probs: nn.Tensor,
        sorted_indices: nn.Tensor,
        uniform_samples: nn.Tensor,
        sample_indices: nn.Tensor,
        top_p: nn.Tensor,
    ) -> nn.Tensor:
        token = op.sample_top_p_top_k_from_sorted_prob(
            sorted_probs,
            sorted_indices,
            op.reshape(top_p, (1, 1)),
            op.full((1, 1), self.shape.vocabulary, "int32"),
            op.reshape(uniform_samples, (1, 1)),
            op.reshape(sample_indices, (1, 1)),
        )
        return op.reshape(token, (1,))

    def create_tir_paged_kv_cache(
        self,
        max_batch_size: tirx.Var,
        max_total_seq_len: tirx.Var,
        prefill_chunk_size: tirx.Var,
        page_size: tirx.Var,
        support_sliding_window: tirx.Var,
    ) -> PagedKVCache:
        shape = self.shape
        return TIRPagedKVCache(
            "mha",
            max_batch_size,
            max_total_seq_len,
            prefill_chunk_size,
            page_size,
            support_sliding_window,
            layer_partition=relax.ShapeExpr([0, shape.layers]),
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            qk_head_dim=shape.head_dim,
            v_head_dim=shape.head_dim,
            mla_original_qk_head_dim=0,
            mla_original_v_head_dim=0,
            rope_mode=RopeMode.NORMAL,
            rope_scale=1,
            rope_theta=int(shape.rope_theta),
            rope_scaling={},
            rope_ext_factors=relax.prim_value(0),
            rotary_dim=shape.head_dim,
            enable_disaggregation=False,
            dtype="float32",
            target=self.target,
        )

    def spec(self) -> dict[str, Any]:
        tensor, shape = nn.spec.Tensor, self.shape
        cache = nn.spec.Object(object_type=PagedKVCache)
        vocabulary = shape.vocabulary
        packed = {"param_mode": "packed", "effect_mode": "none"}
        free = {"param_mode": "none", "effect_mode": "none"}
        sizes = ("max_batch_size", "max_total_seq_len", "prefill_chunk_size", "page_size")
        return {
            "embed": {"input_ids": tensor(["n"], "int32"), "$": packed},
            "prefill": {
                "input_embed": tensor([1, "n", shape.hidden], "float32"),
                "paged_kv_cache": cache,
                "$": packed,
            },
            "decode": {
                "input_embed": tensor([1, 1, shape.hidden], "float32"),
                "paged_kv_cache": cache,
                "$": packed,
            },
            "softmax_with_temperature": {
                "logits": tensor([1, 1, vocabulary], "float32"),
                "temperature": tensor([1], "float32"),
                "$": free,
            },
            "argsort_probs": {"probs": tensor([1, vocabulary], "float32"), "$": free},
            "sample_with_top_p": {
                "sorted_probs": tensor([1, vocabulary], "float32"),
                "sorted_indices": tensor([1, vocabulary], "int32"),
                "uniform_samples": tensor([1], "float32"),
                "sample_indices": tensor([1], "int32"),
                "top_p": tensor([1], "float32"),
                "$": free,
            },
            "create_tir_paged_kv_cache": {
                **dict.fromkeys((*sizes, "support_sliding_window"), int),
                "$": free,
            },
        }


@contextmanager
def two_block_axes() -> Iterator[None]:
    """TVM 0.27 sorts with three axes of blocks, and its WebGPU refuses the third.

    A batch of one needs no axis of blocks: its place is taken (shared/BASELINE.md 6.1).
    """
    # A function of that name hides the module.
    module: Any = sys.modules["tvm.topi.gpu.sort"]
    tags = {"blockIdx.z": "blockIdx.y", "blockIdx.y": "threadIdx.y"}
    original = module.te

    def thread_axis(tag: str) -> Any:
        return original.thread_axis(tags.get(tag, tag))

    module.te = types.SimpleNamespace(**{**vars(original), "thread_axis": thread_axis})
    try:
        yield
    finally:
        module.te = original


def schedule(module: Any, target: Any) -> Any:
    """Upstream's order: dispatch, fuse, then dlight's rules for GPUs."""
    transform = relax.transform
    passes = [
        relax.backend.DispatchSampling(),
        relax.backend.DispatchSortScan(),
        transform.LegalizeOps(),
        transform.AnnotateTIROpPattern(),
        transform.FoldConstant(),
        transform.FuseOps(),
        transform.FuseTIR(),
        transform.DeadCodeElimination(),
        dlight.ApplyDefaultSchedule(
            dlight.gpu.Matmul(),
            dlight.gpu.GEMV(),
            dlight.gpu.Reduction(),
            dlight.gpu.GeneralReduction(),
            dlight.gpu.Fallback(),
        ),
    ]
    with target, two_block_axes(), tvm.transform.PassContext(opt_level=3):
        return tvm.transform.Sequential(passes)(module)


def web_target() -> Any:
    host = {"kind": "llvm", "mtriple": "wasm32-unknown-unknown-wasm"}
    return Target({"kind": "webgpu", "host": host})
