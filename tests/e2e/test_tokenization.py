"""Tokenization equals llama.cpp's, by the Rust library (WebLLM) and by the page's own code.

Three readers of the same vocabulary: llama.cpp reads the GGUF, the other two the `tokenizer.json`
that we make of it. Lines of many scripts, emoji, code, control characters, random bytes and the
vocabulary's own added tokens; no difference is allowed.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as RustTokenizer

from tests.compile import tokenizer_vocabularies as vocabularies
from tests.compile.llama_tokenizer import llama_tokenizer
from tests.compile.tokenizer_lines import tricky_lines
from tests.fakes.tiny_gguf import TinyGguf
from transom_compile.sources.gguf import open_checkpoint
from transom_compile.tokenizers import PRE_TOKENIZERS, Tokenizer, TokenType, convert_tokenizer

LINES = 10_000
# For each way to cut text before merging; merging itself is the same for all.
FAMILY_LINES = 2_000
# Of thousands of added strings (Gemma has 6,415) this many, evenly.
ADDED_STRINGS = 200
WHOLE_TEXTS = 100
# llama.cpp tidies spaces before punctuation in a whole text, not in a stream.
TIDIES = {"gpt-2", "dbrx", "llama-bpe", "falcon", "default"}


@dataclass(frozen=True)
class Readings:
    """What became of the same lines. Each list has a row for each line."""

    lines: Sequence[str]
    llama: list[list[int]]
    page: list[list[int]]
    rust: list[list[int]]


def write_vocabulary(metadata: dict[str, Any], folder: Path) -> Path:
    path = folder / "vocabulary.gguf"
    path.write_bytes(TinyGguf(metadata=list(metadata.items())).to_bytes())
    return path


def added_strings(tokenizer: Tokenizer) -> list[str]:
    found = (TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.UNKNOWN)
    added = [tokenizer.tokens[index] for index, kind in enumerate(tokenizer.types) if kind in found]
    return added[:: max(1, len(added) // ADDED_STRINGS)]


def ask_page(web_build: Path, tokenizer_json: Path, lines: Sequence[str]) -> dict[str, Any]:
    script = web_build.parent / "dist-node" / "tokenize.mjs"
    done = subprocess.run(
        ["node", str(script), str(tokenizer_json)],
        input=json.dumps(lines), capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def first_difference(name: str, readings: Readings, tokens: Sequence[str]) -> str | None:
    """None, or a sentence that shows the first line on which `name` differs."""
    ours: list[list[int]] = getattr(readings, name)
    differing = [row for row in range(len(ours)) if ours[row] != readings.llama[row]]
    if not differing:
        return None
    row = differing[0]
    here, there = ([tokens[index] for index in ids] for ids in (ours[row], readings.llama[row]))
    line = readings.lines[row]
    return f"{len(differing)} lines differ; {line!r}: {name} {here}, llama.cpp {there}"


def compare(
    model: Path,
    web_build: Path,
    folder: Path,
    count: int,
    *,
    plain: bool = True,
    tidies: bool = False,
    strips: bool = False,
) -> None:
    """Encode `count` lines three ways and decode them two ways."""
    tokenizer = convert_tokenizer(open_checkpoint(model).metadata)
    tokenizer_json = folder / "tokenizer.json"
    tokenizer_json.write_bytes(tokenizer.json_bytes)
    rust = RustTokenizer.from_file(str(tokenizer_json))
    lines = tricky_lines(count, added_strings(tokenizer))
    with llama_tokenizer(model) as llama:
        expected = llama.encode(lines)
        expected_whole = llama.encode(lines[:WHOLE_TEXTS], surround=True)
        expected_plain = llama.encode(lines, special=False)
        expected_texts = llama.decode(expected)
        assert list(tokenizer.stop_ids) == llama.stops()
    page = ask_page(web_build, tokenizer_json, lines)
    ids = [row.ids for row in rust.encode_batch(lines, add_special_tokens=False)]
    readings = Readings(lines, expected, page["ids"], ids)
    assert first_difference("page", readings, tokenizer.tokens) is None
    if not strips:
        assert first_difference("rust", readings, tokenizer.tokens) is None
    assert page["whole"] == expected_whole
    if not strips:
        whole = [row.ids for row in rust.encode_batch(lines[:WHOLE_TEXTS])]
        assert whole == expected_whole
    if not tidies:
        assert page["texts"] == expected_texts
    if plain:
        rust.encode_special_tokens = True
        ids = [row.ids for row in rust.encode_batch(lines, add_special_tokens=False)]
        assert (
            first_difference("rust", Readings(lines, expected_plain, [], ids), tokenizer.tokens)
            is None
        )


def test_smollm2(smollm2: Path, web_build: Path, tmp_path: Path) -> None:
    compare(smollm2, web_build, tmp_path, LINES)


def test_gemma_3(gemma3: Path, web_build: Path, tmp_path: Path) -> None:
    """262,144 tokens, and 6,415 strings that are found before text is cut."""
    compare(gemma3, web_build, tmp_path, LINES)


@pytest.mark.parametrize("adds_space", [True, False])
def test_sentence_piece(adds_space: bool, web_build: Path, tmp_path: Path) -> None:
    model = write_vocabulary(vocabularies.sentence_piece(adds_space), tmp_path)
    compare(model, web_build, tmp_path, LINES)


def test_phi_3(web_build: Path, tmp_path: Path) -> None:
    """White space after a control token vanishes, in llama.cpp only ASCII's; Rust takes all."""
    model = write_vocabulary(vocabularies.sentence_piece(True, name="Phi-3 Mini"), tmp_path)
    compare(model, web_build, tmp_path, FAMILY_LINES, plain=False, strips=True)


@pytest.mark.parametrize(
    ("adds_space", "joins_spaces", "count"),
    [(True, True, LINES), (True, False, FAMILY_LINES), (False, True, FAMILY_LINES),
     (False, False, FAMILY_LINES)],
)  # fmt: skip
def test_unigram(
    adds_space: bool, joins_spaces: bool, count: int, web_build: Path, tmp_path: Path
) -> None:
    """Without special tokens only llama.cpp leaves the names of control tokens out of its search:
    the others may find `</s>` in a text; the page always looks for special tokens."""
    model = write_vocabulary(vocabularies.unigram(adds_space, joins_spaces), tmp_path)
    compare(model, web_build, tmp_path, count, plain=False)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, LINES),
        ({"lowercase": False}, FAMILY_LINES),
        ({"lowercase": True, "strip_accents": False}, FAMILY_LINES),
        ({"lowercase": False, "strip_accents": True}, FAMILY_LINES),
    ],
)
def test_word_piece(options: dict[str, bool], count: int, web_build: Path, tmp_path: Path) -> None:
    model = write_vocabulary(vocabularies.word_piece(**options), tmp_path)
    compare(model, web_build, tmp_path, count, tidies=True)


@pytest.mark.parametrize(
    "name", list({pre: name for name, pre in reversed(PRE_TOKENIZERS.items())}.values())
)
def test_each_way_to_cut(name: str, web_build: Path, tmp_path: Path) -> None:
    model = write_vocabulary(vocabularies.byte_level(name), tmp_path)
    compare(model, web_build, tmp_path, FAMILY_LINES, tidies=name in TIDIES)
