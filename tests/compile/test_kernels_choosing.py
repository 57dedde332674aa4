"""The functions of a program that adjust logits, take the largest and rank, against NumPy, on
llvmpipe."""

from collections.abc import Callable
from typing import NoReturn

import numpy as np
import pytest

from tests.compile import choosing_cases, kernel_runner
from tests.compile.choosing_cases import (
    MAX_ROWS,
    POSITION_OF_ROW,
    ROWS,
    SLOT_OF_ROW,
    advanced,
    history,
    inputs,
    module_of_choosers,
    samplers,
)
from tests.compile.choosing_reference import LOWEST, Asked, adjust
from tests.compile.kernel_runner import Answers, Array, Case, InOut, Out
from transom_compile import lower

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

SIZES = [(49152, "gpu"), (1000, "gpu"), (1000, "fallback"), (97, "fallback"), (40, "gpu")]
"""SmolLM2's; one that is no multiple of a chunk, a sorted run or a mask word; fewer than chunks;
fewer than a sorted run."""
KINDS = ["random", "ties", "forbidden"]
LEAST_PROMISED_BUFFERS = 8
"""That one kernel may bind, wherever WebGPU is."""
MOST_BIASES = 512
RANKED = 20
LEFT = -5.0
"""What stands in fields of `ranked` that nothing is written to."""

ADJUSTMENTS = [
    Asked(repeat_penalty=1.3, has_mask=True),
    Asked(biases=4, repeat_penalty=1.3, presence_penalty=0.5),
    Asked(biases=5, repeat_penalty=1.1, presence_penalty=0.4, frequency_penalty=0.2, last_n=-1),
    Asked(has_mask=True, biases=5),
    Asked(frequency_penalty=-0.7, last_n=3),
    Asked(repeat_penalty=0.8, has_mask=True, biases=4, last_n=5),
    Asked(repeat_penalty=2, presence_penalty=1, last_n=0),
    Asked(),
]
"""Row 1 is idle: its `history` is not to be read, but a mask it may have."""


def logits(kind: str, rows: int, vocab: int) -> Array:
    random = np.random.default_rng(rows)
    made = random.normal(0, 4, (rows, vocab))
    if kind == "ties":
        made = np.round(made)
    elif kind == "forbidden":
        made[:] = LOWEST
        made[np.arange(rows), vocab - 1 - np.arange(rows)] = -1e5
    return made.astype(np.float32)


def biases(vocab: int, row: int) -> dict[int, float]:
    """The last is forbidden; one before it is none of the vocabulary's."""
    return {0: 1.5, 3 + row: -2.25, vocab: 50.0, vocab - 1: -np.inf, 11: 0.5}


def bias_arguments(vocab: int) -> list[Array]:
    ids = np.full((MAX_ROWS, MOST_BIASES), 1, np.int32)
    values = np.full((MAX_ROWS, MOST_BIASES), 1e9, np.float32)
    for row in range(MAX_ROWS):
        given = biases(vocab, row)
        ids[row, : len(given)], values[row, : len(given)] = list(given), list(given.values())
    return [ids, values]


def allowed(vocab: int) -> Array:
    """One flag for each row and token."""
    made: Array = np.random.default_rng(6).integers(0, 3, (MAX_ROWS, vocab)) > 0
    return made


