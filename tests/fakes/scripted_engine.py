"""An engine that says what a script tells it to: the same tokens here and in TypeScript
(`tests/web/fakes/scripted-api-engine.ts`), from the same scripts. No model at all.

A prompt names its script as `@name`; the last one that is known counts. A token of the prompt is a
byte. What a script may be, tests/contract/api/README.md says.
"""

import codecs
import itertools
import json
import re
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from transom_api.deltas import Logprobs, TokenLogprob
from transom_api.engine import (
    Cancelled,
    ContextOverflow,
    Done,
    Embeddings,
    EngineFailed,
    FinishReason,
    GenerateRequest,
    Input,
    LoadFailed,
    LoadOptions,
    ModelFacts,
    ModelFiles,
    Ranking,
    RequestCancelled,
    SchemaRefused,
    TokenEvent,
)

NAMED: Final = re.compile(r"@([a-z0-9-]+(?:/[0-9]+)?)")
# Texts are cut after so many characters, again and again: never where words end.
CUTS: Final = (3, 1, 4, 1, 5, 9, 2, 6)
# Of a token of an answer, and of those that might have come instead.
FIRST_TOKEN: Final = 300
FIRST_OTHER: Final = 400
VOCABULARY: Final = 512
BOS: Final = 256
PROMPT_SECONDS: Final = 0.5
COMPLETION_SECONDS: Final = 0.25
AGAIN_SECONDS: Final = 0.01
"""Between two tokens of a script that says them again and again."""
WIDTH: Final = 16
"""Of a vector."""
ERRORS: Final = {
    "context-overflow": ContextOverflow,
    "invalid-schema": SchemaRefused,
    "engine-failed": EngineFailed,
}

Script = Mapping[str, Any]


