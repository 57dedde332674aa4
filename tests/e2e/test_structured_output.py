"""Answers of a real model at temperature 1, held to a format: JSON each time, and of the schema.

The engine is the page's own, run in Node on Dawn and Mesa's llvmpipe.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import pytest

from tests.e2e import node_engine

LIBRARY = "program-f32-fallback.json"
"""Made for a CPU, which llvmpipe is."""
MAX_TOKENS = 200
SEEDS = range(3)
SUITE = Path(sys.prefix) / "json-schema-test-suite" / "tests" / "draft2020-12"
"""Unpacked by `.ci/setup schemas`."""
HELD = Path(__file__).parents[1] / "web" / "held-schemas.json"
"""Which of its schemas are held, by file and number: tests/web/schema-suite.test.ts says so."""
SUITE_RUNS, THOROUGH_RUNS = 12, 200
"""Answers that end by themselves."""
STRIDE = 37
"""From one schema to the next, so that a few runs meet many keywords."""
AT_ONCE = 50
"""Answers of one process; `node_engine.TIMEOUT_SECONDS` is for all of them."""
SUITE_TOKENS = 64

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 24},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "likes": {
            "type": "array",
            "items": {"type": "string", "maxLength": 16},
            "minItems": 1,
            "maxItems": 3,
        },
    },
    "required": ["name", "age", "likes"],
    "additionalProperties": False,
}
CITY: dict[str, Any] = {
    "anyOf": [{"$ref": "#/$defs/city"}, {"type": "null"}],
    "$defs": {
        "city": {
            "type": "object",
            "properties": {
                "country": {"enum": ["France", "Japan", "Peru"]},
                "zip": {"type": "string", "pattern": "^[0-9]{5}$"},
                "founded": {"type": "string", "format": "date"},
                "area": {"type": "number", "minimum": 0.5, "maximum": 900},
            },
            "required": ["country", "zip", "founded", "area"],
        }
    },
}
WORD: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 12}
"""What ends is short by itself, so that no answer is cut off."""

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(1800)]


def _request(
    question: str, seed: int, output_format: dict[str, Any], most: int = MAX_TOKENS
) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": question}],
        "options": {"temperature": 1, "topP": 1, "seed": seed, "maxTokens": most},
        "format": output_format,
    }


def test_answers_keep_to_their_format(
    bundle: Path, web_build: Path, llvmpipe: dict[str, str], tmp_path: Path
) -> None:
    schemas = [
        ("Tell me of a person, as JSON.", PERSON),
        ("Tell me of a city, as JSON.", CITY),
        ("Say one word, as JSON.", WORD),
    ]
    asked = [
        (schema, _request(question, seed, {"kind": "json-schema", "schema": schema}))
        for question, schema in schemas
        for seed in SEEDS
    ]
    others = [
        ("(red|green|blue)(, (red|green|blue)){1,3}", "regex", "pattern"),
        ("yes|no|perhaps, if it rains", "choice", "choices"),
    ]
    texts = [
        (pattern, _request("Answer.", 1, {"kind": kind, key: value}))
        for pattern, kind, key in others
        for value in [pattern.split("|") if kind == "choice" else pattern]
    ]
    requests = [request for _, request in [*asked, *texts]]

    answers = node_engine.chat(bundle, LIBRARY, requests, tmp_path, llvmpipe)

    assert len(answers) == len(requests)
    for answer in answers:
        assert answer["finishReason"] == "stop", answer
        print(answer["text"])
    for (schema, _), answer in zip(asked, answers, strict=False):
        jsonschema.validate(
            json.loads(answer["text"]), schema, format_checker=jsonschema.FormatChecker()
        )
    for (pattern, _), answer in zip(texts, answers[len(asked) :], strict=True):
        assert re.fullmatch(pattern, answer["text"]), answer
    same = [answer["text"] for answer in answers[: len(SEEDS)]]
    assert len(set(same)) > 1, "temperature 1 says the same with every seed"


def _held_schemas() -> list[dict[str, Any]]:
    held: dict[str, list[int]] = json.loads(HELD.read_text())
    groups = {file: json.loads((SUITE / file).read_text()) for file in held}
    return [groups[file][number]["schema"] for file, numbers in held.items() for number in numbers]


@pytest.mark.timeout(3600)
def test_what_the_schema_suite_asks_is_answered_with_valid_json(
    bundle: Path,
    web_build: Path,
    llvmpipe: dict[str, str],
    tmp_path: Path,
    pytestconfig: pytest.Config,
    missing_tool: Callable[[str], NoReturn],
) -> None:
    if not SUITE.exists():
        missing_tool("no JSON Schema Test Suite here: .ci/setup schemas")
    schemas = _held_schemas()
    runs = THOROUGH_RUNS if pytestconfig.getoption("--thorough") else SUITE_RUNS
    # Not `FormatChecker()`, whose times are those of an old draft, without a zone.
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    asked = valid = 0
    while valid < runs:
        seeds = range(asked, asked + min(AT_ONCE, runs - valid))
        chosen = [schemas[seed * STRIDE % len(schemas)] for seed in seeds]
        requests = [
            _request(
                "Say something short.",
                seed,
                {"kind": "json-schema", "schema": schema},
                SUITE_TOKENS,
            )
            for seed, schema in zip(seeds, chosen, strict=True)
        ]
        answers = node_engine.chat(bundle, LIBRARY, requests, tmp_path, llvmpipe)
        for schema, answer in zip(chosen, answers, strict=True):
            assert answer["finishReason"] in ("stop", "length"), answer
            # What was cut off at SUITE_TOKENS is no whole answer, and is asked for again.
            if answer["finishReason"] == "stop":
                validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
                validator.validate(json.loads(answer["text"]))
                valid += 1
        asked = seeds.stop
        assert asked <= 2 * runs, f"{asked} asked, {asked - valid} cut"
    print(f"{asked} asked, {asked - valid} cut, {valid} valid")
