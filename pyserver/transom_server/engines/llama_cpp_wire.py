"""Our words for a request and its answer in those of llama.cpp's server, and back. Pure."""

import base64
import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any, Final

from transom_api.deltas import Logprobs, TokenLogprob
from transom_api.engine import (
    ContextOverflow,
    Done,
    EngineError,
    EngineFailed,
    GenerateRequest,
    ModelFacts,
    SchemaRefused,
    TokenEvent,
)
from transom_api.fields import InvalidField

MAX_REASON_CHARS: Final = 300
# JSON has no minus infinity; OpenAI writes this for a token that is not to be had.
NEVER_LOGPROB: Final = -9999.0
# Of one step; a line of 20 alternatives to each stays far below asyncio's 64 KiB for lines.
JOINED_TOKENS: Final = 8
# Its words for a grammar that it cannot read.
_BAD_GRAMMAR: Final = "Failed to initialize samplers: "
# And for one that no text can satisfy, which it learns on the way.
_DEAD_END: Final = "Unexpected empty grammar stack"
_TOO_LONG: Final = re.compile(r"^input \((\d+) tokens\) is too large .* batch size: (\d+)\)")

# Of the last event, which else repeats the prompt and all settings.
_LAST_FIELDS: Final = (
    "index",
    "content",
    "tokens",
    "tokens_evaluated",
    "tokens_predicted",
    "stop",
    "stop_type",
    "stopping_word",
    "timings",
)

# And for pictures and sounds.
_BAD_MEDIA: Final = "Failed to load image or audio file"

Event = dict[str, Any]


class MediaRefused(EngineError, InvalidField):
    """A field that only the engine can judge, as it unpacks it."""


def completion(
    request: GenerateRequest, facts: ModelFacts, slot: int, choices: int
) -> dict[str, Any]:
    """The body of `/completion` for so many choices. Raises `EngineError`."""
    sampling = asdict(request.sampling)
    if not 0 <= sampling["repeat_last_n"] <= facts.context_tokens:
        # llama.cpp takes no -1, and sets memory aside for as many as it is told.
        sampling["repeat_last_n"] = facts.context_tokens
    body: dict[str, Any] = {
        "prompt": _prompt(request, facts.image_marker or facts.sound_marker),
        "stream": True,
        "return_tokens": True,
        "response_fields": _LAST_FIELDS,
        "cache_prompt": request.cache_prompt,
        "id_slot": slot,
        "n_cmpl": choices,
        "n_predict": request.max_tokens,
        "stop": list(request.stop),
        "ignore_eos": request.ignore_eos,
        **sampling,
    }
    if request.json_schema is not None:
        body["json_schema"] = request.json_schema
    if request.grammar is not None:
        body["grammar"] = request.grammar
        # How far the prompt is read: who waits for a grammar must know that it is not that.
        body["return_progress"] = True
    if request.logit_bias:
        body["logit_bias"] = [
            [token, False if bias == -math.inf else bias] for token, bias in request.logit_bias
        ]
    if request.logprobs is not None:
        # At least one, else it tells none.
        body["n_probs"] = max(1, request.logprobs)
    if request.lora is not None:
        body["lora"] = [{"id": place, "scale": scale} for place, scale in enumerate(request.lora)]
    if request.preserved:
        body["preserved_tokens"] = list(request.preserved)
    if request.stop_token_ids:
        # So that an answer which we end has its figures.
        body["timings_per_token"] = True
    return body


def _prompt(request: GenerateRequest, marker: str | None) -> Any:
    if not request.images:
        return request.prompt
    found = 0 if marker is None else request.prompt.count(marker)
    if found != len(request.images):
        raise EngineError(f"the prompt has room for {found} images, not {len(request.images)}")
    if marker is not None and request.prompt.endswith(marker):
        # llama.cpp aborts, because nothing is left to continue from.
        raise EngineError("the prompt ends with an image; write something after it")
    data = [base64.b64encode(image).decode() for image in request.images]
    return {"prompt_string": request.prompt, "multimodal_data": data}


def is_prompt_read(event: Event) -> bool:
    """Whether an event says that the whole prompt is read, as each token does."""
    progress = event.get("prompt_progress")
    return progress is None or bool(progress["processed"] >= progress["total"])


