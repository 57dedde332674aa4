"""What a GGUF says about its tokenizer: tokens, types, scores, roles, and what ends an answer.

Reads metadata and refuses what it does not understand. Types and ends of generation are those that
llama.cpp works with after loading (src/llama-vocab.cpp), which also goes by the text of a token.
Must not know tokenizer.json, chat templates or architectures.
"""

# ruff: noqa: RUF001 (DeepSeek's tokens are written with full-width bars)

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from transom_models.errors import TransomError

PREFIX = "tokenizer.ggml."
# Keys that name a token id or say what conversion did; none changes how plain text is split.
_HARMLESS = re.compile(
    r"model|pre|tokens|token_type|scores|merges|token_type_count|add_(bos|eos|sep)_token"
    r"|add_space_prefix|suppress_tokens"
    r"|(bos|eos|eot|eom|unknown|seperator|separator|padding|cls|mask|prefix|suffix|middle"
    r"|fim_(pre|suf|mid|pad|rep|sep))_token_id"
)
# Role -> its keys; the second one is an older or another spelling.
_ROLES: Mapping[str, tuple[str, ...]] = {
    "bos": ("bos",),
    "eos": ("eos",),
    "eot": ("eot",),
    "eom": ("eom",),
    "unknown": ("unknown",),
    "separator": ("seperator", "separator"),
    "padding": ("padding",),
    "mask": ("mask",),
    "fim_pre": ("prefix", "fim_pre"),
    "fim_suf": ("suffix", "fim_suf"),
    "fim_mid": ("middle", "fim_mid"),
    "fim_pad": ("fim_pad",),
    "fim_rep": ("fim_rep",),
    "fim_sep": ("fim_sep",),
}
# Tokens that end a generation by their text, whatever the metadata says; without them the browser
# would talk on where the server stops.
END_TEXTS = frozenset(
    {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
        "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
        "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
        "<｜end▁of▁sentence｜>", "[e~[",
    }
)  # fmt: skip
# Fill-in-the-middle tokens known by their text where the metadata does not name them.
_FILL_TEXTS: Mapping[str, tuple[str, ...]] = {
    "fim_pre": (
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
        "<|code_prefix|>", "<|prefix|>",
    ),
    "fim_suf": (
        "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
        "<|code_suffix|>", "<|suffix|>",
    ),
    "fim_mid": (
        "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
        "<|code_middle|>", "<|middle|>",
    ),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}  # fmt: skip
# Roles whose token ends a generation too.
_ENDING_ROLES = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
# gpt-oss says these inside an answer, so they are text there.
_SPOKEN_TEXTS = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")


class UnsupportedTokenizer(TransomError):
    """The checkpoint's tokenizer is one that Transom cannot write down faithfully."""


class TokenType(IntEnum):
    """GGUF's `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens, by id.

    `types` are llama.cpp's after loading; `scores` is empty when the file has none; `stop_ids` end
    a generation, in ascending order.
    """

    tokens: Sequence[str]
    types: Sequence[int]
    scores: Sequence[float]
    special_ids: Mapping[str, int]
    stop_ids: tuple[int, ...]

    def ids(self) -> dict[str, int]:
        """Token -> id."""
        return {token: index for index, token in enumerate(self.tokens)}

    def required(self, role: str, reason: str) -> int:
        """Id of a role that cannot be done without."""
        if role not in self.special_ids:
            raise UnsupportedTokenizer(f"{reason}, but there is no {PREFIX}{role}_token_id")
        return self.special_ids[role]


def read_vocabulary(
    metadata: Mapping[str, Any], defaults: Mapping[str, int], *, understood: str = ""
) -> Vocabulary:
    """Tokens and roles. `defaults`: ids of roles that the file leaves to llama.cpp; `understood`: a
    pattern of further keys that the caller reads itself. Raises `UnsupportedTokenizer`."""
    _refuse_unknown_keys(metadata, understood)
    # llama.cpp reads a token up to its first NUL and names empty ones.
    tokens = [
        token.partition("\0")[0] or f"[EMPTY_{index}]"
        for index, token in enumerate(strings(metadata, "tokens"))
    ]
    ids = {token: index for index, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for index, token in enumerate(tokens) if ids[token] != index)
        raise UnsupportedTokenizer(f"token {twice!r} appears twice in {PREFIX}tokens")
    special = {role: index for role, index in defaults.items() if index < len(tokens)}
    special |= dict(_special_ids(metadata, len(tokens)))
    types = _types(metadata, len(tokens))
    stops = _settle_by_text(ids, types, special)
    return Vocabulary(tokens, types, _scores(metadata, len(tokens)), special, stops)


