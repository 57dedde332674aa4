"""`tokenizer.json` loads in Hugging Face's tokenizers and counts tokens as llama.cpp does."""

# ruff: noqa: RUF001 (look-alike characters are what is tested)

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.compile import tokenizer_vocabularies as vocabularies
from tests.fakes.tiny_gguf import SPECIAL, TOKENS, tokenizer_metadata
from transom_compile.tokenizers import (
    PRE_TOKENIZERS,
    UnsupportedTokenizer,
    convert_tokenizer,
)

TRICKY = [
    "Hello world",
    " leading",
    "trailing ",
    "  two  spaces   three",
    "a\nb\n\nc\r\nd\t\te",
    "   \n  x",
    "\n",
    "\n\n\n",
    " ",
    "    ",
    "123 4567 3.14 1,000",
    "abc123def",
    "1 2  3   4",
    "٣٤٥ ½ Ⅷ ²",
    "don't I'll WE'RE it'S 'twas ’s",
    "naïve café e\u0301 ﬁ ſ K Å",
    "日本語のテキスト、中文，한국어",
    "Привет мир! Ёлка मनुष्य ไทย עברית العربية",
    "😀👩‍👩‍👧‍👦🏳️‍🌈 𝔘𝔫𝔦",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_end|>x<|endoftext|>y <|im_end|> ",
    "<|im_star",
    "def f(x):\n    return x**2  # ok\n",
    "\u00a0nbsp\u2003em\u200bzw\u3000wide\u2028y\u2029z\ufeff",
    "\u0001\u007f",
    "a" * 50,
    '{"a": [1, 2.5e-3]} http://e.x/?q=1&r=2#z',
    "!!!???... _ __ ___a $5.00 €10",
]


def tiny(**changes: Any) -> dict[str, Any]:
    metadata = tokenizer_metadata()
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {key: value for key, value in metadata.items() if value is not None}


def load(metadata: Mapping[str, Any]) -> Tokenizer:
    return Tokenizer.from_str(convert_tokenizer(metadata).json_bytes.decode())


@pytest.mark.parametrize("pre", PRE_TOKENIZERS)
def test_text_survives_and_control_tokens_are_found(pre: str) -> None:
    tokenizer = load(tiny(pre=pre, add_bos_token=False))
    for text in TRICKY:
        encoded = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text
        assert sum(encoded.ids.count(number) for number in range(3)) == sum(
            text.count(token) for token in SPECIAL
        )


@pytest.mark.parametrize(
    ("pre", "text", "pieces"),
    [
        ("gpt-2", "a 1234's", ["a", "Ġ1234", "'s"]),
        ("smollm", "a 1234's", ["a", "Ġ", "1", "2", "3", "4", "'s"]),
        ("llama-bpe", "a 1234'S x\n\n y", ["a", "Ġ", "123", "4", "'S", "Ġx", "ĊĊ", "Ġy"]),
        ("qwen2", "a 12'll x", ["a", "Ġ", "1", "2", "'ll", "Ġx"]),
    ],
)
def test_splits_of_each_pre_tokenizer(pre: str, text: str, pieces: list[str]) -> None:
    found = load(tiny(pre=pre)).pre_tokenizer.pre_tokenize_str(text)
    assert [piece for piece, _ in found] == pieces


def test_merges_apply_in_order() -> None:
    encoded = load(tiny()).encode("hello w", add_special_tokens=False)
    assert encoded.tokens == ["hello", "Ġw"]


def test_bos_and_eos_surround_a_text_when_the_checkpoint_says_so() -> None:
    assert load(tiny()).encode("h").tokens == ["h"]
    both = load(tiny(add_bos_token=True, add_eos_token=True))
    assert both.encode("h").tokens == ["<|im_start|>", "h", "<|im_end|>"]
    assert both.encode("h", add_special_tokens=False).tokens == ["h"]
    # llama.cpp adds bos for this pre-tokenizer unless told otherwise.
    unsaid = tiny(pre="llama-bpe", add_bos_token=None)
    assert load(unsaid).encode("h").tokens == ["<|im_start|>", "h"]


def test_user_defined_tokens_are_found_but_not_special() -> None:
    types = [3, 3, 3, *([1] * (len(TOKENS) - 4)), 4]
    tokenizer = load(tiny(tokens=[*TOKENS[:-1], "==>"], token_type=types, merges=["h e"]))
    encoded = tokenizer.encode("a==>b", add_special_tokens=False)
    assert encoded.tokens == ["a", "==>", "b"]
    assert tokenizer.decode(encoded.ids, skip_special_tokens=True) == "a==>b"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "rwkv"}, "tokenizer model 'rwkv' is not supported; known are gpt2, llama"),
        ({"model": None}, "tokenizer model None"),
        ({"pre": "chameleon"}, r"pre-tokenizer 'chameleon' \(tokenizer.ggml.pre\).*smollm"),
        ({"pre": None}, "pre-tokenizer None"),
        ({"pre": ["smollm"]}, "pre-tokenizer"),
        ({"tokens": None}, "no list of strings tokenizer.ggml.tokens"),
        ({"tokens": "abc"}, "no list of strings tokenizer.ggml.tokens"),
        ({"merges": None}, "no list of strings tokenizer.ggml.merges"),
        ({"merges": ["he"]}, r"merges\[0\] is 'he'"),
        ({"merges": ["h e", "q z"]}, r"merges\[1\] is 'q z'"),
        ({"tokens": [*TOKENS[:-1], "h"]}, "token 'h' appears twice"),
        ({"token_type": [1]}, "token_type has 1 items for 264 tokens"),
        ({"token_type": [9] * len(TOKENS)}, r"token_type\[0\] is 9"),
        ({"eos_token_id": 264}, "eos_token_id is 264, not one of the 264"),
        ({"bos_token_id": None, "add_bos_token": True}, "no tokenizer.ggml.bos_token_id"),
        ({"add_bos_token": 1}, "neither true nor false"),
        ({"normalizer.lowercase": True}, "not understand: tokenizer.ggml.normalizer.lowercase"),
        ({"precompiled_charsmap": [1]}, "does not understand"),
    ],
)
def test_what_cannot_be_written_down_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedTokenizer, match=message):
        convert_tokenizer(tiny(**changes))


