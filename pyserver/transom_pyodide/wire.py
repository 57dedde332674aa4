"""What crosses the border to JavaScript: JSON texts and strings, as web/src/api-protocol.ts has
them, and the objects that take them. Knows no HTTP.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from transom_api.deltas import Logprobs, TokenLogprob
from transom_api.engine import Done, GenerateRequest, ModelFacts, TokenEvent
from transom_pyodide.errors import error_of

# JSON has no infinity; null stands for it, both ways.
_NEVER: Final = -float("inf")


class Call(Protocol):
    """What the engine was asked, on its way."""

    @property
    def done(self) -> Awaitable[str]:
        """The result, after the last events; also soon after `abort`."""
        ...

    def abort(self) -> None:
        """End the work; without effect when it is over."""
        ...


class Engine(Protocol):
    """`EngineCalls`. Texts are JSON: a payload in, `{"value": …}` or `{"error": {"code",
    "message"}}` out."""

    def call(self, kind: str, payload: str) -> Call: ...

    def complete(self, payload: str, on_events: Callable[[str], None]) -> Call:
        """`on_events` gets JSON lists of `CompleteEvent`s, several together."""
        ...

    def rendering(self, model: str) -> None:
        """Its chat template is about to run, which may have no end; "": it has ended."""
        ...


class Channel(Protocol):
    """One HTTP answer: `head`, any number of `write`, `end` or `break_off`; or `refuse` alone."""

    def head(self, status: int, headers: str) -> None:
        """`headers` is a JSON list of pairs."""
        ...

    def write(self, text: str) -> None: ...

    def end(self) -> None: ...

    def break_off(self) -> None:
        """Its status is said, and it cannot come to an end: the client's connection breaks."""
        ...

    def refuse(self, error: str, status: int, headers: str, body: str) -> None:
        """Somebody else may do it; `error` is a `WireError` as JSON, the rest the answer for
        whoever has nobody else to ask."""
        ...


async def ask(engine: Engine, kind: str, payload: Mapping[str, Any] | None) -> Any:
    """The value of a call; whoever is cancelled while waiting for it ends the engine's work. Raises
    as `value_of`."""
    call = engine.call(kind, json.dumps(payload))
    try:
        result = await call.done
    except asyncio.CancelledError:
        call.abort()
        raise
    return value_of(kind, result)


def value_of(kind: str, text: str) -> Any:
    """Of a result. Raises what `error_of` makes of an error."""
    result = json.loads(text)
    error = result.get("error")
    if error is not None:
        raise error_of(kind, error)
    return result["value"]


def request_json(model: str, request: GenerateRequest) -> str:
    """`CompleteRequest`."""
    sampling = request.sampling
    return json.dumps(
        {
            "model": model,
            "prompt": request.prompt,
            "sampling": {
                "temperature": sampling.temperature,
                "topK": sampling.top_k,
                "topP": sampling.top_p,
                "minP": sampling.min_p,
                "typicalP": sampling.typical_p,
                "repeatLastN": sampling.repeat_last_n,
                "repeatPenalty": sampling.repeat_penalty,
                "presencePenalty": sampling.presence_penalty,
                "frequencyPenalty": sampling.frequency_penalty,
                "seed": sampling.seed,
            },
            "maxTokens": request.max_tokens,
            "stop": request.stop,
            "jsonSchema": request.json_schema,
            "grammar": request.grammar,
            "stopTokenIds": request.stop_token_ids,
            "ignoreEos": request.ignore_eos,
            "logitBias": [
                (token, None if bias == _NEVER else bias) for token, bias in request.logit_bias
            ],
            "choices": request.choices,
            "logprobs": request.logprobs,
            "preserved": request.preserved,
        }
    )


def events_of(text: str) -> list[TokenEvent | Done]:
    """A list of `CompleteEvent`s."""
    return [_event(row) for row in json.loads(text)]


def _event(row: Mapping[str, Any]) -> TokenEvent | Done:
    if row["kind"] == "token":
        logprobs = row["logprobs"]
        return TokenEvent(
            tuple(row["tokenIds"]),
            # JavaScript's texts may hold half a character.
            row["text"].encode(errors="replace"),
            row["choice"],
            tuple(map(_logprobs, logprobs)) if logprobs else (),
            row["promptTokens"],
        )
    return Done(
        finish_reason=row["finishReason"],
        prompt_tokens=row["promptTokens"],
        cached_tokens=row["cachedTokens"],
        completion_tokens=row["completionTokens"],
        prompt_seconds=row["promptSeconds"],
        completion_seconds=row["completionSeconds"],
        choice=row["choice"],
        stop=row["stop"],
    )


def _logprobs(row: Mapping[str, Any]) -> Logprobs:
    return Logprobs(_token(row["chosen"]), tuple(map(_token, row["top"])))


def _token(row: Mapping[str, Any]) -> TokenLogprob:
    logprob = row["logprob"]
    return TokenLogprob(
        token=row["text"],
        # A whole number in JavaScript is a float here, as it is in the server.
        logprob=_NEVER if logprob is None else float(logprob),
        bytes=tuple(row["bytes"]),
        id=row["id"],
    )


def facts_of(opened: Mapping[str, Any]) -> ModelFacts:
    """Of an `OpenedModel`. It sees and hears nothing."""
    return ModelFacts(
        context_tokens=opened["contextTokens"],
        bos=opened["bos"],
        eos=opened["eos"],
        adds_bos=opened["addsBos"],
        parallel=opened["parallel"],
        vocabulary=opened["vocabulary"],
    )
