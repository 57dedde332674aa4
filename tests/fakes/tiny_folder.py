"""Hugging Face folders on disk: tiny tokenizers and checkpoints as their users publish them.

Knows the formats from the programs that write them (`tokenizers`, `transformers`, and
SentencePiece's protobuf, written here by hand), not from our readers.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fakes.tiny_gguf import CHATML, MERGES, SPECIAL, TOKENS
from tests.fakes.tiny_hub import tiny_model

APOSTROPHES = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA3 = (
    APOSTROPHES
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2_STEP = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
BYTES_STEP = {**GPT2_STEP, "use_regex": False}


def split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def steps(*parts: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(parts)}


DIGITS_STEP = {"type": "Digits", "individual_digits": True}


def added(tokens: Iterable[tuple[int, str, bool]]) -> list[dict[str, Any]]:
    """(id, text, special) as tokenizer.json lists them."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [{"id": i, "content": text, "special": special, **flags} for i, text, special in tokens]


def byte_level_json(
    vocabulary: Mapping[str, int],
    merges: Sequence[str],
    pre_tokenizer: Mapping[str, Any],
    tokens: Iterable[tuple[int, str, bool]] = (),
    **model: Any,
) -> dict[str, Any]:
    """A tokenizer.json of byte-level BPE."""
    return {
        "version": "1.0",
        "added_tokens": added(tokens),
        "normalizer": None,
        "pre_tokenizer": dict(pre_tokenizer),
        "post_processor": None,
        "decoder": {**GPT2_STEP, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(vocabulary),
            "merges": [merge.split(" ") for merge in merges],
            **model,
        },
    }


def write_tokenizer(folder: Path, document: Mapping[str, Any], **config: Any) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def save_tokenizer(folder: Path) -> None:
    """The tokenizer of `tiny_gguf`, as a folder has it."""
    document = byte_level_json(
        {token: index for index, token in enumerate(TOKENS)},
        MERGES,
        steps(DIGITS_STEP, GPT2_STEP),
        [(index, token, True) for index, token in enumerate(SPECIAL)],
    )
    names = {"bos_token": SPECIAL[1], "eos_token": {"content": SPECIAL[2]}, "pad_token": SPECIAL[0]}
    write_tokenizer(folder, document, tokenizer_class="PreTrainedTokenizerFast", **names)
    (folder / "chat_template.jinja").write_text(CHATML)


def save_folder(folder: Path, name: str, *, dtype: str = "float32", **save: Any) -> Any:
    """A whole checkpoint of `tiny_hub.MODELS[name]`; gives the model. Needs torch."""
    import torch

    folder.mkdir(exist_ok=True)
    model = tiny_model(name).to(getattr(torch, dtype))
    model.save_pretrained(folder, **save)
    save_tokenizer(folder)
    return model


def sentencepiece_model(
    pieces: Iterable[tuple[str, float, int]],
    *,
    kind: int = 2,
    prefix: bool = True,
    merged: bool = False,
    charsmap: bytes = b"",
) -> bytes:
    """A tokenizer.model: (text, score, type) of each piece; kind 1 is Unigram, 2 is BPE."""
    rows = b"".join(
        _bytes(1, _bytes(1, text.encode()) + b"\x15" + struct.pack("<f", score) + _number(3, type_))
        for text, score, type_ in pieces
    )
    trainer = _number(3, kind) + _number(35, 1)
    table = _bytes(2, charsmap) if charsmap else b""
    normalizer = _bytes(1, b"identity") + table + _number(3, prefix) + _number(4, merged)
    return rows + _bytes(2, trainer) + _bytes(3, normalizer)


def _varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(int(value))


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def metaspace_json(pieces: Sequence[tuple[str, float, int]], **document: Any) -> dict[str, Any]:
    """What transformers makes of a SentencePiece BPE: all merges of a piece, best piece first."""
    ids = {text: index for index, (text, _, _) in enumerate(pieces)}
    scores = {text: score for text, score, _ in pieces}
    merges = [
        (-scores[text], ids[text[:cut]], ids[text[cut:]], [text[:cut], text[cut:]])
        for text in scores
        for cut in range(1, len(text))
        if text[:cut] in scores and text[cut:] in scores
    ]
    special = [(i, text, True) for i, (text, _, kind) in enumerate(pieces) if kind in {2, 3}]
    base = byte_level_json(ids, [], {}, special)
    model = {**base["model"], "merges": [row[3] for row in sorted(merges, key=lambda r: r[:3])]}
    model |= {"byte_fallback": True, "fuse_unk": True, "unk_token": pieces[0][0]}
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    prepend = {"type": "Prepend", "prepend": "\u2581"}
    return {
        **base,
        "normalizer": {"type": "Sequence", "normalizers": [prepend, space]},
        "pre_tokenizer": None,
        "decoder": None,
        "model": model,
        **document,
    }
