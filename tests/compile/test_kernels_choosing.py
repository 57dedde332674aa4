"""The functions of a program that choose tokens, against NumPy, on llvmpipe."""

from collections.abc import Callable
from typing import NoReturn

import numpy as np
import pytest

from tests.compile import choosing_cases
from tests.compile.choosing_cases import ROWS, advanced, history, inputs
from tests.compile.kernel_runner import Answers, Array, Case, InOut, Out

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

VOCABULARIES = [49152, 1000, 97]
"""SmolLM2's; one that is no multiple of a chunk, a sorted run or a mask word; fewer than chunks."""
KINDS = ["random", "ties", "forbidden"]


def logits(kind: str, rows: int, vocab: int) -> Array:
    random = np.random.default_rng(rows)
    made = random.normal(0, 4, (rows, vocab))
    if kind == "ties":
        made = np.round(made)
    elif kind == "forbidden":
        made[:] = np.finfo(np.float32).min
        made[np.arange(rows), vocab - 1 - np.arange(rows)] = -1e5
    return made.astype(np.float32)


def cases_of(vocab: int) -> list[Case]:
    state = [InOut(inputs()), InOut(history(vocab))]
    return [
        Case(f"greedy {kind} {n}", "greedy", [logits(kind, n, vocab), *state], [Out((n,), "int32")])
        for kind in KINDS
        for n in ROWS
    ]


@pytest.fixture(scope="module", params=VOCABULARIES)
def vocab(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


@pytest.fixture(scope="module")
def answers(
    vocab: int,
    missing_tool: Callable[[str], NoReturn],
    tmp_path_factory: pytest.TempPathFactory,
) -> Answers:
    folder = tmp_path_factory.mktemp("choosing")
    return choosing_cases.run(vocab, cases_of(vocab), folder, missing_tool)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("kind", KINDS)
def test_greedy_takes_the_lowest_of_equals_and_advances(
    answers: Answers, vocab: int, kind: str, rows: int
) -> None:
    after, said, chosen = answers.of(f"greedy {kind} {rows}")
    expected = logits(kind, rows, vocab).argmax(1)
    assert np.array_equal(chosen, expected)
    expected_after, expected_said = advanced(expected, vocab)
    assert np.array_equal(after, expected_after)
    assert np.array_equal(said, expected_said)
