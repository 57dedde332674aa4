"""WordPiece (GGUF's "bert"): words, then the longest tokens that make each word.

GGUF writes a word's first token with ▁ before it and the others bare; that form is kept, with the
same ▁ put before each word of the text. The normaliser is llama.cpp's, which is not quite BERT's:
every combining mark goes (BERT keeps those that take room), and of a Hangul syllable only the
leading consonant is left.
"""

from collections.abc import Mapping
from typing import Any

from transom_compile.tokenizers.document import (
    Json,
    replace,
    replace_pattern,
    sentence_piece_decoder,
    sequence,
    split,
    write_document,
)
from transom_compile.tokenizers.sentence_piece import SPACE
from transom_compile.tokenizers.vocabulary import Vocabulary, flag

# Keys that only this kind reads.
UNDERSTOOD = r"normalizer\.(lowercase|strip_accents)"
# Words are not cut by length as in BERT (100 characters).
_ANY_LENGTH = 1_000_000_000
_CHINESE = (
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f"
)
# Characters that are words of their own.
_ALONE = rf"\p{{P}}$+<=>\^`|~{_CHINESE}"
_HANGUL_SYLLABLES, _SYLLABLES_A_CONSONANT = (0xAC00, 0xD7A4), 588
_FIRST_CONSONANT = 0x1100


def convert(metadata: Mapping[str, Any], vocabulary: Vocabulary) -> bytes:
    """tokenizer.json. Raises `UnsupportedTokenizer`."""
    lowercase = flag(metadata, "normalizer.lowercase", True)
    strip_accents = flag(metadata, "normalizer.strip_accents", lowercase)
    unknown = vocabulary.required("unknown", "WordPiece needs a token for the unknown")
    first = vocabulary.required("bos", "WordPiece puts a token before each text")
    last = vocabulary.required("separator", "WordPiece puts a token after each text")
    return write_document(
        vocabulary,
        {
            "type": "WordPiece",
            "unk_token": vocabulary.tokens[unknown],
            "continuing_subword_prefix": "",
            "max_input_chars_per_word": _ANY_LENGTH,
            "vocab": vocabulary.ids(),
        },
        normalizer=sequence("normalizers", _normalizers(lowercase, strip_accents)),
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                split(r"\s+", "Removed"),
                split(f"[{_ALONE}]"),
                {
                    "type": "Metaspace",
                    "replacement": SPACE,
                    "prepend_scheme": "always",
                    "split": False,
                },
            ],
        },
        decoder=sentence_piece_decoder(strip_space=False),
        around=((first,), (last,)),
    )


def _normalizers(lowercase: bool, strip_accents: bool) -> list[Json]:
    steps: list[Json] = []
    if strip_accents:
        for number, start in enumerate(range(*_HANGUL_SYLLABLES, _SYLLABLES_A_CONSONANT)):
            syllables = f"[{chr(start)}-{chr(start + _SYLLABLES_A_CONSONANT - 1)}]"
            steps.append(replace_pattern(syllables, chr(_FIRST_CONSONANT + number)))
        steps.append({"type": "NFD"})
    steps += [
        replace_pattern(r"\s", " "),
        replace_pattern(r"[\p{Cc}\p{Cf}\p{Co}\ufffd]", ""),
    ]
    if strip_accents:
        steps.append(replace_pattern(r"\p{M}", ""))
    # A ▁ of the text at the head of a word is not the one that is put there.
    steps.append(replace_pattern(rf"(?<![^\s{_ALONE}]){SPACE}", "\ufffd"))
    if lowercase:
        # One character for one: JavaScript knows a final sigma, and both make two of İ.
        steps += [replace("Σ", "σ"), replace("İ", "i"), {"type": "Lowercase"}]  # noqa: RUF001
    return steps
