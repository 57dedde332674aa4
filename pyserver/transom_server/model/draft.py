"""Whether a model may draft for another: both have to mean the same by every token.

llama.cpp goes on without a draft that does not match, and only its log says so; here it is an
error. Reads headers alone.
"""

from functools import lru_cache
from typing import Final

from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_server.model.gguf_facts import ArrayValue, GgufFacts
from transom_server.model.model_texts import gguf_of
from transom_server.store import Store

# No vocabulary is near it.
MAX_TOKENS: Final = 1_000_000
# llama.cpp's: what is left over at the end of a vocabulary, and the special tokens at its begin.
_MOST_MORE: Final = 128
_FIRST: Final = 5
# Pairs that were looked at; loaded models are a handful.
_PAIRS_KEPT: Final = 64
_NAMES: Final = ("model", "bos_token_id", "eos_token_id")


class DraftMismatch(TransomError):
    """The draft has another vocabulary than the model."""


@lru_cache(maxsize=_PAIRS_KEPT)
def check_draft(store: Store, model: Digest, draft: Digest) -> None:
    """Raises `DraftMismatch`, `BlobNotFound`, `InvalidGguf`."""
    one, other = gguf_of(store, model, MAX_TOKENS), gguf_of(store, draft, MAX_TOKENS)
    if other.kind != "model":
        raise DraftMismatch(f"the draft is a GGUF of kind {other.kind}, where a model is wanted")
    for name in _NAMES:
        key = f"tokenizer.ggml.{name}"
        if one.metadata.get(key) != other.metadata.get(key):
            raise DraftMismatch(_told(f"{key} is another"))
    tokens, others = _tokens(one), _tokens(other)
    if abs(len(tokens) - len(others)) > _MOST_MORE:
        raise DraftMismatch(_told(f"it has {len(others)} tokens, the model {len(tokens)}"))
    for number in range(_FIRST, min(len(tokens), len(others))):
        if tokens[number] != others[number]:
            here, there = f"{others[number]!r:.40}", f"{tokens[number]!r:.40}"
            raise DraftMismatch(_told(f"token {number} is {here} in it, {there} in the model"))


def _told(reason: str) -> str:
    return f"the draft has another vocabulary: {reason}; take a smaller model of the same family"


def _tokens(facts: GgufFacts) -> tuple[object, ...]:
    value = facts.metadata.get("tokenizer.ggml.tokens")
    return tuple(value.items) if isinstance(value, ArrayValue) else ()
