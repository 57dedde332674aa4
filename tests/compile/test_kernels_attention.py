"""KV append and attention against NumPy in f64, on llvmpipe.

Ours (schedule `fallback`) and TVM's tiled attention (schedule `gpu`) get the same calls: what the
paged KV cache passes, they must both understand alike. With a window or a cap on scores both
schedules are ours.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NoReturn

import numpy as np
import pytest

from tests.compile import kernel_runner
from tests.compile.kernel_runner import Answers, Array, Case, InOut, Out, View
from transom_compile.kernels import attention
from transom_compile.kernels.attention_shape import AttentionShape
from transom_compile.passes.attach_kv_cache import AttachKVCache
from transom_models.architecture import CacheSpec

# Mostly the driver's compiler, which keeps what it made for the next time.
pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1200)]

DIM = 64
PAGE = attention.PAGE_SIZE
HEADS = [(9, 3), (4, 4)]
DTYPES = ["float32", "float16"]
SCHEDULES = ["gpu", "fallback"]
LENGTHS = [(1,), (15,), (16,), (17,), (100,), (17, 100), (16, 1)]
"""Cached tokens of each sequence of a batch: around a page, several pages, two sequences."""
QUERIES = {1: 1, 15: 15, 16: 3, 17: 5, 100: 33}
"""Of a prefill, the last tokens of a sequence: all of them, or a chunk after cached ones."""
SCALE = DIM**-0.5


def tolerance(dtype: str) -> float:
    """Of outputs and values around 1. f32: scores reach about 20 in base 2, where WGSL's exp2 is
    good to 3 + 2|x| units, some 43 * 2**-23. f16 adds the rounding of the result (and TVM's kernels
    that of the weights, to f16)."""
    return 2e-5 if dtype == "float32" else 4e-3


@dataclass(frozen=True)
class Setting:
    """One attention layer's kernels, and whether this layer is a windowed one."""

    heads: tuple[int, int]
    dtype: str
    window: int = 0
    softcap: float = 0.0
    windowed: bool = False

    @property
    def shape(self) -> AttentionShape:
        return AttentionShape(*self.heads, DIM, self.dtype)

    @property
    def kernels(self) -> str:
        """Settings that differ in `windowed` share their kernels."""
        return f"{self.heads[0]}_{self.heads[1]}_{self.dtype}_{self.window}_{self.softcap:.0f}"

    @property
    def label(self) -> str:
        return f"{self.kernels}_{'windowed' if self.windowed else 'all'}"

    @property
    def scale(self) -> float:
        return -SCALE if self.windowed else SCALE


SETTINGS = [
    *(Setting(heads, dtype) for heads, dtype in product(HEADS, DTYPES)),
    *(Setting((9, 3), "float32", 16, 2.0, windowed) for windowed in (True, False)),
    Setting((4, 4), "float32", 7, 0.0, True),
    Setting((4, 4), "float16", 7, 2.0, True),
]


