"""Attention of programs against NumPy in f64, on llvmpipe: pages that kernels read and write.

Pages lie in shuffled order; whatever a row must not see, in its own last page or elsewhere, is NaN.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.compile import kernel_runner, wgsl
from tests.compile.kernel_runner import Answers, Array, Case, InOut, Out
from transom_compile import lower
from transom_compile.kernels import paged
from transom_compile.kernels.attention import PAGE_SIZE
from transom_compile.kernels.attention_shape import AttentionShape
from transom_compile.kernels.paged_cache import SLOTS, PagedAttention
from transom_models.rope import Rope

# Mostly the driver's compiler, which keeps what it made for the next time.
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1200)]

DTYPES = ["float32", "float16"]
SCHEDULES = ["gpu", "fallback"]
PAGES_PER_SLOT = 20
PAGES = 60
FEW, MANY = 8, 128
"""Second dimension of `inputs`: of steps, of prompts."""
SPOILT = 9
"""A slot number in idle rows whose pages do not exist."""


def frequencies(pairs: int) -> tuple[float, ...]:
    return tuple(10_000.0 ** (-i / pairs) for i in range(pairs))


@dataclass(frozen=True)
class Layer:
    """One layer's attention; `schedule` and `dtype` come with the kernels."""

    heads: tuple[int, int]
    dim: int
    rope: Rope | None
    window: int = 0
    softcap: float = 0.0

    def shape(self, dtype: str) -> AttentionShape:
        return AttentionShape(*self.heads, self.dim, dtype)

    @property
    def scale(self) -> float:
        return 1 / math.sqrt(self.dim)


LAYERS = {
    "smollm": Layer((9, 3), 64, Rope(frequencies(32))),
    "windowed": Layer((4, 4), 64, Rope(frequencies(12)), window=7, softcap=2.0),
    "gemma": Layer((4, 1), 256, Rope(frequencies(128)), window=40),
    "strong": Layer((6, 2), 96, Rope(frequencies(48), 1.19)),
    "turned": Layer((4, 2), 40, None, softcap=30.0),
}


@dataclass(frozen=True)
class Rows:
    """Tokens of one call: (position, slot) each, position -1 idle. `size` is that of `inputs`."""

    places: tuple[tuple[int, int], ...]
    size: int = FEW

    @property
    def inputs(self) -> Array:
        """Ids are of no concern here; what lies past the rows is spoilt."""
        made = np.full((3, self.size), 10**6, np.int32)
        made[1:, : len(self.places)] = np.asarray(self.places, np.int32).T
        return made

    @property
    def live(self) -> list[tuple[int, int, int]]:
        """(row, position, slot) of those that are not idle."""
        return [(row, *place) for row, place in enumerate(self.places) if place[0] >= 0]


def prompt(start: int, count: int) -> Rows:
    return Rows(tuple((start + i, 3) for i in range(count)), MANY)


STEPS = {
    "lengths": Rows(((0, 2), (14, 0), (15, 15), (16, 4), (-1, SPOILT), (40, 7), (300, 1), (47, 5))),
    "few": Rows(((33, 6), (-1, SPOILT), (7, 3))),
    "one": Rows(((31, 4),)),
}
"""Of different sequences: around a page, many pages, a window's edge; `one` runs with n static."""
DRAFTS = {
    "drafts": Rows(((13, 2), (14, 2), (15, 2), (16, 2), (-1, SPOILT), (0, 5), (1, 5), (260, 1))),
}
"""Several rows of a sequence."""
PROMPTS = {
    f"{start}_{count}": prompt(start, count)
    for start, count in ((0, 1), (0, 33), (0, 100), (7, 32), (41, 64), (200, 17))
}


