"""Anthropic's dialect: messages, their events, counted tokens, the list of models."""

from typing import Final

from transom_api.anthropic import content, messages
from transom_api.chat import MAX_MESSAGES, MAX_PARTS, MAX_STOPS, MAX_TOOLS
from transom_api.openapi.openai import loading
from transom_api.openapi.options import MODEL
from transom_api.openapi.schema import (
    Schema,
    answer,
    choice,
    const,
    either,
    flag,
    json_object,
    nullable,
    record,
    ref,
    refused,
    rows,
    text,
    whole,
)
from transom_models.modelfile.parameters import MAX_STOP_CHARS

_NAME: Final = text(pattern=messages.NAME.pattern)
_COUNT: Final = whole(least=0)
_CACHED: Final = {"cache_control": json_object("Passed over: equal beginnings are always kept.")}
_BUDGET: Final = whole(
    "A target, not a limit; less than max_tokens.",
    least=messages.LEAST_BUDGET,
    most=messages.MAX_TOKENS,
)


def schemas() -> dict[str, Schema]:
    required = {"model": MODEL, "messages": _turns()}
    most = whole("Tokens of the answer at most.", least=1, most=messages.MAX_TOKENS)
    return {
        "AnthropicBlockParam": _block_param(),
        "MessagesRequest": record(
            {**required, "max_tokens": most}, _without("max_tokens"), "A body of `/v1/messages`."
        ),
        "CountTokensRequest": record(required, _fields(), "A body of `/v1/messages/count_tokens`."),
        "AnthropicMessage": _message(),
        "AnthropicBlock": _block(),
        "AnthropicEvent": _event(),
        "CountedTokens": answer({"input_tokens": _COUNT}),
        "AnthropicModel": answer(
            {
                "type": const("model"),
                "id": text(least=1),
                "display_name": text(least=1),
                "created_at": text("RFC 3339."),
                "lifecycle": const("active"),
            }
        ),
        "AnthropicModelList": answer(
            {
                "data": rows(ref("AnthropicModel")),
                "has_more": flag(),
                "first_id": nullable(text()),
                "last_id": nullable(text()),
            },
            about="Given to whoever sends `anthropic-version`.",
        ),
    }


def _without(name: str) -> dict[str, Schema]:
    return {key: row for key, row in _fields().items() if key != name}


def _fields() -> dict[str, Schema]:
    stop = text(least=1, most=MAX_STOP_CHARS)
    form = record({"schema": json_object("A JSON schema.")}, {"type": const("json_schema")})
    display = {"display": choice(messages.DISPLAYS)}
    edit = record({"type": text(pattern="clear_thinking_.+"), "keep": const("all")})
    return {
        **loading(),
        **refused(messages.REFUSED),
        **_CACHED,
        "stream": flag("Answer piece by piece, as server-sent events."),
        "system": either(text(), rows(_text(), most=MAX_PARTS)),
        "stop_sequences": either(stop, rows(stop, most=MAX_STOPS)),
        "thinking": either(
            record({"type": choice(("disabled", "adaptive"))}, display),
            record({"type": const("enabled"), "budget_tokens": _BUDGET}, display),
        ),
        "output_config": record({}, {"effort": choice(messages.EFFORTS), "format": form}),
        "output_format": form,
        "tools": rows(_tool(), most=MAX_TOOLS),
        "tool_choice": either(
            record(
                {"type": choice(("auto", "any", "none"))}, {"disable_parallel_tool_use": flag()}
            ),
            record({"type": const("tool"), "name": _NAME}, {"disable_parallel_tool_use": flag()}),
        ),
        "metadata": record({}, {"user_id": text()}),
        "service_tier": choice(messages.TIERS),
        "inference_geo": text(),
        "user_profile_id": text(),
        "speed": const("standard"),
        "context_management": record({}, {"edits": rows(edit, most=MAX_TOOLS)}),
    }


def _turns() -> Schema:
    blocks = either(text(), rows(ref("AnthropicBlockParam"), most=MAX_PARTS))
    turn = record({"role": choice(content.ROLES), "content": blocks})
    return rows(turn, "Turns of one role are one turn.", least=1, most=MAX_MESSAGES)


def _text() -> Schema:
    return record({"type": const("text"), "text": text()})


