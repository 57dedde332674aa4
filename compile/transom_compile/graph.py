"""From an architecture's plain functions to a Relax module of marker operations.

An architecture file says *what* is computed, naming parameters as the checkpoint does and calling
the words of `Graph`. Each word emits a call to an external function (`transom.linear` on planes of
Q4_1, `transom.rms_norm`, …); the pass `select_kernels` decides *how*, per schedule, dtype and
shape. So an architecture knows neither TVM nor kernels, and kernels know no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import ir, relax, tirx
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn.llm.kv_cache import PagedKVCache

from transom_compile.kernels import encoder
from transom_models.architecture import Architecture, ParameterSpec
from transom_models.block_type import block_type
from transom_models.rope import Rope

Tensor = Any
"""`tvm.relax.frontend.nn.Tensor`; TVM ships no types."""


@dataclass(frozen=True)
class StoredParameter:
    """One stored tensor as the library expects it, in the order it is handed over."""

    name: str
    shape: tuple[int, ...]
    dtype: str


def stored_parameters(specs: Sequence[ParameterSpec]) -> list[StoredParameter]:
    """The planes of all parameters, in order: what `_metadata.params` lists."""
    return [
        StoredParameter(spec.name + plane.suffix, plane.shape, plane.dtype)
        for spec in specs
        for plane in block_type(spec.block_type, spec.name).planes(spec.shape)
    ]


def build_module(
    architecture: Architecture, config: Any, specs: Sequence[ParameterSpec], compute_dtype: str
) -> Any:
    """IRModule with the functions of the architecture's task.

    `compute_dtype` is that of activations and KV cache; logits and text vectors are float32.
    """
    functions = _Functions(specs, compute_dtype)
    if architecture.TASK == "embedding":
        _add_encoder(functions, architecture, config)
    else:
        _add_decoder(functions, architecture, config)
    return functions.builder.finalize()


class _Functions:
    """Relax functions whose last argument is the tuple of all stored parameters."""

    def __init__(self, specs: Sequence[ParameterSpec], compute_dtype: str) -> None:
        self.builder = relax.BlockBuilder()
        self.compute_dtype = compute_dtype
        self._specs = specs

    def add(self, name: str, inputs: Sequence[Any], body: Callable[[Graph], Any]) -> None:
        """`body` gives the result's expression."""
        stored = stored_parameters(self._specs)
        packed = relax.Var(
            "params", relax.TupleType([relax.TensorType(p.shape, p.dtype) for p in stored])
        )
        attributes = {"num_input": len(inputs)}
        with self.builder.function(name, [*inputs, packed], attrs=attributes):
            with self.builder.dataflow():
                graph = Graph(self._specs, packed, self.compute_dtype)
                output = self.builder.emit_output(body(graph))
            self.builder.emit_func_output(output)


def _add_decoder(functions: _Functions, architecture: Architecture, config: Any) -> None:
    """`embed`, `prefill` and `decode`, as engine and WebLLM call them."""
    width, dtype = config.embedding_length, functions.compute_dtype
    tokens = relax.Var("tokens", relax.TensorType((tirx.Var("n", "int64"),), "int32"))
    functions.add(
        "embed",
        [tokens],
        lambda graph: architecture.embed(graph, config, nn.Tensor(_expr=tokens))._expr,
    )
    for name, count in (("prefill", tirx.Var("n", "int64")), ("decode", 1)):
        embeddings = relax.Var("embeddings", relax.TensorType((1, count, width), dtype))
        cache = relax.Var("cache", relax.AnyType())

        def forward(graph: Graph, embeddings: Any = embeddings, cache: Any = cache) -> Any:
            graph.cache = PagedKVCache(_expr=cache, _name="cache")
            x = architecture.hidden(graph, config, nn.Tensor(_expr=embeddings))
            logits = architecture.logits(graph, config, graph.take_last(x))
            return relax.Tuple([logits._expr, cache])

        functions.add(name, [embeddings, cache], forward)


