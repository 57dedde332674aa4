"""`tokenizer.json` (Hugging Face's format) from the tokenizer that a GGUF carries in its metadata.

The result splits text as llama.cpp does, so that browser and native count the same tokens. A
pre-tokenizer, a tokenizer model or a metadata key that is not understood stops the walk. One module
for each kind of tokenizer; this one chooses. Must not know chat templates or architectures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transom_compile.tokenizers import byte_level, sentence_piece, unigram, word_piece
from transom_compile.tokenizers.pre_tokenizers import PRE_TOKENIZERS
from transom_compile.tokenizers.vocabulary import (
    PREFIX,
    TokenType,
    UnsupportedTokenizer,
    read_vocabulary,
)

__all__ = [
    "KINDS",
    "PRE_TOKENIZERS",
    "TokenType",
    "Tokenizer",
    "UnsupportedTokenizer",
    "convert_tokenizer",
]

# GGUF's name of a tokenizer model -> what it is called here.
KINDS: Mapping[str, str] = {
    "gpt2": "byte_level",
    "llama": "sentence_piece",
    "t5": "unigram",
    "bert": "word_piece",
}


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """What the rest of the walk asks of the checkpoint's tokenizer.

    `types` and `stop_ids` (tokens that end a generation) are llama.cpp's after loading;
    `adds_space`: encoding puts a space before a text and decoding takes it away.
    """

    kind: str
    tokens: Sequence[str]
    types: Sequence[int]
    special_ids: Mapping[str, int]
    stop_ids: tuple[int, ...]
    adds_bos: bool
    adds_eos: bool
    adds_space: bool
    json_bytes: bytes

    def token_id(self, role: str) -> int | None:
        """Id of the "bos", "eos", "eot", "eom" or "padding" token, if the checkpoint names one."""
        return self.special_ids.get(role)

    def text(self, role: str) -> str:
        """The token of a role as it is written; empty when there is none."""
        index = self.token_id(role)
        return "" if index is None else self.tokens[index]


def convert_tokenizer(metadata: Mapping[str, Any]) -> Tokenizer:
    """Read the tokenizer and write it as `tokenizer.json`. Raises `UnsupportedTokenizer`."""
    model = metadata.get(PREFIX + "model")
    kind = KINDS.get(model) if isinstance(model, str) else None
    adds_bos = adds_eos = True
    adds_space = False
    match kind:
        case "byte_level":
            vocabulary = read_vocabulary(metadata, {})
            data, adds_bos, adds_eos = byte_level.convert(metadata, vocabulary)
        case "sentence_piece":
            vocabulary = read_vocabulary(metadata, {"unknown": 0, "bos": 1, "eos": 2})
            data, adds_bos, adds_eos, adds_space = sentence_piece.convert(metadata, vocabulary)
        case "unigram":
            defaults = {"padding": 0, "eos": 1, "unknown": 2}
            vocabulary = read_vocabulary(metadata, defaults, understood=unigram.UNDERSTOOD)
            data, adds_bos, adds_eos, adds_space = unigram.convert(metadata, vocabulary)
        case "word_piece":
            defaults = {"padding": 0, "unknown": 100, "bos": 101, "separator": 102, "mask": 103}
            vocabulary = read_vocabulary(metadata, defaults, understood=word_piece.UNDERSTOOD)
            data = word_piece.convert(metadata, vocabulary)
        case _:
            raise UnsupportedTokenizer(
                f"tokenizer model {model!r} is not supported; known are {', '.join(KINDS)}"
            )
    return Tokenizer(
        kind=kind,
        tokens=vocabulary.tokens,
        types=vocabulary.types,
        special_ids=vocabulary.special_ids,
        stop_ids=vocabulary.stop_ids,
        adds_bos=adds_bos,
        adds_eos=adds_eos,
        adds_space=adds_space,
        json_bytes=data,
    )
