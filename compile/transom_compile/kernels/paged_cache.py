"""What the attention kernels of programs are given: one layer's kind, and where its keys lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from transom_compile.kernels.attention import PAGE_SIZE
from transom_compile.kernels.attention_shape import AttentionShape
from transom_compile.kernels.emit import Buffer, Expr, buffer_arg, cast, let, store, symbolic
from transom_compile.kernels.running_softmax import into_base_2

SLOTS = 16
"""Sequences that may be under way: rows of the page table."""
MOST_TOGETHER = 512
"""Elements of queries that a thread keeps: these and as many of their results, 4 KB, fit twice into
what WGSL promises a function."""


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
    def heads_together(self) -> int:
        """Query heads of one key head that a thread of `fallback` takes."""
        group = self.shape.group
        most = max(1, MOST_TOGETHER // self.shape.head_dim)
        return max(count for count in range(1, group + 1) if group % count == 0 and count <= most)

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

    def write(self, row: Expr, which: int, head: Expr, i: Expr, value: Expr) -> None:
        """An element of a row's own key (0) or value (1) to its page."""
        position = self.position(row)
        page, at = self.page(self.slot(row), position), let(position % PAGE_SIZE)
        store(self.pages, [page, which, head, at, i], cast(self.shape.dtype, value))