def _add_encoder(functions: _Functions, architecture: Architecture, config: Any) -> None:
    """`encode`: int32 (n,) -> float32 (1, width), for our engine; `prefill` for WebLLM.

    WebLLM 0.2.86 takes an embedding model's answer from position 0 of (batch, n, width), whatever
    its pooling, so the text's vector stands at every position there. Batches are of one text
    (`max_batch_size`), where its mask has nothing to hide.
    """
    width = config.embedding_length

    def pooled(graph: Graph, tokens: Tensor) -> Tensor:
        x = architecture.embed(graph, config, tokens)
        x = architecture.hidden(graph, config, nn.op.reshape(x, (1, tokens.shape[0], width)))
        result: Tensor = architecture.pool(graph, config, x)
        return result

    tokens = relax.Var("tokens", relax.TensorType((tirx.Var("n", "int64"),), "int32"))
    functions.add("encode", [tokens], lambda graph: pooled(graph, nn.Tensor(_expr=tokens))._expr)

    n = tirx.Var("n", "int64")
    batch, mask = (
        relax.Var(name, relax.TensorType((1, n), "int32")) for name in ("tokens", "mask")
    )

    def prefill(graph: Graph) -> Any:
        row = pooled(graph, nn.op.reshape(nn.Tensor(_expr=batch), (n,)))
        return nn.op.broadcast_to(nn.op.reshape(row, (1, 1, width)), (1, n, width))._expr

    functions.add("prefill", [batch, mask], prefill)


