"""Chance on the GPU: random numbers that are the page's, and draws in proportion, on llvmpipe."""

from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import numpy as np
import pytest

from tests.compile import choosing_cases, kernel_runner
from tests.compile.choosing_cases import MAX_ROWS, WINDOW, history, inputs, samplers
from tests.compile.choosing_reference import Asked, candidates, gumbel, philox
from tests.compile.kernel_runner import Array, Case, Out
from transom_compile.kernels import random_numbers
from transom_compile.kernels.emit import buffer_arg, cast, each, kernel, let, store

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

PI_COUNTER = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
PI_KEY = (0xA4093822, 0x299F31D0)
ONES = 0xFFFFFFFF
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI_COUNTER, PI_KEY, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]
"""Random123's known answers for `philox4x32 10`; tests/web/random.test.ts has the same."""
KNOWN_NOISE = [
    (0, 1, 0, 0.6161976504332256),
    (42, 7, 3, -0.00013290138813694925),
    (2**40 + 7, 4095, 49151, 1.3644580369771016),
    (-1, 100, 151935, -0.36606431349322155),
    (-(2**53) + 1, 1, 2, 2.073970963713861),
]
"""Seed, position, token: what the page's `gumbelNoise` gives, too."""
COUNTERS = 256


SMALL = 12
"""Vocabulary of the test of distributions."""
LOGITS = np.linspace(1.5, -1.5, SMALL).astype(np.float32)[(np.arange(SMALL) * 5) % SMALL]
STEPS = 180
"""Calls of that test, each with all rows."""
MANY = 20_000
"""Draws in NumPy."""
SURE = 45.0
"""Chi-square of eleven degrees of freedom passes this in one of 200 000 tries."""
FREE = [Asked(temperature=1, seed=1), Asked(temperature=0.5, seed=2**40), Asked(temperature=3)]
TOP = [Asked(top_k=5, seed=4), Asked(top_k=5, temperature=2, seed=4)]
OTHERS = [
    Asked(top_p=0.7, temperature=1.5, seed=6),
    Asked(min_p=0.3, seed=-7),
    Asked(typical_p=0.6, temperature=2, seed=8),
]
ROWS = [*FREE, *TOP, *OTHERS]
SERVED = {"draw_all": FREE, "draw_top": TOP, "draw_sorted": ROWS}
"""Whom a function serves: the others in the same call are of no account."""


def given() -> Array:
    """Counters and keys: the known ones, those of known noise, others."""
    rows = [(*counter, *key) for counter, key, _ in KNOWN]
    for seed, position, token, _ in KNOWN_NOISE:
        rows.append((token // 4, position, 0, 0, *Asked(seed=seed).seed_words))
    others = np.random.default_rng(2).integers(0, 2**32, (COUNTERS - len(rows), 6))
    return np.concatenate([np.array(rows), others]).astype(np.uint32)


@pytest.fixture(scope="module")
def numbers(
    missing_tool: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> list[Array]:
    """Words and noise of all counters."""
    with kernel("words") as made:
        asked = buffer_arg("asked", (COUNTERS, 6), "int32")
        words = buffer_arg("words", (COUNTERS, 4), "int32")
        noise = buffer_arg("noise", (COUNTERS, 4), "float32")
        with each(COUNTERS, 64) as i:
            counter = [cast("uint32", asked[i, j]) for j in range(4)]
            key = [cast("uint32", asked[i, 4 + j]) for j in range(2)]
            random = random_numbers.philox(counter, key)
            for j in range(4):
                store(words, [i, j], cast("int32", random[j]))
                store(noise, [i, j], random_numbers.gumbel(let(random[j])))
    outputs = [Out((COUNTERS, 4), "int32"), Out((COUNTERS, 4))]
    case = Case("words", "words", (given().view(np.int32), *outputs))
    module = kernel_runner.module_of({"words": made.prim_func})
    folder = tmp_path_factory.mktemp("random")
    return kernel_runner.run(module, [case], folder, missing_tool).of("words")


def test_words_are_the_same_on_gpu_and_cpu(numbers: list[Array]) -> None:
    words = numbers[0].view(np.uint32)
    for row, (*_, expected) in enumerate(KNOWN):
        assert tuple(words[row]) == expected
    for row, one in enumerate(given().tolist()):
        assert np.array_equal(words[row], philox(tuple(one[:4]), (one[4], one[5])))


def test_noise(numbers: list[Array]) -> None:
    words, noise = numbers
    for row, (*_, token, expected) in enumerate(KNOWN_NOISE, start=len(KNOWN)):
        assert abs(noise[row, token % 4] - expected) < 1e-5
    share = (words.view(np.uint32).astype(np.float64) + 0.5) / 2**32
    assert (abs(noise + np.log(-np.log1p(-share))) < 1e-5).all()


def at_step(step: int) -> tuple[Array, Array]:
    """`samplers` and `inputs` of a call. No seed has the same position twice: past the window there
    is another seed."""
    seeds = step // WINDOW * 1000
    places = inputs()
    places[1] = (step + np.arange(MAX_ROWS) * 7) % WINDOW
    return samplers([replace(asked, seed=asked.seed + seeds) for asked in ROWS]), places


@pytest.fixture(scope="module")
def table(
    missing_tool: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Array]:
    """Tokens that each function drew, by call and row."""
    values = np.tile(LOGITS, (MAX_ROWS, 1))
    tokens = [Out((MAX_ROWS,), "int32")]
    cases = [
        Case(f"{function} {step}", function, (values, *at_step(step), history(SMALL)), tokens)
        for function in SERVED
        for step in range(STEPS)
    ]
    folder = tmp_path_factory.mktemp("distribution")
    answers = choosing_cases.run(SMALL, "fallback", cases, folder, missing_tool)
    return {
        function: np.stack([answers.of(f"{function} {step}")[0] for step in range(STEPS)])
        for function in SERVED
    }


def chi_square(chosen: Array, asked: Asked) -> float:
    """How far counts are from the distribution; tokens that do not pass are not there at all."""
    ids = candidates(LOGITS.astype(np.float64), asked)
    weights = np.exp(LOGITS[ids].astype(np.float64) / asked.temperature)
    expected = weights / weights.sum() * len(chosen)
    counts = np.bincount(chosen, minlength=SMALL)
    assert counts[ids].sum() == len(chosen)
    return float(((counts[ids] - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("function", SERVED)
def test_draws_in_proportion(table: dict[str, Array], function: str) -> None:
    for row, asked in enumerate(ROWS):
        if asked in SERVED[function]:
            assert chi_square(table[function][:, row], asked) < SURE, asked


@pytest.mark.parametrize("asked", ROWS)
def test_many_draws_of_the_reference(asked: Asked) -> None:
    ids = candidates(LOGITS.astype(np.float64), asked)
    noise = gumbel(asked, np.arange(MANY)[:, None], ids)
    chosen = ids[(LOGITS[ids] / asked.temperature + noise).argmax(1)]
    assert chi_square(chosen, asked) < SURE
