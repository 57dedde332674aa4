"""OpenAI's Responses: the request, the response, and the events of its stream."""

from typing import Final

from transom_api.chat import MAX_MESSAGES, MAX_PARTS, MAX_TOOLS, MAX_TOP_LOGPROBS
from transom_api.openai_responses import items, request, tools
from transom_api.openapi.openai import STRICT, loading
from transom_api.openapi.options import MODEL
from transom_api.openapi.schema import (
    Schema,
    answer,
    anything,
    choice,
    const,
    either,
    flag,
    json_object,
    nullable,
    number,
    record,
    ref,
    refused,
    rows,
    table,
    text,
    whole,
)

_NAME: Final = text(pattern=tools.NAME.pattern)
_TOKENS: Final = whole(least=1, most=request.MAX_TOKENS)
_COUNT: Final = whole(least=0)


def schemas() -> dict[str, Schema]:
    return {
        "ResponseItemParam": _item_param(),
        "ResponseRequest": record(
            {"model": MODEL, "input": _input()}, _fields(), "A body of `/v1/responses`."
        ),
        "Response": _response(),
        "ResponseItem": _item(),
        "ResponseEvent": answer(
            {"type": text(least=1), "sequence_number": _COUNT},
            {
                "response": ref("Response"),
                "item": ref("ResponseItem"),
                "item_id": text(),
                "output_index": _COUNT,
                "content_index": _COUNT,
                "summary_index": _COUNT,
                "part": _said(),
                "delta": text(),
                "text": text(),
                "name": text(),
                "arguments": text(),
                "logprobs": rows(_logprob()),
                "code": nullable(text()),
                "message": text(),
                "param": nullable(text()),
            },
            "An event of the stream, named by its type.",
        ),
        "ResponseDeleted": answer(
            {"id": text(), "object": const("response"), "deleted": const(True)}
        ),
    }


def _fields() -> dict[str, Schema]:
    efforts, summaries = choice(request.EFFORTS), choice(request.SUMMARIES)
    return {
        **loading(),
        **refused(request.REFUSED),
        "stream": flag("Answer piece by piece, as server-sent events."),
        "stream_options": record({}, refused(request.REFUSED_STREAM_OPTIONS)),
        "instructions": text("The system's words, for this response alone."),
        "previous_response_id": text("A kept response that this one goes on with."),
        "store": flag("Keep it, to go on with. Default true."),
        "add_generation_prompt": flag("True: the answer is a message of its own."),
        "continue_final_message": flag("Whether to go on with the model's last item."),
        "tools": rows(_tool(), most=MAX_TOOLS),
        "tool_choice": either(
            choice(tools.MODES),
            record({"type": const("function"), "name": _NAME}),
            record(
                {
                    "type": const("allowed_tools"),
                    "tools": rows(record({"name": _NAME}), least=1, most=MAX_TOOLS),
                },
                {"mode": choice(tools.ALLOWED_MODES)},
            ),
        ),
        "parallel_tool_calls": flag("Whether more than one may be called. Default true."),
        "max_tool_calls": _TOKENS,
        "max_output_tokens": _TOKENS,
        "top_logprobs": whole(least=0, most=MAX_TOP_LOGPROBS),
        "include": rows(choice(request.INCLUDED), most=len(request.INCLUDED)),
        "metadata": table(
            nullable(text(most=request.MAX_METADATA_CHARS)), most=request.MAX_METADATA
        ),
        "reasoning": record(
            {},
            {
                "effort": efforts,
                "summary": summaries,
                "generate_summary": summaries,
                "mode": const("standard"),
            },
        ),
        "text": record(
            {},
            {
                "verbosity": choice(request.VERBOSITIES),
                "format": either(
                    record({"type": choice(("text", "json_object"))}),
                    record(
                        {"type": const("json_schema"), "schema": json_object("A JSON schema.")},
                        {"name": text(), "description": text(), "strict": STRICT},
                    ),
                ),
            },
        ),
        "truncation": const("disabled"),
        **{name: text("Changes nothing here.") for name in request.PASSED_OVER},
    }


