"""JSON files of a folder that lie: each is converted or refused by a named error, never a crash.

One or two values of a file are swapped for something odd, or are gone; the seeds are 0, 1, 2, …
"""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compile.test_adapter import parts, save_peft
from tests.fakes.tiny_folder import byte_level_json, metaspace_json, save_folder, write_tokenizer
from transom_compile.hub.convert import convert_folder
from transom_compile.hub.peft import read_peft
from transom_compile.hub.plan import read_pooling
from transom_compile.hub.tokenizer import read_tokenizer
from transom_compile.progress import Silent
from transom_models.errors import TransomError

ODD: list[Any] = [None, True, -1, 0, 1, 3.5, 1e300, 2**70, "", "x", "\ud800", "\u2581"]
ODD += [[], {}, [None], [[]], {"a": 1}, ["a", "b", "c"]]
CASES = 300
# Lists and dicts of a vocabulary look alike from some item on.
ITEMS = 6


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items: list[Any] = []
    if isinstance(value, dict):
        items = list(value)[:40]
    if isinstance(value, list):
        items = list(range(min(len(value), ITEMS)))
    for item in items:
        yield from places(value[item], (*path, item))


def bent(document: Any, seed: int) -> Any:
    chance = random.Random(seed)
    document = copy.deepcopy(document)
    for _ in range(chance.choice([1, 1, 2])):
        path = chance.choice(list(places(document)) or [()])
        if not path:
            return document
        within = document
        for step in path[:-1]:
            within = within[step]
        if chance.random() < 0.2 and isinstance(within, dict):
            del within[path[-1]]
        else:
            within[path[-1]] = copy.deepcopy(chance.choice(ODD))
    return document


def outcomes(attempt: Callable[[int], object], count: int) -> dict[str, int]:
    """How many were refused and taken; any other exception is the test's own failure."""
    refusals = []
    for seed in range(count):
        try:
            attempt(seed)
        except TransomError as error:
            refusals.append(str(error))
    assert [text for text in refusals if "\n" in text or len(text) > 1000] == []
    return {"refused": len(refusals), "taken": count - len(refusals)}


@pytest.mark.slow
def test_every_json_of_a_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    save_folder(folder, "llama")
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 3]}')
    files = {path: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}

    def attempt(seed: int) -> None:
        path = list(files)[seed % len(files)]
        path.write_text(json.dumps(bent(files[path], seed)))
        try:
            convert_folder(folder, tmp_path / "out.gguf", progress=Silent())
        finally:
            path.write_text(json.dumps(files[path]))

    found = outcomes(attempt, CASES)
    assert min(found.values()) > CASES // 20


PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("ab", -0.0, 1), ("abc", -1.0, 1)]
PIECES += [(letter, -2.0 - number, 1) for number, letter in enumerate("abc\u2581")]
UNIGRAM = {
    **byte_level_json({}, [], {}, [(1, "<unk>", True)]),
    "normalizer": {
        "type": "Sequence",
        "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": "YWJj"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        ],
    },
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
    "model": {"type": "Unigram", "unk_id": 1, "vocab": [["a", 0.0], ["<unk>", 0.0], ["b", -1.0]]},
}
WORDS = {
    **byte_level_json({}, [], {}, [(0, "[CLS]", True)]),
    "normalizer": {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]"}}, {"Sequence": {"id": "A"}}],
    },
    "model": {
        "type": "WordPiece",
        "continuing_subword_prefix": "##",
        "vocab": {"[CLS]": 0, "##a": 1},
    },
}


@pytest.mark.parametrize(
    ("document", "rows"),
    [(metaspace_json(PIECES), len(PIECES)), (UNIGRAM, 4), (WORDS, 4)],
    ids=["metaspace", "unigram", "word_piece"],
)
def test_every_kind_of_tokenizer(document: Any, rows: int, tmp_path: Path) -> None:
    names = {"bos_token": "<s>", "cls_token": "[CLS]", "sep_token": "[CLS]", "eos_token": "</s>"}

    def attempt(seed: int) -> None:
        write_tokenizer(tmp_path, {})
        (tmp_path / "tokenizer.json").write_text(json.dumps(bent(document, seed)))
        (tmp_path / "tokenizer_config.json").write_text(
            json.dumps(bent(names, seed) if seed % 3 == 0 else names)
        )
        read_tokenizer(tmp_path, {"type_vocab_size": 2}, rows, Silent())

    found = outcomes(attempt, CASES)
    assert min(found.values()) > CASES // 20


def test_adapter_configs_and_pooling(tmp_path: Path) -> None:
    adapter = save_peft(tmp_path / "adapter", parts())
    config = json.loads((adapter / "adapter_config.json").read_text())
    modules = [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "p"}]
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "config.json").write_text('{"pooling_mode": "cls"}')

    def attempt(seed: int) -> None:
        (adapter / "adapter_config.json").write_text(json.dumps(bent(config, seed)))
        read_peft(adapter)

    def pool(seed: int) -> None:
        (tmp_path / "modules.json").write_text(json.dumps(bent(modules, seed)))
        read_pooling(tmp_path)

    assert min(outcomes(attempt, CASES).values()) > CASES // 20
    assert min(outcomes(pool, CASES).values()) > 0
