"""Rows of logits in order, the likeliest first: sorted runs, and many of them merged at a time.

An element finds its place by counting who comes before it. Equal logits keep the order of their
token ids.
"""

from __future__ import annotations

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.choosing import CHUNKS, chunks, exp_of, fetched
from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    barrier,
    buffer_arg,
    cast,
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
from transom_compile.kernels.sampler_row import LOWEST, Sizes

RUN = 64
"""Length of the first runs, and the most that `keep` of a merge leaves of a row."""
WAYS = 16
"""Runs of which the top becomes one: most elements are out after a few of the other runs."""
WAYS_OF_ALL = 4
"""Runs that become one where all elements stay: each looks for its place in all the others."""
GROUP = WAYS * RUN
THREADS = 64
RANKED = 20
"""Likeliest tokens of a row that are told."""
RANKED_FIELDS = 64
"""Length of a row of `ranked`: logsumexp, the chosen token's log-probability, ids, theirs."""
CHOSEN_AT, IDS_AT, LOGPROBS_AT = 1, 2, 2 + RANKED


def padded(vocab: int) -> int:
    """Elements of a row of runs; those past the vocabulary are the last in any order."""
    return -(-vocab // RUN) * RUN


def sort_runs(vocab: int) -> object:
    """(logits (n, vocab), values (n, padded), ids int32 (n, padded)): runs of RUN, descending."""
    count = padded(vocab)
    with kernel("sort_rows") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, vocab), "float32")
        values = buffer_arg("values", (n, count), "float32")
        ids = buffer_arg("ids", (n, count), "int32")
        with launch(grid=(count // THREADS, n), threads=(THREADS,)) as ((bx, row), (tx,)):
            token = let(bx * THREADS + tx)
            start = let(token // RUN * RUN)
            own = local((1,), "float32")
            store(own, 0, exact(LOWEST))
            with when(token < vocab):
                store(own, 0, logits[row, token])
            mine = let(own[0])
            rank = local((1,), "int32")
            # Before one that is past the vocabulary are those that are not.
            store(rank, 0, tirx.max(token - vocab, 0))
            with T.serial(RUN) as i, when(start + i < vocab):
                other = let(logits[row, start + i])
                is_equal = tirx.And(other == mine, start + i < token)
                before = tirx.Or(other > mine, is_equal)
                before = tirx.Or(before, token >= vocab)
                store(rank, 0, rank[0] + tirx.Select(before, 1, 0))
            store(values, [row, start + rank[0]], mine)
            store(ids, [row, start + rank[0]], token)
    return made.prim_func


def merge_runs(count: int, width: int, keep: int | None) -> object:
    """(values (n, count), ids, merged values (n, merged_count), merged ids).

    Sorted runs of `width` become one; of that only the first `keep` are left, where `keep` is
    given: then all runs are full, and as long as that.
    """
    ways = merged_ways(keep)
    group_width = ways * width
    groups = -(-count // group_width)
    out_width = group_width if keep is None else keep
    out_count = merged_count(count, width, keep)
    with kernel(f"merge_{'all' if keep is None else 'top'}_{width}_{count}") as made:
        n = symbolic("n")
        values = buffer_arg("values", (n, count), "float32")
        ids = buffer_arg("ids", (n, count), "int32")
        merged_values = buffer_arg("merged_values", (n, out_count), "float32")
        merged_ids = buffer_arg("merged_ids", (n, out_count), "int32")
        with launch(grid=(count // THREADS, n), threads=(THREADS,)) as ((bx, row), (tx,)):
            at = let(bx * THREADS + tx)
            run = let(at // width)
            group = let(run // ways) if groups > 1 else tirx.const(0, "int32")
            mine = let(values[row, at])
            rank = local((1,), "int32")
            bounds = local((2,), "int32")
            store(rank, 0, at - run * width)
            with T.serial(min(ways, -(-count // width))) as way:
                other = let(group * ways + way)
                begin = let(other * width)
                wanted = tirx.And(other != run, begin < count)
                if keep is not None:
                    wanted = tirx.And(wanted, rank[0] < keep)
                with when(wanted):
                    store(bounds, 0, begin)
                    store(bounds, 1, tirx.min(begin + width, count))
                    with T.serial(width.bit_length()), when(bounds[0] < bounds[1]):
                        middle = let((bounds[0] + bounds[1]) // 2)
                        rival = let(values[row, middle])
                        # Runs before this one hold lower ids: these go first among equals.
                        is_equal = tirx.And(rival == mine, other < run)
                        before = let(tirx.Or(rival > mine, is_equal))
                        low = let(tirx.Select(before, middle + 1, bounds[0]))
                        high = let(tirx.Select(before, bounds[1], middle))
                        store(bounds, 0, low)
                        store(bounds, 1, high)
                    store(rank, 0, rank[0] + bounds[0] - begin)
            place = let(group * out_width + rank[0])
            if keep is None:
                store(merged_values, [row, place], mine)
                store(merged_ids, [row, place], ids[row, at])
            else:
                with when(rank[0] < keep):
                    store(merged_values, [row, place], mine)
                    store(merged_ids, [row, place], ids[row, at])
    return made.prim_func


def take_top(vocab: int | None, count: int, *, threads: int = 256) -> object:
    """(values (n, count), ids, merged values (n, merged_count), merged ids): as `merge_runs` of
    runs of RUN with `keep`; a workgroup holds those that it makes one.

    With a vocabulary the first argument is logits (n, vocab), without ids: they are sorted first.
    """
    groups = -(-count // GROUP)
    with kernel(f"take_top_{count}") as made:
        n = symbolic("n")
        if vocab is None:
            values = buffer_arg("values", (n, count), "float32")
            ids = buffer_arg("ids", (n, count), "int32")
        else:
            values = buffer_arg("logits", (n, vocab), "float32")
        merged_values = buffer_arg("merged_values", (n, groups * RUN), "float32")
        merged_ids = buffer_arg("merged_ids", (n, groups * RUN), "int32")
        with launch(grid=(groups, n), threads=(threads,)) as ((group, row), (lane,)):
            start = let(group * GROUP)
            held = shared((GROUP,), "float32")
            held_ids = shared((GROUP,), "int32")
            given = held if vocab is None else shared((GROUP,), "float32")
            with T.serial(GROUP // threads) as i:
                at = let(i * threads + lane)
                store(given, at, exact(LOWEST))
                if vocab is None:
                    with when(start + at < count):
                        store(given, at, values[row, start + at])
                        store(held_ids, at, ids[row, start + at])
                else:
                    with when(start + at < vocab):
                        store(given, at, values[row, start + at])
            barrier()
            rank = local((1,), "int32")
            if vocab is not None:
                with T.serial(GROUP // threads) as i:
                    at = let(i * threads + lane)
                    run = let(at // RUN * RUN)
                    mine = fetched(given[at], "float32")
                    store(rank, 0, tirx.const(0, "int32"))
                    with T.serial(RUN) as j:
                        other = fetched(given[run + j], "float32")
                        is_equal = tirx.And(other == mine, run + j < at)
                        before = tirx.Or(other > mine, is_equal)
                        store(rank, 0, rank[0] + tirx.Select(before, 1, 0))
                    store(held, run + rank[0], mine)
                    store(held_ids, run + rank[0], start + at)
                barrier()
            with T.serial(GROUP // threads) as i:
                at = let(i * threads + lane)
                _rank_in_group(held, at, rank)
                with when(rank[0] < RUN):
                    place = let(group * RUN + rank[0])
                    store(merged_values, [row, place], held[at])
                    store(merged_ids, [row, place], held_ids[at])
    return made.prim_func


def _rank_in_group(held: Buffer, at: Expr, rank: Buffer) -> None:
    """The place of an element among WAYS sorted runs, or RUN and more where it is none of them."""
    run, mine = let(at // RUN), fetched(held[at], "float32")
    store(rank, 0, at % RUN)
    bounds = local((2,), "int32")
    with T.serial(WAYS) as other, when(tirx.And(other != run, rank[0] < RUN)):
        store(bounds, 0, other * RUN)
        store(bounds, 1, other * RUN + RUN)
        with T.serial(RUN.bit_length()), when(bounds[0] < bounds[1]):
            middle = let((bounds[0] + bounds[1]) // 2)
            rival = fetched(held[middle], "float32")
            before = let(tirx.Or(rival > mine, tirx.And(rival == mine, other < run)))
            low = let(tirx.Select(before, middle + 1, bounds[0]))
            high = let(tirx.Select(before, bounds[1], middle))
            store(bounds, 0, low)
            store(bounds, 1, high)
        store(rank, 0, rank[0] + bounds[0] - other * RUN)


def merged_count(count: int, width: int, keep: int | None) -> int:
    """Elements of a row after a merge."""
    return count if keep is None else -(-count // (WAYS * width)) * keep


def merged_ways(keep: int | None) -> int:
    """Runs that become one."""
    return WAYS_OF_ALL if keep is None else WAYS


def sum_exponentials(vocab: int) -> object:
    """(logits (n, vocab), values (n, RUN), sums (n, CHUNKS)): exp(logit - the first of values)."""
    with kernel("sum_exponentials") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, vocab), "float32")
        values = buffer_arg("values", (n, RUN), "float32")
        sums = buffer_arg("sums", (n, CHUNKS), "float32")
        with chunks(n, CHUNKS) as (row, chunk):
            largest = let(values[row, 0])
            total = local((1,), "float32")
            store(total, 0, T.float32(0))
            with T.serial(-(-vocab // CHUNKS)) as i:
                token = let(i * CHUNKS + chunk)
                with when(token < vocab):
                    store(total, 0, total[0] + exp_of(logits[row, token] - largest))
            store(sums, [row, chunk], total[0])
    return made.prim_func


def write_ranks(sizes: Sizes) -> object:
    """(values (n, RUN), ids, sums (n, CHUNKS), ranked, done int32 (n,)): logsumexp, and the
    likeliest tokens with their log-probabilities. Where the vocabulary ends, ids are -1."""
    with kernel("write_ranks") as made:
        n = symbolic("n")
        values = buffer_arg("values", (n, RUN), "float32")
        ids = buffer_arg("ids", (n, RUN), "int32")
        sums = buffer_arg("sums", (n, CHUNKS), "float32")
        ranked = buffer_arg("ranked", (sizes.max_rows, RANKED_FIELDS), "float32")
        done = buffer_arg("done", (n,), "int32")
        with launch(grid=(n,), threads=(1,)) as ((row,), _):
            total = local((1,), "float32")
            store(total, 0, T.float32(0))
            with T.serial(CHUNKS) as i:
                store(total, 0, total[0] + sums[row, i])
            logsumexp = let(values[row, 0] + T.log(total[0]))
            store(ranked, [row, 0], logsumexp)
            with T.serial(RANKED) as i:
                token = let(ids[row, i])
                known = let(tirx.Select(token < sizes.vocab, token, -1))
                store(ranked, [row, IDS_AT + i], cast("float32", known))
                store(ranked, [row, LOGPROBS_AT + i], values[row, i] - logsumexp)
            store(done, row, tirx.const(1, "int32"))
    return made.prim_func


def rank_chosen(sizes: Sizes) -> object:
    """(logits (n, vocab), inputs, ranked, done int32 (n,)): the log-probability of a row's token,
    after the draw has written it and `write_ranks` the logsumexp."""
    with kernel("rank_chosen") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, sizes.vocab), "float32")
        inputs = sizes.declare_inputs()
        ranked = buffer_arg("ranked", (sizes.max_rows, RANKED_FIELDS), "float32")
        done = buffer_arg("done", (n,), "int32")
        with launch(grid=(n,), threads=(1,)) as ((row,), _):
            token = let(tirx.max(tirx.min(inputs[0, row], sizes.vocab - 1), 0))
            store(ranked, [row, CHOSEN_AT], logits[row, token] - ranked[row, 0])
            store(done, row, tirx.const(1, "int32"))
    return made.prim_func
