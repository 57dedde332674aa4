"""`/tokenize` and `/detokenize`, as llama-server and vLLM have them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transom_api.fields import Fields

# More than any context window.
MAX_TOKENS: Final = 2**22
# A text of a million tokens.
MAX_TEXT_CHARS: Final = 2**22
REFUSED: Final[Mapping[str, str]] = {
    "with_pieces": "/detokenize tells a token's text; leave it out",
    "return_token_strs": "/detokenize tells a token's text; leave it out",
    "messages": "the text itself is wanted; send it as content",
}


@dataclass(frozen=True, slots=True)
class TokenizeRequest:
    """`around`: with the tokens that the tokenizer puts around any text; `special`: names of
    special tokens are read as such."""

    model: str
    text: str
    around: bool
    special: bool


@dataclass(frozen=True, slots=True)
class DetokenizeRequest:
    model: str
    tokens: tuple[int, ...]


def read_tokenize(body: object) -> TokenizeRequest:
    """`content` (llama-server) or `prompt` (vLLM). Raises `InvalidField`."""
    fields = Fields(body)
    fields.refuse_if_set(REFUSED)
    name = "prompt" if "prompt" in fields and "content" not in fields else "content"
    if name not in fields:
        fields.refuse("content", "is missing")
    text = fields.text(name, "")
    if len(text) > MAX_TEXT_CHARS:
        fields.refuse(name, f"has {len(text)} characters, over {MAX_TEXT_CHARS}")
    # vLLM adds them unless told not to.
    around = fields.flag("add_special", None)
    if around is None:
        around = fields.flag("add_special_tokens", name == "prompt")
    return TokenizeRequest(
        model=fields.required_text("model"),
        text=text,
        around=around,
        special=fields.flag("parse_special", True),
    )


def read_detokenize(body: object) -> DetokenizeRequest:
    """Raises `InvalidField`."""
    fields = Fields(body)
    if "tokens" not in fields:
        fields.refuse("tokens", "is missing")
    tokens = fields.tokens("tokens", most=MAX_TOKENS)
    return DetokenizeRequest(fields.required_text("model"), tokens)


def tokenize_body(tokens: Sequence[int], context_tokens: int) -> dict[str, Any]:
    """llama-server's answer with vLLM's figures."""
    return {"tokens": list(tokens), "count": len(tokens), "max_model_len": context_tokens}


def detokenize_body(text: str) -> dict[str, Any]:
    """Under llama-server's name and vLLM's."""
    return {"content": text, "prompt": text}
