"""LayerNorm, learned positions, attention in both directions and pooling against NumPy in f64, on
llvmpipe."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NoReturn

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGMLQuantizationType

from tests.compile import kernel_runner
from tests.compile.kernel_runner import Answers, Array, Case, Out
from transom_compile.kernels import encoder
from transom_compile.kernels.encoder import POSITION, SelfAttention
from transom_compile.repack import repack

# Mostly the driver's compiler, which keeps what it made for the next time.
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1200)]

SCHEDULES = ["gpu", "fallback"]
DTYPES = ["float32", "float16"]
LENGTHS = [1, 2, 31, 33, 100]
"""Tokens: one, less than a workgroup's queries, one more, several tiles of keys."""
HEADS = [(12, 32), (2, 64), (3, 24)]
"""all-MiniLM's, BERT's, and heads that fill no tile evenly."""
EPSILON = 1e-12
WIDTHS = [384, 96]
POOLINGS = ["mean", "cls", "last"]
ROWS = ["F32", "Q8_0"]
MOST_ROWS = 128


def tolerance(dtype: str) -> float:
    """Of results around 1: sums of some hundred products, in f16 one rounding of the result more
    (either way, so a whole unit at 2)."""
    return 2e-5 if dtype == "float32" else 2e-3


def normal(seed: int, *shape: int, dtype: str = "float32", scale: float = 1.0) -> Array:
    random = np.random.default_rng([seed, *shape])
    return (random.normal(0, scale, shape)).astype(dtype)


