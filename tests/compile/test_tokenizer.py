"""`tokenizer.json` loads in Hugging Face's tokenizers and counts tokens as llama.cpp does."""

# ruff: noqa: RUF001 (look-alike characters are what is tested)

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.fakes.tiny_gguf import SPECIAL, TOKENS, tokenizer_metadata
from transom_compile.sources.gguf import open_checkpoint
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


@pytest.fixture
def llama_cpp_tokens(
    smollm2: Path, missing_tool: Callable[[str], Any]
) -> Iterator[Callable[[str], list[int]]]:
    """llama.cpp's own tokenizer over SmolLM2, in a child process: native code may die."""
    if importlib.util.find_spec("xllamacpp") is None:
        missing_tool("llama.cpp is not installed: pip install xllamacpp==2026.10.11549")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = (
        "import sys, xllamacpp as x; p = x.CommonParams(); p.model.path = sys.argv[1];"
        "p.n_ctx = 256; p.warmup = False; p.hostnames = ['127.0.0.1']; p.port = int(sys.argv[2]);"
        "s = x.Server(p); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", serve, str(smollm2), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def ask(text: str) -> list[int]:
        body = json.dumps({"content": text, "add_special": False, "parse_special": True})
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/tokenize",
            body.encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            tokens: list[int] = json.load(reply)["tokens"]
            return tokens

    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                ask("ready?")
                break
            except OSError:
                if child.poll() is not None or time.monotonic() > deadline:
                    pytest.fail("llama.cpp did not start")
                time.sleep(0.2)
        yield ask
    finally:
        child.kill()
        child.communicate()


@pytest.mark.slow
def test_smollm2_splits_as_llama_cpp_does(
    smollm2: Path, llama_cpp_tokens: Callable[[str], list[int]]
) -> None:
    tokenizer = load(open_checkpoint(smollm2).metadata)
    for text in TRICKY:
        found = tokenizer.encode(text, add_special_tokens=False).ids
        assert found == llama_cpp_tokens(text), text
