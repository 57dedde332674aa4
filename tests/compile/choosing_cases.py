"""What kernels that choose tokens are given in tests: shared buffers of a program, made by hand.

Slots, positions and parameters differ from row to row, so that a kernel that mixes rows up fails.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tvm import relax

from tests.compile import kernel_runner
from tests.compile.choosing_reference import Asked
from tests.compile.kernel_runner import Answers, Array, Case
from transom_compile.choosers import add_choosers

MAX_ROWS, SLOTS, WINDOW = 8, 16, 96
ROWS = [1, 3, 8]
UNWRITTEN = -7
"""What stands in places of `history` that nothing has been written to."""
SLOT_OF_ROW = np.array([4, 3, 2, 1, 0, 9, 15, 7])
POSITION_OF_ROW = np.array([3, -1, 70, 6, 7, WINDOW - 1, WINDOW, 0])
"""Row 1 is idle; the last but two has one place left, the last but one none."""
IS_IDLE = np.array([False, True, False, False, False, False, True, False])


def module_of_choosers(vocab: int, schedule: str) -> Any:
    builder = relax.BlockBuilder()
    add_choosers(builder, vocab, schedule, context_window=WINDOW)
    return builder.finalize()


def run(
    vocab: int,
    schedule: str,
    cases: Sequence[Case],
    folder: Path,
    missing_tool: Callable[[str], NoReturn],
) -> Answers:
    return kernel_runner.run(module_of_choosers(vocab, schedule), cases, folder, missing_tool)


def inputs() -> Array:
    return np.stack([np.arange(100, 108), POSITION_OF_ROW, SLOT_OF_ROW]).astype(np.int32)


def history(vocab: int) -> Array:
    """Tokens at all positions up to the current one; few different ones, so that some repeat."""
    made = np.full((SLOTS, WINDOW + 1), UNWRITTEN, np.int32)
    random = np.random.default_rng(7)
    for position, slot in zip(POSITION_OF_ROW, SLOT_OF_ROW, strict=True):
        made[slot, : position + 1] = random.integers(0, min(vocab, 12), position + 1)
    return made


def samplers(rows: Sequence[Asked]) -> Array:
    return np.stack([asked.fields() for asked in rows])


def advanced(chosen: Array, vocab: int) -> tuple[Array, Array]:
    """`inputs` and `history` after these tokens."""
    after, said = inputs(), history(vocab)
    for row, token in enumerate(chosen):
        if not IS_IDLE[row]:
            position = POSITION_OF_ROW[row] + 1
            after[0, row], after[1, row] = token, position
            said[SLOT_OF_ROW[row], position] = token
    return after, said
