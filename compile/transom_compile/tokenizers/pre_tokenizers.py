"""How byte-level BPE cuts text before merging, by GGUF's `tokenizer.ggml.pre`.

The patterns are those of llama.cpp's src/llama-vocab.cpp in a form that Oniguruma (Rust) and
JavaScript read alike: `(?i:…)` written out, no possessive quantifiers. llama.cpp applies some of
them to text in which every character beyond ASCII stands for its category, so that `[^a-z]` takes
any letter beyond ASCII, large or small; the patterns here say the same of the real text.
"""

# ruff: noqa: RUF001 (letters of other scripts are what the patterns are about)

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """`splits` are applied one after the other; each match stands alone, and so does what is left.

    `whole_words`: a piece that is a token as it stands needs no merges. `adds_bos`: unless the
    metadata says otherwise.
    """

    splits: tuple[str, ...]
    whole_words: bool = False
    adds_bos: bool = False


_CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_AFTER_NUMBERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|" + _REST
_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA_3 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_AFTER_NUMBERS}"
_QWEN_2 = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_AFTER_NUMBERS}"
_QWEN_35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_REST}"
)
_SEED_CODER = (
    rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# A letter that is not a small ASCII one, and one that is not a large ASCII one.
_LARGE, _SMALL = r"(?:(?=\p{L})[^a-z])", r"(?:(?=\p{L})[^A-Z])"
_CASED_START = r"[^\r\n\p{L}\p{N}]?"
_SLASHES = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _REST
_TEKKEN = rf"{_CASED_START}{_LARGE}*{_SMALL}+|{_CASED_START}{_LARGE}+{_SMALL}*|\p{{N}}|{_SLASHES}"
_GPT_4O = (
    rf"{_CASED_START}{_LARGE}*{_SMALL}+{_CONTRACTIONS}?"
    rf"|{_CASED_START}{_LARGE}+{_SMALL}*{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_SLASHES}"
)
# llama.cpp takes white space beyond ASCII out of a text before this one looks at it.
_HAN_AND_HANGUL = r"(?:(?!\s)[\u0800-\u9fa5\uac00-\ud7ff])+"
# Letters that have case, as DeepSeek's own tokenizer lists them.
_CASED_LETTERS = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3"
    "\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    "ℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎ"
    "ꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃"
)
_DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"\s?[{_CASED_LETTERS}]+",
    r"\s?(?:(?!\s)[!-/:-~！-／：-～‘-‟\u3000-。])+",
    r"\s+$",
    _HAN_AND_HANGUL,
    r"\p{N}+",
)
_DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _HAN_AND_HANGUL, r"\p{N}")
_DEEPSEEK_3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|" + _REST,
)
_FALCON = (r"[\p{P}$+<=>\^~|`]+", _GPT_2, "[0-9][0-9][0-9]")
_DEFAULT = (r"[\p{P}$+<=>\^~|]+", _GPT_2, r"\p{N}+", "[0-9][0-9][0-9]")

# One row for each way to cut: the names that go by it.
_FAMILIES: tuple[tuple[PreTokenizer, str], ...] = (
    (PreTokenizer((_GPT_2,)),
     "gpt-2 phi-2 gigachat a.x-4.0 mellum modern-bert exaone4 mpt olmo jais trillion "
     "granite-docling"),
    (PreTokenizer((r"\p{N}", _GPT_2)),
     "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2"),
    (PreTokenizer((_LLAMA_3,), whole_words=True, adds_bos=True),
     "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2"),
    (PreTokenizer((_LLAMA_3,)), "dbrx smaug-bpe"),
    (PreTokenizer((_QWEN_2,)),
     "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open"),
    (PreTokenizer((_QWEN_35,)), "qwen35"),
    (PreTokenizer((_SEED_CODER,)), "seed-coder"),
    (PreTokenizer((_TEKKEN,), whole_words=True, adds_bos=True), "tekken"),
    (PreTokenizer((_GPT_4O,)), "gpt-4o llama4 kanana2 talkie minimax-m2"),
    (PreTokenizer(_DEEPSEEK_LLM), "deepseek-llm"),
    (PreTokenizer(_DEEPSEEK_CODER), "deepseek-coder"),
    (PreTokenizer(_DEEPSEEK_3), "deepseek-v3 hunyuan-dense joyai-llm"),
    (PreTokenizer(_FALCON), "falcon"),
    (PreTokenizer(_DEFAULT), "default"),
)  # fmt: skip
PRE_TOKENIZERS: Mapping[str, PreTokenizer] = {
    name: pre for pre, names in _FAMILIES for name in names.split()
}