def norm_input(width: int, tokens: int, dtype: str) -> tuple[Array, Array, Array]:
    """Rows far from zero, where E[x^2] - E[x]^2 would lose the variance; one row of equals."""
    x = normal(1, 1, tokens, width, dtype="float64") + 10.0
    x[0, tokens // 2] = 7.0
    return x.astype(dtype), normal(2, width), normal(3, width)


def expected_norm(x: Array, weight: Array, bias: Array) -> Array:
    rows = x.astype(np.float64)
    centred = rows - rows.mean(axis=2, keepdims=True)
    variance = (centred**2).mean(axis=2, keepdims=True)
    result: Array = centred / np.sqrt(variance + EPSILON) * weight + bias
    return result


def attention_input(heads: tuple[int, int], tokens: int, dtype: str) -> Array:
    """Scores up to about 20, so that some keys weigh much and most nothing."""
    return normal(4, 1, tokens, 3 * heads[0] * heads[1], dtype=dtype, scale=1.6)


def expected_attention(qkv: Array, heads: tuple[int, int]) -> Array:
    _, tokens, _ = qkv.shape
    q, k, v = qkv.astype(np.float64).reshape(tokens, 3, *heads).swapaxes(0, 1)
    scores = np.einsum("qhd,khd->hqk", q, k) * heads[1] ** -0.5
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    return np.einsum("hqk,khd->qhd", weights, v).reshape(1, tokens, -1)


def rows_weight(kind: str, width: int) -> tuple[Array, list[Array]]:
    """What GGML's blocks say, and the planes that we store."""
    blocks = quants.quantize(normal(5, MOST_ROWS, width), GGMLQuantizationType[kind])
    values = quants.dequantize(blocks, GGMLQuantizationType[kind]).astype(np.float64)
    raw = blocks.view(np.uint8).reshape(MOST_ROWS, -1)
    return values, [stored.array for stored in repack(raw, kind, (MOST_ROWS, width))]


def norm_cases(dtype: str, schedule: str) -> Iterator[tuple[str, Any, list[Case]]]:
    for width in WIDTHS:
        name = f"norm_{schedule}_{width}_{dtype}"
        cases = []
        for tokens in LENGTHS:
            arguments = [*norm_input(width, tokens, dtype), Out((1, tokens, width), dtype)]
            cases.append(Case(f"{name}_{tokens}", name, arguments))
        yield name, encoder.layer_norm(width, EPSILON, dtype, schedule), cases


def attention_cases(dtype: str, schedule: str) -> Iterator[tuple[str, Any, list[Case]]]:
    for heads in HEADS:
        name = f"attention_{schedule}_{heads[0]}x{heads[1]}_{dtype}"
        cases = []
        for tokens in LENGTHS:
            out = Out((1, tokens, heads[0] * heads[1]), dtype)
            cases.append(
                Case(f"{name}_{tokens}", name, [attention_input(heads, tokens, dtype), out])
            )
        yield name, encoder.self_attention(SelfAttention(*heads, dtype), schedule), cases


def other_cases(dtype: str) -> Iterator[tuple[str, Any, list[Case]]]:
    width = WIDTHS[0]
    for kind in POOLINGS:
        name = f"pool_{kind}_{dtype}"
        inputs = [normal(6, 1, tokens, width, dtype=dtype) for tokens in LENGTHS]
        cases = [Case(f"{name}_{x.shape[1]}", name, [x, Out((1, width))]) for x in inputs]
        yield name, encoder.pool(kind, width, dtype), cases
    for kind, row in product(ROWS, (POSITION, 1)):
        name = f"rows_{kind}_{'positions' if row == POSITION else row}_{dtype}"
        _, planes = rows_weight(kind, width)
        cases = []
        for tokens in LENGTHS:
            x = normal(7, 1, tokens, width, dtype=dtype)
            arguments = [x, *planes, Out((1, tokens, width), dtype)]
            cases.append(Case(f"{name}_{tokens}", name, arguments))
        yield name, encoder.add_rows(kind, MOST_ROWS, width, row, dtype), cases


@pytest.fixture(scope="module")
def answers(
    missing_tool: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    made = [one for dtype in DTYPES for one in other_cases(dtype)]
    for dtype, schedule in product(DTYPES, SCHEDULES):
        made += [*norm_cases(dtype, schedule), *attention_cases(dtype, schedule)]
    kernels = {name: function for name, function, _ in made}
    cases = [case for _, _, cases in made for case in cases]
    folder = tmp_path_factory.mktemp("encoder")
    return kernel_runner.run(kernel_runner.module_of(kernels), cases, folder, missing_tool)


def compare(answers: Answers, name: str, expected: Array, dtype: str) -> None:
    (found,) = answers.of(name)
    assert found.dtype == np.dtype(dtype)
    assert np.isfinite(found).all()
    allowed = tolerance(dtype) * max(1.0, float(abs(expected).max()))
    assert abs(found - expected).max() <= allowed


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("dtype", DTYPES)
class TestBySchedule:
    @pytest.mark.parametrize("width", WIDTHS)
    def test_layer_norm(
        self, answers: Answers, dtype: str, schedule: str, tokens: int, width: int
    ) -> None:
        expected = expected_norm(*norm_input(width, tokens, dtype))
        compare(answers, f"norm_{schedule}_{width}_{dtype}_{tokens}", expected, dtype)

    @pytest.mark.parametrize("heads", HEADS, ids=str)
    def test_every_token_sees_every_token(
        self, answers: Answers, dtype: str, schedule: str, tokens: int, heads: tuple[int, int]
    ) -> None:
        expected = expected_attention(attention_input(heads, tokens, dtype), heads)
        name = f"attention_{schedule}_{heads[0]}x{heads[1]}_{dtype}_{tokens}"
        compare(answers, name, expected, dtype)


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", POOLINGS)
def test_pool(answers: Answers, kind: str, dtype: str, tokens: int) -> None:
    x = normal(6, 1, tokens, WIDTHS[0], dtype=dtype).astype(np.float64)[0]
    expected = {"mean": x.mean(axis=0), "cls": x[0], "last": x[-1]}[kind]
    # The result is float32 whatever the input is.
    compare(answers, f"pool_{kind}_{dtype}_{tokens}", expected[None], "float32")


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", [POSITION, 1])
@pytest.mark.parametrize("kind", ROWS)
def test_add_rows(answers: Answers, kind: str, row: int, dtype: str, tokens: int) -> None:
    values, _ = rows_weight(kind, WIDTHS[0])
    x = normal(7, 1, tokens, WIDTHS[0], dtype=dtype).astype(np.float64)
    added = values[:tokens] if row == POSITION else values[row]
    which = "positions" if row == POSITION else row
    compare(answers, f"rows_{kind}_{which}_{dtype}_{tokens}", x + added, dtype)
