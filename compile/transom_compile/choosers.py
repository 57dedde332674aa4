"""Adds the functions of a program that choose tokens to a module.

Their parameters are the buffers that all functions of a program share, by name. Kernels change
these in place, which Relax does not see: so every kernel also has an output of its own, and each
takes the one before's, which keeps their order and keeps them alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax, tirx

from transom_compile.kernels import choosing


def add_choosers(
    builder: Any,
    vocab: int,
    schedule: str,
    *,
    slots: int = 16,
    max_rows: int = 8,
    context_window: int,
) -> None:
    """Adds `greedy`, for n <= `max_rows` rows. Both schedules share the kernels."""
    choosers = _Choosers(builder, vocab, slots, max_rows, context_window)
    choosers.greedy()


@dataclass(frozen=True)
class _Choosers:
    builder: Any
    vocab: int
    slots: int
    max_rows: int
    context_window: int

    def greedy(self) -> None:
        """The largest of `logits`, the first of equals."""
        n, shared = self._shared("logits", "inputs", "history")
        logits, inputs, history = shared
        with self._function("greedy", shared):
            chunks = (n, choosing.CHUNKS)
            best, where = self._call(
                choosing.chunk_largest(self.vocab),
                [logits],
                [_type(chunks), _type(chunks, "int32")],
            )
            take = choosing.take_largest(
                max_rows=self.max_rows, slots=self.slots, context_window=self.context_window
            )
            chosen = self._call(take, [best, where, inputs, history], [_type((n,), "int32")])
            self.builder.emit_func_output(chosen)

    def _shared(self, *names: str) -> tuple[Any, list[Any]]:
        """The number of rows, and shared buffers as parameters."""
        n = tirx.Var("n", "int64")
        types = {
            "logits": _type((n, self.vocab)),
            "inputs": _type((3, self.max_rows), "int32"),
            "history": _type((self.slots, self.context_window + 1), "int32"),
        }
        return n, [relax.Var(name, types[name]) for name in names]

    def _function(self, name: str, parameters: Sequence[Any]) -> Any:
        # A bound on n lets memory be planned ahead.
        attributes = {
            "tir_var_upper_bound": {"n": self.max_rows},
            "tir_non_negative_var": ["n"],
        }
        return self.builder.function(name, list(parameters), attrs=attributes)

    def _call(self, prim_func: Any, arguments: Sequence[Any], out: Sequence[Any]) -> Any:
        name = str(prim_func.attrs["global_symbol"])
        added = self.builder.add_func(prim_func.without_attr("global_symbol"), name)
        call = relax.call_tir(added, list(arguments), list(out) if len(out) > 1 else out[0])
        return self.builder.emit(call)


def _type(shape: tuple[Any, ...], dtype: str = "float32") -> Any:
    return relax.TensorType(shape, dtype)
