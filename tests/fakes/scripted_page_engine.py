"""`ScriptedEngine` on the other side of the border to JavaScript, but in CPython: JSON in and out,
with numbers as JavaScript writes them. What `tests/web/fakes/scripted-api-engine.ts` is in a page.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from tests.fakes.scripted_engine import VOCABULARY, ScriptedEngine, whole
from transom_api.deltas import TokenLogprob
from transom_api.engine import (
    ContextOverflow,
    Done,
    EngineFailed,
    GenerateRequest,
    Sampling,
    SchemaRefused,
    TokenEvent,
)
from transom_models.errors import TransomError

# The page's words for what engines raise.
_CODES: Final[Mapping[type[TransomError], str]] = {
    ContextOverflow: "context-overflow",
    SchemaRefused: "invalid-request",
    EngineFailed: "engine-crashed",
}


class ScriptedPageEngine:
    """`catalogue` are `ModelRow`s; `models` and `scripts` as in tests/contract/api."""

    def __init__(
        self,
        catalogue: Sequence[Mapping[str, Any]],
        models: Mapping[str, Mapping[str, Any]],
        scripts: Mapping[str, Any],
    ) -> None:
        self.aborts = 0
        self._catalogue, self._models = catalogue, models
        self._engines = {name: ScriptedEngine(row, scripts) for name, row in models.items()}
        self._loaded: set[str] = set()

    def call(self, kind: str, payload: str) -> "ScriptedCall":
        async def answer() -> str:
            await asyncio.sleep(0)
            return self._answer(kind, json.loads(payload))

        return ScriptedCall(answer())

    def complete(self, payload: str, on_events: Callable[[str], None]) -> "ScriptedCompletion":
        asked = json.loads(payload)
        return ScriptedCompletion(self, self._engines[asked["model"]], asked, on_events)

    def rendering(self, model: str) -> None:
        pass

    def _answer(self, kind: str, asked: Any) -> str:
        try:
            return json.dumps({"value": whole(self._value(kind, asked))})
        except TransomError as error:
            return failure(error)

    def _value(self, kind: str, asked: Any) -> Any:
        match kind:
            case "models":
                loaded = self._loaded
                return [
                    {**row, "loadedBytes": 1000 if row["name"] in loaded else None}
                    for row in self._catalogue
                ]
            case "open":
                return self._opened(asked["name"])
            case "unload":
                self._loaded.discard(asked["model"])
                return None
        engine = self._engines[asked["model"]]
        match kind:
            case "tokenize":
                return engine.tokenize(asked["text"], around=asked["around"])
            case "detokenize":
                return engine.detokenize(asked["tokens"])
            case "embed":
                inputs = [i if isinstance(i, str) else tuple(i) for i in asked["inputs"]]
                found = engine.embed(inputs, lambda: False)
                return {"vectors": [list(row) for row in found.vectors], "tokens": found.tokens}
        raise AssertionError(kind)

    def _opened(self, name: str) -> Mapping[str, Any]:
        row = self._models.get(name)
        if row is None:
            raise PageError("model-not-found", f"nobody has {name}")
        if row.get("broken"):
            raise PageError("invalid-bundle", "its file ends too early")
        self._loaded.add(name)
        return {
            "name": name,
            "loadSeconds": 0,
            "engine": "webgpu",
            "contextTokens": row.get("context", 4096),
            "vocabulary": VOCABULARY,
            "bos": row.get("bos", ""),
            "eos": "",
            "addsBos": "bos" in row,
            "parallel": 4,
            "task": row.get("task", "generate"),
            "template": row.get("template"),
            "system": row.get("system"),
            "messages": row.get("messages", []),
            "parameters": row.get("parameters", {}),
            "license": None,
        }


class PageError(TransomError):
    """A `WireError`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def failure(error: TransomError) -> str:
    """The result of a call that failed."""
    code = error.code if isinstance(error, PageError) else _CODES[type(error)]
    return json.dumps({"error": {"code": code, "message": str(error)}})


class ScriptedCall:
    """Is over too soon to be stopped."""

    def __init__(self, done: Awaitable[str]) -> None:
        self.done = done

    def abort(self) -> None:
        pass


class ScriptedCompletion:
    """One answer; `done` is awaited once. Two events come together."""

    def __init__(
        self,
        owner: ScriptedPageEngine,
        engine: ScriptedEngine,
        asked: Mapping[str, Any],
        on_events: Callable[[str], None],
    ) -> None:
        self._owner, self._engine, self._asked, self._on_events = owner, engine, asked, on_events
        self._is_aborted = False
        self.done: Awaitable[str] = asyncio.ensure_future(self._run())

    def abort(self) -> None:
        self._owner.aborts += not self._is_aborted
        self._is_aborted = True

    async def _run(self) -> str:
        events = self._engine.generate(_request(self._asked), lambda: self._is_aborted)
        try:
            waiting: list[Any] = []
            for event in events:
                await asyncio.sleep(0)
                waiting.append(whole(_event(event)))
                if len(waiting) == 2:
                    self._on_events(json.dumps(waiting))
                    waiting = []
                if self._is_aborted:
                    return json.dumps({"value": None})
            self._on_events(json.dumps(waiting))
        except TransomError as error:
            self._on_events(json.dumps(waiting))
            return failure(error)
        return json.dumps({"value": None})


def _request(asked: Mapping[str, Any]) -> GenerateRequest:
    sampling = asked["sampling"]
    return GenerateRequest(
        prompt=asked["prompt"],
        sampling=Sampling(
            temperature=sampling["temperature"],
            top_k=sampling["topK"],
            top_p=sampling["topP"],
            min_p=sampling["minP"],
            typical_p=sampling["typicalP"],
            repeat_last_n=sampling["repeatLastN"],
            repeat_penalty=sampling["repeatPenalty"],
            presence_penalty=sampling["presencePenalty"],
            frequency_penalty=sampling["frequencyPenalty"],
            seed=sampling["seed"],
        ),
        max_tokens=asked["maxTokens"],
        stop=tuple(asked["stop"]),
        json_schema=asked["jsonSchema"],
        grammar=asked["grammar"],
        stop_token_ids=tuple(asked["stopTokenIds"]),
        ignore_eos=asked["ignoreEos"],
        logit_bias=tuple((token, bias) for token, bias in asked["logitBias"]),
        choices=asked["choices"],
        logprobs=asked["logprobs"],
        preserved=tuple(asked["preserved"]),
    )


def _event(event: TokenEvent | Done) -> dict[str, Any]:
    if isinstance(event, TokenEvent):
        return {
            "kind": "token",
            "choice": event.choice,
            "tokenIds": list(event.token_ids),
            "text": event.text.decode(),
            "logprobs": [
                {"chosen": _token(row.chosen), "top": [_token(one) for one in row.top]}
                for row in event.logprobs
            ],
            "promptTokens": event.prompt_tokens,
        }
    return {
        "kind": "done",
        "choice": event.choice,
        "finishReason": event.finish_reason,
        "promptTokens": event.prompt_tokens,
        "cachedTokens": event.cached_tokens,
        "completionTokens": event.completion_tokens,
        "promptSeconds": event.prompt_seconds,
        "completionSeconds": event.completion_seconds,
        "stop": event.stop,
    }


def _token(token: TokenLogprob) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": token.token,
        "bytes": list(token.bytes),
        "logprob": token.logprob,
    }
