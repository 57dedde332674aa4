"""Answers of Ollama's dialect, and the lines of its streams."""

from typing import Final

from transom_api.openapi.schema import (
    Schema,
    answer,
    anything,
    choice,
    const,
    either,
    json_object,
    number,
    ref,
    rows,
    text,
    whole,
)

_COUNT: Final = whole(least=0)
_NANOSECONDS: Final = whole("Nanoseconds.", least=0)
_FIGURES: Final = {
    "done": const(True),
    "done_reason": choice(("stop", "length", "load", "unload")),
}
_COUNTS: Final = {
    "total_duration": _NANOSECONDS,
    "load_duration": _NANOSECONDS,
    "prompt_eval_count": _COUNT,
    "prompt_eval_duration": _NANOSECONDS,
    "eval_count": _COUNT,
    "eval_duration": _NANOSECONDS,
}


def schemas() -> dict[str, Schema]:
    chat, generate = _said_in_chat(), _said()
    return {
        "OllamaDetails": _details(),
        "OllamaChat": _whole(*chat),
        "OllamaChatLine": _line(*chat),
        "OllamaGenerate": _whole(*generate),
        "OllamaGenerateLine": _line(*generate),
        "OllamaEmbed": answer(
            {
                "model": text(),
                "embeddings": rows(rows(number())),
                "total_duration": _NANOSECONDS,
                "load_duration": _NANOSECONDS,
                "prompt_eval_count": _COUNT,
            },
            {"truncated": rows(_COUNT, "Numbers of the inputs that lost their end.")},
        ),
        "OllamaEmbeddings": answer({"embedding": rows(number())}),
        "OllamaTags": answer({"models": rows(_tag())}),
        "OllamaLoaded": answer({"models": rows(_loaded())}),
        "OllamaShown": _shown(),
        "OllamaVersion": answer({"version": text(least=1)}),
        "OllamaProgress": either(
            answer(
                {"status": text(least=1)},
                {"digest": text(), "total": _COUNT, "completed": _COUNT},
            ),
            ref("OllamaError"),
        ),
    }


def _logprobs() -> dict[str, Schema]:
    one = {"token": text(), "logprob": number(), "bytes": rows(whole(least=0, most=255))}
    return {"logprobs": rows(answer({**one, "top_logprobs": rows(answer(one))}))}


def _calls() -> dict[str, Schema]:
    function = answer({"index": _COUNT, "name": text(), "arguments": anything()})
    return {"tool_calls": rows(answer({"id": text(), "function": function}))}


def _said_in_chat() -> tuple[dict[str, Schema], dict[str, Schema]]:
    message = answer(
        {"role": const("assistant"), "content": text()}, {"thinking": text(), **_calls()}
    )
    head = {"model": text(), "created_at": text(), "message": message}
    return head, _logprobs()


def _said() -> tuple[dict[str, Schema], dict[str, Schema]]:
    head = {"model": text(), "created_at": text(), "response": text()}
    return head, {"thinking": text(), **_calls(), **_logprobs()}


def _whole(head: dict[str, Schema], more: dict[str, Schema]) -> Schema:
    return answer({**head, **_FIGURES}, {**more, **_COUNTS})


def _line(head: dict[str, Schema], more: dict[str, Schema]) -> Schema:
    return either(
        answer({**head, "done": const(False)}, more),
        answer({**head, **_FIGURES}, {**more, **_COUNTS}),
        ref("OllamaError"),
        about="A line of the stream; the last one is done.",
    )


def _details() -> Schema:
    names = ("parent_model", "format", "family", "parameter_size", "quantization_level")
    return answer(
        {},
        {
            **{name: text() for name in names},
            "families": rows(text()),
            "context_length": _COUNT,
            "embedding_length": _COUNT,
        },
    )


def _tag() -> Schema:
    return answer(
        {
            "name": text(least=1),
            "model": text(least=1),
            "modified_at": text(),
            "size": _COUNT,
            "digest": text(pattern="[0-9a-f]{64}"),
            "details": ref("OllamaDetails"),
        },
        {"capabilities": rows(text())},
    )


def _loaded() -> Schema:
    return answer(
        {
            "name": text(least=1),
            "model": text(least=1),
            "size": _COUNT,
            "digest": text(pattern="[0-9a-f]{64}"),
            "details": ref("OllamaDetails"),
            "expires_at": text(),
            "size_vram": _COUNT,
            "context_length": _COUNT,
        },
        closed=False,
    )


def _shown() -> Schema:
    message = answer({"role": text(), "content": text()})
    tensor = answer({"name": text(), "type": text(), "shape": rows(_COUNT)})
    return answer(
        {
            "modelfile": text(),
            "details": ref("OllamaDetails"),
            "model_info": json_object("The metadata of the weights."),
            "modified_at": text(),
        },
        {
            "license": text(),
            "parameters": text(),
            "template": text(),
            "system": text(),
            "messages": rows(message),
            "projector_info": json_object(),
            "tensors": rows(tensor),
            "capabilities": rows(text()),
            "requires": text(),
        },
    )
