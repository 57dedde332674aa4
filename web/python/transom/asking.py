"""Answers as they come, and vectors."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from transom import fetching
from transom.models import last_loaded


class Piece(str):
    """Words of an answer; `raw` is the chunk of OpenAI's API that they came in."""

    raw: Mapping[str, Any]

    def __new__(cls, text: str, raw: Mapping[str, Any]) -> "Piece":
        piece = super().__new__(cls, text)
        piece.raw = raw
        return piece


async def chat(
    messages: str | Sequence[Mapping[str, Any]], *, model: str | None = None, **fields: Any
) -> AsyncGenerator[Piece, None]:
    """The answer to one question, or to a conversation in OpenAI's form, piece by piece.

    `model`: the one loaded last if left out. `fields` are those of OpenAI's chat completions, as
    `temperature` or `max_tokens`. Leaving the loop stops the model. Raises `TransomError`.
    """
    given = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    body = {"model": model or last_loaded(), "messages": list(given), **fields, "stream": True}
    chunks = fetching.stream("/v1/chat/completions", body)
    try:
        async for chunk in chunks:
            for choice in chunk.get("choices", ()):
                text = choice.get("delta", {}).get("content")
                if text:
                    yield Piece(text, chunk)
    finally:
        await chunks.aclose()


async def embed(texts: str | Sequence[str], *, model: str | None = None) -> list[list[float]]:
    """One vector a text, of length 1. Raises `TransomError`."""
    body = {"model": model or last_loaded(), "input": texts, "encoding_format": "float"}
    listed = await fetching.ask("POST", "/v1/embeddings", body)
    return [row["embedding"] for row in listed["data"]]