@dataclass(frozen=True)
class Scene:
    """The pages before a call, the projection of its rows, and what should come of them."""

    layer: Layer
    dtype: str
    rows: Rows

    def _normal(self, seed: int, *shape: int) -> Array:
        random = np.random.default_rng([seed, self.layer.dim, len(self.rows.places)])
        return random.normal(0, 1, shape).astype(self.dtype)

    @cached_property
    def qkv(self) -> Array:
        """Idle rows hold NaN, as they may."""
        shape = self.layer.shape(self.dtype)
        made = self._normal(1, 1, len(self.rows.places), shape.all_heads * shape.head_dim)
        for row, (position, _) in enumerate(self.rows.places):
            if position < 0:
                made[0, row] = np.nan
        return made

    @cached_property
    def parts(self) -> tuple[Array, Array, Array]:
        """Queries, keys, values (n, heads, dim) in f64, turned."""
        shape = self.layer.shape(self.dtype)
        split = self.qkv.reshape(-1, shape.all_heads, shape.head_dim).astype(np.float64)
        q, k, v = np.split(split, [shape.query_heads, shape.rotated_heads], axis=1)
        positions = np.asarray([position for position, _ in self.rows.places])
        return turned(q, positions, self.layer.rope), turned(k, positions, self.layer.rope), v

    @cached_property
    def table(self) -> Array:
        """Pages of the slots in use in shuffled order; the rest points where nothing is."""
        made = np.full((SLOTS, PAGES_PER_SLOT), 10**6, np.int32)
        free = list(np.random.default_rng(7).permutation(PAGES))
        for slot in sorted({slot for _, _, slot in self.rows.live}):
            last = max(position for _, position, other in self.rows.live if other == slot)
            count = last // PAGE_SIZE + 1
            made[slot, :count], free = free[:count], free[count:]
        return made

    def place(self, position: int, slot: int) -> tuple[int, int]:
        return int(self.table[slot, position // PAGE_SIZE]), position % PAGE_SIZE

    @cached_property
    def before(self) -> Array:
        """All that was ever said in a slot before these rows; NaN elsewhere."""
        _, kv_heads = self.layer.heads
        pages = np.full((PAGES, 2, kv_heads, PAGE_SIZE, self.layer.dim), np.nan, self.dtype)
        for slot in {slot for _, _, slot in self.rows.live}:
            first = min(position for _, position, other in self.rows.live if other == slot)
            said = self._normal(100 + slot, first, 2, kv_heads, self.layer.dim)
            for position in range(first):
                page, at = self.place(position, slot)
                pages[page, :, :, at] = said[position]
        return pages

    @cached_property
    def after(self) -> Array:
        pages = self.before.copy()
        _, keys, values = self.parts
        for row, position, slot in self.rows.live:
            page, at = self.place(position, slot)
            pages[page, 0, :, at], pages[page, 1, :, at] = keys[row], values[row]
        return pages

    @cached_property
    def queries(self) -> Array:
        """As `rope_append` hands them on."""
        return self.parts[0].reshape(1, len(self.rows.places), -1).astype(self.dtype)

    def attended(self) -> Array:
        """Idle rows are zeros."""
        queries, layer = self.parts[0], self.layer
        out = np.zeros_like(queries)
        group = layer.heads[0] // layer.heads[1]
        for row, position, slot in self.rows.live:
            first = max(position + 1 - layer.window, 0) if layer.window else 0
            places = [self.place(at, slot) for at in range(first, position + 1)]
            seen = np.stack([self.after[page, :, :, at] for page, at in places]).astype(np.float64)
            k, v = (np.repeat(seen[:, which], group, axis=1) for which in range(2))
            scores = np.einsum("hd,khd->hk", queries[row], k) * layer.scale
            if layer.softcap:
                scores = layer.softcap * np.tanh(scores / layer.softcap)
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            out[row] = np.einsum("hk,khd->hd", weights, v)
        return out.reshape(1, len(out), -1)


def turned(heads: Array, positions: Array, rope: Rope | None) -> Array:
    """In f64 but for the angle, which is f32 as in other implementations."""
    if rope is None:
        return heads
    pairs = len(rope.frequencies)
    steps = positions.astype(np.float32)[:, None] * np.asarray(rope.frequencies, np.float32)
    angles = steps.astype(np.float64)[:, None, :]
    cos, sin = rope.magnitude * np.cos(angles), rope.magnitude * np.sin(angles)
    low, high, rest = np.split(heads, [pairs, 2 * pairs], axis=2)
    return np.concatenate([low * cos - high * sin, high * cos + low * sin, rest], axis=2)


def tolerance(dtype: str) -> float:
    """Of results around 1: in f32 sums of some hundred products, exp2 of scores up to 20, and a cap
    of 30, whose differences keep four units of 2**-20; in f16 one rounding more of the query and of
    the result each."""
    return 1e-5 if dtype == "float32" else 2e-3


COMBINATIONS = [
    *product(LAYERS, DTYPES[:1], SCHEDULES),
    *product(["smollm", "windowed"], DTYPES[1:], SCHEDULES),
]
"""f16 differs in loads and stores alone; every kernel more is a second or two of the driver's."""


def kernels_and_cases(label: str, dtype: str, schedule: str) -> tuple[dict[str, Any], list[Case]]:
    layer = LAYERS[label]
    kind = PagedAttention(
        layer.shape(dtype), schedule, PAGES_PER_SLOT, layer.scale, layer.window, layer.softcap
    )
    tail = f"{label}_{dtype}_{schedule}"
    kernels: dict[str, Any] = {
        f"step_{tail}": paged.attention_step(kind, FEW, layer.rope, None),
        f"step_one_{tail}": paged.attention_step(kind, FEW, layer.rope, 1),
        f"rows_{tail}": paged.attend(kind, FEW, None, one_sequence=False),
        f"prompt_{tail}": paged.attend(kind, MANY, None, one_sequence=True),
    }
    for size in (FEW, MANY):
        kernels[f"append_{size}_{tail}"] = paged.rope_append(
            layer.shape(dtype), size, layer.rope, None, pages_per_slot=PAGES_PER_SLOT
        )
    cases: list[Case] = []
    for name, rows in (STEPS | DRAFTS | PROMPTS).items():
        scene = Scene(layer, dtype, rows)
        out = Out(scene.queries.shape, dtype)
        known: list[Array] = [rows.inputs, scene.table]
        writing: list[Any] = [scene.qkv, *known, InOut(scene.before), out]
        if name in STEPS:
            function = "step_one" if name == "one" else "step"
            cases.append(Case(f"step_{name}_{tail}", f"{function}_{tail}", writing))
        cases.append(Case(f"append_{name}_{tail}", f"append_{rows.size}_{tail}", writing))
        function = "prompt" if name in PROMPTS else "rows"
        reading: list[Any] = [scene.queries, *known, scene.after, out]
        cases.append(Case(f"attend_{name}_{tail}", f"{function}_{tail}", reading))
    return kernels, cases


@pytest.fixture(scope="module")
def answers(
    missing_tool: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    kernels: dict[str, Any] = {}
    cases: list[Case] = []
    for combination in COMBINATIONS:
        more_kernels, more_cases = kernels_and_cases(*combination)
        kernels |= more_kernels
        cases += more_cases
    folder = tmp_path_factory.mktemp("paged")
    return kernel_runner.run(kernel_runner.module_of(kernels), cases, folder, missing_tool)


def same(found: Array, expected: Array, allowed: float) -> None:
    """NaN exactly where NaN is expected."""
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(abs(found.astype(np.float64) - expected), initial=0) <= allowed


def rounding(dtype: str) -> float:
    """Of keys up to about 5: in f32 that of cosine and sine, in f16 one unit of the result."""
    return 2e-6 if dtype == "float32" else 4e-3


@pytest.mark.parametrize(("label", "dtype", "schedule"), COMBINATIONS)
class TestPaged:
    @pytest.mark.parametrize("name", STEPS)
    def test_a_step(
        self, answers: Answers, label: str, dtype: str, schedule: str, name: str
    ) -> None:
        pages, out = answers.of(f"step_{name}_{label}_{dtype}_{schedule}")
        scene = Scene(LAYERS[label], dtype, STEPS[name])
        same(pages, scene.after, rounding(dtype))
        same(out, scene.attended(), tolerance(dtype))

    @pytest.mark.parametrize("name", STEPS | DRAFTS | PROMPTS)
    def test_append_then_attend(
        self, answers: Answers, label: str, dtype: str, schedule: str, name: str
    ) -> None:
        scene = Scene(LAYERS[label], dtype, (STEPS | DRAFTS | PROMPTS)[name])
        pages, queries = answers.of(f"append_{name}_{label}_{dtype}_{schedule}")
        same(pages, scene.after, rounding(dtype))
        same(queries, scene.queries, rounding(dtype))
        (out,) = answers.of(f"attend_{name}_{label}_{dtype}_{schedule}")
        same(out, scene.attended(), tolerance(dtype))


@pytest.mark.parametrize(("label", "dtype", "schedule"), COMBINATIONS)
def test_what_kernels_ask_of_a_device(label: str, dtype: str, schedule: str) -> None:
    """No more than WebGPU promises everywhere."""
    kernels, _ = kernels_and_cases(label, dtype, schedule)
    source = lower._shaders(kernel_runner.generate(kernel_runner.module_of(kernels)))
    found = wgsl.shaders(source)
    assert len(found) == len(kernels)
    for shader in found.values():
        assert shader.storage_buffers <= 8
        assert shader.invocations <= 256
        assert shader.workgroup_bytes <= 16 * 1024
        if schedule == "fallback":
            assert not shader.has_barrier
            assert shader.workgroup_bytes == 0


@pytest.mark.parametrize(
    ("heads", "dim", "together"),
    [
        ((9, 3), 64, 3),
        ((8, 8), 64, 1),
        ((14, 2), 64, 7),
        # Ten are too many, and a thread's heads must not straddle two key heads.
        ((20, 2), 64, 5),
        ((4, 1), 256, 2),
        ((4, 1), 512, 1),
        ((4, 1), 1024, 1),
    ],
)
def test_a_thread_takes_heads_that_share_keys(
    heads: tuple[int, int], dim: int, together: int
) -> None:
    shape = AttentionShape(*heads, dim, "float32")
    kind = PagedAttention(shape, "fallback", PAGES_PER_SLOT, 1.0)
    assert kind.heads_together == together
