"""Which tokens of a sorted row may be drawn, and the draw: top-k, typical, top-p, min-p.

The filters of llama.cpp, in its order, as `web/src/worker/candidates.ts` has them. In a row sorted
by probability what each of them leaves is without gaps: also typical sampling, which wants the
tokens whose surprise is nearest to the entropy, -log p - H = mean logit - logit. So all of them
together are a beginning and an end, found by bisection over the mass up to each place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.choosing import (
    CHUNKS,
    SPREADS,
    Best,
    Draw,
    best_of,
    chunks,
    exp_of,
    fetched,
)
from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    buffer_arg,
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
from transom_compile.kernels.random_numbers import WORDS, token_words
from transom_compile.kernels.ranking import RUN, padded
from transom_compile.kernels.sampler_row import Field, SamplerRow, Sizes, advance

SOME = 1e-30
"""More than nothing: one token is left, whatever share is asked."""


def draw_of_top(sizes: Sizes, schedule: str) -> object:
    """(values (n, RUN), ids, samplers, inputs, history, chosen (n,)): for rows with a top-k."""
    is_joined = SPREADS[schedule].is_joined
    # One thread does it all, or each of a workgroup weighs a token and throws its dice.
    lanes, memory = (RUN, shared) if is_joined else (1, local)
    with kernel("draw_of_top") as made:
        n = symbolic("n")
        values = buffer_arg("values", (n, RUN), "float32")
        ids = buffer_arg("ids", (n, RUN), "int32")
        samplers, inputs = sizes.declare_samplers(), sizes.declare_inputs()
        history = sizes.declare_history()
        chosen = buffer_arg("chosen", (n,), "int32")
        with launch(grid=(n,), threads=(lanes,)) as ((row,), (lane,)):
            asked = SamplerRow(samplers, row)
            logits = memory((RUN,), "float32")
            weights = memory((RUN,), "float32")
            passed = memory((2,), "int32")
            order = _Order(lambda i: fetched(logits[i], "float32"), min(RUN, sizes.vocab))
            count = order.count(asked)
            with T.serial(RUN // lanes) as i:
                at = let(i * lanes + lane)
                store(logits, at, values[row, at])
            if is_joined:
                barrier()
            with T.serial(RUN // lanes) as i:
                at = let(i * lanes + lane)
                store(weights, at, order.weight(at))
            if is_joined:
                barrier()
            with when(lane == 0):
                masses = local((RUN + 1,), "float32")
                moment = local((1,), "float32")
                store(moment, 0, T.float32(0))
                store(masses, 0, T.float32(0))
                with T.serial(count) as i:
                    weight = fetched(weights[i], "float32")
                    store(masses, i + 1, masses[i] + weight)
                    store(moment, 0, moment[0] + weight * order.below(i))
                found = _find_range(asked, order, lambda i: let(masses[i]), count, moment[0])
                store(passed, 0, found[0])
                store(passed, 1, found[1])
            if is_joined:
                barrier()
            start, stop = fetched(passed[0], "int32"), fetched(passed[1], "int32")
            draw, best = Draw.of(samplers, inputs, row), Best.none()
            with T.serial(RUN // lanes) as i:
                at = let(start + i * lanes + lane)
                with when(at < stop):
                    _offer(best, draw, values, ids, row, at)
            if is_joined:
                best.join(lane)
            with when(lane == 0):
                token = let(best.token[0])
                store(chosen, row, token)
                advance(inputs, history, row, token, sizes)
    return made.prim_func


def weigh_chunks(sizes: Sizes) -> object:
    """(values (n, padded), samplers, sums (n, CHUNKS), moments (n, CHUNKS)): weights of a part, and
    weights times logits of what top-k leaves."""
    count = padded(sizes.vocab)
    size = -(-count // CHUNKS)
    with kernel("weigh_chunks") as made:
        n = symbolic("n")
        values = buffer_arg("values", (n, count), "float32")
        samplers = sizes.declare_samplers()
        sums = buffer_arg("sums", (n, CHUNKS), "float32")
        moments = buffer_arg("moments", (n, CHUNKS), "float32")
        with chunks(n, CHUNKS) as (row, chunk):
            order = _Order.of(values, row, sizes.vocab)
            limit = order.count(SamplerRow(samplers, row))
            state = local((2,), "float32")
            store(state, 0, T.float32(0))
            store(state, 1, T.float32(0))
            with T.serial(size) as i:
                at = let(chunk * size + i)
                with when(at < limit):
                    weight = order.weight(at)
                    store(state, 0, state[0] + weight)
                    store(state, 1, state[1] + weight * order.below(at))
            store(sums, [row, chunk], state[0])
            store(moments, [row, chunk], state[1])
    return made.prim_func


def sum_up(sizes: Sizes) -> object:
    """(values (n, padded), sums (n, CHUNKS), masses (n, padded)): weight up to and with each."""
    count = padded(sizes.vocab)
    size = -(-count // CHUNKS)
    with kernel("sum_up") as made:
        n = symbolic("n")
        values = buffer_arg("values", (n, count), "float32")
        sums = buffer_arg("sums", (n, CHUNKS), "float32")
        masses = buffer_arg("masses", (n, count), "float32")
        with chunks(n, CHUNKS) as (row, chunk):
            order = _Order.of(values, row, sizes.vocab)
            mass = local((1,), "float32")
            store(mass, 0, T.float32(0))
            with T.serial(chunk) as before:
                store(mass, 0, mass[0] + sums[row, before])
            with T.serial(size) as i:
                at = let(chunk * size + i)
                with when(at < count):
                    store(mass, 0, mass[0] + order.weight(at))
                    store(masses, [row, at], mass[0])
    return made.prim_func


def find_passed(sizes: Sizes) -> object:
    """(values, masses (n, padded), moments (n, CHUNKS), samplers, passed int32 (n, 2))."""
    count = padded(sizes.vocab)
    with kernel("find_passed") as made:
        n = symbolic("n")
        values = buffer_arg("values", (n, count), "float32")
        masses = buffer_arg("masses", (n, count), "float32")
        moments = buffer_arg("moments", (n, CHUNKS), "float32")
        samplers = sizes.declare_samplers()
        passed = buffer_arg("passed", (n, 2), "int32")
        with launch(grid=(n,), threads=(1,)) as ((row,), _):
            asked = SamplerRow(samplers, row)
            order = _Order.of(values, row, sizes.vocab)
            moment = local((1,), "float32")
            store(moment, 0, T.float32(0))
            with T.serial(CHUNKS) as i:
                store(moment, 0, moment[0] + moments[row, i])

            def mass(i: Expr) -> Expr:
                inclusive = masses[row, tirx.max(i - 1, 0)]
                return let(tirx.Select(i > 0, inclusive, T.float32(0)))

            found = _find_range(asked, order, mass, order.count(asked), moment[0])
            store(passed, [row, 0], found[0])
            store(passed, [row, 1], found[1])
    return made.prim_func


def chunk_drawn_sorted(sizes: Sizes, schedule: str) -> object:
    """(values, ids (n, padded), passed (n, 2), samplers, inputs, best, where): as `chunk_drawn`."""
    count, spread = padded(sizes.vocab), SPREADS[schedule]
    with kernel("chunk_drawn_sorted") as made:
        n = symbolic("n")
        values = buffer_arg("values", (n, count), "float32")
        ids = buffer_arg("ids", (n, count), "int32")
        passed = buffer_arg("passed", (n, 2), "int32")
        samplers, inputs = sizes.declare_samplers(), sizes.declare_inputs()
        outputs = spread.declare(n)
        with (
            chunks(n, spread.threads) as (row, chunk),
            best_of(outputs, spread, row, chunk) as best,
        ):
            draw = Draw.of(samplers, inputs, row)
            first = let(passed[row, 0] + chunk)
            left = let(tirx.max(passed[row, 1] - first + (spread.threads - 1), 0))
            with T.serial(let(left // spread.threads)) as i:
                _offer(best, draw, values, ids, row, let(first + i * spread.threads))
    return made.prim_func


@dataclass(frozen=True)
class _Order:
    """A sorted row."""

    logit: Callable[[Expr], Expr]
    size: int

    @classmethod
    def of(cls, values: Buffer, row: Expr, size: int) -> _Order:
        return cls(lambda i: values[row, i], size)

    def count(self, asked: SamplerRow) -> Expr:
        """How many tokens top-k leaves."""
        top_k = asked.integer(Field.TOP_K)
        is_limited = tirx.And(top_k > 0, top_k < self.size)
        limited = tirx.Select(is_limited, top_k, self.size)
        return let(tirx.Select(asked.is_greedy, 1, limited))

    def below(self, i: Expr) -> Expr:
        """Logit less the row's largest."""
        return let(self.logit(i) - self.logit(tirx.const(0, "int32")))

    def weight(self, i: Expr) -> Expr:
        return let(exp_of(self.below(i)))

    @property
    def steps(self) -> int:
        """Of a bisection."""
        return self.size.bit_length()


