"""From logits to a token: greedy on the GPU, and the sampler functions that WebLLM 0.2.86 calls.

All barrier-free, so that both schedules share them; sizes are static, since symbolic ones make WGSL
that some drivers never finish compiling (BASELINE 6).
"""

from __future__ import annotations

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    buffer_arg,
    cast,
    each,
    exact,
    int_arg,
    kernel,
    launch,
    let,
    local,
    store,
    when,
)

CHUNKS = 256
"""Parts a vocabulary is cut into for a reduction in two steps."""

RUN = 64
"""Length of the first sorted runs of `argsort`."""

LOWEST = -3.4028234663852886e38
"""The most negative float32; what a masked logit becomes, as in MLC."""


def chunk_argmax(vocab: int, *, threads: int = 16) -> object:
    """(logits (1, 1, vocab), best (CHUNKS,), where int32 (CHUNKS,)): the best of each chunk."""
    size = -(-vocab // CHUNKS)
    with kernel("chunk_argmax") as made:
        logits = buffer_arg("logits", (1, 1, vocab), "float32")
        best = buffer_arg("best", (CHUNKS,), "float32")
        where = buffer_arg("where", (CHUNKS,), "int32")
        with launch(grid=(CHUNKS // threads,), threads=(threads,)) as ((bx,), (tx,)):
            chunk = let(bx * threads + tx)
            peak, at = local((1,), "float32"), local((1,), "int32")
            store(peak, 0, exact(LOWEST))
            store(at, 0, tirx.const(0, "int32"))
            with T.serial(size) as i:
                token = let(chunk * size + i)
                with when(token < vocab):
                    value = let(logits[0, 0, token])
                    # Strictly greater: ties go to the lowest token id, as in NumPy and PyTorch.
                    with when(value > peak[0]):
                        store(peak, 0, value)
                        store(at, 0, token)
            store(best, chunk, peak[0])
            store(where, chunk, at[0])
    return made.prim_func


def final_argmax() -> object:
    """(best (CHUNKS,), where (CHUNKS,), token int32 (1,))."""
    with kernel("final_argmax") as made:
        best = buffer_arg("best", (CHUNKS,), "float32")
        where = buffer_arg("where", (CHUNKS,), "int32")
        token = buffer_arg("token", (1,), "int32")
        with launch(grid=(1,), threads=(1,)):
            peak, at = local((1,), "float32"), local((1,), "int32")
            store(peak, 0, best[0])
            store(at, 0, where[0])
            with T.serial(CHUNKS) as i, when(best[i] > peak[0]):
                store(peak, 0, best[i])
                store(at, 0, where[i])
            store(token, 0, at[0])
    return made.prim_func


def chunk_softmax(vocab: int, *, threads: int = 16) -> object:
    """(logits (1, 1, vocab), temperature (1,), peaks (CHUNKS,), sums (CHUNKS,))."""
    size = -(-vocab // CHUNKS)
    with kernel("chunk_softmax") as made:
        logits = buffer_arg("logits", (1, 1, vocab), "float32")
        temperature = buffer_arg("temperature", (1,), "float32")
        peaks = buffer_arg("peaks", (CHUNKS,), "float32")
        sums = buffer_arg("sums", (CHUNKS,), "float32")
        with launch(grid=(CHUNKS // threads,), threads=(threads,)) as ((bx,), (tx,)):
            chunk = let(bx * threads + tx)
            state = local((2,), "float32")
            store(state, 0, exact(LOWEST))
            store(state, 1, T.float32(0))
            with T.serial(size) as i:
                token = let(chunk * size + i)
                with when(token < vocab):
                    store(state, 0, tirx.max(state[0], logits[0, 0, token]))
            with T.serial(size) as i:
                token = let(chunk * size + i)
                with when(token < vocab):
                    shifted = (logits[0, 0, token] - state[0]) / temperature[0]
                    store(state, 1, state[1] + T.exp(shifted))
            store(peaks, chunk, state[0])
            store(sums, chunk, state[1])
    return made.prim_func


def total_softmax() -> object:
    """(peaks (CHUNKS,), sums (CHUNKS,), temperature (1,), total (2,)): overall maximum and sum."""
    with kernel("total_softmax") as made:
        peaks = buffer_arg("peaks", (CHUNKS,), "float32")
        sums = buffer_arg("sums", (CHUNKS,), "float32")
        temperature = buffer_arg("temperature", (1,), "float32")
        total = buffer_arg("total", (2,), "float32")
        with launch(grid=(1,), threads=(1,)):
            state = local((2,), "float32")
            store(state, 0, peaks[0])
            store(state, 1, T.float32(0))
            with T.serial(CHUNKS) as i:
                store(state, 0, tirx.max(state[0], peaks[i]))
            with T.serial(CHUNKS) as i:
                shrink = T.exp((peaks[i] - state[0]) / temperature[0])
                store(state, 1, state[1] + sums[i] * shrink)
            store(total, 0, state[0])
            store(total, 1, state[1])
    return made.prim_func


def apply_softmax(vocab: int, *, threads: int = 64) -> object:
    """(logits, temperature, total (2,), probs (1, 1, vocab))."""
    with kernel("apply_softmax") as made:
        logits = buffer_arg("logits", (1, 1, vocab), "float32")
        temperature = buffer_arg("temperature", (1,), "float32")
        total = buffer_arg("total", (2,), "float32")
        probs = buffer_arg("probs", (1, 1, vocab), "float32")
        with each(vocab, threads) as token:
            shifted = (logits[0, 0, token] - total[0]) / temperature[0]
            store(probs, [0, 0, token], T.exp(shifted) / total[1])
    return made.prim_func


def sort_runs(vocab: int, *, threads: int = 64) -> object:
    """(probs (1, vocab), values (1, vocab), indices int32 (1, vocab)): runs of RUN, descending.

    Each element counts who comes before it in its run: no exchange, no barrier.
    """
    with kernel("sort_runs") as made:
        probs = buffer_arg("probs", (1, vocab), "float32")
        values = buffer_arg("values", (1, vocab), "float32")
        indices = buffer_arg("indices", (1, vocab), "int32")
        with each(vocab, threads) as token:
            start = let(token // RUN * RUN)
            stop = let(tirx.min(start + RUN, vocab))
            mine = let(probs[0, token])
            rank = local((1,), "int32")
            store(rank, 0, tirx.const(0, "int32"))
            with T.serial(stop - start) as i:
                other = let(probs[0, start + i])
                before = tirx.Or(other > mine, tirx.And(other == mine, start + i < token))
                store(rank, 0, rank[0] + tirx.Select(before, 1, 0))
            store(values, [0, start + rank[0]], mine)
            store(indices, [0, start + rank[0]], token)
    return made.prim_func


def merge_runs(vocab: int, *, threads: int = 64) -> object:
    """(values, indices, width, merged values, merged indices): pairs of sorted runs become one.

    An element's new place is its own offset plus how many of the other run come before it, found by
    bisection. Stable: equal values keep the order of their token ids.
    """
    steps = vocab.bit_length()
    with kernel("merge_runs") as made:
        values = buffer_arg("values", (1, vocab), "float32")
        indices = buffer_arg("indices", (1, vocab), "int32")
        width = int_arg("width")
        merged_values = buffer_arg("merged_values", (1, vocab), "float32")
        merged_indices = buffer_arg("merged_indices", (1, vocab), "int32")
        with each(vocab, threads) as at:
            run = let(at // width)
            is_left = let(tirx.Select(run % 2 == 0, 1, 0))
            own_start = let(run * width)
            other_start = let(tirx.Select(is_left == 1, own_start + width, own_start - width))
            bounds = local((2,), "int32")
            store(bounds, 0, tirx.min(other_start, vocab))
            store(bounds, 1, tirx.min(other_start + width, vocab))
            other_begin = let(bounds[0])
            mine = let(values[0, at])
            with T.serial(steps), when(bounds[0] < bounds[1]):
                middle = let((bounds[0] + bounds[1]) // 2)
                other = let(values[0, middle])
                # The left run goes first among equals.
                before = let(
                    tirx.Select(
                        is_left == 1,
                        tirx.Select(other > mine, 1, 0),
                        tirx.Select(other >= mine, 1, 0),
                    )
                )
                low = let(tirx.Select(before == 1, middle + 1, bounds[0]))
                high = let(tirx.Select(before == 1, bounds[1], middle))
                store(bounds, 0, low)
                store(bounds, 1, high)
            pair_start = let(tirx.min(own_start, other_start))
            place = let(pair_start + (at - own_start) + (bounds[0] - other_begin))
            store(merged_values, [0, place], mine)
            store(merged_indices, [0, place], indices[0, at])
    return made.prim_func


def sample_top_p(vocab: int) -> object:
    """(sorted probs (1, vocab), sorted indices, uniform (1,), sample_indices, top_p (1,), token).

    Nucleus sampling (Holtzman et al. 2020): the shortest prefix with mass >= top_p, then the first
    place where the running mass passes uniform * mass of that prefix.
    """
    with kernel("sample_top_p") as made:
        probs = buffer_arg("probs", (1, vocab), "float32")
        indices = buffer_arg("indices", (1, vocab), "int32")
        uniform = buffer_arg("uniform", (1,), "float32")
        buffer_arg("sample_indices", (1,), "int32")
        top_p = buffer_arg("top_p", (1,), "float32")
        token = buffer_arg("token", (1,), "int32")
        with launch(grid=(1,), threads=(1,)):
            mass = local((2,), "float32")
            chosen = local((2,), "int32")  # place, and whether it is final
            store(mass, 0, T.float32(0))
            with T.serial(vocab) as i, when(mass[0] < top_p[0]):
                store(mass, 0, mass[0] + probs[0, i])
            store(mass, 1, T.float32(0))
            store(chosen, 0, tirx.const(0, "int32"))
            store(chosen, 1, tirx.const(0, "int32"))
            with T.serial(vocab) as i, when(chosen[1] == 0):
                store(mass, 1, mass[1] + probs[0, i])
                store(chosen, 0, i)
                # The prefix ends where its mass is reached: never past it, also when rounding made
                # the uniform number 1.
                passed = mass[1] > uniform[0] * mass[0]
                with when(tirx.Or(passed, mass[1] >= mass[0])):
                    store(chosen, 1, tirx.const(1, "int32"))
            store(token, 0, indices[0, chosen[0]])
    return made.prim_func


def apply_logit_bias(vocab: int, *, threads: int = 64) -> object:
    """logits[pos2seq_id[i], token_ids[i]] += bias[i], in place; int32 ids."""
    with kernel("apply_logit_bias_inplace") as made:
        batch, count = tirx.Var("batch", "int32"), tirx.Var("count", "int32")
        logits = buffer_arg("logits", (batch, vocab), "float32")
        sequences = buffer_arg("pos2seq_id", (count,), "int32")
        tokens = buffer_arg("token_ids", (count,), "int32")
        bias = buffer_arg("logit_bias", (count,), "float32")
        with each(count, threads) as i:
            row, token = let(sequences[i]), let(tokens[i])
            store(logits, [row, token], logits[row, token] + bias[i])
    return made.prim_func


def apply_penalty(vocab: int, *, threads: int = 64) -> object:
    """In place: minus presence + count * frequency, then repetition (Keskar et al. 2019)."""
    with kernel("apply_penalty_inplace") as made:
        batch, count, sequences = (tirx.Var(name, "int32") for name in ("batch", "count", "seqs"))
        logits = buffer_arg("logits", (batch, vocab), "float32")
        seq_ids = buffer_arg("seq_ids", (sequences,), "int32")
        pos2seq = buffer_arg("pos2seq_id", (count,), "int32")
        tokens = buffer_arg("token_ids", (count,), "int32")
        counts = buffer_arg("token_cnt", (count,), "int32")
        penalties = buffer_arg("penalties", (sequences, 3), "float32")
        with each(count, threads) as i:
            which = let(pos2seq[i])
            row, token = let(seq_ids[which]), let(tokens[i])
            frequency = cast("float32", counts[i]) * penalties[which, 1]
            value = let(logits[row, token] - penalties[which, 0] - frequency)
            repetition = let(penalties[which, 2])
            scaled = tirx.Select(value < 0.0, value * repetition, value / repetition)
            store(logits, [row, token], scaled)
    return made.prim_func


def apply_bitmask(vocab: int, *, threads: int = 64) -> object:
    """In place: a logit whose bit is 0 becomes the lowest float; bitmask int32 (batch, words)."""
    words = -(-vocab // 32)
    with kernel("apply_bitmask_inplace") as made:
        batch, sequences = tirx.Var("batch", "int32"), tirx.Var("seqs", "int32")
        logits = buffer_arg("logits", (batch, vocab), "float32")
        seq_ids = buffer_arg("seq_ids", (sequences,), "int32")
        bitmask = buffer_arg("bitmask", (batch, words), "int32")
        with each(sequences * vocab, threads) as at:
            row, token = let(seq_ids[at // vocab]), let(at % vocab)
            bit = (bitmask[row, token // 32] >> (token % 32)) & 1
            with when(bit == 0):
                store(logits, [row, token], exact(LOWEST))
    return made.prim_func
