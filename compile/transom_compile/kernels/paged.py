"""Attention of programs: keys and values of all sequences lie in pages that kernels read and write.

A row is a token of some sequence (a slot); what it is, the kernels read from `inputs` (3, size):
token id, position, slot. `table` (SLOTS, pages_per_slot) holds the page numbers of a slot in order,
`pages` (count, 2, kv_heads, PAGE_SIZE, head_dim) keys, turned already, and values. A row whose
position is negative is idle: nothing is written for it but zeros to `out`.

`attention_step` does all of a token's attention at once and wants rows of different sequences.
Rows that may follow each other in one sequence first all write (`rope_append`), then all read
(`attend`). Causality is by position: a row sees the positions up to its own.

`fallback`: no barrier, a thread owns one (query, head). `gpu`: a workgroup owns it, or a tile of
queries (`paged_tiles.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.attention import PAGE_SIZE
from transom_compile.kernels.attention_shape import AttentionShape
from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    buffer_arg,
    cast,
    each,
    exact,
    kernel,
    launch,
    let,
    local,
    store,
    symbolic,
    when,
)
from transom_compile.kernels.rotary import pair_of, turn_of, turned
from transom_compile.kernels.running_softmax import RunningSoftmax, into_base_2
from transom_models.rope import Rope

SLOTS = 16
"""Sequences that may be under way: rows of the page table."""


@dataclass(frozen=True)
class PagedAttention:
    """One layer's attention: heads, scale of scores, how far back it sees (0: to the start), the
    cap on scores, and the pages a slot may have."""

    shape: AttentionShape
    schedule: str
    pages_per_slot: int
    scale: float
    window: int = 0
    softcap: float = 0.0

    @property
    def label(self) -> str:
        shape = self.shape
        seen = f"_last{self.window}" if self.window else ""
        return f"{shape.query_heads}_{shape.kv_heads}x{shape.head_dim}{seen}"

    @property
    def query_scale(self) -> float:
        return into_base_2(self.scale, self.softcap)

    def first(self, position: Expr) -> Expr:
        """The first position that a row sees."""
        zero = tirx.const(0, "int32")
        return let(tirx.max(position + (1 - self.window), zero)) if self.window else zero


@dataclass(frozen=True)
class Cache:
    """The arguments that say where rows and their keys are."""

    shape: AttentionShape
    inputs: Buffer
    table: Buffer
    pages: Buffer

    @classmethod
    def declare(cls, shape: AttentionShape, size: int, pages_per_slot: int) -> Cache:
        sizes = (symbolic("page_count"), 2, shape.kv_heads, PAGE_SIZE, shape.head_dim)
        return cls(
            shape,
            buffer_arg("inputs", (3, size), "int32"),
            buffer_arg("table", (SLOTS, pages_per_slot), "int32"),
            buffer_arg("pages", sizes, shape.dtype),
        )

    def position(self, row: Expr) -> Expr:
        return let(self.inputs[1, row])

    def slot(self, row: Expr) -> Expr:
        return let(self.inputs[2, row])

    def page(self, slot: Expr, position: Expr) -> Expr:
        return let(self.table[slot, position // PAGE_SIZE])

    def key_value(
        self, slot: Expr, head: Expr, position: Expr
    ) -> tuple[Callable[[Expr], Expr], Callable[[Expr], Expr]]:
        """Elements of the key and of the value at a position."""
        page, at = self.page(slot, position), let(position % PAGE_SIZE)

        def element(which: int) -> Callable[[Expr], Expr]:
            return lambda i: cast("float32", self.pages[page, which, head, at, i])

        return element(0), element(1)


def attention_step(
    kind: PagedAttention, size: int, rope: Rope | None, tokens: int | None
) -> object:
    """(qkv, inputs, table, pages, out): turn, write to the pages and attend; rows of different
    sequences.

    qkv (1, n, all heads * head_dim), not turned yet; out (1, n, query heads * head_dim). A row's
    own key and value are taken from qkv, so nobody waits for who writes them.
    """
    shape, dim = kind.shape, kind.shape.head_dim
    with kernel(f"attention_step_{_phase(tokens)}_{kind.label}") as made:
        n = symbolic("n") if tokens is None else tokens
        qkv = buffer_arg("qkv", (1, n, shape.all_heads * dim), shape.dtype)
        cache = Cache.declare(shape, size, kind.pages_per_slot)
        out = buffer_arg("out", (1, n, shape.query_heads * dim), shape.dtype)
        with each(n * shape.query_heads, 4) as at:
            row, head = let(at // shape.query_heads), let(at % shape.query_heads)
            position, slot = cache.position(row), cache.slot(row)
            kv_head = let(head // shape.group)
            softmax = RunningSoftmax.start(dim, kind.softcap)
            own = local((dim,), "float32")
            half = dim // 2
            with T.serial(half) as i:
                by = turn_of(rope, i, half, position)
                pair = pair_of(rope, i, half)
                for target, start, scale in (
                    (softmax.query, head, kind.query_scale),
                    (own, shape.query_heads + kv_head, 1.0),
                ):
                    values = [cast("float32", qkv[0, row, start * dim + e]) for e in pair]
                    for e, value in zip(pair, turned(values, by), strict=True):
                        store(target, e, value * exact(scale) if scale != 1.0 else value)

            def own_value(i: Expr) -> Expr:
                start = (shape.rotated_heads + kv_head) * dim
                return cast("float32", qkv[0, row, start + i])

            with when(position >= 0):
                with when(head % shape.group == 0):
                    page, at_page = cache.page(slot, position), let(position % PAGE_SIZE)
                    with T.serial(dim) as i:
                        store(
                            cache.pages,
                            [page, 0, kv_head, at_page, i],
                            cast(shape.dtype, own[i]),
                        )
                        store(
                            cache.pages,
                            [page, 1, kv_head, at_page, i],
                            cast(shape.dtype, own_value(i)),
                        )
                softmax.take(lambda i: own[i], own_value)
            first = kind.first(position)
            with T.serial(tirx.max(position - first, 0)) as step:
                softmax.take(*cache.key_value(slot, kv_head, let(first + step)))
            softmax.finish(
                lambda i, value: store(out, [0, row, head * dim + i], cast(shape.dtype, value))
            )
    return made.prim_func


def rope_append(
    shape: AttentionShape,
    size: int,
    rope: Rope | None,
    tokens: int | None,
    *,
    pages_per_slot: int,
    threads: int = 32,
) -> object:
    """(qkv, inputs, table, pages, q): keys turned and values to the pages, queries turned to `q`.

    A thread takes one pair of a key head, its value and the queries that share it: their angle is
    the same.
    """
    dim, half, kv_heads = shape.head_dim, shape.head_dim // 2, shape.kv_heads
    label = f"{shape.query_heads}_{kv_heads}x{dim}"
    with kernel(f"rope_append_{_phase(tokens)}_{label}") as made:
        n = symbolic("n") if tokens is None else tokens
        qkv = buffer_arg("qkv", (1, n, shape.all_heads * dim), shape.dtype)
        cache = Cache.declare(shape, size, pages_per_slot)
        q = buffer_arg("q", (1, n, shape.query_heads * dim), shape.dtype)
        with each(n * (kv_heads * half), threads) as at:
            i, kv_head, row = (
                let(at % half),
                let(at // half % kv_heads),
                let(at // (half * kv_heads)),
            )
            position, slot = cache.position(row), cache.slot(row)
            pair = pair_of(rope, i, half)
            by = turn_of(rope, i, half, position)

            def read(head: Expr) -> list[Expr]:
                return [cast("float32", qkv[0, row, head * dim + e]) for e in pair]

            with T.serial(shape.group) as member:
                head = let(kv_head * shape.group + member)
                for e, value in zip(pair, turned(read(head), by), strict=True):
                    store(q, [0, row, head * dim + e], cast(shape.dtype, value))
            with when(position >= 0):
                page, at_page = cache.page(slot, position), let(position % PAGE_SIZE)
                key = turned(read(shape.query_heads + kv_head), by)
                value = read(shape.rotated_heads + kv_head)
                for which, elements in enumerate((key, value)):
                    for e, element in zip(pair, elements, strict=True):
                        store(
                            cache.pages,
                            [page, which, kv_head, at_page, e],
                            cast(shape.dtype, element),
                        )
    return made.prim_func


def attend(kind: PagedAttention, size: int, tokens: int | None, *, one_sequence: bool) -> object:
    """(q, inputs, table, pages, out): rows whose keys, their own too, are in the pages.

    q, out (1, n, query heads * head_dim). `one_sequence` promises that rows are consecutive
    positions of one slot.
    """
    shape, dim = kind.shape, kind.shape.head_dim
    of = "prompt" if one_sequence else _phase(tokens)
    with kernel(f"attend_{of}_{kind.label}") as made:
        n = symbolic("n") if tokens is None else tokens
        q = buffer_arg("q", (1, n, shape.query_heads * dim), shape.dtype)
        cache = Cache.declare(shape, size, kind.pages_per_slot)
        out = buffer_arg("out", (1, n, shape.query_heads * dim), shape.dtype)
        with each(n * shape.query_heads, 16) as at:
            row, head = let(at // shape.query_heads), let(at % shape.query_heads)
            position, slot = cache.position(row), cache.slot(row)
            kv_head = let(head // shape.group)
            softmax = RunningSoftmax.start(dim, kind.softcap)
            with T.serial(dim) as i:
                value = cast("float32", q[0, row, head * dim + i])
                store(softmax.query, i, value * exact(kind.query_scale))
            first = kind.first(position)
            with T.serial(tirx.max(position + 1 - first, 0)) as step:
                softmax.take(*cache.key_value(slot, kv_head, let(first + step)))
            softmax.finish(
                lambda i, value: store(out, [0, row, head * dim + i], cast(shape.dtype, value))
            )
    return made.prim_func


def _phase(tokens: int | None) -> str:
    return "prefill" if tokens is None else "decode"