def test_the_same_metadata_gives_the_same_bytes() -> None:
    assert convert_tokenizer(tiny()).json_bytes == convert_tokenizer(tiny()).json_bytes


def test_a_byte_without_a_token_keeps_its_neighbours_apart() -> None:
    tokens = [token for token in TOKENS if token != "Ĉ"]  # the byte 0x08
    tokenizer = load(tiny(tokens=tokens, token_type=[3, 3, 3, *([1] * (len(tokens) - 3))]))
    assert tokenizer.encode("h\x08e", add_special_tokens=False).tokens == ["h", "e"]


def test_tokens_are_read_as_llama_cpp_reads_them() -> None:
    tokens = [*TOKENS[:-3], "", "zz\0b", "Ġw"]
    found = convert_tokenizer(tiny(tokens=tokens, merges=["Ġ w"]))
    assert (found.tokens[-3], found.tokens[-2]) == (f"[EMPTY_{len(TOKENS) - 3}]", "zz")


@pytest.mark.parametrize(
    ("texts", "stops"),
    [
        (["<|end|>"], [0, 2]),
        # gpt-oss goes on after <|end|>.
        (["<|end|>", "<|return|>", "<|call|>"], [1, 2]),
        (["</s>", "<|tool_response>"], [1, 2]),
        (["<|fim_pad|>", "<|fim_prefix|>"], [0, 2]),
        (["nothing"], [2]),
    ],
)
def test_what_ends_a_generation(texts: list[str], stops: list[int]) -> None:
    rest = [f"<{number}>" for number in range(3 - len(texts))]
    tokens = [*(texts + rest), *TOKENS[3:]]
    assert list(convert_tokenizer(tiny(tokens=tokens)).stop_ids) == stops


def changed(metadata: dict[str, Any], **changes: Any) -> dict[str, Any]:
    metadata = metadata | {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {key: value for key, value in metadata.items() if value is not None}


def test_sentence_piece_has_one_merge_a_token() -> None:
    tokenizer = convert_tokenizer(vocabularies.sentence_piece(True))
    model = json.loads(tokenizer.json_bytes)["model"]
    made = [merge.replace(" ", "") for merge in model["merges"]]
    assert len(made) == len(set(made)) > 1000
    assert (tokenizer.kind, tokenizer.adds_space, tokenizer.adds_bos) == (
        "sentence_piece", True, True,
    )  # fmt: skip


def sentence_piece_of(*rows: tuple[str, float]) -> dict[str, Any]:
    """The bytes, and the given tokens with their scores."""
    head = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    return changed(
        vocabularies.sentence_piece(True),
        tokens=[*head, *(token for token, _ in rows)],
        token_type=[2, 3, 3, *([6] * 256), *([1] * len(rows))],
        scores=[*([0.0] * len(head)), *(score for _, score in rows)],
    )


SINGLE = [("a", -10.0), ("b", -11.0), ("c", -12.0)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*SINGLE, ("ab", -1.0), ("bc", -1.0)], "'ab' and 'bc' have the same score"),
        ([*SINGLE, ("ax", -1.0)], "'ax' is joined from 'a' and 'x', which are not both tokens"),
        ([*SINGLE, ("<", -2.0), ("a" * 1025, -1.0)], "longer than 1024 characters"),
    ],
)
def test_what_merges_cannot_say_is_refused(rows: list[tuple[str, float]], message: str) -> None:
    with pytest.raises(UnsupportedTokenizer, match=message):
        convert_tokenizer(sentence_piece_of(*rows))


def test_equal_scores_of_tokens_that_are_never_joined_are_fine() -> None:
    rows = [*SINGLE, ("ab", -1.0), ("abcb", -1.0)]
    merges = json.loads(convert_tokenizer(sentence_piece_of(*rows)).json_bytes)["model"]["merges"]
    assert merges == ["a b"]


@pytest.mark.parametrize(
    ("metadata", "changes", "message"),
    [
        (vocabularies.sentence_piece(True), {"scores": None}, "no list of numbers"),
        (vocabularies.sentence_piece(True), {"scores": [0.0]}, "scores has 1 items"),
        (vocabularies.unigram(True, True), {"scores": None}, "no list of numbers"),
        (vocabularies.unigram(True, True), {"precompiled_charsmap": [1, 2]}, "cut off"),
        (vocabularies.unigram(True, True), {"precompiled_charsmap": ["a"]}, "not a list of bytes"),
        (vocabularies.word_piece(), {"normalizer.lowercase": 1}, "neither true nor false"),
        (vocabularies.word_piece(), {"remove_extra_whitespaces": True}, "does not understand"),
    ],
)
def test_other_kinds_name_what_they_cannot_take(
    metadata: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedTokenizer, match=message):
        convert_tokenizer(changed(metadata, **changes))


def test_a_vocabulary_without_bytes_cannot_say_every_text() -> None:
    metadata = sentence_piece_of(*SINGLE)
    tokens = ["x" if token == "<0x80>" else token for token in metadata["tokenizer.ggml.tokens"]]
    with pytest.raises(UnsupportedTokenizer, match="no byte token <0x80>"):
        convert_tokenizer(changed(metadata, tokens=tokens))