class ScriptedEngine:
    """A model of `models.json`, by its row. Threads may share it."""

    def __init__(
        self,
        row: Mapping[str, Any],
        scripts: Mapping[str, Any],
        cancelled: threading.Semaphore | None = None,
    ) -> None:
        self.facts = ModelFacts(
            context_tokens=row.get("context", 4096),
            bos=row.get("bos", ""),
            adds_bos="bos" in row,
            image_marker=row.get("image_marker"),
            parallel=4,
            vocabulary=VOCABULARY,
        )
        self.cancelled = threading.Semaphore(0) if cancelled is None else cancelled
        """Released for each answer that nobody waited for."""
        self._scripts = scripts
        self._subjects, self._width = row.get("subjects"), row.get("width", WIDTH)
        self._closed = False

    def generate(
        self, request: GenerateRequest, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        tokens = len(self.tokenize(request.prompt, around=True))
        if tokens >= self.facts.context_tokens:
            raise ContextOverflow(
                f"the prompt has {tokens} tokens, the context window {self.facts.context_tokens}"
            )
        script = self._script(request)
        answers = [
            self._answer(request, script, choice, tokens) for choice in range(request.choices)
        ]
        try:
            # Side by side, a token each.
            for step in itertools.zip_longest(*answers):
                yield from (event for event in step if event is not None)
                if script.get("again"):
                    time.sleep(AGAIN_SECONDS)
            while script.get("waits"):
                if cancelled():
                    raise RequestCancelled("nobody waits")
                time.sleep(0.01)
        except (GeneratorExit, RequestCancelled):
            self.cancelled.release()
            raise

    def _script(self, request: GenerateRequest) -> Script:
        names = [name for name in NAMED.findall(request.prompt) if name in self._scripts]
        said = self._scripts[names[-1]] if names else "ok"
        script: Script = said if isinstance(said, dict) else {"tokens": said}
        tells = script.get("tells")
        # What is told of a request holds its stop texts.
        if tells == "prompt":
            return {"tokens": request.prompt, "stops": False}
        return {"tokens": told(request), "stops": False} if tells == "request" else script

    def _answer(
        self, request: GenerateRequest, script: Script, choice: int, prompt_tokens: int
    ) -> Iterator[TokenEvent | Done]:
        answers = script.get("answers")
        given = answers[choice % len(answers)] if answers else script.get("tokens", "")
        own = cut(given)
        pieces: Iterator[bytes] = iter(own)
        if request.ignore_eos or script.get("again"):
            pieces = itertools.cycle(own)
        finish: FinishReason = script.get("finish", "stop")
        room = self.facts.context_tokens - prompt_tokens
        most = room if request.max_tokens < 0 else min(request.max_tokens, room)
        fails = script.get("fails")
        text, count, stop = Text(request.stop if script.get("stops", True) else ()), 0, None
        for piece in pieces:
            if fails and count == script.get("after", 0):
                raise ERRORS[fails["code"]](fails["message"])
            if count == most:
                finish = "length"
                break
            token, count = FIRST_TOKEN + count, count + 1
            if token in request.stop_token_ids:
                break
            said, stop = text.take(piece)
            yield TokenEvent(
                (token,),
                said.encode(),
                choice,
                () if request.logprobs is None else (logprobs(piece, token, request.logprobs),),
                prompt_tokens,
            )
            if stop is not None:
                finish = "stop"
                break
        if fails and count <= script.get("after", 0):
            raise ERRORS[fails["code"]](fails["message"])
        if stop is None and (rest := text.rest()):
            yield TokenEvent((), rest.encode(), choice, (), prompt_tokens)
        yield Done(
            finish,
            prompt_tokens,
            script.get("cached", 0),
            count,
            PROMPT_SECONDS,
            COMPLETION_SECONDS,
            choice,
            stop,
        )

    def embed(self, inputs: Sequence[Input], cancelled: Cancelled) -> Embeddings:
        rows = [self.tokenize(each, around=True) if isinstance(each, str) else each
                for each in inputs]  # fmt: skip
        for number, row in enumerate(rows):
            if len(row) > self.facts.context_tokens:
                raise ContextOverflow(
                    f"input {number} has {len(row)} tokens, "
                    f"the context window {self.facts.context_tokens}"
                )
        return Embeddings(tuple(self._vector(row) for row in rows), sum(map(len, rows)))

    def _vector(self, tokens: Sequence[int]) -> tuple[float, ...]:
        if self._subjects is None:
            return vector(tokens)
        text = self.detokenize(tokens)
        said = (any(word in text for word in words) for words in self._subjects)
        subject = next((number for number, is_said in enumerate(said) if is_said), -1)
        return tuple(float(number == subject + 1) for number in range(self._width))

    def rerank(self, query: str, documents: Sequence[str], cancelled: Cancelled) -> Ranking:
        raise NotImplementedError  # a browser has no reranker

    def tokenize(self, text: str, *, special: bool = True, around: bool = False) -> tuple[int, ...]:
        """Bytes, and BOS around them where the model has one."""
        opening = (BOS,) if around and self.facts.adds_bos else ()
        return (*opening, *text.encode(errors="replace"))

    def detokenize(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token < BOS).decode(errors="replace")

    def alive(self) -> bool:
        return not self._closed

    def resident_bytes(self) -> int:
        return 1000

    def close(self) -> None:
        self._closed = True


class ScriptedLoader:
    """Loads models of `models.json`: `rows` are by the hex digests of their weights."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]], scripts: Mapping[str, Any]) -> None:
        self.cancelled = threading.Semaphore(0)
        """Of all engines."""
        self._rows, self._scripts = rows, scripts

    def __call__(
        self, files: ModelFiles, options: LoadOptions, cancelled: Cancelled
    ) -> ScriptedEngine:
        row = next(row for digest, row in self._rows.items() if digest in files.weights)
        if row.get("broken"):
            raise LoadFailed("its file ends too early")
        return ScriptedEngine(row, self._scripts, self.cancelled)


class Text:
    """Whole characters of an answer, held back while they may become a text that ends it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def take(self, piece: bytes) -> tuple[str, str | None]:
        """What is certain, and the text that ended the answer."""
        self._held += self._decoder.decode(piece)
        found = [(self._held.find(stop), stop) for stop in self._stops if stop in self._held]
        if found:
            at, stop = min(found, key=lambda row: row[0])
            return self._held[:at], stop
        keep = max((_overlap(self._held, stop) for stop in self._stops), default=0)
        said = self._held[: len(self._held) - keep]
        self._held = self._held[len(said) :]
        return said, None

    def rest(self) -> str:
        """What was held back, and what is left of a character that was never whole."""
        return self._held + self._decoder.decode(b"", final=True)


def _overlap(text: str, stop: str) -> int:
    """How much of a stop text's beginning this text ends with."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)


def cut(given: str | Sequence[Any]) -> list[bytes]:
    """A script's tokens as bytes: texts, lists of bytes, or one text that is cut."""
    if not isinstance(given, str):
        return [each.encode() if isinstance(each, str) else bytes(each) for each in given]
    pieces: list[bytes] = []
    at = 0
    for size in itertools.cycle(CUTS):
        if at >= len(given):
            return pieces
        pieces.append(given[at : at + size].encode())
        at += size
    raise AssertionError


def logprobs(piece: bytes, token: int, count: int) -> Logprobs:
    """An eighth less likely each token; whole numbers among them, as JSON has two words for one."""
    logprob = -(token - FIRST_TOKEN + 1) / 8
    text = piece.decode(errors="replace")
    chosen = TokenLogprob(text, logprob, tuple(piece), token)
    others = [
        TokenLogprob(
            f"other {number}", logprob - number / 4, tuple(f"other {number}".encode()),
            FIRST_OTHER + number,
        )
        for number in range(1, count)
    ]  # fmt: skip
    return Logprobs(chosen, (chosen, *others) if count else ())


def vector(tokens: Sequence[int]) -> tuple[float, ...]:
    """A vector of length 1 whose numbers a float32 holds exactly; other tokens, other signs."""
    sign = 0
    for token in tokens:
        sign = (sign * 31 + token) % 65_521
    return tuple(0.25 if sign >> number & 1 else -0.25 for number in range(WIDTH))


def told(request: GenerateRequest) -> str:
    """What the engine was asked for, but the prompt, as JSON."""
    value = {
        **asdict(request.sampling),
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "json_schema": request.json_schema,
        "grammar": request.grammar,
        "stop_token_ids": list(request.stop_token_ids),
        "ignore_eos": request.ignore_eos,
        "logit_bias": [list(row) for row in request.logit_bias],
        "choices": request.choices,
        "logprobs": request.logprobs,
        "preserved": list(request.preserved),
    }
    return json.dumps(whole(value), ensure_ascii=False, separators=(",", ":"))


def whole(value: Any) -> Any:
    """JavaScript writes 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return [whole(item) for item in value] if isinstance(value, list | tuple) else value
