"""Texts that no context can hold are told apart by their bytes, before anybody counts tokens.

Tokens of ten megabytes take a processor seconds, and memory ten times as much. Pure.
"""

from collections.abc import Sequence
from typing import Final

from transom_api.engine import ContextOverflow, ModelFacts
from transom_api.fields import InvalidField
from transom_api.tokens import MAX_TEXT_CHARS

# The longest tokens of published vocabularies are rows of 128 or 256 spaces; no text is made of
# longer ones from its beginning to its end.
MAX_TOKEN_BYTES: Final = 512


def check_text(text: str) -> None:
    """Of a text whose tokens are only counted. Raises `InvalidField`."""
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidField(
            None, f"the prompt has {len(text)} characters, and is counted up to {MAX_TEXT_CHARS}"
        )


def most_bytes(facts: ModelFacts) -> int:
    """A text with more bytes has more tokens than the context."""
    return facts.context_tokens * MAX_TOKEN_BYTES


def check_length(text: str, facts: ModelFacts) -> None:
    """Raises `ContextOverflow`."""
    # Characters are fewer than bytes, and known at once.
    if len(text) > most_bytes(facts):
        raise ContextOverflow(
            f"the prompt has {len(text)} characters, more than a context window (num_ctx) of "
            f"{facts.context_tokens} tokens holds; shorten it, or ask with a larger num_ctx"
        )


def within(tokens: Sequence[int], most: int, around: Sequence[int]) -> tuple[int, ...]:
    """So many of a text's tokens, which are more. `around` are those that its tokenizer puts around
    a text of nothing; one at the end stays."""
    ends = bool(around) and tokens[-1] == around[-1] and (len(around) > 1 or tokens[0] != around[0])
    return (*tokens[: most - 1], tokens[-1]) if ends else tuple(tokens[:most])