def _block_param() -> Schema:
    image = record(
        {"type": const("base64"), "data": text("PNG, JPEG, GIF or BMP in base64.", least=1)},
        {"media_type": text()},
    )
    texts = either(text(), rows(_text(), most=MAX_PARTS))
    cites = {"citations": record({}, refused({"enabled": "answers cite nothing"}))}
    document = either(
        record({"type": const("text"), "data": text(least=1)}),
        record({"type": const("content"), "content": texts}),
    )
    pictures = rows(
        either(_text(), record({"type": const("image"), "source": image})), most=MAX_PARTS
    )
    return either(
        _text(),
        record({"type": const("image"), "source": image}),
        record(
            {"type": const("document"), "source": document},
            {"title": text(), "context": text(), **cites},
        ),
        record(
            {"type": const("search_result"), "title": text(least=1), "source": text(least=1)},
            {"content": texts, **cites},
        ),
        record({"type": const("thinking")}, {"thinking": text(), "signature": text()}),
        record({"type": const("redacted_thinking")}, {"data": text()}),
        record(
            {
                "type": const("tool_use"),
                "id": text(least=1),
                "name": text(least=1),
                "input": json_object(),
            },
        ),
        record(
            {"type": const("tool_result"), "tool_use_id": text(least=1)},
            {"content": either(text(), pictures), "is_error": flag()},
        ),
        about="Text and pictures by the user, thoughts and calls by the assistant.",
    )


def _tool() -> Schema:
    return record(
        {"name": _NAME, "input_schema": record({}, {"type": const("object")}, "A JSON schema.")},
        {
            "type": const("custom"),
            "description": text(),
            "strict": flag(),
            "eager_input_streaming": flag(),
            "input_examples": rows(json_object(), most=messages.MAX_EXAMPLES),
            "allowed_callers": either(text(), rows(text(), most=MAX_TOOLS)),
            **refused({"defer_loading": "tools are not searched; leave it out"}),
            **_CACHED,
        },
    )


def _block() -> Schema:
    return either(
        answer({"type": const("text"), "text": text()}),
        answer({"type": const("thinking"), "thinking": text(), "signature": text()}),
        answer(
            {
                "type": const("tool_use"),
                "id": text(least=1),
                "name": text(least=1),
                "input": json_object(),
            }
        ),
    )


def _usage() -> Schema:
    return answer(
        {
            "input_tokens": _COUNT,
            "cache_creation_input_tokens": _COUNT,
            "cache_read_input_tokens": _COUNT,
            "output_tokens": _COUNT,
        },
        {
            "output_tokens_details": answer({"thinking_tokens": _COUNT}),
            "service_tier": const("standard"),
        },
    )


def _stopped() -> dict[str, Schema]:
    reasons = ("end_turn", "max_tokens", "stop_sequence", "tool_use")
    return {
        "stop_reason": nullable(choice((*reasons, "model_context_window_exceeded"))),
        "stop_sequence": nullable(text()),
    }


def _message() -> Schema:
    return answer(
        {
            "id": text(pattern="msg_[0-9a-f]+"),
            "type": const("message"),
            "role": const("assistant"),
            "model": text(),
            "content": rows(ref("AnthropicBlock")),
            **_stopped(),
            "usage": _usage(),
        }
    )


def _event() -> Schema:
    deltas = {
        "text_delta": "text",
        "thinking_delta": "thinking",
        "signature_delta": "signature",
        "input_json_delta": "partial_json",
    }
    delta = either(*(answer({"type": const(kind), name: text()}) for kind, name in deltas.items()))
    return either(
        answer({"type": const("message_start"), "message": ref("AnthropicMessage")}),
        answer({"type": choice(("ping", "message_stop"))}),
        answer(
            {
                "type": const("content_block_start"),
                "index": _COUNT,
                "content_block": ref("AnthropicBlock"),
            }
        ),
        answer({"type": const("content_block_delta"), "index": _COUNT, "delta": delta}),
        answer({"type": const("content_block_stop"), "index": _COUNT}),
        answer({"type": const("message_delta"), "delta": answer(_stopped()), "usage": _usage()}),
        ref("AnthropicError"),
        about="An event of the stream, named by its type.",
    )
