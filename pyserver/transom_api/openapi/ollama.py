"""Ollama's dialect: requests of models, and of the store."""

from typing import Final

from transom_api.chat import MAX_MESSAGES, MAX_PARTS, MAX_TOOLS, MAX_TOP_LOGPROBS
from transom_api.ollama import chat as ollama_chat
from transom_api.ollama import embed as ollama_embed
from transom_api.ollama import management as ollama
from transom_api.openapi.openai import TOOL_CHOICE, TOOL_NAME
from transom_api.openapi.options import KEEP_ALIVE, LORA, OLLAMA_MODEL, options
from transom_api.openapi.schema import (
    Schema,
    choice,
    const,
    either,
    flag,
    json_object,
    record,
    ref,
    refused,
    rows,
    table,
    text,
    whole,
)
from transom_models.digest import PREFIX
from transom_models.modelfile.modelfile import MAX_ADAPTERS, MAX_LICENSES, ROLES
from transom_models.modelfile.modelfile import MAX_MESSAGES as MAX_MODEL_MESSAGES

DIGEST: Final = text("The sha256 of the bytes.", pattern=f"{PREFIX}[0-9a-f]{{64}}")
# Older clients say `name`, and so the schema cannot demand either.
_NAMED: Final = {"model": OLLAMA_MODEL, "name": text("As model, of older clients.", least=1)}
_STREAM: Final = {"stream": flag("Answer piece by piece, as NDJSON. Default true.")}


def schemas() -> dict[str, Schema]:
    loading = {**_NAMED, "options": ref("OllamaOptions"), "keep_alive": KEEP_ALIVE}
    asking = {**loading, "options": record({}, {**options()["properties"], "lora": LORA})}
    return {
        "OllamaOptions": options(),
        "OllamaChatRequest": record(
            {},
            {
                **asking,
                **_common(),
                "messages": rows(
                    _message(), "Without any the model is only loaded.", most=MAX_MESSAGES
                ),
                **_tools(),
            },
            "A body of `/api/chat`.",
        ),
        "OllamaGenerateRequest": record(
            {},
            {
                **asking,
                **_common(),
                "prompt": text("Without one the model is only loaded."),
                "system": text(),
                "template": text("Instead of the model's own."),
                "suffix": text("What comes after the gap that is to be filled."),
                "raw": flag("The prompt as it is, without a template."),
                "images": _images(),
            },
            "A body of `/api/generate`.",
        ),
        "OllamaEmbedRequest": record(
            {},
            {
                **loading,
                "input": either(text(), rows(text(), most=ollama_embed.MAX_INPUTS)),
                "truncate": flag("Cut what is too long. Default true; false refuses it."),
                "dimensions": whole(least=0, most=ollama_embed.MAX_DIMENSIONS),
            },
            "A body of `/api/embed`.",
        ),
        "OllamaEmbeddingsRequest": record(
            {}, {**loading, "prompt": text()}, "A body of `/api/embeddings`."
        ),
        "OllamaShowRequest": record({}, {**_NAMED, "verbose": flag("With arrays and tensors.")}),
        "OllamaDeleteRequest": record({}, _NAMED),
        "OllamaCopyRequest": record({"source": OLLAMA_MODEL, "destination": text(least=1)}),
        "OllamaTransferRequest": record(
            {},
            {
                **_NAMED,
                **_STREAM,
                "insecure": flag("Plain HTTP, and certificates unchecked."),
                **refused(dict.fromkeys(ollama.CREDENTIALS, ollama.NO_CREDENTIALS)),
            },
        ),
        "OllamaCreateRequest": _create(),
    }


def _common() -> dict[str, Schema]:
    return {
        **_STREAM,
        **refused(ollama_chat.REFUSED),
        "format": either(const("json"), const(""), json_object("A JSON schema.")),
        "think": either(flag(), choice(ollama_chat.EFFORTS)),
        "logprobs": flag(),
        "lora": LORA,
        "top_logprobs": whole("Beside logprobs: true.", least=0, most=MAX_TOP_LOGPROBS),
    }


def _tools() -> dict[str, Schema]:
    """What OpenAI's and Ollama's chats have in common."""
    function = record({"name": TOOL_NAME})
    return {
        "tools": rows(ref("OpenAITool"), most=MAX_TOOLS),
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": flag(),
        "functions": rows(ref("OpenAIFunction"), most=MAX_TOOLS),
        "function_call": either(choice(("none", "auto")), function),
    }


def _images() -> Schema:
    most = min(ollama_chat.MAX_IMAGES, MAX_PARTS)
    return rows(text("PNG, JPEG, GIF or BMP in base64.", least=1), most=most)


def _message() -> Schema:
    function = record({"name": text(least=1)}, {"arguments": json_object()})
    calls = rows(record({"function": function}, {"id": text()}), most=ollama_chat.MAX_CALLS)
    return record(
        {"role": choice(ollama_chat.ROLES)},
        {
            "content": text(),
            "images": _images(),
            "thinking": text(),
            "tool_calls": calls,
            "tool_call_id": text(),
            "tool_name": text(),
        },
    )


def _create() -> Schema:
    label = ollama.LABEL.pattern
    carried = refused(dict.fromkeys(ollama.NOT_CARRIED, ollama.ONLY_TEXTS))
    message = record({"role": choice(ROLES)}, {"content": text(), **carried})
    return record(
        {},
        {
            **_NAMED,
            **_STREAM,
            "from": text("A model that this one is made of; or files."),
            "files": table(DIGEST, "File name -> blob.", names=label, most=ollama.MAX_FILES),
            "adapters": table(DIGEST, "As files.", names=label, most=MAX_ADAPTERS),
            "quantize": text("As q4_K_M.", pattern=ollama.SCHEME.pattern),
            "quantization": text("As quantize.", pattern=ollama.SCHEME.pattern),
            "compile": flag("Also for browsers, where they can run it."),
            "template": text(),
            "system": text(),
            "parameters": ref("OllamaOptions"),
            "license": either(text(), rows(text(), most=MAX_LICENSES)),
            "messages": rows(message, most=MAX_MODEL_MESSAGES),
            "requires": text("A version, as 0.14.0."),
            **refused(ollama.REFUSED),
        },
        "A body of `/api/create`: `from` or `files` is the base.",
    )
