"""pytest tests/pyserver/test_limits.py: limits of requests, each lie beside the smallest truth.

A real server is asked with the lies in tests/hostile/test_api_security.py.
"""

import base64
import struct

import pytest

from tests.fakes.pictures import png
from transom_api.engine import ContextOverflow, ModelFacts
from transom_api.fields import Fields, InvalidField
from transom_api.image_files import read_base64
from transom_api.image_size import MAX_PIXELS, picture_size
from transom_api.json_body import MAX_MARKS, read_json
from transom_api.lengths import MAX_TOKEN_BYTES, check_length
from transom_api.schema_limits import (
    MAX_ALTERNATIVES,
    MAX_GRAMMAR_BYTES,
    MAX_NUMBER,
    MAX_SCHEMA_VALUES,
    check_grammar,
    check_schema,
)

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(0), (28, 28)),
        (PNG + struct.pack(">II", 3, 4), (3, 4)),
        (b"GIF89a" + struct.pack("<HH", 3, 4), (3, 4)),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 3, -4), (3, 4)),
        (b"BM" + bytes(12) + struct.pack("<IHH", 12, 3, 4), (3, 4)),
        # Fill bytes, a segment to pass over that looks like a frame inside, then the frame.
        (
            b"\xff\xd8\xff\xff\xe0\0\x08\xff\xc0\0\0\0\0\xff\xc2\0\x0b\x08"
            + struct.pack(">HH", 4, 3),
            (3, 4),
        ),
        (b"\xff\xd8\xff\xd0\xff\xc4\0\x02\xff\xc0\0\x0b\x08" + struct.pack(">HH", 4, 3), (3, 4)),
    ],
)
def test_a_picture_says_how_large_it_is(data: bytes, size: tuple[int, int]) -> None:
    assert picture_size(data) == size
    assert picture_size(data[:9]) is None


def test_pictures_up_to_the_limit() -> None:
    def read(width: int, height: int) -> None:
        text = base64.b64encode(PNG + struct.pack(">II", width, height)).decode()
        read_base64(Fields({"image": text}), "image")

    read(MAX_PIXELS, 1)
    read(1, 1)
    for width, height in ((MAX_PIXELS + 1, 1), (8193, 8193), (0, 1), (1, 0)):
        with pytest.raises(InvalidField, match=f"{width} x {height}"):
            read(width, height)


def test_json_up_to_the_limit() -> None:
    assert len(read_json(b"[" + b"1," * (MAX_MARKS - 1) + b"1]")) == MAX_MARKS
    with pytest.raises(ValueError, match="commas and brackets"):
        read_json(b"[" + b"1," * MAX_MARKS + b"1]")
    assert read_json(b'{"a": "\\u00e4\\ud83d\\ude00"}') == {"a": "ä😀"}
    for wrong, words in (
        (b'"\\ud800"', "half a character"),
        (b"NaN", "no JSON value"),
        (b"9" * 5000, "thousands of digits"),
        (b"[" * 100_000, "nested"),
    ):
        with pytest.raises(ValueError, match=words):
            read_json(wrong)


def test_schemas_up_to_the_limit() -> None:
    check_schema({"enum": list(range(MAX_SCHEMA_VALUES - 2))})
    check_schema({"minimum": -MAX_NUMBER, "maximum": MAX_NUMBER, "multipleOf": 1e300})
    for wrong in (
        {"enum": list(range(MAX_SCHEMA_VALUES))},
        {"minimum": MAX_NUMBER + 1},
        {"a": [{"b": float("inf")}]},
    ):
        with pytest.raises(InvalidField, match="the JSON schema has"):
            check_schema(wrong)


def test_grammars_up_to_the_limit() -> None:
    check_grammar("root ::= " + "|" * MAX_ALTERNATIVES)
    check_grammar("x" * MAX_GRAMMAR_BYTES)
    for wrong in ("|" * (MAX_ALTERNATIVES + 1), "ä" * (MAX_GRAMMAR_BYTES // 2 + 1)):
        with pytest.raises(InvalidField, match="the grammar has"):
            check_grammar(wrong)


def test_texts_up_to_the_limit() -> None:
    facts = ModelFacts(context_tokens=8)
    check_length("x" * 8 * MAX_TOKEN_BYTES, facts)
    with pytest.raises(ContextOverflow, match="8 tokens"):
        check_length("x" * (8 * MAX_TOKEN_BYTES + 1), facts)
