"""`/v1/embeddings`: texts or tokens in, vectors out."""

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transom_api.engine import Input
from transom_api.fields import Fields, kind_of, whole_of
from transom_api.ollama.fields import keep_seconds_of
from transom_api.openai.request import read_model
from transom_api.vectors import shortened
from transom_models.modelfile import ParameterValue

# OpenAI's cap.
MAX_INPUTS: Final = 2048
# More than any context window.
MAX_INPUT_TOKENS: Final = 2**24
# No model's vectors are as long.
MAX_DIMENSIONS: Final = 2**20
FORMATS: Final = ("float", "base64")
REFUSED: Final[Mapping[str, str]] = {
    "truncate_prompt_tokens": "a text is never cut; send less",
    "messages": "chats are not embedded; send their text as input",
}


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """`dimensions`: how many of each vector's are kept; None for all."""

    model: str
    asked_model: str
    """As the request names it."""
    inputs: tuple[Input, ...]
    base64: bool
    dimensions: int | None
    options: Mapping[str, ParameterValue]
    keep_seconds: float | None


def read_embeddings(body: object, context: str | None = None) -> EmbeddingRequest:
    """`context` is the value of the header `CONTEXT_HEADER`. Raises `InvalidField`."""
    fields = Fields(body)
    fields.refuse_if_set(REFUSED)
    model, options = read_model(fields, context)
    form = fields.text("encoding_format", "float", choices=FORMATS)
    return EmbeddingRequest(
        model=model,
        asked_model=fields.required_text("model"),
        inputs=_inputs(fields),
        base64=form == "base64",
        dimensions=fields.whole("dimensions", None, least=1, most=MAX_DIMENSIONS),
        options=options,
        keep_seconds=keep_seconds_of(fields),
    )


def embeddings_body(
    asked: EmbeddingRequest, vectors: Sequence[Sequence[float]], prompt_tokens: int
) -> dict[str, Any]:
    """The answer. Raises `InvalidField` when the model's vectors have fewer dimensions than asked
    for."""
    rows = [shortened(vector, asked.dimensions) for vector in vectors]
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _packed(row) if asked.base64 else row,
            }
            for index, row in enumerate(rows)
        ],
        "model": asked.asked_model,
        "usage": {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens},
    }


def _packed(vector: Sequence[float]) -> str:
    """Little-endian float32, as OpenAI's client reads it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _inputs(fields: Fields) -> tuple[Input, ...]:
    value = fields.raw("input")
    if value is None:
        fields.refuse("input", "is missing")
    if isinstance(value, str):
        return (_checked(fields, "input", value),)
    if not isinstance(value, list):
        fields.refuse("input", "must be a string, tokens, or a list of them")
    if not value:
        fields.refuse("input", "is empty")
    if whole_of(value[0]) is not None:
        return (_checked(fields, "input", value),)
    if len(value) > MAX_INPUTS:
        fields.refuse("input", f"has {len(value)} items, over {MAX_INPUTS}")
    return tuple(_checked(fields, f"input[{number}]", item) for number, item in enumerate(value))


def _checked(fields: Fields, name: str, item: object) -> Input:
    if isinstance(item, str):
        return item or fields.refuse(name, "is empty")
    if not isinstance(item, list):
        fields.refuse(name, f"must be a string or tokens, not {kind_of(item)}")
    if not item:
        fields.refuse(name, "is empty")
    if len(item) > MAX_INPUT_TOKENS:
        fields.refuse(name, f"has {len(item)} tokens, over {MAX_INPUT_TOKENS}")
    return fields.tokens_of(name, item)
