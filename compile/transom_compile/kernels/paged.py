"""Attention of programs: keys and values of all sequences lie in pages that kernels read and write.

A row is a token of some sequence (a slot); what it is, the kernels read from `inputs` (3, size):
token id, position, slot. `table` (SLOTS, pages_per_slot) holds the page numbers of a slot in order,
`pages` (count, 2, kv_heads, PAGE_SIZE, head_dim) keys, turned already, and values. A row whose
position is negative is idle: nothing is written for it but `out` or `q`.

`attention_step` does all of a token's attention at once and wants rows of different sequences.
Rows that may follow each other in one sequence first all write (`rope_append`), then all read
(`attend`). Causality is by position: a row sees the positions up to its own.

`fallback`: no barrier, a thread owns a row's queries of one key head, or some of them, so that keys
and values are read once for all. `gpu`: see `paged_gpu.py`.
"""

from __future__ import annotations

from tvm import tirx
from tvm.tirx.script.builder import ir as T

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
    shared,
    store,
    symbolic,
    when,
)
from transom_compile.kernels.paged_cache import Cache, PagedAttention
from transom_compile.kernels.paged_gpu import LANES, attend_row, attend_tiles
from transom_compile.kernels.rotary import pair_of, turn_of, turned
from transom_compile.kernels.running_softmax import RunningSoftmax
from transom_models.rope import Rope


