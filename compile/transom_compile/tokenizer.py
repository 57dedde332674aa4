"""`tokenizer.json` (Hugging Face's format) from the tokenizer that a GGUF carries in its metadata.

Byte-level BPE ("gpt2") with the pre-tokenizers named below; the result splits text as llama.cpp
does, so that browser and native count the same tokens. A pre-tokenizer, a tokenizer model or a
metadata key that is not understood stops the walk. Must not know chat templates or architectures.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from transom_models.errors import TransomError

PREFIX = "tokenizer.ggml."
# Splits of text before merging, from llama.cpp's src/llama-vocab.cpp (llm_tokenizer_bpe), which
# writes (?i:…) out; that form also runs in JavaScript's regular expressions.
_CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_AFTER_NUMBERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
# Keys that name a token id or say what conversion did; none changes how plain text is split.
_HARMLESS = re.compile(
    r"model|pre|tokens|token_type|scores|merges|token_type_count|add_(bos|eos|sep)_token"
    # Only SentencePiece adds a space; llama.cpp does not look at this key for byte-level BPE.
    r"|add_space_prefix"
    r"|(bos|eos|eot|eom|unknown|seperator|separator|padding|cls|mask|prefix|suffix|middle"
    r"|fim_(pre|suf|mid|pad|rep|sep))_token_id"
)


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
class PreTokenizer:
    """How text is cut before merges apply.

    `split` is a pattern whose matches stand alone (None: GPT-2's own, built into ByteLevel);
    `digits` cuts each digit off first. `whole_words`: a piece that is a token as it stands needs no
    merges. `adds_bos`: unless the metadata says otherwise.
    """

    split: str | None = None
    digits: bool = False
    whole_words: bool = False
    adds_bos: bool = False

    def to_json(self) -> dict[str, Any]:
        """Hugging Face's `pre_tokenizer`."""
        steps: list[dict[str, Any]] = []
        if self.digits:
            # Not "Digits": Rust's cuts every \p{N} off, JavaScript's only 0 to 9.
            steps.append(_split(r"\p{N}"))
        if self.split is not None:
            steps.append(_split(self.split))
        steps.append(_byte_level(use_regex=self.split is None, add_prefix_space=False))
        return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    "gpt-2": PreTokenizer(),
    "smollm": PreTokenizer(digits=True),
    "llama-bpe": PreTokenizer(
        split=f"{_CONTRACTIONS}|{_WORDS}|\\p{{N}}{{1,3}}|{_AFTER_NUMBERS}",
        whole_words=True,
        adds_bos=True,
    ),
    "qwen2": PreTokenizer(split=f"{_CONTRACTIONS}|{_WORDS}|\\p{{N}}|{_AFTER_NUMBERS}"),
}


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """What the rest of the walk asks of the checkpoint's tokenizer."""

    tokens: Sequence[str]
    types: Sequence[int]
    special_ids: Mapping[str, int]
    adds_bos: bool
    adds_eos: bool
    json_bytes: bytes

    def token_id(self, role: str) -> int | None:
        """Id of the "bos", "eos", "eot", "eom" or "padding" token, if the checkpoint names one."""
        return self.special_ids.get(role)


def convert_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """Read the tokenizer and write it as `tokenizer.json`. Raises `UnsupportedTokenizer`."""
    _refuse_unknown_keys(metadata)
    model = metadata.get(PREFIX + "model")
    if model != "gpt2":
        raise UnsupportedTokenizer(
            f"tokenizer model {model!r} is not supported yet, only byte-level BPE ('gpt2')"
        )
    name = metadata.get(PREFIX + "pre")
    pre = PRE_TOKENIZERS.get(name) if isinstance(name, str) else None
    if pre is None:
        raise UnsupportedTokenizer(
            f"pre-tokenizer {name!r} ({PREFIX}pre) is not supported yet; "
            f"known are {', '.join(PRE_TOKENIZERS)}"
        )
    tokens = _strings(metadata, "tokens")
    types = _types(metadata, len(tokens))
    special = dict(_special_ids(metadata, len(tokens)))
    adds_bos = _flag(metadata, "add_bos_token", pre.adds_bos)
    adds_eos = _flag(metadata, "add_eos_token", False)
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(tokens, types),
        "normalizer": None,
        "pre_tokenizer": pre.to_json(),
        "post_processor": _post_processor(
            tokens,
            _surrounding(special, "bos", adds_bos),
            _surrounding(special, "eos", adds_eos),
        ),
        "decoder": _byte_level(use_regex=True, add_prefix_space=True),
        "model": _bpe(tokens, _strings(metadata, "merges"), pre.whole_words),
    }
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Tokenizer(tokens, types, special, adds_bos, adds_eos, data)


