"""Fallback products with subgroups against those without, which `test_kernels.py` compares with
NumPy: the same bytes, for they add up in the same order. Only the sums of a norm that was handed on
are added up in another one, and are compared with NumPy themselves.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.compile import wgsl_runner
from tests.compile.kernel_runner import Array, Out
from tests.compile.random_weights import Weight, make_weight
from tests.compile.wgsl_runner import Answers, Call
from transom_compile.kernels import linear, linear_spec
from transom_compile.kernels.linear_spec import Epilogue, LinearSpec, Phase

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(600)]

PLAIN, RESIDUAL = Epilogue(), Epilogue(residual=True)
GATED = Epilogue(activation="silu", gated=True)
TOKENS = {Phase.DECODE: (1,), Phase.BATCH: (2, 3, 4, 5, 8), Phase.PREFILL: (3, 17)}
EPSILON = 1e-5
HALF_ULP = 2.0**-24


def spec(
    kind: str, rows: int, cols: int, phase: Phase, epilogue: Epilogue = PLAIN, **options: Any
) -> LinearSpec:
    return LinearSpec(kind, rows, cols, phase, "float32", "float32", epilogue, **options)


def handed(cols: int) -> LinearSpec:
    sums = linear_spec.handed_sums(cols)
    return spec("Q4_1", 75, cols, Phase.DECODE, norm=EPSILON, sums=sums)


HANDED = handed(576)
"""Its sums are of a number that a subgroup's threads can share."""
# The last rows of 75 and 131 leave threads with fewer rows than they own, or with none.
SAME = [
    spec("Q4_1", 75, 96, Phase.DECODE),
    spec("Q8_0", 131, 576, Phase.DECODE, RESIDUAL),
    spec("Q6_K", 150, 256, Phase.DECODE, GATED),
    spec("F16", 131, 96, Phase.DECODE),
    spec("Q4_1", 75, 96, Phase.DECODE, RESIDUAL, hands_on=True),
    handed(96),
    spec("Q4_1", 131, 96, Phase.BATCH),
    spec("Q6_K", 75, 256, Phase.BATCH, RESIDUAL),
    spec("Q8_0", 150, 96, Phase.BATCH, GATED),
    spec("F16", 75, 96, Phase.PREFILL),
    spec("Q8_0", 131, 96, Phase.PREFILL, RESIDUAL),
    spec("Q4_1", 150, 96, Phase.PREFILL, GATED),
]


def by_subgroup(plain: LinearSpec) -> LinearSpec:
    found = linear_spec.for_subgroups(plain)
    assert found is not None, plain.name
    return found


def weight_of(plain: LinearSpec) -> Weight:
    return make_weight(plain.block_type, plain.rows, plain.cols, 1.0, 1)


def norm_arguments(plain: LinearSpec) -> tuple[Array, Array, Array]:
    """A vector, the weights of its norm, and what the product before hands on of them."""
    random = np.random.default_rng(plain.cols)
    x = random.normal(0, 1, plain.cols).astype(np.float32)
    gains = random.normal(1, 0.3, plain.cols).astype(np.float32)
    squares = np.array_split(x.astype(np.float64) ** 2, plain.sums)
    sums = np.array([part.sum() for part in squares], np.float32)
    return x, gains, np.concatenate([x * gains, sums])[None, None]


def arguments(plain: LinearSpec, n: int) -> list[Array | Out]:
    random = np.random.default_rng(n)
    shape = (1, n, plain.out_rows)
    x = random.normal(0, 1, (1, n, plain.cols)).astype(np.float32)
    if plain.sums:
        _, _, x = norm_arguments(plain)
    made: list[Array | Out] = [x, *weight_of(plain).planes]
    if plain.epilogue.residual:
        made.append(random.normal(0, 1, shape).astype(np.float32))
    if plain.hands_on:
        made.append(random.normal(1, 0.3, plain.out_rows).astype(np.float32))
    made.append(Out(shape))
    if plain.hands_on:
        made.append(Out((1, 1, plain.out_rows + linear_spec.handed_sums(plain.out_rows))))
    return made


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, missing_tool: Callable[[str], NoReturn]
) -> Answers:
    kernels = {}
    calls = []
    for plain in (*SAME, HANDED):
        for one in (plain, by_subgroup(plain)):
            kernels[one.name] = linear.fallback(one)
            for n in TOKENS[plain.phase]:
                calls.append(Call(one.name, arguments(plain, n), n))
    return wgsl_runner.run(kernels, calls, tmp_path_factory.mktemp("subgroups"), missing_tool)


def test_the_adapter_is_one_that_these_kernels_are_for(answers: Answers) -> None:
    assert answers.subgroup_threads >= linear_spec.SUBGROUP_THREADS


@pytest.mark.parametrize("plain", SAME, ids=lambda plain: plain.name)
def test_a_product_by_subgroups_is_the_same(plain: LinearSpec, answers: Answers) -> None:
    for n in TOKENS[plain.phase]:
        expected = answers.of(plain.name, n)
        found = answers.of(by_subgroup(plain).name, n)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert np.isfinite(array).all(), (name, n)
            np.testing.assert_array_equal(
                found[name].view(np.uint32), array.view(np.uint32), f"{name} of {n}"
            )


def test_a_norm_handed_on_is_summed_by_subgroups(answers: Answers) -> None:
    x, gains, _ = norm_arguments(HANDED)
    weight = weight_of(HANDED)
    wide = x.astype(np.float64)
    normed = wide * gains / np.sqrt((wide * wide).mean() + EPSILON)
    bound = (1.5 * len(x) + 64) * HALF_ULP * (abs(normed) @ weight.magnitudes.T) + 1e-7
    for one in (HANDED, by_subgroup(HANDED)):
        found = answers.of(one.name, 1)["y"]
        assert (abs(found[0, 0] - normed @ weight.values.T) <= bound).all(), one.name


@pytest.mark.parametrize(("rows", "epilogue"), [(96, PLAIN), (32, PLAIN), (96, GATED)])
def test_no_subgroups_where_workgroups_would_not_fill_them(rows: int, epilogue: Epilogue) -> None:
    """Such rows are even tiles of 12 or 4 threads."""
    assert linear_spec.for_subgroups(spec("Q4_1", rows, 96, Phase.DECODE, epilogue)) is None