def attention_step(
    kind: PagedAttention, size: int, rope: Rope | None, tokens: int | None
) -> object:
    """(qkv, inputs, table, pages, out): turn, write to the pages and attend; rows of different
    sequences.

    qkv (1, n, all heads * head_dim), not turned yet; out (1, n, query heads * head_dim), zeros for
    idle rows. A row's own key and value are taken from qkv, so nobody waits for who writes them.
    """
    shape = kind.shape
    with kernel(f"attention_step_{_phase(tokens)}_{kind.label}") as made:
        n = symbolic("n") if tokens is None else tokens
        qkv = buffer_arg("qkv", (1, n, shape.all_heads * shape.head_dim), shape.dtype)
        cache = Cache.declare(shape, size, kind.pages_per_slot)
        out = buffer_arg("out", (1, n, shape.query_heads * shape.head_dim), shape.dtype)
        if kind.schedule == "fallback":
            parts = shape.query_heads // kind.heads_together
            with each(n * parts, 4) as at:
                row, head = let(at // parts), let(at % parts * kind.heads_together)
                _step_alone(kind, rope, qkv, cache, out, row, head)
        else:
            with launch(grid=(n, shape.query_heads), threads=(LANES,)) as ((row, head), (lane,)):
                _step_together(kind, rope, qkv, cache, out, row, head, lane)
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
    half, kv_heads = shape.head_dim // 2, shape.kv_heads
    name = f"rope_append_{_phase(tokens)}_{shape.query_heads}_{kv_heads}x{shape.head_dim}"
    with kernel(name) as made:
        n = symbolic("n") if tokens is None else tokens
        qkv = buffer_arg("qkv", (1, n, shape.all_heads * shape.head_dim), shape.dtype)
        cache = Cache.declare(shape, size, pages_per_slot)
        q = buffer_arg("q", (1, n, shape.query_heads * shape.head_dim), shape.dtype)
        with each(n * (kv_heads * half), threads) as at:
            slot, row = let(at % half), let(at // (half * kv_heads))
            kv_head = let(at // half % kv_heads)
            turn = _Turn(shape, qkv, row, slot, rope, cache.position(row))
            with T.serial(shape.group) as member:
                head = let(kv_head * shape.group + member)
                turn.hand_on(q, head)
            with when(cache.position(row) >= 0):
                turn.append(cache, kv_head)
    return made.prim_func


def attend(kind: PagedAttention, size: int, tokens: int | None, *, one_sequence: bool) -> object:
    """(q, inputs, table, pages, out): rows whose keys, their own too, are in the pages.

    q, out (1, n, query heads * head_dim), zeros for idle rows. `one_sequence` promises that rows
    are consecutive positions of one slot.
    """
    shape, dim = kind.shape, kind.shape.head_dim
    of = "prompt" if one_sequence else _phase(tokens)
    with kernel(f"attend_{of}_{kind.label}") as made:
        n = symbolic("n") if tokens is None else tokens
        q = buffer_arg("q", (1, n, shape.query_heads * dim), shape.dtype)
        cache = Cache.declare(shape, size, kind.pages_per_slot)
        out = buffer_arg("out", (1, n, shape.query_heads * dim), shape.dtype)
        if kind.schedule == "fallback":
            parts = shape.query_heads // kind.heads_together
            with each(n * parts, 8) as at:
                row, head = let(at // parts), let(at % parts * kind.heads_together)
                softmax = RunningSoftmax.start(kind.heads_together, dim, kind.softcap)
                _walk_pages(kind, cache, softmax, q, out, row, head, own=1)
        elif one_sequence:
            attend_tiles(kind, cache, q, out, n)
        else:
            with launch(grid=(n, shape.query_heads), threads=(LANES,)) as ((row, head), (lane,)):
                position, slot = cache.position(row), cache.slot(row)
                query = shared((dim,), "float32")
                with T.serial(-(-dim // LANES)) as part:
                    i = let(part * LANES + lane)
                    with when(i < dim):
                        value = cast("float32", q[0, row, head * dim + i])
                        store(query, i, value * exact(kind.query_scale))
                attend_row(
                    kind,
                    lane,
                    query,
                    (kind.first(position), let(position + 1)),
                    lambda at: cache.key_value(slot, head // shape.group, at),
                    lambda i, value: store(out, [0, row, head * dim + i], cast(shape.dtype, value)),
                )
    return made.prim_func


class _Turn:
    """One pair of a row's heads, turned by the row's position."""

    def __init__(
        self,
        shape: AttentionShape,
        qkv: Buffer,
        row: Expr,
        slot: Expr,
        rope: Rope | None,
        position: Expr,
    ) -> None:
        half = shape.head_dim // 2
        self.shape, self.qkv, self.row = shape, qkv, row
        self.pair = pair_of(rope, slot, half)
        self._by = turn_of(rope, slot, half, position)

    def _read(self, head: Expr) -> list[Expr]:
        start = head * self.shape.head_dim
        return [cast("float32", self.qkv[0, self.row, start + i]) for i in self.pair]

    def query(self, head: Expr) -> list[Expr]:
        return turned(self._read(head), self._by)

    def key(self, kv_head: Expr) -> list[Expr]:
        return turned(self._read(self.shape.query_heads + kv_head), self._by)

    def hand_on(self, q: Buffer, head: Expr) -> None:
        """The turned query to `q`."""
        for i, value in zip(self.pair, self.query(head), strict=True):
            at = [0, self.row, head * self.shape.head_dim + i]
            store(q, at, cast(self.shape.dtype, value))

    def append(self, cache: Cache, kv_head: Expr) -> None:
        """The turned key and the value to their page."""
        value = self._read(self.shape.rotated_heads + kv_head)
        for which, elements in enumerate((self.key(kv_head), value)):
            for i, element in zip(self.pair, elements, strict=True):
                cache.write(self.row, which, kv_head, i, element)


def _own_value(shape: AttentionShape, qkv: Buffer, row: Expr, kv_head: Expr, i: Expr) -> Expr:
    start = (shape.rotated_heads + kv_head) * shape.head_dim
    return cast("float32", qkv[0, row, start + i])


def _step_alone(
    kind: PagedAttention,
    rope: Rope | None,
    qkv: Buffer,
    cache: Cache,
    out: Buffer,
    row: Expr,
    head: Expr,
) -> None:
    """The thread of a row's `head` and those behind it that go together."""
    shape, dim, heads = kind.shape, kind.shape.head_dim, kind.heads_together
    position, kv_head = cache.position(row), let(head // shape.group)
    dots = local((heads,), "float32")
    for member in range(heads):
        store(dots, member, T.float32(0))
    with T.serial(dim // 2) as slot:
        turn = _Turn(shape, qkv, row, slot, rope, position)
        k0, k1 = (let(element) for element in turn.key(kv_head))
        for member in range(heads):
            q0, q1 = turn.query(head + member)
            store(dots, member, dots[member] + q0 * k0 + q1 * k1)
            # `out` keeps the turned query until it is read for good.
            turn.hand_on(out, head + member)
        with when(tirx.And(position >= 0, head % shape.group == 0)):
            turn.append(cache, kv_head)
    softmax = RunningSoftmax.start(heads, dim, kind.softcap)
    with when(position >= 0):
        softmax.begin_with(
            [dots[member] * exact(kind.query_scale) for member in range(heads)],
            lambda i: _own_value(shape, qkv, row, kv_head, i),
        )
    _walk_pages(kind, cache, softmax, out, out, row, head, own=0)


def _walk_pages(
    kind: PagedAttention,
    cache: Cache,
    softmax: RunningSoftmax,
    q: Buffer,
    out: Buffer,
    row: Expr,
    head: Expr,
    *,
    own: int,
) -> None:
    """The keys before a row's position, and with `own` 1 that at it."""
    shape, dim = kind.shape, kind.shape.head_dim
    position, slot = cache.position(row), cache.slot(row)
    kv_head, first = let(head // shape.group), kind.first(position)
    # Heads lie behind each other, here and there.
    with T.serial(softmax.heads * dim) as i:
        value = cast("float32", q[0, row, head * dim + i])
        store(softmax.query, i, value * exact(kind.query_scale))
    with T.serial(tirx.max(position + own - first, 0)) as step:
        softmax.take(*cache.key_value(slot, kv_head, let(first + step)))

    def write(member: int, i: Expr, value: Expr) -> None:
        store(out, [0, row, (head + member) * dim + i], cast(shape.dtype, value))

    softmax.finish(write)


def _step_together(
    kind: PagedAttention,
    rope: Rope | None,
    qkv: Buffer,
    cache: Cache,
    out: Buffer,
    row: Expr,
    head: Expr,
    lane: Expr,
) -> None:
    shape, dim = kind.shape, kind.shape.head_dim
    position, kv_head = cache.position(row), let(head // shape.group)
    query, key = shared((dim,), "float32"), shared((dim,), "float32")
    half = dim // 2
    with T.serial(-(-half // LANES)) as part:
        slot = let(part * LANES + lane)
        with when(slot < half):
            turn = _Turn(shape, qkv, row, slot, rope, position)
            for i, value in zip(turn.pair, turn.query(head), strict=True):
                store(query, i, value * exact(kind.query_scale))
            for i, value in zip(turn.pair, turn.key(kv_head), strict=True):
                store(key, i, value)
            with when(tirx.And(position >= 0, head % shape.group == 0)):
                turn.append(cache, kv_head)

    def write(i: Expr, value: Expr) -> None:
        # The own key of an idle row is whatever was there.
        value = tirx.Select(position >= 0, value, T.float32(0))
        store(out, [0, row, head * dim + i], cast(shape.dtype, value))

    slot = cache.slot(row)
    attend_row(
        kind,
        lane,
        query,
        (kind.first(position), position),
        lambda at: cache.key_value(slot, kv_head, at),
        write,
        own=(lambda i: key[i], lambda i: _own_value(shape, qkv, row, kv_head, i)),
    )


def _phase(tokens: int | None) -> str:
    return "prefill" if tokens is None else "decode"
