"""What is compared and how near it must be. Pure: numbers in, verdicts out.

The limits are those that the tests hold (tests/e2e/test_fidelity.py): two logits nearer than a tie
are a coin toss for sums in another order, and what the engine computes in f16 may leave the oracle
a little more.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]

TOP: Final = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """How far one compute type may be from the oracle. None: a figure, no verdict.

    `tie`: the logit gap below which two tokens are equally good. `may_leave`: part of the prompts
    that may leave the oracle's text by more than a tie. `logits`: most that a logit may differ,
    both sides normalised. `perplexity`: most that the perplexities may differ, relative.
    """

    tie: float
    may_leave: float
    logits: float | None
    same_top: bool
    perplexity: float


LIMITS: Final = {
    "float32": Limits(tie=1e-2, may_leave=0.0, logits=2e-2, same_top=True, perplexity=1e-3),
    "float16": Limits(tie=5e-2, may_leave=0.2, logits=None, same_top=False, perplexity=5e-3),
}
# llama.cpp rounds activations on a quantized file; what is left of that in the mean of a text.
QUANTIZED_PERPLEXITY: Final = 5e-3


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table. `passed` None: told, not judged."""

    library: str
    name: str
    found: str
    limit: str
    passed: bool | None
    figures: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "library": self.library,
            "check": self.name,
            "found": self.found,
            "limit": self.limit,
            "passed": self.passed,
            "figures": self.figures,
        }


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a greedy answer leaves the oracle's. `gap`: how much less likely its token is there,
    as a difference of logits by the oracle. `step` None: nowhere."""

    step: int | None
    gap: float = 0.0

    def __str__(self) -> str:
        return "equal" if self.step is None else f"token {self.step}, gap {self.gap:.1e}"


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> int | None:
    """First index at which two lists differ, one's end included; None when they are equal."""
    for index, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        if our != their:
            return index
    return None if len(ours) == len(theirs) else min(len(ours), len(theirs))


def check_ids(name: str, ours: Sequence[int], theirs: Sequence[int]) -> Check:
    """Token ids of one text: equal, or where they first differ."""
    step = first_difference(ours, theirs)
    if step is None:
        return Check("tokenizer", name, f"{len(ours)} ids equal", "equal", True, {})
    our, their = ours[step : step + 1], theirs[step : step + 1]
    found = f"id {step}: ours {[*our]}, llama.cpp {[*their]}"
    figures = {"at": step, "ours": len(ours), "llama_cpp": len(theirs)}
    return Check("tokenizer", name, found, "equal", False, figures)


def check_greedy(library: str, departures: Sequence[Departure], limits: Limits) -> Check:
    """Greedy answers against the oracle's, ties aside."""
    left = [one for one in departures if one.step is not None and one.gap >= limits.tie]
    ties = [one for one in departures if one.step is not None and one.gap < limits.tie]
    allowed = math.floor(limits.may_leave * len(departures) + 0.5)
    equal = len(departures) - len(left) - len(ties)
    found = "; ".join(
        [f"{equal} of {len(departures)} equal", *(f"tie at {one}" for one in ties)]
        + [f"leaves at {one}" for one in left]
    )
    limit = f"gap < {limits.tie:g}" + (f", {allowed} may leave" if allowed else "")
    steps = [{"token": one.step, "gap": one.gap} for one in departures]
    return Check(library, "greedy text", found, limit, len(left) <= allowed, {"departures": steps})


def check_logits(library: str, ours: Sequence[F32], theirs: Sequence[F32], limits: Limits) -> Check:
    """Logits after each prompt, normalised; `theirs` are log-probabilities, [vocabulary] each."""
    differences = [
        float(np.abs(log_softmax(our) - their).max())
        for our, their in zip(ours, theirs, strict=True)
    ]
    same = [best(our) == best(their) for our, their in zip(ours, theirs, strict=True)]
    worst, is_same = max(differences), all(same)
    top = f"top {TOP} {'equal' if is_same else 'differ'}"
    passed = None
    limit = "none"
    if limits.logits is not None:
        passed = worst <= limits.logits and (is_same or not limits.same_top)
        limit = f"<= {limits.logits:g}, top {TOP} equal"
    figures = {"max_difference": worst, "same_top": is_same}
    return Check(library, "first logits", f"{worst:.1e}, {top}", limit, passed, figures)


def check_perplexity(
    library: str,
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    limit: float,
    *,
    rounded: bool = False,
) -> Check:
    """Perplexities of one text by log-probabilities of its tokens.

    The figure in brackets is the standard error of the ratio: how much of it is this text's.
    `rounded`: the other side rounds activations, whose error is as large as the limit on a short
    text; beyond the limit by less than its standard error, a ratio says nothing.
    """
    differences = np.asarray(theirs) - np.asarray(ours)
    our, their = perplexity(ours), perplexity(theirs)
    ratio = our / their
    error = float(differences.std()) / math.sqrt(differences.size)
    worst = float(np.abs(differences).max())
    found = f"{our:.4f} / {their:.4f} = {ratio:.5f} (± {error:.5f})"
    passed = abs(ratio - 1) <= limit + (error if rounded else 0.0)
    allowed = f"within {limit:.1%}{' and its error' if rounded else ''}"
    figures = {
        "ours": our,
        "llama_cpp": their,
        "ratio": ratio,
        "standard_error": error,
        "max_token_difference": worst,
        "tokens": int(differences.size),
    }
    return Check(library, f"perplexity, {name}", found, allowed, passed, figures)


def perplexity(log_probabilities: Sequence[float]) -> float:
    """e to the mean surprise."""
    return math.exp(-math.fsum(log_probabilities) / len(log_probabilities))


def log_softmax(logits: F32) -> F32:
    """Logits as natural logarithms of probabilities, [vocabulary]."""
    values = logits.astype(np.float64)
    largest = values.max()
    total = math.log(np.exp(values - largest).sum())
    return np.asarray(values - largest - total, np.float32)


def best(logits: F32) -> set[int]:
    """The ids of the highest logits."""
    return {int(token) for token in np.argpartition(logits, -TOP)[-TOP:]}
