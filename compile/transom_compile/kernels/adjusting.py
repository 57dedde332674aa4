"""Logits as a request wants them: bias, penalties for what was said, mask. llama.cpp's order.

A kernel after another on the same rows of `adjusted`. The mask may come first, as nothing brings a
forbidden token back. Each kernel also writes `done`, which the next one takes: what they change in
place is nothing that Relax sees.
"""

from __future__ import annotations

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    buffer_arg,
    cast,
    exact,
    kernel,
    launch,
    let,
    local,
    store,
    symbolic,
    when,
)
from transom_compile.kernels.sampler_row import (
    FORBIDDEN,
    LOWEST,
    MOST_BIASES,
    Field,
    SamplerRow,
    Sizes,
)

THREADS = 64
MASK_BITS = 32


def mask_words(vocab: int) -> int:
    """Words of a row of `mask`."""
    return -(-vocab // MASK_BITS)


def copy_allowed(sizes: Sizes) -> object:
    """(logits (n, vocab), mask, samplers, adjusted (n, vocab), done (n,)): a copy; tokens whose bit
    is not set are forbidden in rows that have a mask."""
    vocab = sizes.vocab
    with kernel("copy_allowed") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, vocab), "float32")
        mask = buffer_arg("mask", (sizes.max_rows, mask_words(vocab)), "int32")
        samplers = sizes.declare_samplers()
        adjusted = buffer_arg("adjusted", (n, vocab), "float32")
        done = buffer_arg("done", (n,), "int32")
        blocks = -(-vocab // THREADS)
        with launch(grid=(blocks, n), threads=(THREADS,)) as ((bx, row), (tx,)):
            token = let(bx * THREADS + tx)
            _tell(done, row, token)
            with when(token < vocab):
                has_mask = SamplerRow(samplers, row).integer(Field.HAS_MASK) != 0
                bit = let((mask[row, token // MASK_BITS] >> (token % MASK_BITS)) & 1)
                is_forbidden = tirx.And(has_mask, bit == 0)
                logit = logits[row, token]
                store(adjusted, [row, token], tirx.Select(is_forbidden, exact(LOWEST), logit))
    return made.prim_func


def add_bias(sizes: Sizes) -> object:
    """(before (n,), bias_ids, bias_values, samplers, adjusted (n, vocab), done (n,)).

    Ids are all different; those outside the vocabulary are passed by. -Infinity forbids.
    """
    with kernel("add_bias") as made:
        n = symbolic("n")
        buffer_arg("before", (n,), "int32")
        ids = buffer_arg("bias_ids", (sizes.max_rows, MOST_BIASES), "int32")
        values = buffer_arg("bias_values", (sizes.max_rows, MOST_BIASES), "float32")
        samplers = sizes.declare_samplers()
        adjusted = buffer_arg("adjusted", (n, sizes.vocab), "float32")
        done = buffer_arg("done", (n,), "int32")
        with launch(grid=(MOST_BIASES // THREADS, n), threads=(THREADS,)) as ((bx, row), (tx,)):
            at = let(bx * THREADS + tx)
            _tell(done, row, at)
            with when(at < SamplerRow(samplers, row).integer(Field.BIASES)):
                token, bias = let(ids[row, at]), let(values[row, at])
                with when(tirx.And(token >= 0, token < sizes.vocab)):
                    sum_ = let(adjusted[row, token] + tirx.max(bias, exact(LOWEST)))
                    store(adjusted, [row, token], tirx.max(sum_, exact(LOWEST)))
    return made.prim_func


def penalise(sizes: Sizes) -> object:
    """(before (n,), inputs, history, samplers, adjusted (n, vocab), done (n,)): what was said among
    the last tokens becomes less likely, by how often.

    A thread takes a position, and does nothing when its token is said again later.
    """
    with kernel("penalise") as made:
        n = symbolic("n")
        buffer_arg("before", (n,), "int32")
        inputs, history = sizes.declare_inputs(), sizes.declare_history()
        samplers = sizes.declare_samplers()
        adjusted = buffer_arg("adjusted", (n, sizes.vocab), "float32")
        done = buffer_arg("done", (n,), "int32")
        blocks = -(-(sizes.context_window + 1) // THREADS)
        with launch(grid=(blocks, n), threads=(THREADS,)) as ((bx, row), (tx,)):
            back = let(bx * THREADS + tx)
            _tell(done, row, back)
            asked = SamplerRow(samplers, row)
            position, slot = let(inputs[1, row]), let(inputs[2, row])
            last_n = asked.integer(Field.LAST_N)
            known = let(position + 1)
            length = let(tirx.Select(last_n < 0, known, tirx.min(last_n, known)))
            with when(tirx.And(back < length, _penalises(asked))):
                token = let(history[slot, position - back])
                counts = local((2,), "int32")
                store(counts, 0, tirx.const(1, "int32"))
                store(counts, 1, tirx.const(0, "int32"))
                with T.serial(back) as later, when(counts[1] == 0):
                    again = history[slot, position - later] == token
                    store(counts, 1, tirx.Select(again, 1, 0))
                is_last = tirx.And(counts[1] == 0, tirx.And(token >= 0, token < sizes.vocab))
                with when(is_last):
                    with T.serial(length - back - 1) as i:
                        same = history[slot, position - back - 1 - i] == token
                        store(counts, 0, counts[0] + tirx.Select(same, 1, 0))
                    logit = let(adjusted[row, token])
                    with when(logit > exact(FORBIDDEN)):
                        store(adjusted, [row, token], _penalised(asked, logit, counts[0]))
    return made.prim_func


def _penalises(asked: SamplerRow) -> Expr:
    repeat = asked.number(Field.REPEAT_PENALTY)
    presence, frequency = (
        asked.number(field) for field in (Field.PRESENCE_PENALTY, Field.FREQUENCY_PENALTY)
    )
    return tirx.Or(repeat != 1.0, tirx.Or(presence != 0.0, frequency != 0.0))


def _penalised(asked: SamplerRow, logit: Expr, count: Expr) -> Expr:
    """Keskar et al. (2019), and OpenAI's two."""
    repeat = asked.number(Field.REPEAT_PENALTY)
    # A logit below zero is made smaller by multiplying.
    repeated = tirx.Select(logit <= 0.0, logit * repeat, logit / repeat)
    frequency = cast("float32", count) * asked.number(Field.FREQUENCY_PENALTY)
    return repeated - frequency - asked.number(Field.PRESENCE_PENALTY)


def _tell(done: Buffer, row: Expr, thread: Expr) -> None:
    with when(thread == 0):
        store(done, row, tirx.const(1, "int32"))
