"""Products that hand on a norm, and those that take it, against NumPy on llvmpipe.

The oracle is f64; bounds are those of `test_kernels.py`: n + 16 half units of the sum of magnitudes
for a sum of n products, and for the norm one over a root of a sum of squares.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.compile import kernel_runner
from tests.compile.kernel_runner import Answers, Array, Case, Out
from tests.compile.random_weights import Weight, make_weight
from transom_compile.kernels import linear, linear_spec

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(600)]

EPSILON = 1e-5
HALF_ULP = 2.0**-24
# The last rows of 75 and 131 leave threads with fewer rows than they own, or with none.
MAKERS = {"F32": (96, 576), "Q4_1": (75, 96), "Q8_0": (131, 576)}
READERS = {"plain": (37, "F32", 96), "gated": (80, "Q4_0", 576)}
SILENT = 1e-4
"""Times this x is so small that epsilon matters."""


def spec(kind: str, rows: int, cols: int, **options: Any) -> linear_spec.LinearSpec:
    return linear_spec.LinearSpec(
        kind, rows, cols, linear_spec.Phase.DECODE, "float32", "float32", **options
    )


def maker_arguments(kind: str, size: float = 1.0) -> tuple[Array, Array, Array, Weight]:
    """x, residual, weights of the next norm, weight."""
    rows, cols = MAKERS[kind]
    random = np.random.default_rng(rows)
    x, residual = (
        random.normal(0, size, (1, 1, count)).astype(np.float32) for count in (cols, rows)
    )
    gains = random.normal(1, 0.3, rows).astype(np.float32)
    return x, residual, gains, make_weight(kind, rows, cols, 1.0, 1)


def reader_arguments(name: str, size: float) -> tuple[Array, Array, Array, Weight]:
    """The vector that was normed, the norm's weights, what was handed on, weight."""
    rows, kind, cols = READERS[name]
    random = np.random.default_rng(cols)
    x = random.normal(0, size, cols).astype(np.float32)
    gains = random.normal(1, 0.3, cols).astype(np.float32)
    sums = np.zeros(linear_spec.handed_sums(cols), np.float32)
    for i, part in enumerate(np.array_split((x.astype(np.float64) ** 2), len(sums))):
        sums[i] = part.sum()
    handed = np.concatenate([x * gains, sums])[None, None]
    return x, gains, handed, make_weight(kind, rows, cols, 1.0, 2)


@pytest.fixture(scope="module")
def answers(
    tmp_path_factory: pytest.TempPathFactory, missing_tool: Callable[[str], NoReturn]
) -> Answers:
    kernels: dict[str, Any] = {}
    cases = []
    for kind, (rows, cols) in MAKERS.items():
        x, residual, gains, weight = maker_arguments(kind)
        epilogue = linear_spec.Epilogue(residual=True)
        kernels[f"make_{kind}"] = linear.fallback(
            spec(kind, rows, cols, epilogue=epilogue, hands_on=True)
        )
        outs = [Out((1, 1, rows)), Out((1, 1, rows + linear_spec.handed_sums(rows)))]
        arguments = [x, *weight.planes, residual, gains, *outs]
        cases.append(Case(f"make_{kind}", f"make_{kind}", arguments))
    for name, (rows, kind, cols) in READERS.items():
        gated = name == "gated"
        epilogue = (
            linear_spec.Epilogue(activation="silu", gated=True) if gated else linear_spec.Epilogue()
        )
        kernels[f"read_{name}"] = linear.fallback(
            spec(
                kind,
                rows,
                cols,
                epilogue=epilogue,
                norm=EPSILON,
                sums=linear_spec.handed_sums(cols),
            )
        )
        for size in (1.0, SILENT):
            _, _, handed, weight = reader_arguments(name, size)
            out = Out((1, 1, rows // 2 if gated else rows))
            arguments = [handed, *weight.planes, out]
            cases.append(Case(f"read_{name}-{size}", f"read_{name}", arguments))
    folder = tmp_path_factory.mktemp("handing")
    return kernel_runner.run(kernel_runner.module_of(kernels), cases, folder, missing_tool)


@pytest.mark.parametrize("kind", MAKERS)
def test_a_product_hands_on_its_norm(kind: str, answers: Answers) -> None:
    x, residual, gains, weight = maker_arguments(kind)
    y, handed = answers.of(f"make_{kind}")
    wide = x.astype(np.float64)
    expected = wide @ weight.values.T + residual
    bound = (x.shape[2] + 16) * HALF_ULP * (abs(wide) @ weight.magnitudes.T) + 1e-6
    assert (abs(y - expected) <= bound).all()
    rows = y.shape[2]
    # Of the very y that was written: whoever reads it must norm what the residual holds.
    np.testing.assert_allclose(handed[..., :rows], y * gains, rtol=1e-6)
    squares = (y.astype(np.float64) ** 2).sum()
    np.testing.assert_allclose(handed[..., rows:].astype(np.float64).sum(), squares, rtol=1e-5)


@pytest.mark.parametrize("size", [1.0, SILENT])
@pytest.mark.parametrize("name", READERS)
def test_a_product_takes_a_norm_that_was_handed_on(
    name: str, size: float, answers: Answers
) -> None:
    x, gains, _, weight = reader_arguments(name, size)
    (found,) = answers.of(f"read_{name}-{size}")
    wide = x.astype(np.float64)
    normed = wide * gains / np.sqrt((wide * wide).mean() + EPSILON)
    expected = normed @ weight.values.T
    bound = (1.5 * len(x) + 64) * HALF_ULP * (abs(normed) @ weight.magnitudes.T) + 1e-7
    if name == "gated":
        gate, up = np.split(expected, 2)
        gate_bound, up_bound = np.split(bound, 2)
        silu = gate / (1 + np.exp(-gate))
        bound = 1.1 * gate_bound * (abs(up) + up_bound) + (abs(silu) + 1e-6) * up_bound
        bound = bound + 64 * HALF_ULP * abs(silu * up)
        expected = silu * up
    assert (abs(found[0, 0] - expected) <= bound).all()