@dataclass(frozen=True)
class Batch:
    """Sequences with their keys and values, and the queries at their ends."""

    setting: Setting
    lengths: tuple[int, ...]
    counts: tuple[int, ...]

    def _normal(self, seed: int, *shape: int) -> Array:
        random = np.random.default_rng([seed, *self.lengths, *self.setting.heads])
        return random.normal(0, 1, shape).astype(self.setting.dtype)

    @property
    def q(self) -> Array:
        return self._normal(0, sum(self.counts), self.setting.heads[0], DIM)

    def keys_values(self, sequence: int) -> tuple[Array, Array]:
        shape = (self.lengths[sequence], self.setting.heads[1], DIM)
        return self._normal(2 * sequence + 1, *shape), self._normal(2 * sequence + 2, *shape)

    def paged(self) -> tuple[Array, list[View]]:
        """Pages in shuffled order (the ones in between full of NaN), and the table that finds them:
        page_indptr, page_values, length_info."""
        needed = [-(-length // PAGE) for length in self.lengths]
        order = np.random.default_rng(9).permutation(sum(needed) + 3)[: sum(needed)]
        shape = (sum(needed) + 3, 2, self.setting.heads[1], PAGE, DIM)
        pages = np.full(shape, np.nan, self.setting.dtype)
        starts = np.concatenate([[0], np.cumsum(needed)])
        for sequence, length in enumerate(self.lengths):
            for which, source in enumerate(self.keys_values(sequence)):
                for at in range(length):
                    page = order[starts[sequence] + at // PAGE]
                    pages[page, which, :, at % PAGE] = source[at]
        last = [
            length - (count - 1) * PAGE for length, count in zip(self.lengths, needed, strict=True)
        ]
        return pages, [integers(starts), integers(order), integers(last)]

    def expected(self, causal: bool) -> tuple[Array, Array]:
        """Outputs, and the log2 of the sum of exponentials."""
        outputs, logs = [], []
        group = self.setting.heads[0] // self.setting.heads[1]
        queries = np.split(self.q.astype(np.float64), np.cumsum(self.counts)[:-1])
        for sequence, q in enumerate(queries):
            k, v = (
                np.repeat(part.astype(np.float64), group, axis=1)
                for part in self.keys_values(sequence)
            )
            scores = np.einsum("qhd,khd->qhk", q, k) * SCALE
            if self.setting.softcap:
                scores = self.setting.softcap * np.tanh(scores / self.setting.softcap)
            length = self.lengths[sequence]
            keys, own = np.arange(length), self.positions[sequence][:, None]
            visible = keys <= (own if causal else np.full_like(own, length))
            if self.setting.windowed:
                visible &= keys > own - self.setting.window
            scores = np.where(visible[:, None, :], scores, -np.inf)
            peak = scores.max(axis=2, keepdims=True)
            weights = np.exp(scores - peak)
            total = weights.sum(axis=2, keepdims=True)
            outputs.append(np.einsum("qhk,khd->qhd", weights / total, v))
            logs.append((peak + np.log(total))[:, :, 0] * math.log2(math.e))
        return np.concatenate(outputs), np.concatenate(logs)

    @property
    def positions(self) -> list[Array]:
        """Of the queries of each sequence: its last ones."""
        return [
            np.arange(length - count, length)
            for length, count in zip(self.lengths, self.counts, strict=True)
        ]

    def results(self) -> list[Out]:
        heads, total = self.setting.heads[0], sum(self.counts)
        return [Out((total, heads, DIM), self.setting.dtype), Out((total, heads))]

    def starts(self) -> View:
        return integers([0, *np.cumsum(self.counts)])


def integers(values: Sequence[int] | Array) -> View:
    return View(np.asarray(values, np.int32))


ROPE = [0, 1.0, 1.0]
"""rotary_mode (keys are rotated already), rope_scale, rope_theta."""


def decode_case(name: str, function: str, batch: Batch) -> Case:
    pages, table = batch.paged()
    zeros = integers([0] * len(batch.lengths))
    own = integers(np.concatenate(batch.positions))
    scale = batch.setting.scale
    arguments = [batch.q, View(pages), *table, zeros, own, *batch.results(), *ROPE, scale]
    return Case(name, function, arguments)


def paged_case(name: str, function: str, batch: Batch, causal: bool) -> Case:
    pages, table = batch.paged()
    offsets, own = integers([0] * len(batch.lengths)), integers(np.concatenate(batch.positions))
    arguments = [
        batch.q, batch.starts(), View(pages), *table, offsets, own,
        *batch.results(), int(causal), *ROPE, batch.setting.scale,
    ]  # fmt: skip
    return Case(name, function, arguments)


def ragged_case(name: str, function: str, batch: Batch, causal: bool) -> Case:
    pairs = [batch.keys_values(sequence) for sequence in range(len(batch.lengths))]
    k, v = (np.concatenate([pair[which] for pair in pairs]) for which in range(2))
    starts = integers([0, *np.cumsum(batch.lengths)])
    offsets, rope = integers([0] * len(batch.lengths)), integers([0] * sum(batch.counts))
    arguments = [
        batch.q, batch.starts(), k, v, starts, rope, offsets,
        *batch.results(), int(causal), *ROPE, batch.setting.scale,
    ]  # fmt: skip
    return Case(name, function, arguments)


def decode_batch(setting: Setting, lengths: tuple[int, ...]) -> Batch:
    return Batch(setting, lengths, (1,) * len(lengths))


def prefill_batch(setting: Setting, lengths: tuple[int, ...]) -> Batch:
    return Batch(setting, lengths, tuple(QUERIES[length] for length in lengths))


def ragged_batch(setting: Setting, lengths: tuple[int, ...]) -> Batch:
    """A chunk attends to itself: as many queries as keys, or with an unwindowed layer fewer."""
    return Batch(setting, lengths, lengths) if setting.window else prefill_batch(setting, lengths)


def attention_kernels(setting: Setting, schedule: str) -> dict[str, Any]:
    """The three functions that the KV cache gets, as the compiler picks them."""
    spec = CacheSpec(1, *setting.heads, DIM, None, setting.window, setting.softcap)
    attach = AttachKVCache(spec, setting.dtype, schedule, kernel_runner.target())
    ragged, paged, decode = attach._attention(
        setting.shape, lambda made: made, lambda made, _name: made
    )
    names = [f"{kind}_{schedule}_{setting.kernels}" for kind in ("ragged", "paged", "decode")]
    return dict(zip(names, (ragged, paged, decode), strict=True))


def attention_cases(setting: Setting, schedule: str) -> list[Case]:
    cases = []
    label, kernels = f"{schedule}_{setting.label}", f"{schedule}_{setting.kernels}"
    for lengths in LENGTHS:
        batch = decode_batch(setting, lengths)
        cases.append(decode_case(f"decode_{label}_{lengths}", f"decode_{kernels}", batch))
        batch, ragged = prefill_batch(setting, lengths), ragged_batch(setting, lengths)
        for causal in (True, False):
            tail = f"{label}_{lengths}_{causal}"
            cases.append(paged_case(f"paged_{tail}", f"paged_{kernels}", batch, causal))
            cases.append(ragged_case(f"ragged_{tail}", f"ragged_{kernels}", ragged, causal))
    return cases


APPENDED = [37, -1, 0, 16, 15, 63]
"""Slots: page 2, none, the first of a page, the last of a page, the last of all."""


def append_inputs(setting: Setting) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(12)
    shape = (len(APPENDED), setting.heads[1], DIM)
    pages = random.normal(0, 1, (4, 2, setting.heads[1], PAGE, DIM)).astype(setting.dtype)
    k, v = (random.normal(0, 1, shape).astype(setting.dtype) for _ in range(2))
    return pages, k, v


@pytest.fixture(scope="module")
def answers(
    missing_tool: Callable[[str], NoReturn], tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    kernels: dict[str, Any] = {}
    cases = []
    for setting in SETTINGS:
        kernels[f"append_{setting.label}"] = attention.append(setting.shape)
        pages, k, v = append_inputs(setting)
        name = f"append_{setting.label}"
        cases.append(Case(name, name, [InOut(pages), k, v, integers(APPENDED)]))
        for schedule in SCHEDULES:
            kernels |= attention_kernels(setting, schedule)
            cases += attention_cases(setting, schedule)
    # A second sequence that holds nothing yet.
    empty = Batch(SETTINGS[0], (5,), (2,))
    starts = [integers([0, 1, 1]), integers([0]), integers([5, 0])]
    pages, _ = Batch(SETTINGS[0], (5,), (1,)).paged()
    zeros = integers([0, 0])
    function = f"decode_fallback_{SETTINGS[0].kernels}"
    arguments = [empty.q, np.nan_to_num(pages), *starts, zeros, zeros, *empty.results()]
    cases.append(Case("empty", function, [*arguments, *ROPE, SCALE]))
    folder = tmp_path_factory.mktemp("attention")
    return kernel_runner.run(kernel_runner.module_of(kernels), cases, folder, missing_tool)


def compare(answers: Answers, name: str, batch: Batch, causal: bool) -> None:
    output, lse = answers.of(name)
    expected, logs = batch.expected(causal)
    allowed = tolerance(batch.setting.dtype)
    assert abs(output - expected).max() <= allowed * max(1, abs(expected).max())
    assert abs(lse - logs).max() <= allowed


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.label)
class TestAttention:
    def test_decode(
        self, answers: Answers, setting: Setting, schedule: str, lengths: tuple[int, ...]
    ) -> None:
        name = f"decode_{schedule}_{setting.label}_{lengths}"
        compare(answers, name, decode_batch(setting, lengths), False)

    @pytest.mark.parametrize("causal", [True, False])
    @pytest.mark.parametrize("keys", ["paged", "ragged"])
    def test_prefill(
        self,
        answers: Answers,
        setting: Setting,
        schedule: str,
        lengths: tuple[int, ...],
        keys: str,
        causal: bool,
    ) -> None:
        name = f"{keys}_{schedule}_{setting.label}_{lengths}_{causal}"
        batch = prefill_batch if keys == "paged" else ragged_batch
        compare(answers, name, batch(setting, lengths), causal)


def test_an_empty_sequence_adds_nothing(answers: Answers) -> None:
    output, lse = answers.of("empty")
    assert np.isfinite(output).all()
    assert not output[1].any()
    # TVM's merge weighs by exp2(lse - maximum): this is nothing beside any score.
    assert (lse[1] < attention.LOWEST).all()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.label)
def test_append_writes_its_slots_and_no_other(answers: Answers, setting: Setting) -> None:
    (found,) = answers.of(f"append_{setting.label}")
    pages, k, v = append_inputs(setting)
    for token, slot in enumerate(APPENDED):
        if slot >= 0:
            pages[slot // PAGE, 0, :, slot % PAGE] = k[token]
            pages[slot // PAGE, 1, :, slot % PAGE] = v[token]
    assert np.array_equal(found, pages)
