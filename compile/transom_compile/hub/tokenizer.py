"""The tokenizer of a Hugging Face folder as GGUF metadata (`tokenizer.*`).

Chooses the kind (byte-level BPE, SentencePiece BPE and Unigram, WordPiece), lays added tokens over
its vocabulary and fills the holes up to the embedding's rows. Whatever would cut text in another
way than llama.cpp does with the result is an error. Must not know weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transom_compile.gguf_output import Entry, entry
from transom_compile.hub.byte_level import is_byte_level, read_byte_level
from transom_compile.hub.folder import MAX_TOKENIZER_BYTES, optional_object
from transom_compile.hub.sentencepiece import (
    read_metaspace_bpe,
    read_sentencepiece,
    read_unigram,
)
from transom_compile.hub.special_tokens import SpecialTokens
from transom_compile.hub.vocabulary import (
    ADDED_SCORE,
    MAX_TOKENS,
    SPACE,
    UNUSED_SCORE,
    AddedToken,
    Piece,
    TokenType,
    UnsupportedTokenizer,
    Vocabulary,
    looks_special,
)
from transom_compile.progress import Progress

PREFIX = "tokenizer.ggml."
TOKENIZER_FILE = "tokenizer.json"
SENTENCEPIECE_FILE = "tokenizer.model"
_WORD_START = "##"


def read_tokenizer(
    folder: Path, config: Mapping[str, Any], rows: int, progress: Progress
) -> dict[str, Entry]:
    """`tokenizer.*` metadata for an embedding of `rows` tokens.

    Raises `UnsupportedTokenizer` naming the part that a GGUF cannot hold faithfully.
    """
    document = optional_object(folder / TOKENIZER_FILE, MAX_TOKENIZER_BYTES)
    added = _added_tokens(folder, document)
    vocabulary = _vocabulary(folder, document, added)
    _add(vocabulary, added, rows, progress)
    ids = _fill(vocabulary, rows)
    special = SpecialTokens(folder, document, config)
    numbers = special.entries(ids, vocabulary.adds_bos, vocabulary.adds_eos)
    pieces = [vocabulary.pieces[number] for number in range(rows)]
    if vocabulary.model == "bert":
        _start_words(pieces)
    values: dict[str, Any] = {
        "model": vocabulary.model,
        "pre": vocabulary.pre,
        "tokens": [piece.text for piece in pieces],
    }
    if vocabulary.scored:
        values["scores"] = [float(piece.score) for piece in pieces]
    values["token_type"] = [int(piece.kind) for piece in pieces]
    if vocabulary.merges:
        values["merges"] = vocabulary.merges
    values |= {**numbers, **vocabulary.extra}
    if vocabulary.model in {"bert", "t5"}:
        types = config.get("type_vocab_size", 1)
        if type(types) is not int:
            raise UnsupportedTokenizer(f"config.json: type_vocab_size is {str(types)[:60]!r}")
        values["token_type_count"] = types
    prefix = _prefix_space(folder)
    if vocabulary.model == "llama" and prefix is not None:
        values["add_space_prefix"] = prefix
    entries = {PREFIX + key: entry(value) for key, value in values.items()}
    for key, text in special.template_entries(progress).items():
        entries[key] = entry(text)
    return entries


def _prefix_space(folder: Path) -> bool | None:
    said = optional_object(folder / "tokenizer_config.json").get("add_prefix_space")
    return said if isinstance(said, bool) else None


def _vocabulary(
    folder: Path, document: Mapping[str, Any], added: Mapping[int, AddedToken]
) -> Vocabulary:
    model = document.get("model") or {}
    if not isinstance(model, dict):
        raise UnsupportedTokenizer(f"{folder / TOKENIZER_FILE}: its model is not an object")
    kind = model.get("type")
    if kind == "BPE" and is_byte_level(document):
        return read_byte_level(document)
    if kind == "WordPiece":
        return _word_piece(document)
    # What the model was trained with says more than what was made of it.
    if (folder / SENTENCEPIECE_FILE).is_file():
        return read_sentencepiece(folder / SENTENCEPIECE_FILE)
    if kind == "BPE":
        return read_metaspace_bpe(document, [token.text for token in added.values()])
    if kind == "Unigram":
        return read_unigram(document)
    if kind is None:
        raise UnsupportedTokenizer(
            f"{folder} has neither {TOKENIZER_FILE} nor {SENTENCEPIECE_FILE}"
        )
    raise UnsupportedTokenizer(f"{folder / TOKENIZER_FILE}: model {kind!r} is not supported")


def _word_piece(document: Mapping[str, Any]) -> Vocabulary:
    """BERT's. llama.cpp stands Chinese characters apart always; the rest GGUF can say."""
    model = document["model"]
    ids = model.get("vocab")
    if not isinstance(ids, dict) or not ids:
        raise UnsupportedTokenizer("tokenizer.json has no vocabulary")
    if model.get("continuing_subword_prefix") != _WORD_START:
        raise UnsupportedTokenizer(
            f"tokenizer.json: word pieces that do not begin with {_WORD_START!r} are not supported"
        )
    normalizer = document.get("normalizer") or {}
    match normalizer:
        case {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "lowercase": bool(lowercase),
        }:
            accents = normalizer.get("strip_accents")
        case _:
            raise UnsupportedTokenizer(
                "tokenizer.json: only BERT's normalizer is supported "
                "(clean text, Chinese characters apart)"
            )
    extra = {} if lowercase else {"normalizer.lowercase": False}
    # Not said, accents go with capitals.
    if not (lowercase if accents is None else accents):
        extra["normalizer.strip_accents"] = False
    pre_tokenizer = document.get("pre_tokenizer")
    if not isinstance(pre_tokenizer, dict) or pre_tokenizer.get("type") != "BertPreTokenizer":
        raise UnsupportedTokenizer("tokenizer.json: only BERT's pre-tokenizer is supported")
    pieces: dict[int, Piece] = {}
    for text, number in ids.items():
        if type(number) is not int or not 0 <= number < MAX_TOKENS or number in pieces:
            raise UnsupportedTokenizer(f"tokenizer.json: token {text[:60]!r} has id {number!r}")
        pieces[number] = Piece(text)
    return Vocabulary("bert", "bert-bge", pieces, adds_bos=True, adds_eos=True, extra=extra)


