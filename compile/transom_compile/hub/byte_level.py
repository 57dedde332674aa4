"""Byte-level BPE from a `tokenizer.json`: vocabulary, merges, and which pre-tokenizer it names.

GGUF names a pre-tokenizer; Hugging Face spells it out. The spelling is recognised by its parts, as
llama.cpp recognises it by what it does to a sample text; another one is an error, since text cut in
another way gives other tokens. Must not know added tokens.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from transom_compile.hub.vocabulary import MAX_TOKENS, Piece, UnsupportedTokenizer, Vocabulary

_APOSTROPHE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
_CASED_REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DIGITS = "digits"
"""Stands for Hugging Face's own step that cuts every digit off."""

# (the steps before the bytes, whether a piece that is a token needs no merges) -> GGUF's name.
# Steps as in src/llama-vocab.cpp, llm_tokenizer_bpe; names of pre-tokenizers that do the same are
# interchangeable there ("smollm" stands for starcoder, refact and command-r too).
_NAMES: Mapping[tuple[tuple[str, ...], bool], str] = {
    ((_GPT2,), False): "gpt-2",
    ((_DIGITS, _GPT2), False): "smollm",
    ((rf"{_APOSTROPHE}|{_WORD}|\p{{N}}{{1,3}}|{_REST}",), True): "llama-bpe",
    ((rf"{_APOSTROPHE}|{_WORD}|\p{{N}}{{1,3}}|{_REST}",), False): "dbrx",
    ((rf"{_APOSTROPHE}|{_WORD}|\p{{N}}|{_REST}",), False): "qwen2",
    (
        (_CASED % (f"{_APOSTROPHE}?", f"{_APOSTROPHE}?") + rf"|\p{{N}}{{1,3}}|{_CASED_REST}",),
        False,
    ): "gpt-4o",
    ((_CASED % ("", "") + rf"|\p{{N}}|{_CASED_REST}",), True): "tekken",
}


def read_byte_level(document: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a byte-level BPE `tokenizer.json`. Raises `UnsupportedTokenizer`."""
    model = document["model"]
    for field in ("continuing_subword_prefix", "end_of_word_suffix", "dropout", "byte_fallback"):
        if model.get(field):
            raise UnsupportedTokenizer(
                f"tokenizer.json: byte-level BPE with {field} {model[field]!r} is not supported"
            )
    _check_normalizer(document.get("normalizer"))
    whole_words = bool(model.get("ignore_merges"))
    pieces = {number: Piece(text) for text, number in _entries(model.get("vocab"))}
    return Vocabulary(
        "gpt2",
        _pre_tokenizer(document.get("pre_tokenizer"), whole_words),
        pieces,
        merges=read_merges(model.get("merges")),
    )


def is_byte_level(document: Mapping[str, Any]) -> bool:
    """Whether its text becomes bytes before merging."""
    return any(step.get("type") == "ByteLevel" for step in _steps(document.get("pre_tokenizer")))


def _entries(vocabulary: object) -> Iterator[tuple[str, int]]:
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise UnsupportedTokenizer("tokenizer.json has no vocabulary")
    seen: set[int] = set()
    for text, number in vocabulary.items():
        if type(number) is not int or not 0 <= number < MAX_TOKENS:
            raise UnsupportedTokenizer(f"tokenizer.json: token {text[:60]!r} has id {number!r}")
        if number in seen:
            raise UnsupportedTokenizer(f"tokenizer.json: two tokens have id {number}")
        seen.add(number)
        yield text, number


def read_merges(merges: object) -> list[str]:
    """Merges as GGUF writes them, "left right", from either form that tokenizer.json has."""
    if not isinstance(merges, list):
        raise UnsupportedTokenizer("tokenizer.json has no merges")
    lines = []
    for index, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2:
            raise UnsupportedTokenizer(f"tokenizer.json: merge {index} is not two tokens")
        left, right = parts
        if not isinstance(left, str) or not isinstance(right, str) or " " in left + right:
            raise UnsupportedTokenizer(f"tokenizer.json: merge {index} is not two tokens")
        lines.append(f"{left} {right}")
    return lines


def _check_normalizer(normalizer: object) -> None:
    """None, or NFC, which llama.cpp and therefore GGUF leave out (Qwen has it)."""
    if normalizer is None:
        return
    kind = normalizer.get("type") if isinstance(normalizer, dict) else normalizer
    if kind == "Sequence" and isinstance(normalizer, dict):
        for step in normalizer.get("normalizers", []):
            _check_normalizer(step)
    elif kind != "NFC":
        raise UnsupportedTokenizer(
            f"tokenizer.json: byte-level BPE after normalizer {kind!r} is not supported"
        )


def _steps(pre_tokenizer: object) -> list[Mapping[str, Any]]:
    if not isinstance(pre_tokenizer, dict):
        return []
    if pre_tokenizer.get("type") == "Sequence":
        steps = pre_tokenizer.get("pretokenizers")
        return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    return [pre_tokenizer]


def _pre_tokenizer(pre_tokenizer: object, whole_words: bool) -> str:
    patterns: list[str] = []
    for step in _steps(pre_tokenizer):
        match step.get("type"):
            case "Split":
                patterns.append(_split(step))
            case "Digits" if step.get("individual_digits"):
                patterns.append(_DIGITS)
            case "ByteLevel" if not step.get("add_prefix_space"):
                if step.get("use_regex", True):
                    patterns.append(_GPT2)
            case kind:
                raise UnsupportedTokenizer(
                    f"tokenizer.json: pre-tokenizer step {kind!r} is not supported"
                    + (" with add_prefix_space" if kind == "ByteLevel" else "")
                )
    name = _NAMES.get((tuple(patterns), whole_words))
    if name is None:
        raise UnsupportedTokenizer(
            "tokenizer.json: no pre-tokenizer of GGUF cuts text like this one "
            f"({'; '.join(patterns)[:300]}, ignore_merges {whole_words}); "
            f"known are {', '.join(sorted(_NAMES.values()))}"
        )
    return name


def _split(step: Mapping[str, Any]) -> str:
    pattern = step.get("pattern")
    regex = pattern.get("Regex") if isinstance(pattern, dict) else None
    # The pattern matches everything, so what it finds and what lies between finds are the same.
    way = (step.get("behavior"), bool(step.get("invert")))
    if not isinstance(regex, str) or way not in {("Isolated", False), ("Removed", True)}:
        raise UnsupportedTokenizer("tokenizer.json: a Split of this kind is not supported")
    # One digit at a time, in the two spellings that models use.
    return _DIGITS if regex in {r"\p{N}", r"\d"} else regex