def mask(vocab: int) -> Array:
    bits = np.zeros((MAX_ROWS, -(-vocab // 32) * 32), np.uint8)
    bits[:, :vocab] = allowed(vocab)
    return np.packbits(bits, axis=1, bitorder="little").view(np.int32)


def ranked() -> Array:
    return np.full((MAX_ROWS, 64), LEFT, np.float32)


def tokens_in(vocab: int) -> Array:
    made = inputs()
    made[0] = (np.arange(MAX_ROWS) * 13) % vocab
    return made


def sums() -> Array:
    """A logsumexp of each row, as `rank` leaves it."""
    made = ranked()
    made[:, 0] = np.arange(MAX_ROWS) + 0.5
    return made


def cases_of(vocab: int) -> list[Case]:
    said = history(vocab)
    cases = []
    for n in ROWS:
        for kind in KINDS:
            values = logits(kind, n, vocab)
            state = [InOut(inputs()), InOut(said)]
            cases.append(Case(f"greedy {kind} {n}", "greedy", [values, *state], [_per_row(n)]))
            rank = (values, InOut(ranked()))
            cases.append(Case(f"rank {kind} {n}", "rank", rank, [_per_row(n)]))
        values, adjusted = logits("random", n, vocab), np.full((n, vocab), np.nan, np.float32)
        asked = [mask(vocab), *bias_arguments(vocab), said, samplers(ADJUSTMENTS), inputs()]
        adjust_case = Case(
            f"adjust {n}", "adjust", [values, *asked, InOut(adjusted)], [_per_row(n)]
        )
        told = (values, tokens_in(vocab), InOut(sums()))
        cases += [adjust_case, Case(f"chosen {n}", "rank_chosen", told, [_per_row(n)])]
    return cases


def _per_row(n: int) -> Out:
    return Out((n,), "int32")


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
    folder = tmp_path_factory.mktemp("choosing")
    return choosing_cases.run(vocab, schedule, cases_of(vocab), folder, missing_tool)


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


@pytest.mark.parametrize("rows", ROWS)
def test_adjust(answers: Answers, vocab: int, rows: int) -> None:
    found, _ = answers.of(f"adjust {rows}")
    values, flags = logits("random", rows, vocab), allowed(vocab)
    for row, asked in enumerate(ADJUSTMENTS[:rows]):
        said = history(vocab)[SLOT_OF_ROW[row], : POSITION_OF_ROW[row] + 1]
        given = dict(list(biases(vocab, row).items())[: asked.biases])
        expected = adjust(values[row], asked, said, given, flags[row])
        # Quotients are good to 2.5 units of WGSL; the rest adds half a unit each time.
        error = abs(found[row] - expected)
        assert (error <= 1e-6 * abs(expected) + 1e-6).all(), (row, asked)
        assert np.array_equal(found[row] == np.float32(LOWEST), expected == LOWEST)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("kind", KINDS)
def test_rank(answers: Answers, vocab: int, kind: str, rows: int) -> None:
    found, _ = answers.of(f"rank {kind} {rows}")
    values = logits(kind, rows, vocab).astype(np.float64)
    largest = values.max(1, keepdims=True)
    logsumexp = (largest + np.log(np.exp(values - largest).sum(1, keepdims=True)))[:, 0]
    order = np.argsort(-values, axis=1, kind="stable")[:, :RANKED]
    ids, logprobs = found[:rows, 2 : 2 + RANKED], found[:rows, 2 + RANKED : 2 + 2 * RANKED]
    assert np.array_equal(ids, order)
    # Thousands of terms, each good to some units, and a logarithm.
    assert (abs(found[:rows, 0] - logsumexp) <= 1e-5 + 1e-6 * abs(logsumexp)).all()
    expected = np.take_along_axis(values, order, 1) - logsumexp[:, None]
    assert (abs(logprobs - expected) <= 1e-5 + 1e-6 * abs(expected)).all()
    assert (found[:, 1] == LEFT).all()
    assert (found[rows:] == LEFT).all()
    assert (found[:, 2 + 2 * RANKED :] == LEFT).all()


@pytest.mark.parametrize("rows", ROWS)
def test_rank_chosen(answers: Answers, vocab: int, rows: int) -> None:
    found, _ = answers.of(f"chosen {rows}")
    expected = sums()
    values = logits("random", rows, vocab)
    tokens = tokens_in(vocab)[0, :rows]
    expected[:rows, 1] = values[np.arange(rows), tokens] - expected[:rows, 0]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("schedule", ["gpu", "fallback"])
def test_kernels_keep_to_what_webgpu_promises(schedule: str) -> None:
    shaders = lower._shaders(kernel_runner.generate(module_of_choosers(1000, schedule)))
    kernels = shaders.split("@compute")
    buffers = [text.rpartition("struct PODArgs")[0].count("var<storage") for text in kernels[:-1]]
    assert len(buffers) > 10
    assert max(buffers) <= LEAST_PROMISED_BUFFERS
    # A software adapter runs a barrier by taking threads apart.
    assert ("workgroupBarrier" in shaders) == (schedule == "gpu")
    assert ("var<workgroup>" in shaders) == (schedule == "gpu")
