"""Byte-level BPE (GGUF's "gpt2"): text is cut, each byte is a visible character, merges apply."""

from collections.abc import Mapping, Sequence
from typing import Any

from transom_compile.tokenizers.document import Json, byte_level, sequence, split, write_document
from transom_compile.tokenizers.pre_tokenizers import PRE_TOKENIZERS
from transom_compile.tokenizers.vocabulary import (
    PREFIX,
    UnsupportedTokenizer,
    Vocabulary,
    flag,
    strings,
)


def convert(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[bytes, bool, bool]:
    """(tokenizer.json, adds bos, adds eos). Raises `UnsupportedTokenizer`."""
    name = metadata.get(PREFIX + "pre")
    pre = PRE_TOKENIZERS.get(name) if isinstance(name, str) else None
    if pre is None:
        raise UnsupportedTokenizer(
            f"pre-tokenizer {name!r} ({PREFIX}pre) is not supported; "
            f"known are {', '.join(PRE_TOKENIZERS)}"
        )
    adds_bos = flag(metadata, "add_bos_token", pre.adds_bos)
    adds_eos = flag(metadata, "add_eos_token", False)
    steps = [*map(split, pre.splits), byte_level(add_prefix_space=False)]
    if missing := _missing_bytes(vocabulary):
        # Such a byte says nothing, and what stands around it is not joined; Rust would join it.
        steps.append(split(f"[{missing}]", "Removed"))
    data = write_document(
        vocabulary,
        _model(vocabulary, strings(metadata, "merges"), pre.whole_words),
        normalizer=None,
        pre_tokenizer=sequence("pretokenizers", steps),
        decoder=byte_level(add_prefix_space=True),
        around=bos_and_eos(vocabulary, adds_bos, adds_eos),
        trim=byte_level(add_prefix_space=True),
    )
    return data, adds_bos, adds_eos


def bos_and_eos(
    vocabulary: Vocabulary, adds_bos: bool, adds_eos: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What stands before and after a text; a wanted token has to be there."""

    def wanted(role: str, adds: bool) -> tuple[int, ...]:
        reason = f"{PREFIX}add_{role}_token is set"
        return (vocabulary.required(role, reason),) if adds else ()

    return wanted("bos", adds_bos), wanted("eos", adds_eos)


def bpe_model(ids: Mapping[str, int], merges: Sequence[str], **changes: Any) -> Json:
    """Hugging Face's BPE model; `changes` are the fields that are not plain."""
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": ids,
        "merges": merges,
    } | changes


def byte_alphabet() -> list[str]:
    """GPT-2's character for each byte: visible Latin-1 as itself, the others from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0x100)} - {0xAD}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte if byte in visible else 0x100 + hidden.index(byte)) for byte in range(256)]


def _missing_bytes(vocabulary: Vocabulary) -> str:
    """The bytes that have no token, for a character class."""
    ids = vocabulary.ids()
    missing = [character for character in byte_alphabet() if character not in ids]
    return "".join(f"\\u{ord(character):04x}" for character in missing)


def _model(vocabulary: Vocabulary, merges: Sequence[str], whole_words: bool) -> Json:
    ids = vocabulary.ids()
    for index, merge in enumerate(merges):
        left, space, right = merge.partition(" ")
        known = left in ids and right in ids and left + right in ids
        if not space or not known:
            raise UnsupportedTokenizer(
                f"{PREFIX}merges[{index}] is {merge!r}, not two tokens that make a third"
            )
    # llama.cpp goes by the first of equal merges, other readers by the last.
    return bpe_model(ids, list(dict.fromkeys(merges)), ignore_merges=whole_words)
