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

from transom_compile.kernels import adjusting, choosing, choosing_filters, ranking
from transom_compile.kernels.sampler_row import MOST_BIASES, SAMPLER_FIELDS, Sizes


def add_choosers(
    builder: Any,
    vocab: int,
    schedule: str,
    *,
    slots: int = 16,
    max_rows: int = 8,
    context_window: int,
) -> None:
    """Adds `adjust`, `greedy`, `draw_all`, `draw_top`, `draw_sorted`, `rank` and `rank_chosen`,
    for n <= `max_rows` rows.

    A row that is greedy by its parameters is so in every function that draws, and rows draw the
    same token in each: rows that ask for different filters may go together in `draw_sorted`.
    """
    choosers = _Choosers(builder, Sizes(vocab, slots, max_rows, context_window), schedule)
    choosers.adjust()
    choosers.greedy()
    choosers.draw_all()
    choosers.draw_top()
    choosers.draw_sorted()
    choosers.rank()
    choosers.rank_chosen()


@dataclass(frozen=True)
class _Choosers:
    builder: Any
    sizes: Sizes
    schedule: str

    def adjust(self) -> None:
        """`adjusted` from `logits`: mask, bias, penalties."""
        n, shared = self._shared(
            "logits",
            "mask",
            "bias_ids",
            "bias_values",
            "history",
            "samplers",
            "inputs",
            "adjusted",
        )
        logits, mask, bias_ids, bias_values, history, samplers, inputs, adjusted = shared
        with self._function("adjust", shared):
            copied = self._call(
                adjusting.copy_allowed(self.sizes), [logits, mask, samplers, adjusted], [_flag(n)]
            )
            biased = self._call(
                adjusting.add_bias(self.sizes),
                [copied, bias_ids, bias_values, samplers, adjusted],
                [_flag(n)],
            )
            done = self._call(
                adjusting.penalise(self.sizes),
                [biased, inputs, history, samplers, adjusted],
                [_flag(n)],
            )
            self.builder.emit_func_output(done)

    def greedy(self) -> None:
        """The largest of `logits`, the first of equals."""
        n, (logits, inputs, history) = self._shared("logits", "inputs", "history")
        with self._function("greedy", [logits, inputs, history]):
            largest = choosing.chunk_largest(self.sizes.vocab, self.schedule)
            pair = self._call(largest, [logits], self._best(n))
            self._take_best(n, pair, inputs, history)

    def draw_all(self) -> None:
        """Rows without filters."""
        n, shared = self._shared("logits", "samplers", "inputs", "history")
        logits, samplers, inputs, history = shared
        with self._function("draw_all", shared):
            drawn = choosing.chunk_drawn(self.sizes, self.schedule)
            pair = self._call(drawn, [logits, samplers, inputs], self._best(n))
            self._take_best(n, pair, inputs, history)

    def draw_top(self) -> None:
        """Rows with a top-k of at most `ranking.RUN`, and any other filters."""
        n, shared = self._shared("logits", "samplers", "inputs", "history")
        logits, samplers, inputs, history = shared
        with self._function("draw_top", shared):
            values, ids = self._top(n, logits)
            drawn = choosing_filters.draw_of_top(self.sizes, self.schedule)
            chosen = self._call(drawn, [values, ids, samplers, inputs, history], [_chosen(n)])
            self.builder.emit_func_output(chosen)

    def draw_sorted(self) -> None:
        """Rows with any filters, or none."""
        n, shared = self._shared("logits", "samplers", "inputs", "history")
        logits, samplers, inputs, history = shared
        parts = _type((n, choosing.CHUNKS))
        with self._function("draw_sorted", shared):
            values, ids = self._in_order(n, logits, keep=None)
            weigh = choosing_filters.weigh_chunks(self.sizes)
            sums, moments = self._call(weigh, [values, samplers], [parts, parts])
            row = _type((n, ranking.padded(self.sizes.vocab)))
            masses = self._call(choosing_filters.sum_up(self.sizes), [values, sums], [row])
            find = choosing_filters.find_passed(self.sizes)
            passed = self._call(find, [values, masses, moments, samplers], [_type((n, 2), "int32")])
            drawn = choosing_filters.chunk_drawn_sorted(self.sizes, self.schedule)
            pair = self._call(drawn, [values, ids, passed, samplers, inputs], self._best(n))
            self._take_best(n, pair, inputs, history)

    def rank(self) -> None:
        """What the model itself holds likely: from raw `logits`, before the choice."""
        n, (logits, ranked) = self._shared("logits", "ranked")
        with self._function("rank", [logits, ranked]):
            values, ids = self._top(n, logits)
            add = ranking.sum_exponentials(self.sizes.vocab)
            sums = self._call(add, [logits, values], [_type((n, choosing.CHUNKS))])
            write = ranking.write_ranks(self.sizes)
            done = self._call(write, [values, ids, sums, ranked], [_flag(n)])
            self.builder.emit_func_output(done)

    def rank_chosen(self) -> None:
        """After `rank` and the choice."""
        n, (logits, inputs, ranked) = self._shared("logits", "inputs", "ranked")
        with self._function("rank_chosen", [logits, inputs, ranked]):
            write = ranking.rank_chosen(self.sizes)
            done = self._call(write, [logits, inputs, ranked], [_flag(n)])
            self.builder.emit_func_output(done)

    def _take_best(self, n: Any, pair: Any, inputs: Any, history: Any) -> None:
        take = choosing.take_best(self.sizes, self.schedule)
        chosen = self._call(take, [pair[0], pair[1], inputs, history], [_chosen(n)])
        self.builder.emit_func_output(chosen)

    def _best(self, n: Any) -> list[Any]:
        return _ordered(n, choosing.SPREADS[self.schedule].parts)

    def _top(self, n: Any, logits: Any) -> Any:
        """The largest `ranking.RUN` logits and their ids in descending order."""
        if not choosing.SPREADS[self.schedule].is_joined:
            return self._in_order(n, logits, keep=ranking.RUN)
        count = self.sizes.vocab
        taken = ranking.take_top(count, count)
        arguments = [logits]
        while True:
            count = -(-count // ranking.GROUP) * ranking.RUN
            pair = self._call(taken, arguments, _ordered(n, count))
            if count == ranking.RUN:
                return pair
            taken, arguments = ranking.take_top(None, count), [pair[0], pair[1]]

    def _in_order(self, n: Any, logits: Any, *, keep: int | None) -> Any:
        """Logits and ids in descending order: all, or the first `keep`."""
        count, width = ranking.padded(self.sizes.vocab), ranking.RUN
        pair = self._call(ranking.sort_runs(self.sizes.vocab), [logits], _ordered(n, count))
        while count > width:
            merge = ranking.merge_runs(count, width, keep)
            merged = ranking.merged_count(count, width, keep)
            pair = self._call(merge, [pair[0], pair[1]], _ordered(n, merged))
            count, width = merged, keep or width * ranking.merged_ways(keep)
        return pair

    def _shared(self, *names: str) -> tuple[Any, list[Any]]:
        """The number of rows, and shared buffers as parameters."""
        n = tirx.Var("n", "int64")
        sizes = self.sizes
        rows, biases = sizes.max_rows, (sizes.max_rows, MOST_BIASES)
        types = {
            "logits": _type((n, sizes.vocab)),
            "adjusted": _type((n, sizes.vocab)),
            "mask": _type((rows, adjusting.mask_words(sizes.vocab)), "int32"),
            "bias_ids": _type(biases, "int32"),
            "bias_values": _type(biases),
            "ranked": _type((rows, ranking.RANKED_FIELDS)),
            "inputs": _type((3, rows), "int32"),
            "history": _type((sizes.slots, sizes.context_window + 1), "int32"),
            "samplers": _type((rows, SAMPLER_FIELDS), "int32"),
        }
        return n, [relax.Var(name, types[name]) for name in names]

    def _function(self, name: str, parameters: Sequence[Any]) -> Any:
        # A bound on n lets memory be planned ahead.
        attributes = {
            "tir_var_upper_bound": {"n": self.sizes.max_rows},
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


def _chosen(n: Any) -> Any:
    return _type((n,), "int32")


def _flag(n: Any) -> Any:
    """That a kernel has run which changes shared buffers only."""
    return _type((n,), "int32")


def _ordered(n: Any, count: int) -> list[Any]:
    """Values and token ids."""
    return [_type((n, count)), _type((n, count), "int32")]
