"""Answers of OpenAI's dialect: chats, completions, vectors, models; and chunks of streams."""

from typing import Final

from transom_api.openapi.schema import (
    Schema,
    answer,
    choice,
    const,
    either,
    nullable,
    number,
    ref,
    rows,
    table,
    text,
    whole,
)

_COUNT: Final = whole(least=0)
_FINISH: Final = ("stop", "length", "tool_calls", "function_call")


def schemas() -> dict[str, Schema]:
    head = _head("chat.completion")
    chunk = _head("chat.completion.chunk")
    return {
        "ChatUsage": _usage(),
        "Timings": _timings(),
        "ChatCompletion": answer({**head, "choices": rows(_choice()), **_figures()}),
        "ChatCompletionChunk": either(
            answer(
                {**chunk, "choices": rows(_chunk_choice(), least=1)},
                {"usage": const(None), "timings": ref("Timings")},
            ),
            answer({**chunk, "choices": rows({}, most=0), **_figures()}),
            ref("OpenAIError"),
            about="A `data:` line of the stream; the last one is `[DONE]`.",
        ),
        "Completion": answer(
            {**_head("text_completion"), "choices": rows(_text_choice()), **_figures()}
        ),
        "CompletionChunk": either(
            answer(
                {**_head("text_completion"), "choices": rows(_text_choice(), least=1)},
                {"usage": nullable(ref("ChatUsage")), "timings": ref("Timings")},
            ),
            answer({**_head("text_completion"), "choices": rows({}, most=0), **_figures()}),
            ref("OpenAIError"),
            about="A `data:` line of the stream; the last one is `[DONE]`.",
        ),
        "CountedChatTokens": answer({"object": const("chat.input_tokens"), "input_tokens": _COUNT}),
        "CountedResponseTokens": answer(
            {"object": const("response.input_tokens"), "input_tokens": _COUNT}
        ),
        "Embeddings": answer(
            {
                "object": const("list"),
                "data": rows(
                    answer(
                        {
                            "object": const("embedding"),
                            "index": _COUNT,
                            "embedding": either(rows(number()), text("Base64 of float32.")),
                        }
                    )
                ),
                "model": text(),
                "usage": answer({"prompt_tokens": _COUNT, "total_tokens": _COUNT}),
            }
        ),
        "Model": answer(
            {
                "id": text(least=1),
                "object": const("model"),
                "created": _COUNT,
                "owned_by": text(),
            }
        ),
        "ModelList": answer({"object": const("list"), "data": rows(ref("Model"))}),
    }


def _head(kind: str) -> dict[str, Schema]:
    return {
        "id": text(),
        "object": const(kind),
        "created": _COUNT,
        "model": text(),
        "system_fingerprint": const(None),
    }


def _figures() -> dict[str, Schema]:
    return {"usage": ref("ChatUsage"), "timings": ref("Timings")}


def _usage() -> Schema:
    return answer(
        {
            "prompt_tokens": _COUNT,
            "completion_tokens": _COUNT,
            "total_tokens": _COUNT,
            "prompt_tokens_details": answer({"cached_tokens": _COUNT}),
            "completion_tokens_details": answer({"reasoning_tokens": _COUNT}),
        }
    )


def _timings() -> Schema:
    found: dict[str, Schema] = {"cache_n": _COUNT, "load_ms": number(least=0)}
    for name in ("prompt", "predicted"):
        found |= {
            f"{name}_n": _COUNT,
            f"{name}_ms": number(least=0),
            f"{name}_per_token_ms": nullable(number()),
            f"{name}_per_second": nullable(number()),
        }
    drafts = {"draft_n": _COUNT, "draft_n_accepted": _COUNT}
    return answer(found, drafts, about="llama-server's figures.", closed=False)


def _logprobs() -> Schema:
    return nullable(answer({"content": rows(_token()), "refusal": const(None)}))


def _token() -> Schema:
    one = {"token": text(), "logprob": number(), "bytes": rows(whole(least=0, most=255))}
    known = {"id": _COUNT}
    return answer({**one, "top_logprobs": rows(answer(one, known))}, known)


def _choice() -> Schema:
    function = answer({"name": text(), "arguments": text()})
    message = answer(
        {"role": const("assistant"), "content": nullable(text()), "refusal": const(None)},
        {
            "reasoning_content": text(),
            "tool_calls": rows(
                answer({"id": text(), "type": const("function"), "function": function})
            ),
            "function_call": function,
        },
    )
    return answer(
        {
            "index": _COUNT,
            "message": message,
            "logprobs": _logprobs(),
            "finish_reason": choice(_FINISH),
        },
        {"stop_reason": text()},
    )


def _chunk_choice() -> Schema:
    function = answer({"arguments": text()}, {"name": text()})
    delta = answer(
        {},
        {
            "role": const("assistant"),
            "content": text(),
            "refusal": const(None),
            "reasoning_content": text(),
            "tool_calls": rows(
                answer(
                    {"index": _COUNT, "function": function},
                    {"id": text(), "type": const("function")},
                )
            ),
            "function_call": function,
        },
    )
    return answer(
        {
            "index": _COUNT,
            "delta": delta,
            "logprobs": _logprobs(),
            "finish_reason": nullable(choice(_FINISH)),
        },
        {"stop_reason": text()},
    )


def _text_choice() -> Schema:
    logprobs = answer(
        {
            "tokens": rows(text()),
            "token_logprobs": rows(number()),
            "top_logprobs": nullable(rows(table(number()))),
            "text_offset": rows(_COUNT),
            "content": rows(_token()),
        }
    )
    return answer(
        {
            "index": _COUNT,
            "text": text(),
            "logprobs": nullable(logprobs),
            "finish_reason": nullable(choice(_FINISH)),
        },
        {"stop_reason": text()},
    )
