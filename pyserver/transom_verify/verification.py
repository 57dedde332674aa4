"""The order of a verification: llama.cpp twice, then each browser library, then the table.

The oracle is llama.cpp on an F32 GGUF of the same weights; on the file itself its kernels round
activations too, so there only the perplexity is held to it.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader

from transom_verify import figures
from transom_verify.browser_engine import EngineRun, Passage, run_engine
from transom_verify.errors import VerifyError
from transom_verify.f32_gguf import is_f32, write_f32_gguf
from transom_verify.figures import Check, Departure
from transom_verify.llama_cpp import LlamaCpp

Tell = Callable[[str], None]

CHAT_TEMPLATE: Final = "tokenizer.chat_template"
# What a perplexity needs at least: below, one token would decide it.
MIN_TEXT_TOKENS: Final = 64
# The answers of the prompts, above the text: llama.cpp needs a place for each.
_SPARE_TOKENS: Final = 512


@dataclass(frozen=True, slots=True)
class Request:
    """What to compare. `bundle`: folder of the browser's files. `libraries`: their names.

    `text` is cut to half of `context_tokens`, the bundle's window, so that everything fits.
    """

    bundle: Path
    gguf: Path
    libraries: Sequence[str]
    context_tokens: int
    text: str
    prompts: Sequence[Sequence[dict[str, str]]]
    tokens: int
    driver: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Oracle:
    """What llama.cpp says. `passage`: the ids that everybody reads, the first half given.

    A model without a chat template is asked to continue the last message's text.
    """

    has_template: bool
    text_ids: list[int]
    passage: Passage
    prompt_ids: list[list[int]]
    answers: list[list[int]]
    first_log_probabilities: list[npt.NDArray[np.float32]]
    scores: list[float]


@dataclass(frozen=True, slots=True)
class Verification:
    """The table, and which adapter the engine ran on."""

    checks: tuple[Check, ...]
    adapter: str

    @property
    def passed(self) -> bool:
        return all(check.passed is not False for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        return {
            "adapter": self.adapter,
            "passed": self.passed,
            "checks": [check.to_json() for check in self.checks],
        }


def bundled_text() -> str:
    """The text that is read where the caller has none: prose, code and figures, nine scripts."""
    return files("transom_verify").joinpath("text.txt").read_text("utf-8")


def bundled_prompts() -> list[list[dict[str, str]]]:
    """Conversations to answer greedily."""
    prompts: list[list[dict[str, str]]] = json.loads(
        files("transom_verify").joinpath("prompts.json").read_text("utf-8")
    )
    return prompts


def verify(request: Request, tell: Tell) -> Verification:
    """Compare; `tell` hears what is being done. Raises `VerifyError`."""
    with tempfile.TemporaryDirectory(prefix="transom-verify-") as folder:
        work = Path(folder)
        exact = request.gguf
        if not is_f32(request.gguf):
            tell("writing the F32 GGUF")
            exact = work / "f32.gguf"
            write_f32_gguf(request.gguf, exact, lambda _: None)
        with LlamaCpp(exact, _llama_context(request)) as llama_cpp:
            tell("llama.cpp on the F32 GGUF")
            oracle = _ask_oracle(llama_cpp, request)
        tell("llama.cpp on the file itself")
        with LlamaCpp(request.gguf, _llama_context(request)) as llama_cpp:
            quantized = _score(llama_cpp, oracle.passage)
        checks: list[Check] = []
        adapter = ""
        for library in request.libraries:
            tell(f"the browser engine, {library}")
            run = run_engine(
                request.bundle,
                library,
                request.prompts if oracle.has_template else oracle.prompt_ids,
                request.tokens,
                [oracle.passage],
                request.driver,
                work,
            )
            adapter = describe_adapter(run.load["adapter"])
            if not checks:
                checks += _check_tokenizer(run, oracle)
            with LlamaCpp(exact, _llama_context(request)) as llama_cpp:
                checks += _check_library(library, run, oracle, quantized, llama_cpp)
    return Verification(tuple(checks), adapter)


def describe_adapter(adapter: Mapping[str, Any]) -> str:
    """An AdapterReport in words."""
    names = dict.fromkeys(adapter[key] for key in ("vendor", "architecture", "description"))
    return " ".join(name for name in names if name) or "unnamed adapter"


def _llama_context(request: Request) -> int:
    return request.context_tokens + _SPARE_TOKENS


def _ask_oracle(llama_cpp: LlamaCpp, request: Request) -> _Oracle:
    text_ids = llama_cpp.tokenize(request.text, special=False)
    around = llama_cpp.tokenize("", special=True)
    passage_ids = [*around[:1], *text_ids][: request.context_tokens // 2]
    if len(passage_ids) < MIN_TEXT_TOKENS:
        raise VerifyError(
            f"the text has {len(passage_ids)} tokens; a perplexity needs {MIN_TEXT_TOKENS} or more"
        )
    # As llama.cpp's own perplexity tool: the first half is context, the second is judged.
    passage = Passage(passage_ids, len(passage_ids) // 2, request.text)
    has_template = CHAT_TEMPLATE in GGUFReader(request.gguf).fields
    texts = [
        llama_cpp.render(messages) if has_template else messages[-1]["content"]
        for messages in request.prompts
    ]
    prompt_ids = [llama_cpp.tokenize(text, special=True) for text in texts]
    return _Oracle(
        has_template=has_template,
        text_ids=text_ids,
        passage=passage,
        prompt_ids=prompt_ids,
        answers=[llama_cpp.greedy(ids, request.tokens) for ids in prompt_ids],
        first_log_probabilities=[llama_cpp.log_probabilities(ids) for ids in prompt_ids],
        scores=_score(llama_cpp, passage),
    )


def _score(llama_cpp: LlamaCpp, passage: Passage) -> list[float]:
    ids = passage.token_ids
    return [
        llama_cpp.log_probability(ids[:position], ids[position])
        for position in range(passage.prefilled, len(ids))
    ]


def _check_tokenizer(run: EngineRun, oracle: _Oracle) -> list[Check]:
    checks = [figures.check_ids("text", run.scores[0]["textTokenIds"], oracle.text_ids)]
    if not oracle.has_template:
        return checks
    for number, (answer, ids) in enumerate(zip(run.answers, oracle.prompt_ids, strict=True), 1):
        checks.append(figures.check_ids(f"conversation {number}", answer["promptTokenIds"], ids))
    return checks


def _check_library(
    library: str, run: EngineRun, oracle: _Oracle, quantized: list[float], llama_cpp: LlamaCpp
) -> list[Check]:
    limits = figures.LIMITS[run.load["computeDtype"]]
    departures = [
        _departure(answer, ids, theirs, llama_cpp)
        for answer, ids, theirs in zip(run.answers, oracle.prompt_ids, oracle.answers, strict=True)
    ]
    ours = run.scores[0]["logProbabilities"]
    return [
        figures.check_greedy(library, departures, limits),
        figures.check_logits(
            library, list(run.first_logits), oracle.first_log_probabilities, limits
        ),
        figures.check_perplexity(library, "F32 GGUF", ours, oracle.scores, limits.perplexity),
        figures.check_perplexity(
            library, "the file", ours, quantized, figures.QUANTIZED_PERPLEXITY, rounded=True
        ),
    ]


def _departure(
    answer: dict[str, Any], prompt: Sequence[int], theirs: Sequence[int], llama_cpp: LlamaCpp
) -> Departure:
    """Compare two answers. The engine leaves a stop token out of its answer, llama.cpp does not."""
    ours = list(answer["tokenIds"])
    if answer["stopTokenId"] is not None:
        ours.append(answer["stopTokenId"])
    step = figures.first_difference(ours, theirs)
    if step is None:
        return Departure(None)
    if step >= len(ours) or step >= len(theirs):
        # One went on where the other had the same tokens and stopped for no token: no tie.
        return Departure(step, float("inf"))
    logits = llama_cpp.log_probabilities([*prompt, *theirs[:step]])
    return Departure(step, float(logits.max() - logits[ours[step]]))
