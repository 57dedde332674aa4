"""The parts of Hugging Face's `tokenizer.json` that every kind of tokenizer shares.

Written so that three readers agree to the token: the Rust library, npm `@huggingface/tokenizers`
(the page) and llama.cpp on the metadata that it was made from. Must not know GGUF keys.
"""

import json
from collections.abc import Sequence
from typing import Any

from transom_compile.tokenizers.vocabulary import TokenType, Vocabulary

Json = dict[str, Any]


def write_document(
    vocabulary: Vocabulary,
    model: Json,
    *,
    normalizer: Json | None,
    pre_tokenizer: Json | None,
    decoder: Json,
    around: tuple[Sequence[int], Sequence[int]],
    trim: Json | None = None,
    strip_after: frozenset[int] = frozenset(),
) -> bytes:
    """The whole file. `around`: ids before and after a text that is encoded with special tokens;
    `trim`: a post-processor before that; `strip_after`: ids that swallow white space after them."""
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(vocabulary, strip_after),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": _post_processor(vocabulary.tokens, *around, trim),
        "decoder": decoder,
        "model": model,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def sequence(kind: str, steps: Sequence[Json]) -> Json | None:
    """One step, several under `kind` ("normalizers", "pretokenizers", "decoders"), or none."""
    if len(steps) < 2:
        return steps[0] if steps else None
    return {"type": "Sequence", kind: list(steps)}


def split(pattern: str, behavior: str = "Isolated") -> Json:
    """Pre-tokenizer: matches stand alone, or vanish ("Removed")."""
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": behavior,
        "invert": False,
    }


def replace(text: str, content: str) -> Json:
    """Normalizer or decoder step: one text for another."""
    return {"type": "Replace", "pattern": {"String": text}, "content": content}


def replace_pattern(pattern: str, content: str) -> Json:
    """Normalizer step: whatever a pattern matches; never an empty match."""
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}


def byte_level(*, add_prefix_space: bool) -> Json:
    """GPT-2's alphabet, as pre-tokenizer, post-processor or decoder; the split is written apart."""
    return {
        "type": "ByteLevel",
        "add_prefix_space": add_prefix_space,
        "trim_offsets": True,
        "use_regex": False,
    }


def sentence_piece_decoder(*, strip_space: bool) -> Json:
    """`▁` is a space, `<0x0A>` a byte; `strip_space` drops the one that encoding put in front."""
    steps: list[Json] = [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    if strip_space:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _added_tokens(vocabulary: Vocabulary, strip_after: frozenset[int]) -> list[Json]:
    """Tokens found in the text before it is split: control tokens and user-defined strings."""
    found = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
    return [
        {
            "id": index,
            "content": vocabulary.tokens[index],
            "single_word": False,
            "lstrip": False,
            "rstrip": index in strip_after,
            "normalized": False,
            "special": kind != TokenType.USER_DEFINED,
        }
        for index, kind in enumerate(vocabulary.types)
        if kind in found
    ]


def _post_processor(
    tokens: Sequence[str], before: Sequence[int], after: Sequence[int], trim: Json | None
) -> Json | None:
    """What `encode(…, add_special_tokens=True)` puts around a text."""
    if not before and not after:
        return trim

    def around(name: str, type_id: int) -> list[Json]:
        def special(ids: Sequence[int]) -> list[Json]:
            return [{"SpecialToken": {"id": tokens[index], "type_id": type_id}} for index in ids]

        return [*special(before), {"Sequence": {"id": name, "type_id": type_id}}, *special(after)]

    template = {
        "type": "TemplateProcessing",
        "single": around("A", 0),
        "pair": [*around("A", 0), *around("B", 1)],
        "special_tokens": {
            tokens[index]: {"id": tokens[index], "ids": [index], "tokens": [tokens[index]]}
            for index in (*before, *after)
        },
    }
    return template if trim is None else {"type": "Sequence", "processors": [trim, template]}
