"""SentencePiece vocabularies: from `tokenizer.model` (a protobuf) or from a `tokenizer.json`.

The protobuf is read by hand, the few fields that matter (google/sentencepiece,
sentencepiece_model.proto): every length in it is outside input. Must not know added tokens.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_compile.hub.byte_level import read_merges
from transom_compile.hub.folder import read_bytes
from transom_compile.hub.vocabulary import (
    MAX_TOKENS,
    SPACE,
    UNUSED_SCORE,
    Piece,
    TokenType,
    UnsupportedTokenizer,
    Vocabulary,
)

# 262 144 pieces take 4 MB; the largest published is 17 MB, with a table for normalizing.
MAX_MODEL_BYTES = 64 * 1024 * 1024
# Field numbers of ModelProto, SentencePiece, TrainerSpec and NormalizerSpec.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _KIND = 1, 2, 3
_MODEL_TYPE, _BYTE_FALLBACK = 3, 35
_CHARSMAP, _DUMMY_PREFIX, _EXTRA_SPACES, _ESCAPE = 2, 3, 4, 5
_UNIGRAM, _BPE = 1, 2
_KINDS = {1: TokenType.NORMAL, 2: TokenType.UNKNOWN, 3: TokenType.CONTROL}
_KINDS |= {4: TokenType.USER_DEFINED, 5: TokenType.UNUSED, 6: TokenType.BYTE}
_F32 = struct.Struct("<f")

Field = tuple[int, int | bytes]


def read_sentencepiece(path: Path) -> Vocabulary:
    """The vocabulary of a `tokenizer.model`. Raises `UnsupportedTokenizer`, `CheckpointError`."""
    data = read_bytes(path, MAX_MODEL_BYTES)
    pieces: dict[int, Piece] = {}
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, value in _fields(path, data):
        if number == _PIECES and isinstance(value, bytes):
            if len(pieces) == MAX_TOKENS:
                raise UnsupportedTokenizer(f"{path} has more than {MAX_TOKENS} pieces")
            pieces[len(pieces)] = _piece(path, len(pieces), dict(_fields(path, value)))
        elif number == _TRAINER and isinstance(value, bytes):
            trainer = dict(_fields(path, value))
        elif number == _NORMALIZER and isinstance(value, bytes):
            normalizer = dict(_fields(path, value))
    if not pieces:
        raise UnsupportedTokenizer(f"{path} has no pieces; it is not a SentencePiece model")
    charsmap = normalizer.get(_CHARSMAP, b"")
    if not normalizer.get(_ESCAPE, 1):
        raise UnsupportedTokenizer(f"{path} does not escape spaces, which is not supported")
    spaces = Spaces(
        prefix=bool(normalizer.get(_DUMMY_PREFIX, 1)),
        merged=bool(normalizer.get(_EXTRA_SPACES, 1)),
        charsmap=charsmap if isinstance(charsmap, bytes) else b"",
    )
    match trainer.get(_MODEL_TYPE, _UNIGRAM):
        case 2:
            return _bpe(str(path), pieces, spaces)
        case 1:
            return _unigram(pieces, spaces)
        case kind:
            raise UnsupportedTokenizer(
                f"{path} is a SentencePiece model of type {kind!r}, neither Unigram (1) nor BPE (2)"
            )


@dataclass(frozen=True, slots=True)
class Spaces:
    """What is done to text first: a space put before it, runs of spaces made one, a table."""

    prefix: bool
    merged: bool
    charsmap: bytes


def _bpe(source: str, pieces: dict[int, Piece], spaces: Spaces) -> Vocabulary:
    if spaces.charsmap:
        raise UnsupportedTokenizer(
            f"{source} normalizes text by a table, which llama.cpp does not do for BPE"
        )
    extra = {"add_space_prefix": spaces.prefix}
    return Vocabulary("llama", "default", pieces, scored=True, adds_bos=True, extra=extra)


def _unigram(pieces: dict[int, Piece], spaces: Spaces) -> Vocabulary:
    extra: dict[str, Any] = {
        "add_space_prefix": spaces.prefix,
        "remove_extra_whitespaces": spaces.merged,
    }
    if spaces.charsmap:
        extra["precompiled_charsmap"] = spaces.charsmap
    return Vocabulary("t5", "default", pieces, scored=True, extra=extra)


def _piece(path: Path, index: int, fields: Mapping[int, int | bytes]) -> Piece:
    text, score, kind = fields.get(_TEXT, b""), fields.get(_SCORE, bytes(4)), fields.get(_KIND, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or kind not in _KINDS:
        raise UnsupportedTokenizer(f"{path}: piece {index} is damaged")
    try:
        return Piece(text.decode("utf-8"), _KINDS[int(kind)], _F32.unpack(score)[0])
    except UnicodeDecodeError:
        raise UnsupportedTokenizer(f"{path}: piece {index} is not valid UTF-8") from None
    except struct.error:
        raise UnsupportedTokenizer(f"{path}: piece {index} is damaged") from None


def _fields(path: Path, data: bytes) -> Iterator[Field]:
    """(field number, integer or bytes) of a protobuf message."""
    position = 0
    while position < len(data):
        key, position = _varint(path, data, position)
        match key & 7:
            case 0:
                value, position = _varint(path, data, position)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, position = _varint(path, data, position)
            case 5:
                size = 4
            case wire:
                raise UnsupportedTokenizer(f"{path} is no SentencePiece model (wire type {wire})")
        if size > len(data) - position:
            raise UnsupportedTokenizer(f"{path} is no SentencePiece model, or it is cut off")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(path: Path, data: bytes, position: int) -> tuple[int, int]:
    value = 0
    # Ten bytes of seven bits hold 64.
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise UnsupportedTokenizer(f"{path} is no SentencePiece model, or it is cut off")


def read_metaspace_bpe(document: Mapping[str, Any], added: Sequence[str]) -> Vocabulary:
    """SentencePiece BPE as `tokenizer.json` has it: merges in place of scores.

    A piece's score becomes minus the place of its first merge, the order that SentencePiece merges
    in. That is faithful only if the merges are those that SentencePiece would do: all of a
    piece's merges together, and none left out. `added` tokens are found before merging.
    """
    model = document["model"]
    ids = model.get("vocab")
    if not isinstance(ids, dict) or not ids:
        raise UnsupportedTokenizer("tokenizer.json has no vocabulary")
    found = set(added)
    lines = read_merges(model.get("merges"))
    rank: dict[str, int] = {}
    pairs: set[str] = set(lines)
    last = ""
    for place, line in enumerate(lines):
        left, _, right = line.partition(" ")
        made = left + right
        if not (left in ids and right in ids and made in ids):
            raise UnsupportedTokenizer(f"tokenizer.json: merge {place} is not of known tokens")
        if made != last and made in rank:
            raise UnsupportedTokenizer(
                f"tokenizer.json: token {made!r} is merged at two places, which SentencePiece does "
                "not do; add the tokenizer.model that the model was trained with"
            )
        rank.setdefault(made, place)
        last = made
    pieces: dict[int, Piece] = {}
    unknown = model.get("unk_token")
    for text, number in ids.items():
        if type(number) is not int or not 0 <= number < MAX_TOKENS or number in pieces:
            raise UnsupportedTokenizer(f"tokenizer.json: token {text[:60]!r} has id {number!r}")
        kind = _kind(text, unknown, model)
        if text not in found and kind is TokenType.NORMAL:
            for cut in range(1, len(text)):
                left, right = text[:cut], text[cut:]
                # Bytes and added tokens may be parts, but need not: no text becomes them here.
                plain = all(
                    part in ids
                    and part not in found
                    and _kind(part, unknown, model) is TokenType.NORMAL
                    for part in (left, right)
                )
                if plain and f"{left} {right}" not in pairs:
                    raise UnsupportedTokenizer(
                        f"tokenizer.json does not merge {left!r} and {right!r}, though "
                        "SentencePiece would; add the tokenizer.model it was trained with"
                    )
        pieces[number] = Piece(text, kind, float(-rank.get(text, 0)))
    _after_merges(pieces, rank)
    return _bpe("tokenizer.json", pieces, read_spaces(document))


def _after_merges(pieces: Mapping[int, Piece], rank: Mapping[str, int]) -> None:
    """Single characters are no merge: they score below all of them, as SentencePiece has it."""
    lowest = -float(max(rank.values(), default=0))
    for piece in pieces.values():
        if piece.text not in rank and piece.kind is TokenType.NORMAL:
            lowest -= 1
            piece.score = lowest


def _kind(text: str, unknown: object, model: Mapping[str, Any]) -> TokenType:
    if text == unknown:
        return TokenType.UNKNOWN
    is_byte = len(text) == 6 and text.startswith("<0x") and text.endswith(">")
    return TokenType.BYTE if is_byte and model.get("byte_fallback") else TokenType.NORMAL


def read_unigram(document: Mapping[str, Any]) -> Vocabulary:
    """SentencePiece Unigram as `tokenizer.json` has it: [[piece, score], …]."""
    model = document["model"]
    rows = model.get("vocab")
    if not isinstance(rows, list) or not rows or len(rows) > MAX_TOKENS:
        raise UnsupportedTokenizer("tokenizer.json has no vocabulary")
    unknown = model.get("unk_id")
    pieces: dict[int, Piece] = {}
    for number, row in enumerate(rows):
        if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)):
            raise UnsupportedTokenizer(f"tokenizer.json: piece {number} is not a text and a score")
        text, score = row
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise UnsupportedTokenizer(f"tokenizer.json: piece {number} has score {score!r}")
        kind = TokenType.UNKNOWN if number == unknown else _kind(text, None, model)
        pieces[number] = Piece(text, kind, max(float(score), UNUSED_SCORE))
    return _unigram(pieces, read_spaces(document))


def read_spaces(document: Mapping[str, Any]) -> Spaces:
    """What the normalizer and pre-tokenizer of a `tokenizer.json` do to spaces.

    Anything that is not SentencePiece's way is an error: it would change the tokens.
    """
    prefix = merged = escaped = False
    charsmap = b""
    for step in _flat(document.get("normalizer"), "normalizers"):
        match step:
            case {"type": "Prepend", "prepend": "\u2581"}:
                prefix = True
            case {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}:
                escaped = True
            case {"type": "Replace", "pattern": {"Regex": " {2,}"}}:
                merged = True
            case {"type": "Strip"}:
                merged = True
            case {"type": "Precompiled", "precompiled_charsmap": str(table)}:
                try:
                    charsmap = base64.b64decode(table, validate=True)
                except (binascii.Error, ValueError):
                    raise UnsupportedTokenizer("tokenizer.json: bad precompiled_charsmap") from None
            case _:
                raise UnsupportedTokenizer(
                    f"tokenizer.json: normalizer {step.get('type')!r} is not supported"
                )
    for step in _flat(document.get("pre_tokenizer"), "pretokenizers"):
        match step:
            case {"type": "Metaspace", "replacement": "\u2581"}:
                escaped = True
                scheme = step.get("prepend_scheme")
                prefix |= scheme in ("always", "first") or bool(
                    scheme is None and step.get("add_prefix_space", True)
                )
            # Gemma: spaces were replaced before, so this finds none.
            case {"type": "Split", "pattern": {"String": " "}} if escaped:
                pass
            case {"type": "WhitespaceSplit"} if merged or charsmap:
                merged = True
            case _:
                raise UnsupportedTokenizer(
                    f"tokenizer.json: pre-tokenizer step {step.get('type')!r} is not supported"
                )
    if not escaped:
        raise UnsupportedTokenizer(f"tokenizer.json does not write spaces as {SPACE!r}")
    return Spaces(prefix, merged, charsmap)


def _flat(value: object, key: str) -> list[Mapping[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, dict):
        raise UnsupportedTokenizer(f"tokenizer.json: {key} are not objects")
    if value.get("type") == "Sequence":
        parts = value.get(key)
        if not isinstance(parts, list):
            raise UnsupportedTokenizer(f"tokenizer.json: {key} are not a list")
        return [part for item in parts for part in _flat(item, key)]
    return [value]