def _tool() -> Schema:
    return record(
        {"type": const("function"), "name": _NAME},
        {
            "description": text(),
            "parameters": json_object("A JSON schema."),
            "strict": STRICT,
            **refused({"defer_loading": "tools are not searched; leave it out"}),
            "allowed_callers": rows(text(), "With direct among them.", most=MAX_TOOLS),
        },
    )


def _input() -> Schema:
    return either(text(least=1), rows(ref("ResponseItemParam"), least=1, most=MAX_MESSAGES))


def _item_param() -> Schema:
    state = {"status": choice(items.STATES)}
    part = either(
        record({"type": choice(items.TEXTS), "text": text()}),
        record({"type": const("refusal")}, {"refusal": text()}),
        record(
            {"type": const("input_image"), "image_url": text("A data: URL.", least=1)},
            {"detail": text(), "file_id": text("Refused where there is no image_url.")},
        ),
    )
    content = either(text(), rows(part, most=MAX_PARTS))
    thoughts = rows(record({}, {"text": text()}), most=MAX_PARTS)
    call_id = text(least=1)
    return either(
        record(
            {"role": choice(items.ROLES), "content": content}, {"type": const("message"), **state}
        ),
        record({"type": const("reasoning")}, {"content": thoughts, "summary": thoughts, **state}),
        record(
            {"type": const("function_call"), "call_id": call_id, "name": text(least=1)},
            {"arguments": text("JSON."), **state},
        ),
        record(
            {"type": const("function_call_output"), "call_id": call_id, "output": content}, state
        ),
        about="A message, or what the model thought, called, and was answered.",
    )


def _logprob() -> Schema:
    one = {"token": text(), "bytes": rows(whole(least=0, most=255)), "logprob": number()}
    return answer({**one, "top_logprobs": rows(answer(one))})


def _said() -> Schema:
    return either(
        answer({"type": choice(("reasoning_text", "summary_text")), "text": text()}),
        answer(
            {
                "type": const("output_text"),
                "text": text(),
                "annotations": rows(anything()),
                "logprobs": rows(_logprob()),
            }
        ),
    )


def _item() -> Schema:
    head = {"id": text(), "status": choice(items.STATES)}
    return either(
        answer(
            {
                **head,
                "type": const("message"),
                "role": const("assistant"),
                "content": rows(_said()),
            }
        ),
        answer(
            {**head, "type": const("reasoning"), "summary": rows(_said())},
            {"content": rows(_said())},
        ),
        answer(
            {
                **head,
                "type": const("function_call"),
                "call_id": text(),
                "name": text(),
                "arguments": text(),
            }
        ),
    )


def _response() -> Schema:
    usage = answer(
        {
            "input_tokens": _COUNT,
            "input_tokens_details": answer({"cached_tokens": _COUNT, "cache_write_tokens": _COUNT}),
            "output_tokens": _COUNT,
            "output_tokens_details": answer({"reasoning_tokens": _COUNT}),
            "total_tokens": _COUNT,
        }
    )
    states = ("in_progress", "completed", "incomplete", "failed")
    return answer(
        {
            "id": text(pattern="resp_[0-9a-f]+"),
            "object": const("response"),
            "created_at": _COUNT,
            "status": choice(states),
            "error": nullable(answer({"code": text(), "message": text()})),
            "incomplete_details": nullable(answer({"reason": const("max_output_tokens")})),
            "output": rows(ref("ResponseItem")),
            "usage": nullable(usage),
            "model": text(),
            "instructions": nullable(text()),
            "previous_response_id": nullable(text()),
            "metadata": table(text()),
            "parallel_tool_calls": flag(),
            "store": flag(),
            "tools": rows(json_object()),
            "tool_choice": either(text(), json_object()),
            "truncation": const("disabled"),
        },
        about="A response, whole or as far as it has come.",
        closed=False,
    )
