"""SentencePiece Unigram (GGUF's "t5"): the most likely way to cut a text, by the tokens' scores."""

import base64
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from transom_compile.tokenizers.byte_level import bos_and_eos
from transom_compile.tokenizers.document import (
    Json,
    replace,
    replace_pattern,
    sentence_piece_decoder,
    sequence,
    write_document,
)
from transom_compile.tokenizers.sentence_piece import SPACE
from transom_compile.tokenizers.vocabulary import (
    PREFIX,
    TokenType,
    UnsupportedTokenizer,
    Vocabulary,
    flag,
)

# Keys that only this kind reads.
UNDERSTOOD = "precompiled_charsmap|remove_extra_whitespaces"
# The map of nmt_nfkc, the largest in use, has 0.3 MB.
MAX_CHARSMAP_BYTES = 4 * 1024 * 1024
UNKNOWN_PENALTY = 10.0
# Scores are above -100 or so; times this they still fit the 53 bits of a JSON number.
MAX_SCALE = 2**44
# No text that can be typed starts like this: such a token is never matched.
_UNMATCHED = "\ufffe"


def convert(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> tuple[bytes, bool, bool, bool]:
    """(tokenizer.json, adds bos, adds eos, adds a space). Raises `UnsupportedTokenizer`."""
    adds_bos = flag(metadata, "add_bos_token", False)
    adds_eos = flag(metadata, "add_eos_token", True)
    adds_space = flag(metadata, "add_space_prefix", False)
    joins_spaces = flag(metadata, "remove_extra_whitespaces", False)
    data = write_document(
        vocabulary,
        _model(vocabulary),
        normalizer=sequence(
            "normalizers", [*_charsmap(metadata), *_spaces(adds_space, joins_spaces)]
        ),
        pre_tokenizer=None,
        decoder=sentence_piece_decoder(strip_space=adds_space),
        around=bos_and_eos(vocabulary, adds_bos, adds_eos),
    )
    return data, adds_bos, adds_eos, adds_space


def _model(vocabulary: Vocabulary) -> Json:
    if not vocabulary.scores:
        raise UnsupportedTokenizer(f"the checkpoint has no list of numbers {PREFIX}scores")
    normal = [
        score
        for score, kind in zip(vocabulary.scores, vocabulary.types, strict=True)
        if kind == TokenType.NORMAL
    ]
    if not normal:
        raise UnsupportedTokenizer("the Unigram vocabulary has no token of normal type")
    lowest = min(normal)
    scale = _scale(vocabulary.scores)
    pieces: list[tuple[str, int]] = []
    for token, score, kind in zip(
        vocabulary.tokens, vocabulary.scores, vocabulary.types, strict=True
    ):
        # llama.cpp never uses byte tokens here: an unknown character is the unknown token.
        text = _UNMATCHED + token if kind == TokenType.BYTE else token
        pieces.append((text, round(max(score, lowest) * scale)))
    unknown = vocabulary.required("unknown", "Unigram needs a token for the unknown")
    # Readers give an unknown character the lowest score of all less ten; llama.cpp the lowest of
    # normal tokens less ten, in f32. The unknown token's own score is used for nothing else.
    pieces[unknown] = (pieces[unknown][0], round(_f32(lowest - UNKNOWN_PENALTY) * scale) + 10)
    return {"type": "Unigram", "unk_id": unknown, "vocab": pieces, "byte_fallback": False}


def _scale(scores: Sequence[float]) -> int:
    """The power of two that makes every score an integer.

    The best way to cut a text stays the same, and so does every rounding of a sum. But Rust's JSON
    reader may be off in the last bit of a fraction, and then two ways to cut a run of one letter,
    equally likely, come out the other way round.
    """
    needed = max(score.as_integer_ratio()[1] for score in scores)
    return min(max(needed, 2), MAX_SCALE)


def _f32(number: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return rounded


def _charsmap(metadata: Mapping[str, Any]) -> list[Json]:
    """SentencePiece's own map of characters (NFKC and more), as it travels in the file."""
    value = metadata.get(PREFIX + "precompiled_charsmap")
    if value is None:
        return []
    if len(value) > MAX_CHARSMAP_BYTES:
        raise UnsupportedTokenizer(
            f"{PREFIX}precompiled_charsmap is longer than {MAX_CHARSMAP_BYTES} bytes"
        )
    try:
        # Files hold it as signed or as unsigned bytes.
        data = bytes(int(byte) & 0xFF for byte in value)
    except (TypeError, ValueError):
        raise UnsupportedTokenizer(f"{PREFIX}precompiled_charsmap is not a list of bytes") from None
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size % 4 or 4 + size >= len(data):
        raise UnsupportedTokenizer(f"{PREFIX}precompiled_charsmap is cut off")
    return [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(data).decode()}]


def _spaces(adds_space: bool, joins_spaces: bool) -> list[Json]:
    """Spaces become ▁. Only U+0020 is one; the character map has dealt with the others."""
    if joins_spaces:
        # Each word gets one ▁ in front, whether a prefix is asked for or not.
        return [
            replace_pattern(r"\A +| +\z", ""),
            replace_pattern(" +", SPACE),
            {"type": "Prepend", "prepend": SPACE},
        ]
    if not adds_space:
        return [replace(" ", SPACE)]
    # A text of nothing but spaces gets no prefix.
    return [
        {"type": "Prepend", "prepend": " "},
        replace_pattern(r"\A (?= *\z)", ""),
        replace(" ", SPACE),
    ]
