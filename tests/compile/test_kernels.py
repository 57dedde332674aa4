"""Matrix products, embedding, norm and take_last against NumPy, on llvmpipe.

The oracle is f64 on the values that `gguf` dequantizes. Error bounds are a priori ones: each sum of
n products in f32 is off by at most n + 16 half units (the 16 is for scale, minimum and epilogue) of
the sum of magnitudes; one wrong element among 576 is fifty times that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.compile import kernel_runner
from tests.compile.kernel_runner import Answers, Array, Case, Out
from tests.compile.random_weights import Weight, make_weight
from transom_compile.kernels import elementwise, linear, linear_spec, norm
from transom_compile.kernels.weights.quants import Curve
from transom_compile.repack.codebooks import IQ4_LEVELS
from transom_models.block_type import BLOCK_TYPES, SUPER_BLOCK

# Mostly the driver's compiler, which keeps what it made for the next time.
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1200)]

TYPES = list(BLOCK_TYPES)
THOROUGH = ["F32", "F16", "Q4_0", "Q4_1", "Q8_0"]
"""Meet every epilogue. The others differ from these in how weights are read, not in what follows:
each meets every kernel once."""
SCHEDULES = ["gpu", "fallback"]
EPILOGUES = {
    "none": linear_spec.Epilogue(),
    "residual": linear_spec.Epilogue(residual=True),
    "silu_gate": linear_spec.Epilogue(activation="silu", gated=True),
}
DTYPES = ["float32", "float16"]
TOKENS = [1, 3, 16, 17, 40]
"""Prefill: less than a tile, whole tiles, one more than a tile, several."""
FEW_TOKENS = [3, 17]
BATCHES = [2, 3, 4, 5, 8]
COLS = [32, 96, 576]
SUPER_COLS = [256, 768, 512]
ROWS = [75, 37, 131]
"""Multiples of no tile; 75 rows of 96 are an odd number of blocks, so the last scale word is half
empty. Gated weights have twice as many."""
HALF_ULP = 2.0**-24
F16_ULP = 2.0**-10
"""WGSL may round a conversion to f16 either way: one unit, not half a one."""


def cols_of(kind: str, number: int) -> int:
    """One of three widths: whole blocks, one or an odd number of them among these."""
    widths = SUPER_COLS if BLOCK_TYPES[kind].elements == SUPER_BLOCK else COLS
    return widths[number % 3]


@dataclass(frozen=True)
class Product:
    """One linear kernel under test."""

    kind: str
    schedule: str
    epilogue: str
    dtype: str
    out_dtype: str
    phase: linear_spec.Phase
    normed: bool = False

    @property
    def label(self) -> str:
        phase = "normed" if self.normed else self.phase
        dtypes = f"{self.dtype}-{self.out_dtype}"
        return f"{phase}-{self.schedule}-{self.kind}-{self.epilogue}-{dtypes}"

    @property
    def number(self) -> int:
        return TYPES.index(self.kind) + list(EPILOGUES).index(self.epilogue)

    @property
    def cols(self) -> int:
        return cols_of(self.kind, self.number)

    @property
    def rows(self) -> int:
        rows = ROWS[(self.number + TYPES.index(self.kind)) % 3]
        return 2 * rows if self.epilogue == "silu_gate" else rows

    @property
    def token_counts(self) -> list[int]:
        if self.phase == linear_spec.Phase.DECODE:
            return [1]
        if self.phase == linear_spec.Phase.BATCH:
            return BATCHES
        return TOKENS if self.kind in THOROUGH else FEW_TOKENS

    def kernel(self) -> Any:
        spec = linear_spec.LinearSpec(
            self.kind,
            self.rows,
            self.cols,
            self.phase,
            self.dtype,
            self.out_dtype,
            EPILOGUES[self.epilogue],
            EPSILON if self.normed else None,
        )
        return linear.linear(spec, self.schedule)

    def weight(self) -> Weight:
        # A product of gate and up of the largest scales would leave f16.
        largest = 65504.0 if self.out_dtype == "float32" else 0.25
        return make_weight(self.kind, self.rows, self.cols, largest, self.number)

    def input(self, tokens: int) -> Array:
        random = np.random.default_rng(tokens)
        # Small enough for epsilon to matter.
        size = 0.004 if self.normed else 1.0
        return random.normal(0, size, (1, tokens, self.cols)).astype(self.dtype)

    def residual(self, tokens: int) -> Array:
        random = np.random.default_rng(tokens + 1)
        return random.normal(0, 1, (1, tokens, self.rows)).astype(self.out_dtype)

    def cases(self) -> list[Case]:
        made = []
        for tokens in self.token_counts:
            residual = [self.residual(tokens)] if self.epilogue == "residual" else []
            out_rows = self.rows // 2 if self.epilogue == "silu_gate" else self.rows
            out = Out((1, tokens, out_rows), self.out_dtype)
            gains = [norm_weight(self.cols)] if self.normed else []
            arguments = [self.input(tokens), *gains, *self.weight().planes, *residual, out]
            made.append(Case(f"{self.label}-{tokens}", self.label, arguments))
        return made

    def expected(self, tokens: int) -> tuple[Array, Array]:
        """What it must give, and by how much it may be off."""
        weight = self.weight()
        x = self.input(tokens).astype(np.float64)
        if self.normed:
            x = x * norm_weight(self.cols) / np.sqrt((x * x).mean() + EPSILON)
        y = x @ weight.values.T
        allowed = (self.cols + 16) * HALF_ULP * (abs(x) @ weight.magnitudes.T)
        # A shader may take subnormal products for zero.
        allowed = allowed + self.cols * np.finfo(np.float32).tiny
        if self.normed:
            # A sum of squares, halved by the root; the root, a quotient and two products.
            allowed = allowed + (self.cols / 2 + 16) * HALF_ULP * abs(y)
        if self.epilogue == "residual":
            y = y + self.residual(tokens)
            allowed = allowed + 2 * HALF_ULP * abs(y)
        elif self.epilogue == "silu_gate":
            gate, up = np.split(y, 2, axis=2)
            gate_error, up_error = np.split(allowed, 2, axis=2)
            silu = gate / (1 + np.exp(-np.maximum(gate, -700)))
            y = silu * up
            # silu is steeper than 1.1 nowhere; WGSL's exp is good to 3 + 2|x| units, / to 2.5.
            relative = (8 + 2 * np.minimum(abs(gate), 88)) * 2 * HALF_ULP
            allowed = 1.1 * gate_error * (abs(up) + up_error) + (abs(silu) + 1e-6) * up_error
            allowed = allowed + relative * abs(y) + 1e-30
        if self.out_dtype == "float16":
            allowed = allowed + F16_ULP * abs(y) + 2.0**-24
        return y, allowed


DECODE, BATCH, PREFILL = linear_spec.Phase
FORMS: list[tuple[str, linear_spec.Phase, bool]] = [
    *((schedule, phase, False) for schedule, phase in product(SCHEDULES, linear_spec.Phase)),
    # The fallback's norms stand alone.
    ("gpu", DECODE, True),
]
"""Kernels there are: schedule, phase, normed."""


def epilogue_of(number: int) -> str:
    return list(EPILOGUES)[number % 3]


PRODUCTS = (
    [
        Product(kind, schedule, epilogue, "float32", "float32", phase)
        for kind, schedule, epilogue, phase in product(
            THOROUGH, SCHEDULES, EPILOGUES, [DECODE, PREFILL]
        )
    ]
    + [
        # f16 changes how x is read and y is written: each epilogue meets some types.
        Product(kind, schedule, epilogue_of(number + at), "float16", "float16", phase, normed)
        for (number, kind), (at, (schedule, phase, normed)) in product(
            enumerate(TYPES), enumerate(FORMS)
        )
        if kind in THOROUGH
    ]
    + [
        # The other types meet every kernel once, half of these with f16 inside.
        Product(kind, schedule, epilogue_of(number + at), dtype, dtype, phase, normed)
        for (number, kind), (at, (schedule, phase, normed)) in product(
            enumerate(TYPES), enumerate(FORMS)
        )
        for dtype in [DTYPES[(number + at) % 2]]
        if kind not in THOROUGH
    ]
    + [
        Product("Q4_1", "gpu", epilogue, "float32", "float32", phase, normed)
        for epilogue, (phase, normed) in product(EPILOGUES, [(BATCH, False), (DECODE, True)])
    ]
    + [
        # Logits are f32 in the f16 library too.
        Product(kind, "gpu", "none", "float16", "float32", DECODE)
        for kind in THOROUGH
    ]
    + [Product("Q8_0", "gpu", "none", "float16", "float32", DECODE, True)]
)

EMBEDDING_ROWS = 45
EMBEDDINGS = list(product(TYPES, DTYPES))
NORM_WIDTHS = [70, 576]
NORMS = list(product(SCHEDULES, DTYPES, NORM_WIDTHS, [True, False]))
EPSILON = 1e-5
TAKES = list(product(DTYPES, [1, 5]))


def tokens_of(rows: int) -> Array:
    """Every row once, in no order, and some twice."""
    random = np.random.default_rng(3)
    return np.concatenate([random.permutation(rows), [0, rows - 1, 0]]).astype(np.int32)


def norm_input(width: int, tokens: int, dtype: str) -> Array:
    """Rows of zeros, of small values (where epsilon matters) and of usual ones."""
    x = np.random.default_rng(width).normal(0, 1, (1, 5, width))
    x[0, 1], x[0, 2] = 0, x[0, 2] * 1e-3
    return x[:, 5 - tokens :].astype(dtype)


def norm_weight(width: int) -> Array:
    return np.random.default_rng(width + 1).normal(1, 0.3, width).astype(np.float32)


def take_input(dtype: str, tokens: int) -> Array:
    return np.random.default_rng(7).normal(0, 1, (1, tokens, 70)).astype(dtype)


def small_kernels() -> tuple[dict[str, Any], list[Case]]:
    kernels: dict[str, Any] = {}
    cases = []
    rows = EMBEDDING_ROWS
    for kind, dtype in EMBEDDINGS:
        name, cols = f"embedding-{kind}-{dtype}", cols_of(kind, 1)
        kernels[name] = elementwise.embedding(kind, rows, cols, dtype)
        planes = make_weight(kind, rows, cols, 100.0, 5).planes
        tokens = tokens_of(rows)
        cases.append(Case(name, name, [tokens, *planes, Out((len(tokens), cols), dtype)]))
    for schedule, dtype, width, single in NORMS:
        name = f"norm-{schedule}-{dtype}-{width}-{single}"
        kernels[name] = norm.rms_norm(width, EPSILON, 1 if single else None, dtype, schedule)
        for tokens in [1] if single else [1, 5]:
            x = norm_input(width, tokens, dtype)
            arguments = [x, norm_weight(width), Out(x.shape, dtype)]
            cases.append(Case(f"{name}-{tokens}", name, arguments))
    for dtype, tokens in TAKES:
        name = f"take_last-{dtype}"
        kernels[name] = elementwise.take_last(70, dtype)
        arguments = [take_input(dtype, tokens), Out((1, 1, 70), dtype)]
        cases.append(Case(f"{name}-{tokens}", name, arguments))
    return kernels, cases


@pytest.fixture(scope="module")
def answers(
    missing_tool: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    """All kernels of this file in one library and one process."""
    kernels, cases = small_kernels()
    for one in PRODUCTS:
        kernels[one.label] = one.kernel()
        cases.extend(one.cases())
    # WGSL and C names know no dash.
    kernels = {name.replace("-", "_"): made for name, made in kernels.items()}
    cases = [Case(case.name, case.function.replace("-", "_"), case.args) for case in cases]
    folder: Path = tmp_path_factory.mktemp("kernels")
    return kernel_runner.run(kernel_runner.module_of(kernels), cases, folder, missing_tool)


@pytest.mark.parametrize("made", PRODUCTS, ids=lambda made: made.label)
def test_linear(answers: Answers, made: Product) -> None:
    for tokens in made.token_counts:
        (found,) = answers.of(f"{made.label}-{tokens}")
        expected, allowed = made.expected(tokens)
        off = abs(found - expected)
        assert (off <= allowed).all(), (
            f"{tokens} tokens: {np.count_nonzero(~(off <= allowed))} of {off.size} are off, "
            f"first at {np.argwhere(~(off <= allowed))[0]}, worst {(off / allowed).max()} x allowed"
        )


@pytest.mark.parametrize(("kind", "dtype"), EMBEDDINGS)
def test_embedding_is_what_ggml_dequantizes(answers: Answers, kind: str, dtype: str) -> None:
    """Bit for bit in f32: a scale times a quant is exact, so only the minimum rounds, once."""
    (found,) = answers.of(f"embedding-{kind}-{dtype}")
    rows, cols = EMBEDDING_ROWS, cols_of(kind, 1)
    expected = make_weight(kind, rows, cols, 100.0, 5).values[tokens_of(rows)]
    if dtype == "float32":
        assert np.array_equal(found, expected)
    else:
        assert (abs(found - expected) <= F16_ULP * abs(expected) + 2.0**-24).all()


@pytest.mark.parametrize(("schedule", "dtype", "width", "single"), NORMS)
def test_rms_norm(answers: Answers, schedule: str, dtype: str, width: int, single: bool) -> None:
    for tokens in [1] if single else [1, 5]:
        (found,) = answers.of(f"norm-{schedule}-{dtype}-{width}-{single}-{tokens}")
        x = norm_input(width, tokens, dtype).astype(np.float64)
        expected = x / np.sqrt((x * x).mean(axis=2, keepdims=True) + EPSILON) * norm_weight(width)
        # A sum of `width` squares, halved by the root; then a root, a quotient and two products.
        allowed = (width / 2 + 16) * HALF_ULP * abs(expected)
        if dtype == "float16":
            allowed = allowed + F16_ULP * abs(expected) + 2.0**-24
        assert (abs(found - expected) <= allowed).all()


@pytest.mark.parametrize(("dtype", "tokens"), TAKES)
def test_take_last(answers: Answers, dtype: str, tokens: int) -> None:
    (found,) = answers.of(f"take_last-{dtype}-{tokens}")
    assert np.array_equal(found[0, 0], take_input(dtype, tokens)[0, -1])


def test_iq4_levels_are_far_from_the_edges_of_rounding() -> None:
    """The polynomial is off by less than half by far more than f32 arithmetic can be."""
    n = np.arange(16, dtype=np.float64)
    curve = sum(c * n**i for i, c in enumerate(Curve.COEFFICIENTS))
    assert abs(curve - np.array(IQ4_LEVELS)).max() < 0.45