def _find_range(
    asked: SamplerRow, order: _Order, mass: Callable[[Expr], Expr], count: Expr, moment: Expr
) -> Buffer:
    """First place that passes, and the first after it that does not; `mass(i)` is of i tokens.

    Where typical sampling cuts through equals at the likelier end, it keeps the last of them, not
    the first: others of the same probability.
    """
    found = local((2,), "int32")
    store(found, 0, tirx.const(0, "int32"))
    store(found, 1, count)
    typical = asked.number(Field.TYPICAL_P)
    with when(typical < 1.0):
        total = mass(count)
        mean = let(moment / total)
        share = let(tirx.max(typical * total, exact(SOME)))
        # Less surprising than is to be expected are those before this place.
        middle = _first(order, 0, count, lambda i: order.below(i) <= mean)

        def has_enough_before(i: Expr) -> Expr:
            far = let(mean - order.below(i))
            left = _first(order, 0, middle, lambda j: order.below(j) - mean <= far)
            return mass(i) - mass(left) >= share

        def has_too_little_before(i: Expr) -> Expr:
            far = let(order.below(i) - mean)
            right = _first(order, middle, count, lambda j: mean - order.below(j) >= far)
            return mass(right) - mass(i + 1) < share

        stop = _first(order, middle, count, has_enough_before)
        start = _first(order, 0, middle, has_too_little_before)
        store(found, 0, start)
        store(found, 1, stop)
    start = let(found[0])
    top_p = asked.number(Field.TOP_P)
    with when(top_p < 1.0):
        enough = let(top_p * (mass(found[1]) - mass(start)))
        store(
            found,
            1,
            _first(order, start + 1, found[1], lambda i: mass(i) - mass(start) >= enough),
        )
    min_p = asked.number(Field.MIN_P)
    with when(min_p > 0.0):
        largest = order.below(start)

        def is_unlikely(i: Expr) -> Expr:
            return exp_of(order.below(i) - largest) < min_p

        store(found, 1, _first(order, start + 1, found[1], is_unlikely))
    return found


def _first(order: _Order, begin: Expr | int, end: Expr, holds: Callable[[Expr], Expr]) -> Expr:
    """The first place in [begin, end) from which on something holds; `end` where it never does."""
    bounds = local((2,), "int32")
    store(bounds, 0, tirx.const(begin, "int32") if isinstance(begin, int) else begin)
    store(bounds, 1, end)
    with T.serial(order.steps), when(bounds[0] < bounds[1]):
        middle = let((bounds[0] + bounds[1]) // 2)
        is_after = let(holds(middle))
        low = let(tirx.Select(is_after, bounds[0], middle + 1))
        high = let(tirx.Select(is_after, middle, bounds[1]))
        store(bounds, 0, low)
        store(bounds, 1, high)
    return let(bounds[0])


def _offer(best: Best, draw: Draw, values: Buffer, ids: Buffer, row: Expr, at: Expr) -> None:
    token = let(ids[row, at])
    words = token_words(draw.seed, draw.position, let(token // WORDS))
    best.offer(draw.score(let(values[row, at]), words[token % WORDS]), token)