def strings(metadata: Mapping[str, Any], key: str) -> list[str]:
    """A list of strings that has to be there."""
    value = metadata.get(PREFIX + key)
    if value is None or isinstance(value, str) or not isinstance(value, Sequence):
        raise UnsupportedTokenizer(f"the checkpoint has no list of strings {PREFIX}{key}")
    return list(value)


def flag(metadata: Mapping[str, Any], key: str, default: bool) -> bool:
    """True or false under `tokenizer.ggml.`."""
    value = metadata.get(PREFIX + key, default)
    if not isinstance(value, bool):
        raise UnsupportedTokenizer(f"{PREFIX}{key} is {value!r}, neither true nor false")
    return value


def _refuse_unknown_keys(metadata: Mapping[str, Any], understood: str) -> None:
    unknown = [
        key
        for key in metadata
        if key.startswith(PREFIX)
        and not _HARMLESS.fullmatch(name := key.removeprefix(PREFIX))
        and not (understood and re.fullmatch(understood, name))
    ]
    if unknown:
        raise UnsupportedTokenizer(
            f"tokenizer metadata this version does not understand: {', '.join(unknown[:8])}"
        )


def _types(metadata: Mapping[str, Any], count: int) -> list[int]:
    value = metadata.get(PREFIX + "token_type")
    if value is None:
        return [TokenType.NORMAL] * count
    types = [int(item) for item in value]
    if len(types) != count:
        raise UnsupportedTokenizer(f"{PREFIX}token_type has {len(types)} items for {count} tokens")
    known = {int(kind) for kind in TokenType}
    for index, kind in enumerate(types):
        if kind not in known:
            raise UnsupportedTokenizer(f"{PREFIX}token_type[{index}] is {kind}, not 1 to 6")
    return types


def _scores(metadata: Mapping[str, Any], count: int) -> list[float]:
    value = metadata.get(PREFIX + "scores")
    if value is None:
        return []
    scores = [float(item) for item in value]
    if len(scores) != count:
        raise UnsupportedTokenizer(f"{PREFIX}scores has {len(scores)} items for {count} tokens")
    if not all(abs(score) < float("inf") for score in scores):
        raise UnsupportedTokenizer(f"{PREFIX}scores has an item that is not a number")
    return scores


def _special_ids(metadata: Mapping[str, Any], count: int) -> Iterator[tuple[str, int]]:
    for role, names in _ROLES.items():
        for name in names:
            key = f"{PREFIX}{name}_token_id"
            if key not in metadata:
                continue
            value = metadata[key]
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
                raise UnsupportedTokenizer(f"{key} is {value!r}, not one of the {count} token ids")
            yield role, value


def _settle_by_text(
    ids: Mapping[str, int], types: list[int], special: Mapping[str, int]
) -> tuple[int, ...]:
    """Correct `types` in place as llama.cpp does, and say which ids end a generation."""
    found = dict(special)
    for role, texts in _FILL_TEXTS.items():
        index = next((ids[text] for text in texts if text in ids), None)
        if role not in found and index is not None:
            found[role] = index
            types[index] = TokenType.CONTROL
    stops = {found[role] for role in _ENDING_ROLES if role in found}
    for text in END_TEXTS & ids.keys():
        stops.add(ids[text])
        types[ids[text]] = TokenType.CONTROL
    for text in _SPOKEN_TEXTS:
        if text in ids:
            types[ids[text]] = TokenType.USER_DEFINED
    for text, kind in _replaced_endings(ids.keys()):
        stops.discard(ids[text])
        types[ids[text]] = kind
    return tuple(sorted(stops))


def _replaced_endings(tokens: Set[str]) -> Iterator[tuple[str, TokenType]]:
    """Tokens that would end a generation by their text, in vocabularies that end it otherwise."""
    calls = not tokens.isdisjoint({"<|call|>", "<|calls|>"})
    if "<|end|>" in tokens and calls and not tokens.isdisjoint({"<|return|>", "<|flush|>"}):
        # gpt-oss and solar-open go on after it.
        yield "<|end|>", TokenType.USER_DEFINED
    if {"</s>", "<|tool_response>"} <= tokens:
        # gemma4 and paddleocr never say it.
        yield "</s>", TokenType.NORMAL
