"""A folder's tokenizer, in GGUF's words, cuts text in llama.cpp as it does in Hugging Face's."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tests.compile.llama_tokenizer import llama_tokenizer
from tests.compile.tokenizer_lines import tricky_lines
from tests.compile.tokenizer_vocabularies import byte_level, sentence_piece, unigram, word_piece
from tests.fakes.tiny_folder import (
    BYTES_STEP,
    DIGITS_STEP,
    GPT2_STEP,
    LLAMA3,
    QWEN2,
    byte_level_json,
    metaspace_json,
    save_tokenizer,
    sentencepiece_model,
    split,
    steps,
    write_tokenizer,
)
from tests.fakes.tiny_gguf import CHATML, SPECIAL, TOKENS, tokenizer_metadata
from transom_compile.gguf_output import Entry, entry, gguf_output
from transom_compile.hub.byte_level import _NAMES
from transom_compile.hub.tokenizer import read_tokenizer
from transom_compile.hub.vocabulary import UnsupportedTokenizer
from transom_compile.progress import Silent
from transom_compile.tokenizers import PRE_TOKENIZERS, convert_tokenizer
from transom_models.errors import TransomError

# Where the two differ it is by llama.cpp's choice (see PRE_TOKENIZERS): ASCII is what they share.
ASCII_ONLY = {"gpt-4o", "tekken"}
LINES = [line.replace("\0", "") for line in tricky_lines(300, ["<tool>", "<|im_end|>"], 5)]


def read(folder: Path, rows: int, config: dict[str, Any] | None = None) -> dict[str, Any]:
    entries = read_tokenizer(folder, config or {}, rows, Silent())
    return {key: item.value for key, item in entries.items()}


def write_vocabulary(path: Path, metadata: dict[str, Any]) -> None:
    """A GGUF without tensors, which llama.cpp reads for its vocabulary alone."""
    base = {key: value for key, value in byte_level("gpt-2").items() if "tokenizer" not in key}
    entries: dict[str, Entry] = {key: entry(value) for key, value in {**base, **metadata}.items()}
    with gguf_output(path, entries, []):
        pass


def assert_same_tokens(folder: Path, metadata: dict[str, Any], lines: Sequence[str]) -> None:
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    path = folder / "vocabulary.gguf"
    write_vocabulary(path, metadata)
    with llama_tokenizer(path) as llama:
        theirs = llama.encode(lines, surround=True)
    wanted = [ours.encode(line).ids for line in lines]
    wrong = [(a, b, c) for a, b, c in zip(lines, wanted, theirs, strict=True) if b != c]
    assert wrong == []
    # And the walk takes it from there.
    convert_tokenizer(metadata)


def trained(pre: dict[str, Any], **model: Any) -> dict[str, Any]:
    """tokenizer.json of a byte-level BPE with control tokens and strings of users."""
    keys = byte_level("gpt-2")
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    listed = [(i, tokens[i], kind == 3) for i, kind in enumerate(types) if kind != 1]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return byte_level_json(vocabulary, keys["tokenizer.ggml.merges"], pre, listed, **model)


@pytest.mark.parametrize("key", _NAMES, ids=list(_NAMES.values()))
def test_pre_tokenizers_cut_as_llama_cpp_does(
    key: tuple[tuple[str, ...], bool], tmp_path: Path
) -> None:
    patterns, whole_words = key
    parts = [DIGITS_STEP if part == "digits" else split(part) for part in patterns]
    document = trained(steps(*parts, BYTES_STEP), ignore_merges=whole_words)
    write_tokenizer(tmp_path, document, eos_token="<|im_end|>")
    rows = len(document["model"]["vocab"])
    metadata = read(tmp_path, rows)
    name = metadata["tokenizer.ggml.pre"]
    assert name == _NAMES[key]
    assert PRE_TOKENIZERS[name].whole_words == whole_words
    lines = [line for line in LINES if name not in ASCII_ONLY or line.isascii()]
    assert len(lines) > 10
    assert_same_tokens(tmp_path, metadata, lines)


def test_known_spellings_are_one_pre_tokenizer(tmp_path: Path) -> None:
    spelled = {
        "gpt-2": [GPT2_STEP],
        "smollm": [DIGITS_STEP, GPT2_STEP],
        "qwen2": [{**split(QWEN2), "behavior": "Removed", "invert": True}, BYTES_STEP],
        "dbrx": [split(LLAMA3), BYTES_STEP],
    }
    for name, parts in spelled.items():
        document = trained(steps(*parts))
        write_tokenizer(tmp_path, document)
        metadata = read(tmp_path, len(document["model"]["vocab"]))
        assert metadata["tokenizer.ggml.pre"] == name
    write_tokenizer(tmp_path, trained(GPT2_STEP))
    assert read(tmp_path, len(document["model"]["vocab"]))["tokenizer.ggml.pre"] == "gpt-2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_tokenizer": steps(split(r"\p{L}+"), BYTES_STEP)}, "no pre-tokenizer of GGUF"),
        ({"pre_tokenizer": {**GPT2_STEP, "add_prefix_space": True}}, "with add_prefix_space"),
        ({"pre_tokenizer": steps({"type": "Punctuation"}, BYTES_STEP)}, "'Punctuation' is not"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer 'Lowercase' is not"),
        ({"normalizer": {"type": "NFC"}}, ""),
    ],
)
def test_what_gguf_cannot_say_is_an_error(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    document = {**trained(GPT2_STEP), **change}
    write_tokenizer(tmp_path, document)
    rows = len(document["model"]["vocab"])
    if not message:
        read(tmp_path, rows)
        return
    with pytest.raises(UnsupportedTokenizer, match=message):
        read(tmp_path, rows)


def test_ids_that_no_token_has_are_filled_and_added_tokens_typed(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    count = len(TOKENS)
    document["added_tokens"] += [
        {"id": count + 1, "content": "<tool>", "special": False},
        {"id": count + 2, "content": "<|looks|>", "special": False},
        {"id": count + 9, "content": "<picture>", "special": True},
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    metadata = read(tmp_path, count + 4)
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    assert tokens[count:] == [f"[PAD{count}]", "<tool>", "<|looks|>", f"[PAD{count + 3}]"]
    assert types[count:] == [5, 4, 3, 5]
    assert tokens[:count] == TOKENS
    with pytest.raises(UnsupportedTokenizer, match="embedding has only"):
        read(tmp_path, count - 1)


def test_half_a_character_is_an_error(tmp_path: Path) -> None:
    """JSON can write \\ud800 alone, which no UTF-8 can hold."""
    save_tokenizer(tmp_path)
    document = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(document.replace('"hello"', '"\\ud800"'))
    with pytest.raises(TransomError, match=r"is not Unicode|merge"):
        read(tmp_path, len(TOKENS))
    (tmp_path / "tokenizer.json").write_text(document)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "chat_template.jinja").unlink()
    config["chat_template"] = "\ud800"
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(TransomError, match="is not Unicode"):
        read(tmp_path, len(TOKENS))


def test_the_tiny_tokenizer_comes_out_as_a_gguf_has_it(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    metadata = read(tmp_path, len(TOKENS))
    wanted = {**tokenizer_metadata(), "tokenizer.ggml.padding_token_id": 0}
    wanted["tokenizer.ggml.add_eos_token"] = False
    assert metadata == wanted


def test_special_tokens_and_what_surrounds_a_text(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    first = {"SpecialToken": {"id": SPECIAL[1], "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    document["post_processor"] = {"type": "TemplateProcessing", "single": [first, text]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    ends = {"eos_token_id": [2, 0]}
    (tmp_path / "generation_config.json").write_text(json.dumps(ends))
    metadata = read(tmp_path, len(TOKENS))
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.add_eos_token"] is False
    # pad is an end as well, but has its name already.
    assert "tokenizer.ggml.eot_token_id" not in metadata
    ends = {"eos_token_id": [2, 7]}
    (tmp_path / "generation_config.json").write_text(json.dumps(ends))
    assert read(tmp_path, len(TOKENS))["tokenizer.ggml.eot_token_id"] == 7
    # What the tokenizer's config says goes before what it does.
    write_tokenizer(tmp_path, document, bos_token=SPECIAL[1], add_bos_token=False)
    metadata = read(tmp_path, len(TOKENS), {"eos_token_id": 2})
    assert metadata["tokenizer.ggml.add_bos_token"] is False
    assert metadata["tokenizer.ggml.eos_token_id"] == 2


def test_the_template_of_the_jinja_file_goes_first(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    named = [{"name": "default", "template": "old"}, {"name": "tool_use", "template": "tools"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": named}))
    metadata = read(tmp_path, len(TOKENS))
    assert metadata["tokenizer.chat_template"] == CHATML
    assert metadata["tokenizer.chat_template.tool_use"] == "tools"
    assert metadata["tokenizer.chat_templates"] == ["tool_use"]
    (tmp_path / "chat_template.jinja").unlink()
    assert read(tmp_path, len(TOKENS))["tokenizer.chat_template"] == "old"


def spm_pieces(prefix: bool) -> list[tuple[str, float, int]]:
    keys = sentence_piece(prefix)
    rows = zip(
        keys["tokenizer.ggml.tokens"],
        keys["tokenizer.ggml.scores"],
        keys["tokenizer.ggml.token_type"],
        strict=True,
    )
    # The rest is what a folder would add. No real vocabulary has pieces that look like bytes or
    # special tokens; those of lines made to be tricky do.
    looks = ("<0x", "[PAD", "<s>", "</s>")
    return [
        row
        for row in rows
        if row[2] in {2, 6}
        or row[0] in {"<s>", "</s>"}
        or (row[2] == 1 and not any(part in row[0] for part in looks))
    ]


@pytest.mark.parametrize("prefix", [True, False])
def test_sentencepiece_model_and_its_json_count_the_same(prefix: bool, tmp_path: Path) -> None:
    pieces = spm_pieces(prefix)
    document = metaspace_json(pieces)
    if not prefix:
        document["normalizer"] = document["normalizer"]["normalizers"][1]
    write_tokenizer(tmp_path, document, bos_token="<s>", eos_token="</s>", add_bos_token=False)
    from_json = read(tmp_path, len(pieces))
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model(pieces, prefix=prefix))
    from_model = read(tmp_path, len(pieces))
    assert from_model["tokenizer.ggml.model"] == from_json["tokenizer.ggml.model"] == "llama"
    assert from_json["tokenizer.ggml.add_space_prefix"] is prefix
    assert from_model["tokenizer.ggml.add_space_prefix"] is prefix
    for key in ("tokens", "token_type"):
        assert from_model[f"tokenizer.ggml.{key}"] == from_json[f"tokenizer.ggml.{key}"]
    scores = dict(zip((p[0] for p in pieces), from_model["tokenizer.ggml.scores"], strict=True))
    assert scores == {
        text: -1000.0 if text in {"<s>", "</s>"} else pytest.approx(score)
        for text, score, _ in pieces
    }
    lines = [line for line in LINES if "\u2581" not in line]
    assert_same_tokens(tmp_path, from_model, lines)
    assert_same_tokens(tmp_path, from_json, lines)


def test_merges_that_sentencepiece_would_not_do_are_an_error(tmp_path: Path) -> None:
    document = metaspace_json(spm_pieces(True))
    rows = len(document["model"]["vocab"])
    merges = document["model"]["merges"]
    document["model"]["merges"] = [*merges[:5], *merges[6:]]
    write_tokenizer(tmp_path, document, bos_token="<s>")
    with pytest.raises(UnsupportedTokenizer, match="does not merge"):
        read(tmp_path, rows)
    document["model"]["merges"] = [merges[1], *merges]
    write_tokenizer(tmp_path, document, bos_token="<s>")
    with pytest.raises(UnsupportedTokenizer, match="merged at two places"):
        read(tmp_path, rows)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"", "has no pieces"),
        (b"SELECT 1", "no SentencePiece model"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "no SentencePiece model"),
        (b"\x0a" + b"\x80" * 20, "no SentencePiece model"),
        (b"\x0a\x04\x0a\x02\xff\xfe", "not valid UTF-8"),
        (b"\x0a\x03\x10\x01\x08", "cut off|damaged"),
        (b"\x0a\x02\x18\x09", "is damaged"),
        (sentencepiece_model([("a", 0.0, 1)], kind=3), "neither Unigram"),
        (sentencepiece_model([("a", 0.0, 1)], charsmap=b"abc"), "normalizes text by a table"),
    ],
)
def test_a_lying_sentencepiece_model_is_an_error(
    model: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(model)
    with pytest.raises(UnsupportedTokenizer, match=message):
        read(tmp_path, 10)


def test_unigram_from_either_file(tmp_path: Path) -> None:
    keys = unigram(True, True)
    rows = [
        (text, score, kind)
        for text, score, kind in zip(
            keys["tokenizer.ggml.tokens"],
            keys["tokenizer.ggml.scores"],
            keys["tokenizer.ggml.token_type"],
            strict=True,
        )
        if kind in {1, 2} or text in {"<pad>", "</s>"}
    ]
    (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model(rows, kind=1, merged=True))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    from_model = read(tmp_path, len(rows))
    assert from_model["tokenizer.ggml.model"] == "t5"
    assert from_model["tokenizer.ggml.remove_extra_whitespaces"] is True
    (tmp_path / "tokenizer.model").unlink()
    table = base64.b64encode(b"\4\0\0\0abcd\0").decode()
    document = {
        **byte_level_json({}, [], {}),
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": table},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
        "model": {
            "type": "Unigram",
            "unk_id": 2,
            "vocab": [[text, score] for text, score, _ in rows],
        },
    }
    document["added_tokens"] = [{"id": 0, "content": "<pad>", "special": True}]
    write_tokenizer(tmp_path, document, eos_token="</s>")
    from_json = read(tmp_path, len(rows))
    assert from_json["tokenizer.ggml.precompiled_charsmap"] == b"\4\0\0\0abcd\0"
    for key in ("tokens", "scores", "add_space_prefix", "remove_extra_whitespaces"):
        wanted = from_model[f"tokenizer.ggml.{key}"]
        if key == "scores":
            wanted = [-1000.0, *wanted[1:]]
        assert from_json[f"tokenizer.ggml.{key}"] == wanted


@pytest.mark.parametrize(("lowercase", "accents"), [(True, None), (False, None), (True, False)])
def test_word_piece(lowercase: bool, accents: bool | None, tmp_path: Path) -> None:
    keys = word_piece()
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    vocabulary = {
        token if kind != 1 else token[1:] if token.startswith("\u2581") else f"##{token}": index
        for index, (token, kind) in enumerate(zip(tokens, types, strict=True))
    }
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    around = [{"SpecialToken": {"id": token, "type_id": 0}} for token in ("[CLS]", "[SEP]")]
    document = {
        **byte_level_json({}, [], {}, [(i, text, True) for i, text in enumerate(special)]),
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": accents,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around[0], {"Sequence": {"id": "A", "type_id": 0}}, around[1]],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {
                text: {"id": text, "ids": [special.index(text)], "tokens": [text]}
                for text in ("[CLS]", "[SEP]")
            },
        },
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }
    write_tokenizer(
        tmp_path, document, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        pad_token="[PAD]", mask_token="[MASK]",
    )  # fmt: skip
    metadata = read(tmp_path, len(tokens), {"type_vocab_size": 2})
    assert metadata["tokenizer.ggml.tokens"] == tokens
    assert metadata["tokenizer.ggml.token_type_count"] == 2
    assert metadata.get("tokenizer.ggml.normalizer.lowercase", True) is lowercase
    stripped = lowercase if accents is None else accents
    assert metadata.get("tokenizer.ggml.normalizer.strip_accents", True) is stripped
    # Plain words: of rarer characters llama.cpp thinks in its own way (tokenizers/word_piece.py).
    lines = ["Hello world", "the Quick brown fox, 123!", "don't stop", "naïve café", "日本語 text"]
    assert_same_tokens(tmp_path, metadata, lines)
