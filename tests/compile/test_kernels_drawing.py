"""The functions of a program that draw tokens, against NumPy, on llvmpipe: filters, and rows in
company. The reference has the same random numbers, so that each single draw is compared."""

from collections.abc import Callable
from typing import NoReturn

import numpy as np
import pytest

from tests.compile import choosing_cases
from tests.compile.choosing_cases import MAX_ROWS, ROWS, advanced, history, inputs, samplers
from tests.compile.choosing_reference import LOWEST, Asked, candidates, choose
from tests.compile.kernel_runner import Answers, Array, Case, InOut, Out

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

SIZES = [(1000, "gpu"), (1000, "fallback"), (49152, "gpu"), (49152, "fallback"), (40, "fallback")]
"""More than one merge of runs in the third and fourth; less than a run in the last."""
DRAWS = ["draw_all", "draw_top", "draw_sorted"]
TOP = 64
CLOSE = 1e-3
"""Scores nearer to each other than this may change places in float32, and filters their minds."""
MOST_CLOSE = 0.02
"""Share of draws in which that may happen."""

SAME_EVERYWHERE = Asked(temperature=1.3, seed=77)


def filtered(random: np.random.Generator, function: str) -> Asked:
    """A row with any of the filters."""
    seed = int(random.integers(-(2**53), 2**53))
    temperature = float(random.choice([0.25, 0.8, 1.5, 100.0]))
    if function == "draw_all":
        return Asked(temperature=temperature, seed=seed)
    few = int(random.integers(1, TOP + 1))
    return Asked(
        temperature=temperature,
        top_k=few if function == "draw_top" else int(random.choice([0, 0, few, 100, 5000])),
        top_p=float(random.choice([1, 1, 0.3, 0.7, 0.95])),
        min_p=float(random.choice([0, 0, 0.05, 0.3])),
        typical_p=float(random.choice([1, 1, 0.2, 0.6, 0.95])),
        seed=seed,
    )


def spread_logits(random: np.random.Generator, rows: int, vocab: int) -> Array:
    made = random.normal(0, random.choice([0.5, 2, 4]), (rows, vocab))
    # As after a mask and a bias: they are never drawn.
    made[:, random.integers(0, vocab, vocab // 10)] = LOWEST
    made[:, 3] = LOWEST * 0.999
    return made.astype(np.float32)


def drawn(name: str, function: str, values: Array, asked: list[Asked]) -> Case:
    rows, vocab = values.shape
    arguments = (values, samplers(asked), InOut(inputs()), InOut(history(vocab)))
    return Case(name, function, arguments, [Out((rows,), "int32")])


def filter_cases(vocab: int) -> dict[str, tuple[Case, Array, list[Asked]]]:
    random = np.random.default_rng(vocab)
    cases = {}
    for function in DRAWS:
        for number in range(6 if vocab > 10_000 else 24):
            rows = ROWS[number % len(ROWS)]
            values = spread_logits(random, rows, vocab)
            asked = [filtered(random, function) for _ in range(MAX_ROWS)]
            name = f"{function} {number}"
            cases[name] = (drawn(name, function, values, asked), values, asked)
    return cases


def mixed_rows(vocab: int) -> tuple[Array, list[Asked]]:
    """Greedy in each of the ways, by all tokens, by few; what all functions serve."""
    values = spread_logits(np.random.default_rng(1), MAX_ROWS, vocab)
    greedy = [Asked(temperature=0), Asked(top_p=0), Asked(top_k=1)]
    return values, [*greedy, Asked(temperature=0, typical_p=0.1, min_p=0.5), *[SAME_EVERYWHERE] * 4]


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> tuple[int, str]:
    given: tuple[int, str] = request.param
    return given


@pytest.fixture(scope="module")
def vocab(size: tuple[int, str]) -> int:
    return size[0]


@pytest.fixture(scope="module")
def schedule(size: tuple[int, str]) -> str:
    return size[1]


@pytest.fixture(scope="module")
def answers(
    vocab: int,
    schedule: str,
    missing_tool: Callable[[str], NoReturn],
    tmp_path_factory: pytest.TempPathFactory,
) -> Answers:
    cases = [case for case, _, _ in filter_cases(vocab).values()]
    values, asked = mixed_rows(vocab)
    cases += [drawn(f"mixed {function}", function, values, asked) for function in DRAWS]
    few = [Asked(temperature=one.temperature, top_k=TOP, seed=one.seed) for one in asked]
    cases += [drawn(f"few {function}", function, values, few) for function in DRAWS[1:]]
    folder = tmp_path_factory.mktemp("drawing")
    return choosing_cases.run(vocab, schedule, cases, folder, missing_tool)


@pytest.mark.parametrize("function", DRAWS)
def test_draws_among_what_the_filters_leave(answers: Answers, vocab: int, function: str) -> None:
    close = total = 0
    for name, (case, values, asked) in filter_cases(vocab).items():
        if case.function != function:
            continue
        after, said, chosen = answers.of(name)
        for row, logits in enumerate(values):
            position = int(inputs()[1, row]) + 1
            token, lead = choose(logits, asked[row], position)
            total += 1
            if chosen[row] != token:
                close += 1
                # One more or fewer may pass where two sums are the same but for rounding.
                ids = candidates(logits.astype(np.float64), asked[row])
                is_near = lead < CLOSE or not (ids == chosen[row]).any()
                assert is_near, (name, row, asked[row], token, chosen[row])
            assert logits[chosen[row]] > LOWEST / 2
        expected_after, expected_said = advanced(chosen, vocab)
        assert np.array_equal(after, expected_after)
        assert np.array_equal(said, expected_said)
    assert close <= MOST_CLOSE * total


@pytest.mark.parametrize("function", DRAWS)
def test_rows_that_are_greedy_are_so_in_company(
    answers: Answers, vocab: int, function: str
) -> None:
    values, _ = mixed_rows(vocab)
    _, _, chosen = answers.of(f"mixed {function}")
    assert np.array_equal(chosen[:4], values[:4].argmax(1))


def test_all_functions_draw_the_same(answers: Answers) -> None:
    _, _, alone = answers.of("mixed draw_all")
    _, _, sorted_ = answers.of("mixed draw_sorted")
    assert np.array_equal(alone, sorted_)
    _, _, few = answers.of("few draw_top")
    _, _, few_sorted = answers.of("few draw_sorted")
    assert np.array_equal(few, few_sorted)