def token_event(event: Event, choice: int, logprobs: int | None) -> TokenEvent:
    """A step of an answer."""
    rows = event.get("completion_probabilities", ()) if logprobs is not None else ()
    found = tuple(
        Logprobs(_logprob(row), tuple(map(_logprob, row["top_logprobs"][:logprobs])))
        for row in rows
    )
    return TokenEvent(
        tuple(event["tokens"]), event["content"].encode(), choice, found, event["tokens_evaluated"]
    )


def joined(steps: Iterable[TokenEvent | Done]) -> list[TokenEvent | Done]:
    """Tokens that came together as one step: a reader that falls behind catches up.

    Of `JOINED_TOKENS` at most.
    """
    found: list[TokenEvent | Done] = []
    for step in steps:
        last = found[-1] if found else None
        if (
            isinstance(step, TokenEvent)
            and isinstance(last, TokenEvent)
            and last.choice == step.choice
            and len(last.token_ids) + len(step.token_ids) <= JOINED_TOKENS
        ):
            found[-1] = replace(
                step,
                token_ids=last.token_ids + step.token_ids,
                text=last.text + step.text,
                logprobs=last.logprobs + step.logprobs,
            )
        else:
            found.append(step)
    return found


def _logprob(row: dict[str, Any]) -> TokenLogprob:
    value = row["logprob"]
    return TokenLogprob(
        row["token"],
        NEVER_LOGPROB if value is None else float(value),
        tuple(row["bytes"]),
        row["id"],
    )


def done(event: Event, choice: int) -> Done:
    """The last step of an answer; of one that we ended, its last token."""
    timings = event["timings"]
    cached = max(0, timings["cache_n"])
    kind = event.get("stop_type")
    return Done(
        finish_reason="length" if kind == "limit" else "stop",
        prompt_tokens=cached + max(0, timings["prompt_n"]),
        cached_tokens=cached,
        completion_tokens=event["tokens_predicted"],
        prompt_seconds=max(0.0, timings["prompt_ms"]) / 1000,
        completion_seconds=max(0.0, timings["predicted_ms"]) / 1000,
        choice=choice,
        stop=event["stopping_word"] if kind == "word" else None,
        drafted_tokens=timings.get("draft_n", 0),
        accepted_tokens=timings.get("draft_n_accepted", 0),
    )


def schema_refused(reason: str) -> SchemaRefused:
    """What its log says of a schema."""
    reason = reason.rpartition("failed to compile JSON schema: ")[2]
    return SchemaRefused(f"the JSON schema cannot be used: {reason[:MAX_REASON_CHARS]}")


def grammar_refused() -> SchemaRefused:
    """One that ran into too many ways to go on."""
    return SchemaRefused(
        "the grammar cannot be used: it reads the same text in so many ways that one step took too"
        " long; write it so that each text is read in one way, or ask with json_schema"
    )


def refusal(data: bytes, context_is_whole: bool = False) -> EngineError:
    """llama.cpp's error object as ours. `context_is_whole`: the model has no larger context."""
    try:
        error = json.loads(data)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        return EngineFailed("it refuses without a reason")
    # A text to embed is computed in one piece, as long as the context.
    piece = _TOO_LONG.search(message)
    if piece is not None:
        error = {"n_prompt_tokens": int(piece[1]), "n_ctx": int(piece[2])}
    if piece is not None or error.get("type") == "exceed_context_size_error":
        way_out = (
            ", all that this model was trained for; shorten the conversation"
            if context_is_whole
            else "; ask with a larger num_ctx, or shorten the conversation"
        )
        return ContextOverflow(
            f"the prompt has {error['n_prompt_tokens']} tokens, and the context window (num_ctx) "
            f"holds {error['n_ctx']}{way_out}"
        )
    if message.startswith(_BAD_GRAMMAR):
        reason = message.removeprefix(_BAD_GRAMMAR)[:MAX_REASON_CHARS]
        return SchemaRefused(f"the grammar cannot be used: {reason}")
    if _BAD_MEDIA in message:
        return MediaRefused(None, "a picture or a sound of this request is damaged; send it whole")
    if _DEAD_END in message:
        return SchemaRefused("the grammar cannot be used: it comes to where nothing can follow")
    return EngineError(f"llama.cpp: {message[:MAX_REASON_CHARS]}")
