"""What architectures other than llama ask of kernels, against NumPy in f64, on llvmpipe.

Rotary embedding (whole and partial heads, layers that turn apart), norms head by head, epilogues of
products (bias, activations, scale, cap), gates by themselves, scaled embeddings.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.compile import kernel_runner
from tests.compile.kernel_runner import Answers, Array, Case, Out, View
from transom_compile.kernels import elementwise, linear, linear_spec, norm, rotary
from transom_compile.kernels.attention_shape import AttentionShape
from transom_models.rope import Rope

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1200)]

DTYPES = ["float32", "float16"]
SCHEDULES = ["gpu", "fallback"]
EPSILON = 1e-6
HEADS, KV_HEADS = 4, 2
POSITIONS = [0, 1, 2, 15, 100, 1023, 2047, 4095, 6142, 8190, 8191]
F16_UNIT = 2.0**-10


def frequencies(pairs: int, theta: float = 10_000.0) -> tuple[float, ...]:
    return tuple(theta ** (-i / pairs) for i in range(pairs))


ROPES = {
    "whole": (64, Rope(frequencies(32))),
    "partial": (64, Rope(frequencies(12))),
    "strong": (96, Rope(frequencies(48, 1e6), 1.19)),
    "none": (64, None),
}


def shape_of(head_dim: int, dtype: str) -> AttentionShape:
    return AttentionShape(HEADS, KV_HEADS, head_dim, dtype)


def qkv_of(head_dim: int, dtype: str) -> Array:
    """(positions, all heads, head_dim)"""
    shape = (len(POSITIONS), HEADS + 2 * KV_HEADS, head_dim)
    return np.random.default_rng(11).uniform(-1, 1, shape).astype(dtype)


def turned(qkv: Array, rope: Rope | None) -> Array:
    """All heads turned, in f64 but for the angle: that is f32, as in other implementations."""
    out = qkv.astype(np.float64)
    if rope is None:
        return out
    pairs = len(rope.frequencies)
    steps = np.asarray(POSITIONS, np.float32)[:, None] * np.asarray(rope.frequencies, np.float32)
    angles = steps.astype(np.float64)[:, None, :]
    cos, sin = rope.magnitude * np.cos(angles), rope.magnitude * np.sin(angles)
    low, high = out[:, :, :pairs].copy(), out[:, :, pairs : 2 * pairs].copy()
    out[:, :, :pairs] = low * cos - high * sin
    out[:, :, pairs : 2 * pairs] = high * cos + low * sin
    return out


def rotary_kernels() -> tuple[dict[str, Any], list[Case]]:
    kernels, cases = {}, []
    for (label, (dim, rope)), dtype in product(ROPES.items(), DTYPES):
        shape, qkv = shape_of(dim, dtype), qkv_of(dim, dtype)
        positions, count = View(np.asarray(POSITIONS, np.int32)), len(POSITIONS)
        name = f"split_{label}_{dtype}"
        kernels[name] = rotary.split_rotary(shape, rope)
        for apply_rope in (0, 1):
            parts = [Out((count, n, dim), dtype) for n in (HEADS, KV_HEADS, KV_HEADS)]
            cases.append(Case(f"{name}_{apply_rope}", name, [qkv, positions, *parts, apply_rope]))
        if rope is None:
            continue
        flat = qkv.reshape(1, count, -1)
        name = f"rotate_{label}_{dtype}"
        kernels[name] = rotary.rotate(shape, rope, None)
        cases.append(Case(name, name, [flat, positions, Out(flat.shape, dtype)]))
        kernels[f"{name}_one"] = rotary.rotate(shape, rope, 1)
        last = View(np.asarray(POSITIONS[-1:], np.int32))
        one = flat[:, -1:]
        cases.append(Case(f"{name}_one", f"{name}_one", [one, last, Out(one.shape, dtype)]))
    return kernels, cases


def head_weights(dim: int) -> list[Array]:
    random = np.random.default_rng(dim)
    return [random.normal(1, 0.3, dim).astype(np.float32) for _ in range(2)]


HEAD_NORMS = list(product(SCHEDULES, DTYPES, [40, 256]))


def norm_kernels() -> tuple[dict[str, Any], list[Case]]:
    kernels, cases = {}, []
    for schedule, dtype, dim in HEAD_NORMS:
        x = qkv_of(dim, dtype).reshape(1, len(POSITIONS), -1)
        name = f"head_norm_{schedule}_{dtype}_{dim}"
        kernels[name] = norm.head_norm(shape_of(dim, dtype), EPSILON, None, schedule)
        cases.append(Case(name, name, [x, *head_weights(dim), Out(x.shape, dtype)]))
    for schedule, dtype in product(SCHEDULES, DTYPES):
        x = qkv_of(40, dtype).reshape(1, len(POSITIONS), -1)
        width = x.shape[2]
        name = f"norm_residual_{schedule}_{dtype}"
        kernels[name] = norm.rms_norm(width, EPSILON, None, dtype, schedule, residual=True)
        weight = np.resize(head_weights(40)[0], width)
        cases.append(Case(name, name, [x, weight, x[:, ::-1].copy(), Out(x.shape, dtype)]))
    return kernels, cases


EPILOGUES = {
    "bias": linear_spec.Epilogue(bias=True),
    "bias_residual": linear_spec.Epilogue(bias=True, residual=True),
    "gelu": linear_spec.Epilogue(bias=True, activation="gelu"),
    "gelu_tanh_gate": linear_spec.Epilogue(activation="gelu_tanh", gated=True),
    "bias_silu_gate": linear_spec.Epilogue(bias=True, activation="silu", gated=True),
    "scale_residual": linear_spec.Epilogue(scale=0.22, residual=True),
    "cap": linear_spec.Epilogue(scale=3.0, softcap=30.0),
}
ROWS, COLS = 40, 64
PHASES = {"decode": 1, "prefill": 6, "batch": 5, "normed": 1}
BOTH_SCHEDULES = ("decode", "prefill")


@dataclass(frozen=True)
class Product:
    """One product with an epilogue; the weight is F32, readers are tested elsewhere."""

    epilogue: str
    schedule: str
    phase: str
    dtype: str

    @property
    def label(self) -> str:
        return f"linear_{self.epilogue}_{self.schedule}_{self.phase}_{self.dtype}"

    @property
    def spec(self) -> linear_spec.LinearSpec:
        normed = self.phase == "normed"
        return linear_spec.LinearSpec(
            "F32",
            ROWS,
            COLS,
            linear_spec.Phase.DECODE if normed else linear_spec.Phase(self.phase),
            self.dtype,
            self.dtype,
            EPILOGUES[self.epilogue],
            EPSILON if normed else None,
        )

    def kernel(self) -> Any:
        return linear.linear(self.spec, self.schedule)

    @property
    def parts(self) -> dict[str, Array]:
        random = np.random.default_rng(5)
        tokens = PHASES[self.phase]
        parts = {
            "x": random.normal(0, 1, (1, tokens, COLS)).astype(self.dtype),
            **({"gains": head_weights(COLS)[0]} if self.phase == "normed" else {}),
            "weight": random.normal(0, 0.4, (ROWS, COLS)).astype(np.float32),
        }
        if EPILOGUES[self.epilogue].bias:
            parts["bias"] = random.normal(0, 1, ROWS).astype(np.float32)
        if EPILOGUES[self.epilogue].residual:
            residual = random.normal(0, 1, (1, tokens, self.spec.out_rows))
            parts["residual"] = residual.astype(self.dtype)
        return parts

    def case(self) -> Case:
        out = Out((1, PHASES[self.phase], self.spec.out_rows), self.dtype)
        return Case(self.label, self.label, [*self.parts.values(), out])

    def expected(self) -> Array:
        parts = {name: part.astype(np.float64) for name, part in self.parts.items()}
        x = parts["x"]
        if self.phase == "normed":
            x = x * parts["gains"] / np.sqrt((x * x).mean() + EPSILON)
        y = x @ parts["weight"].T + parts.get("bias", 0)
        epilogue = EPILOGUES[self.epilogue]
        if epilogue.gated:
            gate, up = np.split(y, 2, axis=2)
            y = ACTIVATIONS[epilogue.activation](gate) * up
        elif epilogue.activation:
            y = ACTIVATIONS[epilogue.activation](y)
        y = y * epilogue.scale
        if epilogue.softcap:
            y = epilogue.softcap * np.tanh(y / epilogue.softcap)
        expected: Array = y + parts.get("residual", 0)
        return expected


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}
PRODUCTS = [
    Product(*made)
    for made in product(EPILOGUES, SCHEDULES, PHASES, DTYPES)
    # f16 is a matter of reading and writing, which the phases share.
    if made[2] in BOTH_SCHEDULES and (made[3] == "float32" or made[2] == "decode")
] + [
    # An epilogue follows the norm, and is a batch's own for each token.
    Product("bias", "gpu", "normed", "float32"),
    Product("bias_silu_gate", "gpu", "normed", "float32"),
    Product("scale_residual", "gpu", "normed", "float32"),
    Product("bias_residual", "gpu", "batch", "float32"),
]
GATES = list(product(ACTIVATIONS, DTYPES))
SCALE = math.sqrt(640)
TOKENS = np.asarray([3, 8, ROWS - 1], np.int32)


def gate_input(dtype: str) -> tuple[Array, Array]:
    """Gates from where all activations vanish to where they are the identity."""
    gate = np.linspace(-80, 80, 3 * 33).reshape(1, 3, 33).astype(dtype)
    return gate, np.random.default_rng(2).normal(0, 1, gate.shape).astype(dtype)


def small_kernels() -> tuple[dict[str, Any], list[Case]]:
    kernels, cases = {}, []
    for activation, dtype in GATES:
        gate, up = gate_input(dtype)
        name = f"multiply_{activation}_{dtype}"
        kernels[name] = elementwise.multiply(33, None, dtype, activation)
        cases.append(Case(name, name, [gate, up, Out(gate.shape, dtype)]))
    kernels["embedding"] = elementwise.embedding("F32", ROWS, COLS, "float32", scale=SCALE)
    table = np.random.default_rng(3).normal(0, 1, (ROWS, COLS)).astype(np.float32)
    out = Out((3, COLS), "float32")
    cases.append(Case("embedding", "embedding", [TOKENS, table, out]))
    kernels["later"] = elementwise.embedding("F32", ROWS - 8, COLS, "float32", first_row=8)
    cases.append(Case("later", "later", [TOKENS, table[8:], np.ones((3, COLS), np.float32), out]))
    return kernels, cases


@pytest.fixture(scope="module")
def answers(
    missing_tool: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    kernels: dict[str, Any] = {}
    cases: list[Case] = []
    for more, more_cases in (rotary_kernels(), norm_kernels(), small_kernels()):
        kernels |= more
        cases += more_cases
    for made in PRODUCTS:
        kernels[made.label] = made.kernel()
        cases.append(made.case())
    folder = tmp_path_factory.mktemp("layers")
    return kernel_runner.run(kernel_runner.module_of(kernels), cases, folder, missing_tool)


def allowed(dtype: str, expected: Array, in_f32: float) -> Array:
    """`in_f32` beside the values, and where the result is f16 one unit of it."""
    bound: Array = in_f32 * (1 + abs(expected))
    return bound if dtype == "float32" else bound + F16_UNIT * (abs(expected) + 2.0**-14)


@pytest.mark.parametrize("apply_rope", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label", ROPES)
def test_split_rotary(answers: Answers, label: str, dtype: str, apply_rope: int) -> None:
    found = answers.of(f"split_{label}_{dtype}_{apply_rope}")
    dim, rope = ROPES[label]
    qkv = qkv_of(dim, dtype)
    expected = turned(qkv, rope if apply_rope else None)
    rotated = HEADS + KV_HEADS
    for part, wanted in zip(found, np.split(expected, [HEADS, rotated], axis=1)[:2], strict=False):
        assert (abs(part - wanted) <= allowed(dtype, wanted, 2e-6)).all()
    assert np.array_equal(found[2], qkv[:, rotated:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("label", [label for label, (_, rope) in ROPES.items() if rope])
def test_rotate_leaves_the_values(answers: Answers, label: str, dtype: str) -> None:
    dim, rope = ROPES[label]
    qkv = qkv_of(dim, dtype)
    rotated = HEADS + KV_HEADS
    expected = turned(qkv, rope)
    expected[:, rotated:] = qkv[:, rotated:]
    (found,) = answers.of(f"rotate_{label}_{dtype}")
    assert (abs(found.reshape(qkv.shape) - expected) <= allowed(dtype, expected, 2e-6)).all()
    (one,) = answers.of(f"rotate_{label}_{dtype}_one")
    assert np.array_equal(one[0, 0], found[0, -1])


@pytest.mark.parametrize(("schedule", "dtype", "dim"), HEAD_NORMS)
def test_head_norm(answers: Answers, schedule: str, dtype: str, dim: int) -> None:
    (found,) = answers.of(f"head_norm_{schedule}_{dtype}_{dim}")
    x = qkv_of(dim, dtype).astype(np.float64)
    expected = x / np.sqrt((x * x).mean(axis=2, keepdims=True) + EPSILON)
    q_weight, k_weight = head_weights(dim)
    expected[:, :HEADS] *= q_weight
    expected[:, HEADS : HEADS + KV_HEADS] *= k_weight
    expected[:, HEADS + KV_HEADS :] = x[:, HEADS + KV_HEADS :]
    assert (abs(found.reshape(x.shape) - expected) <= allowed(dtype, expected, 1e-5)).all()


@pytest.mark.parametrize(("schedule", "dtype"), list(product(SCHEDULES, DTYPES)))
def test_norm_with_residual(answers: Answers, schedule: str, dtype: str) -> None:
    (found,) = answers.of(f"norm_residual_{schedule}_{dtype}")
    x = qkv_of(40, dtype).reshape(found.shape).astype(np.float64)
    weight = np.resize(head_weights(40)[0], found.shape[2])
    expected = x / np.sqrt((x * x).mean(axis=2, keepdims=True) + EPSILON) * weight + x[:, ::-1]
    assert (abs(found - expected) <= allowed(dtype, expected, 1e-5)).all()


@pytest.mark.parametrize("made", PRODUCTS, ids=lambda made: made.label)
def test_epilogue(answers: Answers, made: Product) -> None:
    (found,) = answers.of(made.label)
    expected = made.expected()
    # A product of 64 terms of size 1, and for gates the product of two of them.
    assert (abs(found - expected) <= allowed(made.dtype, expected, 2e-5)).all()


@pytest.mark.parametrize(("activation", "dtype"), GATES)
def test_multiply(answers: Answers, activation: str, dtype: str) -> None:
    (found,) = answers.of(f"multiply_{activation}_{dtype}")
    gate, up = (part.astype(np.float64) for part in gate_input(dtype))
    expected = ACTIVATIONS[activation](gate) * up
    assert (abs(found - expected) <= allowed(dtype, expected, 2e-5)).all()


def test_embedding_scale(answers: Answers) -> None:
    (found,) = answers.of("embedding")
    table = np.random.default_rng(3).normal(0, 1, (ROWS, COLS)).astype(np.float32)
    assert np.array_equal(found, table[TOKENS] * np.float32(SCALE))


def test_a_later_piece_of_an_embedding_leaves_other_tokens(answers: Answers) -> None:
    """Row 3 is in the piece before, 8 the first of this one, and the last its last."""
    (found,) = answers.of("later")
    table = np.random.default_rng(3).normal(0, 1, (ROWS, COLS)).astype(np.float32)
    assert np.array_equal(found, [np.ones(COLS), table[8], table[ROWS - 1]])