def _start_words(pieces: list[Piece]) -> None:
    """GGUF marks where a word starts, BERT where it goes on."""
    for piece in pieces:
        if piece.kind is TokenType.CONTROL:
            continue
        if piece.text.startswith(_WORD_START):
            piece.text = piece.text.removeprefix(_WORD_START)
        else:
            piece.text = SPACE + piece.text


def _added_tokens(folder: Path, document: Mapping[str, Any]) -> dict[int, AddedToken]:
    """Id -> token, from the three files that may list them; the last word is tokenizer.json's."""
    found: dict[int, AddedToken] = {}
    for text, number in optional_object(folder / "added_tokens.json").items():
        _note_added(found, number, text, False)
    decoder = optional_object(folder / "tokenizer_config.json").get("added_tokens_decoder")
    for number, token in (decoder if isinstance(decoder, dict) else {}).items():
        if isinstance(token, dict) and str(number).isdecimal():
            _note_added(found, int(number), token.get("content"), token.get("special"))
    listed = document.get("added_tokens")
    for token in listed if isinstance(listed, list) else []:
        if isinstance(token, dict):
            _note_added(found, token.get("id"), token.get("content"), token.get("special"))
    return found


def _note_added(
    found: dict[int, AddedToken], number: object, text: object, special: object
) -> None:
    if type(number) is not int or not 0 <= number < MAX_TOKENS or not isinstance(text, str):
        raise UnsupportedTokenizer(f"added token {str(text)[:60]!r} has id {str(number)[:60]!r}")
    found[number] = AddedToken(number, text, bool(special))


def _add(
    vocabulary: Vocabulary, added: Mapping[int, AddedToken], rows: int, progress: Progress
) -> None:
    for token in added.values():
        if token.id >= rows:
            # Gemma's picture token: the text model has no row for it.
            progress.note(f"token {token.text!r} ({token.id}) has no embedding and is left out")
            continue
        before = vocabulary.pieces.get(token.id)
        if token.special or looks_special(token.text):
            text, kind = token.text, TokenType.CONTROL
        else:
            # Such tokens are found in the text as it stands, where a space is a space.
            text, kind = token.text.replace(SPACE, " "), TokenType.USER_DEFINED
        if before is not None and before.kind is TokenType.UNKNOWN:
            kind = TokenType.UNKNOWN
        score = before.score if before is not None and kind is TokenType.UNKNOWN else ADDED_SCORE
        vocabulary.pieces[token.id] = Piece(text, kind, score)


def _fill(vocabulary: Vocabulary, rows: int) -> dict[str, int]:
    """Every row of the embedding gets a piece; text -> id of those that exist."""
    beyond = [number for number in vocabulary.pieces if number >= rows]
    if beyond:
        raise UnsupportedTokenizer(
            f"the tokenizer has {len(beyond)} tokens from id {min(beyond)} on, "
            f"but the embedding has only {rows} rows"
        )
    ids: dict[str, int] = {}
    for number in range(rows):
        piece = vocabulary.pieces.setdefault(
            number, Piece(f"[PAD{number}]", TokenType.UNUSED, UNUSED_SCORE)
        )
        if ids.setdefault(piece.text, number) != number and vocabulary.model == "gpt2":
            raise UnsupportedTokenizer(
                f"token {piece.text[:60]!r} has two ids, {ids[piece.text]} and {number}"
            )
    return ids