def _refuse_unknown_keys(metadata: Mapping[str, Any]) -> None:
    unknown = [
        key
        for key in metadata
        if key.startswith(PREFIX) and not _HARMLESS.fullmatch(key.removeprefix(PREFIX))
    ]
    if unknown:
        raise UnsupportedTokenizer(
            f"tokenizer metadata this version does not understand: {', '.join(unknown[:8])}"
        )


def _strings(metadata: Mapping[str, Any], key: str) -> list[str]:
    value = metadata.get(PREFIX + key)
    if value is None or isinstance(value, str) or not isinstance(value, Sequence):
        raise UnsupportedTokenizer(f"the checkpoint has no list of strings {PREFIX}{key}")
    return list(value)


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


def _special_ids(metadata: Mapping[str, Any], count: int) -> Iterator[tuple[str, int]]:
    for role in ("bos", "eos", "eot", "eom", "padding", "unknown"):
        key = f"{PREFIX}{role}_token_id"
        if key not in metadata:
            continue
        value = metadata[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
            raise UnsupportedTokenizer(f"{key} is {value!r}, not one of the {count} token ids")
        yield role, value


def _flag(metadata: Mapping[str, Any], key: str, default: bool) -> bool:
    value = metadata.get(PREFIX + key, default)
    if not isinstance(value, bool):
        raise UnsupportedTokenizer(f"{PREFIX}{key} is {value!r}, neither true nor false")
    return value


def _surrounding(special: Mapping[str, int], role: str, wanted: bool) -> int | None:
    if wanted and role not in special:
        raise UnsupportedTokenizer(
            f"{PREFIX}add_{role}_token is set, but there is no {PREFIX}{role}_token_id"
        )
    return special[role] if wanted else None


def _added_tokens(tokens: Sequence[str], types: Sequence[int]) -> list[dict[str, Any]]:
    """Tokens found in the text before it is split: control tokens and user-defined strings."""
    found = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
    return [
        {
            "id": index,
            "content": tokens[index],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind != TokenType.USER_DEFINED,
        }
        for index, kind in enumerate(types)
        if kind in found
    ]


def _bpe(tokens: Sequence[str], merges: Sequence[str], whole_words: bool) -> dict[str, Any]:
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        twice = next(token for index, token in enumerate(tokens) if vocabulary[token] != index)
        raise UnsupportedTokenizer(f"token {twice!r} appears twice in {PREFIX}tokens")
    for index, merge in enumerate(merges):
        left, space, right = merge.partition(" ")
        known = left in vocabulary and right in vocabulary and left + right in vocabulary
        if not space or not known:
            raise UnsupportedTokenizer(
                f"{PREFIX}merges[{index}] is {merge!r}, not two tokens that make a third"
            )
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": whole_words,
        "vocab": vocabulary,
        "merges": merges,
    }


def _post_processor(tokens: Sequence[str], bos: int | None, eos: int | None) -> dict[str, Any]:
    """What `encode(…, add_special_tokens=True)` puts around a text."""
    trim = _byte_level(use_regex=True, add_prefix_space=True)
    if bos is None and eos is None:
        return trim

    def around(sequence: str, type_id: int) -> list[dict[str, Any]]:
        def special(token: int | None) -> list[dict[str, Any]]:
            named = [] if token is None else [tokens[token]]
            return [{"SpecialToken": {"id": text, "type_id": type_id}} for text in named]

        return [*special(bos), {"Sequence": {"id": sequence, "type_id": type_id}}, *special(eos)]

    template = {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {
            tokens[index]: {"id": tokens[index], "ids": [index], "tokens": [tokens[index]]}
            for index in (bos, eos)
            if index is not None
        },
    }
    return {"type": "Sequence", "processors": [trim, template]}


def _split(pattern: str) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def _byte_level(*, use_regex: bool, add_prefix_space: bool) -> dict[str, Any]:
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": True,
        "use_regex": use_regex,
    }