class Graph:
    """The words an architecture computes with. Shapes: (1, n, width) unless said otherwise."""

    def __init__(self, specs: Sequence[ParameterSpec], packed: Any, compute_dtype: str) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._pieces: dict[str, list[ParameterSpec]] = {}
        for spec in specs:
            self._pieces.setdefault(spec.whole or spec.name, []).append(spec)
        self._packed = packed
        self._compute_dtype = compute_dtype
        self._places = {p.name: i for i, p in enumerate(stored_parameters(specs))}
        self._positions: Tensor | None = None
        self.cache: Any = None

    def has(self, name: str) -> bool:
        """Whether the model has this parameter (tied or separately stored ones it has not)."""
        return name in self._pieces

    def embedding(self, name: str, tokens: Tensor, *, scale: float = 1.0) -> Tensor:
        """Rows of a stored matrix, times `scale`: tokens int32 (n,) -> (n, cols)."""
        found = None
        for spec in self._pieces[name]:
            rows, cols = spec.shape
            out = nn.Tensor.placeholder((tokens.shape[0], cols), self._compute_dtype)
            # A piece keeps what the pieces before it have found.
            tensors = [tokens, *self._planes(spec.name), *([] if found is None else [found])]
            attributes = [
                spec.block_type,
                rows,
                float(scale),
                spec.first_row,
                int(found is not None),
            ]
            found = marker("embedding", tensors, attributes, out)
        return found

    def linear(
        self,
        name: str,
        x: Tensor,
        *,
        bias: str | None = None,
        activation: str | None = None,
        gated: bool = False,
        scale: float = 1.0,
        softcap: float = 0.0,
        residual: Tensor | None = None,
        dtype: str | None = None,
    ) -> Tensor:
        """x W^T of shape (1, n, rows), with an epilogue fused in (`kernels.linear_spec.Epilogue`).

        (1, n, rows / 2) where `gated`. `dtype` of the result: that of x if None.
        """
        if name not in self._specs:
            # Pieces of a vocabulary matrix: nothing is fused into their products but scale and cap.
            parts = [
                self.linear(piece.name, x, scale=scale, softcap=softcap, dtype=dtype)
                for piece in self._pieces[name]
            ]
            return self.concat(parts)
        rows, _ = self._specs[name].shape
        width = rows // 2 if gated else rows
        out = nn.Tensor.placeholder((*x.shape[:-1], width), dtype or x.dtype)
        tensors = [x, *self._planes(name)]
        tensors += [] if bias is None else self._planes(bias)
        tensors += [] if residual is None else [residual]
        acts = activation or ("silu" if gated else "")
        flags = [int(bias is not None), acts, int(gated), float(scale), float(softcap)]
        attributes = [self._specs[name].block_type, rows, *flags, int(residual is not None)]
        return marker("linear", tensors, attributes, out)

    def rms_norm(
        self, name: str, x: Tensor, epsilon: float, *, residual: Tensor | None = None
    ) -> Tensor:
        """x / rms(x) * weight (+ residual), in f32."""
        tensors = [x, *self._planes(name), *([] if residual is None else [residual])]
        attributes = [float(epsilon), int(residual is not None)]
        return marker("rms_norm", tensors, attributes, nn.Tensor.placeholder(x.shape, x.dtype))

    def head_norm(
        self,
        q_name: str,
        k_name: str,
        qkv: Tensor,
        epsilon: float,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
    ) -> Tensor:
        """RMS norm of each query and key head by itself, in f32; values pass through."""
        tensors = [qkv, *self._planes(q_name), *self._planes(k_name)]
        attributes = [heads, kv_heads, head_dim, float(epsilon)]
        return marker("head_norm", tensors, attributes, nn.Tensor.placeholder(qkv.shape, qkv.dtype))

    def rope(self, qkv: Tensor, rope: Rope, *, heads: int, kv_heads: int, head_dim: int) -> Tensor:
        """Queries and keys turned by the positions that the cache is about to give them."""
        _, n, _ = qkv.shape
        if self._positions is None:
            self._positions = self.cache.get_query_positions(n)
        attributes = [heads, kv_heads, head_dim, rope.magnitude, *rope.frequencies]
        return marker(
            "rope", [qkv, self._positions], attributes, nn.Tensor.placeholder(qkv.shape, qkv.dtype)
        )

    def take_last(self, x: Tensor) -> Tensor:
        """The last position only, (1, 1, width); x itself where there is just one."""
        if isinstance(x.shape[1], int):
            return x
        return marker("take_last", [x], [], nn.Tensor.placeholder((1, 1, x.shape[-1]), x.dtype))

    def attention(
        self,
        layer: int,
        qkv: Tensor,
        *,
        heads: int,
        head_dim: int,
        scale: float | None = None,
        windowed: bool = False,
    ) -> Tensor:
        """Rotate q and k, append k and v to the cache, attend: (1, n, heads * head_dim).

        `qkv`: (1, n, (heads + 2 * kv heads) * head_dim), queries first, then keys, then values.
        TVM's cache hands nothing else of a layer to its kernels than the scale, so its sign says
        `windowed` (`kernels.attention`).
        """
        _, n, width = qkv.shape
        scale = head_dim**-0.5 if scale is None else scale
        qkv = nn.op.reshape(qkv, (1, n, width // head_dim, head_dim))
        out = self.cache.attention_with_fused_qkv(layer, qkv, heads, -scale if windowed else scale)
        return nn.op.reshape(out, (1, n, heads * head_dim))

    def add_positions(self, name: str, x: Tensor) -> Tensor:
        """x + row t of a matrix at each position t."""
        return self._add_rows(name, x, encoder.POSITION)

    def add_row(self, name: str, row: int, x: Tensor) -> Tensor:
        """x + one row of a matrix at every position."""
        return self._add_rows(name, x, row)

    def _add_rows(self, name: str, x: Tensor, row: int) -> Tensor:
        spec = self._specs[name]
        attributes = [spec.block_type, spec.shape[0], row]
        out = nn.Tensor.placeholder(x.shape, x.dtype)
        return marker("add_rows", [x, *self._planes(name)], attributes, out)

    def layer_norm(self, name: str, bias: str, x: Tensor, epsilon: float) -> Tensor:
        """(x - mean) / sqrt(variance + epsilon) * weight + bias, in f32."""
        tensors = [x, *self._planes(name), *self._planes(bias)]
        out = nn.Tensor.placeholder(x.shape, x.dtype)
        return marker("layer_norm", tensors, [float(epsilon)], out)

    def self_attention(self, qkv: Tensor, *, heads: int) -> Tensor:
        """Attention in both directions: (1, n, 3 * width) -> (1, n, width), no cache."""
        _, n, width = qkv.shape
        out = nn.Tensor.placeholder((1, n, width // 3), qkv.dtype)
        return marker("self_attention", [qkv], [heads], out)

    def pool(self, x: Tensor, kind: str) -> Tensor:
        """The "mean", first ("cls") or "last" position: (1, n, width) -> float32 (1, width)."""
        return marker("pool", [x], [kind], nn.Tensor.placeholder((1, x.shape[2]), "float32"))

    def concat(self, values: Sequence[Tensor]) -> Tensor:
        """Side by side along the last axis."""
        return nn.op.concat(list(values), dim=2)

    def multiply(self, gate: Tensor, up: Tensor, activation: str = "silu") -> Tensor:
        """activation(gate) * up, for weights that could not be fused."""
        out = nn.Tensor.placeholder(gate.shape, gate.dtype)
        return marker("multiply", [gate, up], [activation], out)

    def _planes(self, name: str) -> list[Tensor]:
        spec = self._specs[name]
        builder = relax.BlockBuilder.current()
        return [
            nn.Tensor(
                _expr=builder.emit(relax.TupleGetItem(self._packed, self._places[stored.name]))
            )
            for stored in stored_parameters([spec])
        ]


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
