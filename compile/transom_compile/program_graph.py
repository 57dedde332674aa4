"""The functions of a program as Relax: the same architectures, over a KV cache of plain tensors.

TVM's own paged cache is an object of its runtime, so it needs that runtime at every step. Here the
pages, the page table and every token's place are tensors that kernels read: a step is the same
list of dispatches whoever talks, and the next one can follow without the CPU.
`docs/formats/program.md` says what each tensor holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax, tirx
from tvm.relax.frontend import nn

from transom_compile.choosers import add_choosers
from transom_compile.graph import Graph, Tensor, marker, stored_parameters
from transom_compile.kernels.attention import PAGE_SIZE
from transom_compile.kernels.paged_cache import SLOTS
from transom_compile.passes.markers import FEW_ROWS
from transom_models.architecture import Architecture, CacheSpec, ParameterSpec
from transom_models.rope import Rope

MAX_ROWS = 8
"""Rows of one step: sequences that decode together, or drafted tokens that are checked."""


@dataclass(frozen=True)
class ProgramSizes:
    """Sizes that are built into a program."""

    context_window: int
    prefill_chunk: int

    @property
    def pages_per_slot(self) -> int:
        return -(-self.context_window // PAGE_SIZE)


def build_program_module(
    architecture: Architecture,
    config: Any,
    specs: Sequence[ParameterSpec],
    compute_dtype: str,
    schedule: str,
    sizes: ProgramSizes,
) -> Any:
    """IRModule with `decode`, `batch`, `prefill` and the functions that choose tokens."""
    builder = relax.BlockBuilder()
    cache = architecture.cache_spec(config, sizes.context_window)
    for name, size in (
        ("decode", MAX_ROWS),
        ("batch", MAX_ROWS),
        ("prefill", sizes.prefill_chunk),
    ):
        rows = 1 if name == "decode" else tirx.Var("n", "int64")
        state = _State.declare(cache, compute_dtype, rows, size, sizes)
        stored = stored_parameters(specs)
        packed = relax.Var(
            "params", relax.TupleType([relax.TensorType(p.shape, p.dtype) for p in stored])
        )
        inputs = [state.tokens, state.inputs, state.table, *state.pages, packed]
        attributes: dict[str, Any] = {"num_input": len(inputs) - 1}
        if name != "decode":
            # A bound on n lets scratch memory be planned ahead.
            attributes["tir_var_upper_bound"] = {"n": size}
            attributes["tir_non_negative_var"] = ["n"]
        if name == "batch":
            attributes[FEW_ROWS] = 1
        with builder.function(name, inputs, attrs=attributes):
            with builder.dataflow():
                graph = ProgramGraph(specs, packed, compute_dtype, cache, state)
                x = architecture.embed(graph, config, nn.Tensor(_expr=state.tokens))
                x = nn.op.reshape(x, (1, rows, config.embedding_length))
                x = architecture.hidden(graph, config, x)
                if name == "prefill":
                    x = graph.take_last(x)
                logits = architecture.logits(graph, config, x)
                output = builder.emit_output(logits._expr)
            builder.emit_func_output(output)
    add_choosers(
        builder,
        config.vocab_size,
        schedule,
        slots=SLOTS,
        max_rows=MAX_ROWS,
        context_window=sizes.context_window,
    )
    return builder.finalize()


@dataclass(frozen=True)
class _State:
    """Parameters of a function that are not weights: what runs, and what ran before."""

    tokens: Any
    """The first row of `inputs`."""
    inputs: Any
    table: Any
    pages: list[Any]
    size: int

    @classmethod
    def declare(
        cls, cache: CacheSpec, dtype: str, rows: Any, size: int, sizes: ProgramSizes
    ) -> _State:
        count = tirx.Var("page_count", "int64")
        shape = (count, 2, cache.kv_heads, PAGE_SIZE, cache.head_dim)
        return cls(
            relax.Var("tokens", relax.TensorType((rows,), "int32")),
            relax.Var("inputs", relax.TensorType((3, size), "int32")),
            relax.Var("table", relax.TensorType((SLOTS, sizes.pages_per_slot), "int32")),
            [
                relax.Var(f"pages_{layer}", relax.TensorType(shape, dtype))
                for layer in range(cache.layers)
            ],
            size,
        )


class ProgramGraph(Graph):
    """`Graph` whose keys and values are in pages that the function is given."""

    def __init__(
        self,
        specs: Sequence[ParameterSpec],
        packed: Any,
        compute_dtype: str,
        cache: CacheSpec,
        state: _State,
    ) -> None:
        super().__init__(specs, packed, compute_dtype)
        self._spec, self._state = cache, state
        self._turn: Rope | None = cache.rope

    def rope(self, qkv: Tensor, rope: Rope, *, heads: int, kv_heads: int, head_dim: int) -> Tensor:
        """Remembered: attention turns queries and keys itself."""
        self._turn = rope
        return qkv

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
        """As `Graph.attention`: one kernel for a token of its own, two where rows may follow each
        other."""
        _, n, _ = qkv.shape
        spec, state = self._spec, self._state
        own = [heads, spec.kv_heads, head_dim]
        rope = self._turn
        turns = [] if rope is None else [rope.magnitude, *rope.frequencies]
        sight = [
            float(head_dim**-0.5 if scale is None else scale),
            spec.window if windowed else 0,
            float(spec.softcap),
        ]
        inputs, table, pages = (
            nn.Tensor(_expr=value) for value in (state.inputs, state.table, state.pages[layer])
        )
        out = nn.Tensor.placeholder((1, n, heads * head_dim), qkv.dtype)
        if isinstance(n, int):
            return marker(
                "attention_step", [qkv, inputs, table, pages], [*own, *sight, *turns], out
            )
        q = marker("rope_append", [qkv, inputs, table, pages], [*own, *turns], out)
        one_sequence = int(state.size != MAX_ROWS)
        return marker("attend", [q, inputs, table, pages], [*own, *sight, one_sequence], out)
