"""The next token of every row from its logits, on the GPU, written where the next step reads it.

A row is a sequence, or a drafted token, of `inputs` (token ids, positions, slots). All kernels are
barrier-free, so that both schedules share them. The last kernel of each way to choose ends with
`advance`: then the CPU has nothing to do between two steps.
"""

from __future__ import annotations

from tvm import tirx
from tvm.tirx.script.builder import ir as T

from transom_compile.kernels.emit import (
    Buffer,
    Expr,
    buffer_arg,
    exact,
    kernel,
    launch,
    let,
    local,
    store,
    symbolic,
    when,
)

CHUNKS = 256
"""Threads of a row for a reduction in two steps."""

LOWEST = -3.4028234663852886e38
"""The most negative float32: the logit of a token that is forbidden. WGSL may take it for granted
that there is no infinity."""


def advance(
    inputs: Buffer, history: Buffer, row: Expr, token: Expr, *, context_window: int
) -> None:
    """The token becomes the row's input at the next position; an idle row stays as it is."""
    position = let(inputs[1, row])
    # `history` has no place after the last one: a row that is there has nothing to choose.
    with when(tirx.And(position >= 0, position < context_window)):
        store(inputs, [0, row], token)
        store(inputs, [1, row], position + 1)
        store(history, [inputs[2, row], position + 1], token)


def chunk_largest(vocab: int, *, threads: int = 64) -> object:
    """(logits (n, vocab), best (n, CHUNKS), where (n, CHUNKS)): every CHUNKS-th token's best."""
    with kernel("chunk_largest") as made:
        n = symbolic("n")
        logits = buffer_arg("logits", (n, vocab), "float32")
        best = buffer_arg("best", (n, CHUNKS), "float32")
        where = buffer_arg("where", (n, CHUNKS), "int32")
        with launch(grid=(CHUNKS // threads, n), threads=(threads,)) as ((bx, row), (tx,)):
            chunk = let(bx * threads + tx)
            peak, at = local((1,), "float32"), local((1,), "int32")
            store(peak, 0, exact(LOWEST))
            store(at, 0, tirx.const(0, "int32"))
            with T.serial(-(-vocab // CHUNKS)) as i:
                token = let(i * CHUNKS + chunk)
                with when(token < vocab):
                    value = let(logits[row, token])
                    with when(value > peak[0]):
                        store(peak, 0, value)
                        store(at, 0, token)
            store(best, [row, chunk], peak[0])
            store(where, [row, chunk], at[0])
    return made.prim_func


def take_largest(
    *, max_rows: int, slots: int, context_window: int, name: str = "take_largest"
) -> object:
    """(best, where, inputs, history, chosen int32 (n,)): the best of the chunks, and `advance`."""
    with kernel(name) as made:
        n = symbolic("n")
        best = buffer_arg("best", (n, CHUNKS), "float32")
        where = buffer_arg("where", (n, CHUNKS), "int32")
        inputs = buffer_arg("inputs", (3, max_rows), "int32")
        history = buffer_arg("history", (slots, context_window + 1), "int32")
        chosen = buffer_arg("chosen", (n,), "int32")
        with launch(grid=(n,), threads=(1,)) as ((row,), _):
            peak, at = local((1,), "float32"), local((1,), "int32")
            store(peak, 0, best[row, 0])
            store(at, 0, where[row, 0])
            with T.serial(CHUNKS) as i:
                value, token = let(best[row, i]), let(where[row, i])
                # Of equals the lowest id, as in NumPy and PyTorch.
                is_lower = tirx.And(value == peak[0], token < at[0])
                with when(tirx.Or(value > peak[0], is_lower)):
                    store(peak, 0, value)
                    store(at, 0, token)
            token = let(at[0])
            store(chosen, row, token)
            advance(inputs, history, row, token, context_window=context_window)
    return made.prim_func
