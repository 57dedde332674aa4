"""What every kind of tokenizer gives the writer: pieces with their types, and how text is cut.

Knows GGUF's words for a vocabulary, not where one was read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from transom_models.errors import TransomError

# Vocabularies reach 262 144 tokens; a token id beyond this is a lie, not a large vocabulary.
MAX_TOKENS = 2 * 1024 * 1024
# Scores of pieces that no text becomes by merging, as llama.cpp's converter writes them.
ADDED_SCORE = -1000.0
UNUSED_SCORE = -10000.0
SPACE = "\u2581"


class UnsupportedTokenizer(TransomError):
    """The folder's tokenizer is one that a GGUF cannot hold faithfully."""


class TokenType(IntEnum):
    """GGUF's `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(slots=True)
class Piece:
    """One entry of a vocabulary."""

    text: str
    kind: TokenType = TokenType.NORMAL
    score: float = 0.0


@dataclass(slots=True)
class Vocabulary:
    """`model` and `pre` are GGUF's names; `pieces` by token id; `scored` where scores matter.

    `extra`: more `tokenizer.ggml.*` values. `adds_bos`, `adds_eos`: what the kind does unless the
    folder says otherwise.
    """

    model: str
    pre: str
    pieces: dict[int, Piece]
    scored: bool = False
    merges: list[str] | None = None
    adds_bos: bool = False
    adds_eos: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in the text before anything else is done to it."""

    id: int
    text: str
    special: bool


def looks_special(text: str) -> bool:
    """Tokens that models treat as control tokens though their tokenizer does not say so.

    The list is llama.cpp's (conversion/base.py, `does_token_look_special`).
    """
    return (
        text in {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}
        or (text.startswith("<|") and text.endswith("|>"))
        or (text.startswith("<\uff5c") and text.endswith("\uff5c>"))
        or (text.startswith("<unused") and text.endswith(">"))
    )
