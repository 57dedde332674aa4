"""What the samplers choose on the GPU, from a real model's logits, by numpy's arithmetic.

The filters are written here once more, from llama.cpp's documentation of them; the engine's own
TypeScript is not asked what may be chosen, only whether it chooses the same.
"""

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.e2e import node_engine
from tests.e2e.commands import Prompt

F64 = npt.NDArray[np.float64]

PROGRAM = "program-f32-fallback.json"
SEEDS = 240
STEPS = 3
FEWEST_EXPECTED = 5
"""Of a bin of the chi-square test; rarer tokens share one."""
UNLIKELY = 3.7
"""Standard deviations: one run in ten thousand, and the seeds never change."""
LOGPROB = 1e-4
EDGE = 1e-4
"""A token this near to a filter's edge, in probability, may fall on either side."""

PLAIN: Mapping[str, Any] = {"temperature": 1, "topP": 1}
BIASED, BANNED, ALLOWED = 28, 36951, (10, 20, 30, 40, 1000)
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "plain": PLAIN,
    "hot, top k": {**PLAIN, "temperature": 1.5, "topK": 40},
    "top k beyond a small one": {**PLAIN, "temperature": 2, "topK": 100},
    "top p": {**PLAIN, "topP": 0.9},
    "min p": {**PLAIN, "minP": 0.02},
    "typical": {**PLAIN, "typicalP": 0.7},
    "all": {
        **{"temperature": 0.8, "topK": 50, "typicalP": 0.95, "topP": 0.9, "minP": 0.01},
    },
    "penalties": {
        **PLAIN,
        **{"repeatPenalty": 1.5, "presencePenalty": 0.5, "frequencyPenalty": 0.7},
        **{"repeatLastN": -1, "logitBias": {str(BIASED): 4}},
    },
    "banned": {**PLAIN, "logitBias": {str(BANNED): -1000}},
    "masked": {**PLAIN, "allowed": ALLOWED},
    "greedy": {"temperature": 0, "topP": 1},
}

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(1800)]


class Drawn:
    """One process's draws of all settings."""

    def __init__(self, prompt: Prompt, logits: F64, rows: tuple[dict[str, Any], ...]) -> None:
        self.prompt = prompt
        self.logits = logits
        self.rows = dict(zip(SETTINGS, rows, strict=True))


@pytest.fixture(scope="module")
def drawn(
    bundle: Path,
    web_build: Path,
    llvmpipe: dict[str, str],
    prompts: list[Prompt],
    tmp_path_factory: pytest.TempPathFactory,
) -> Drawn:
    del web_build
    prompt = prompts[1]
    request = {
        "promptTokenIds": prompt.token_ids,
        "settings": list(SETTINGS.values()),
        "seeds": SEEDS,
        "steps": STEPS,
    }
    folder = tmp_path_factory.mktemp("draws")
    logits, rows = node_engine.draws(bundle, PROGRAM, request, folder, llvmpipe)
    return Drawn(prompt, logits.astype(np.float64), rows)


def softmax(logits: F64) -> F64:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def adjusted(setting: Mapping[str, Any], logits: F64, history: tuple[int, ...]) -> F64:
    logits = logits.copy()
    for token, bias in setting.get("logitBias", {}).items():
        logits[int(token)] += bias
    for token, count in Counter(history if "repeatPenalty" in setting else ()).items():
        repeat = setting["repeatPenalty"]
        logits[token] = logits[token] / repeat if logits[token] > 0 else logits[token] * repeat
        logits[token] -= count * setting["frequencyPenalty"] + setting["presencePenalty"]
    if "allowed" in setting:
        outside = np.setdiff1d(np.arange(logits.size), setting["allowed"])
        logits[outside] = -np.inf
    return logits


def passing(setting: Mapping[str, Any], logits: F64, slack: float = 0.0) -> npt.NDArray[np.int64]:
    """Ids that pass all filters, the likeliest first; `slack` moves each edge outwards."""
    order = np.argsort(-logits, kind="stable")[: setting.get("topK") or logits.size]
    order = order[np.isfinite(logits[order])]
    if setting.get("typicalP", 1) < 1:
        share = softmax(logits[order])
        entropy = -(share * np.log(share)).sum()
        typical = np.argsort(np.abs(-np.log(share) - entropy), kind="stable")
        held = np.cumsum(share[typical]) - share[typical]
        kept = typical[held < setting["typicalP"] + slack]
        order = order[np.sort(kept)]
    share = softmax(logits[order])
    held = np.cumsum(share) - share
    passes = (held < setting["topP"] + slack) & (share >= setting.get("minP", 0) * share[0] - slack)
    passes[0] = True
    return np.asarray(order[passes])


@pytest.mark.parametrize("name", SETTINGS)
def test_only_what_passes_is_drawn_as_often_as_it_is_likely(name: str, drawn: Drawn) -> None:
    setting = SETTINGS[name]
    chosen = Counter(drawn.rows[name]["gpu"])
    logits = adjusted(setting, drawn.logits, drawn.prompt.token_ids)
    if setting["temperature"] == 0:
        assert set(chosen) == {int(logits.argmax())}
        return
    assert set(chosen) <= set(passing(setting, logits, EDGE).tolist())

    ids = passing(setting, logits)
    expected = SEEDS * softmax(logits[ids] / setting["temperature"])
    often = expected >= FEWEST_EXPECTED
    seen = np.array([chosen[int(token)] for token in ids[often]], float)
    bins = [*zip(seen, expected[often], strict=True)]
    if expected[~often].sum() >= FEWEST_EXPECTED:
        bins.append((SEEDS - seen.sum(), float(expected[~often].sum())))
    statistic = sum((count - mean) ** 2 / mean for count, mean in bins)
    deviations = _normal(statistic, len(bins) - 1)
    print(f"\n{name}: {len(ids)} pass, {len(bins)} bins, {deviations:+.2f} standard deviations")
    assert deviations < UNLIKELY


def _normal(chi_square: float, freedom: int) -> float:
    """Wilson and Hilferty: the cube root of a chi-square is nearly normal."""
    if freedom < 1:
        return 0.0
    spread = 2 / (9 * freedom)
    return (math.cbrt(chi_square / freedom) - (1 - spread)) / math.sqrt(spread)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_seed_draws_the_same_on_the_cpu_and_in_company(name: str, drawn: Drawn) -> None:
    row = drawn.rows[name]
    assert row["gpu"][: len(row["cpu"])] == row["cpu"]
    # Up to eight settings in one step: another program's sampler, the same tokens.
    assert row["rows"]["gpu"] == row["rows"]["cpu"]
    assert len(row["rows"]["gpu"]) == STEPS


@pytest.mark.parametrize("name", SETTINGS)
def test_log_probabilities_are_the_models_own(name: str, drawn: Drawn) -> None:
    """Before bias, penalties, filters and temperature."""
    logprobs = np.log(softmax(drawn.logits))
    ranked = drawn.rows[name]["ranked"]
    assert ranked["tokenId"] == drawn.rows[name]["gpu"][0]
    assert abs(ranked["logprob"] - logprobs[ranked["tokenId"]]) < LOGPROB
    best = np.sort(logprobs)[::-1][:20]
    for (token, logprob), expected in zip(
        ((one["tokenId"], one["logprob"]) for one in ranked["top"]), best, strict=True
    ):
        assert abs(logprob - logprobs[token]) < LOGPROB
        assert abs(logprob - expected) < LOGPROB
