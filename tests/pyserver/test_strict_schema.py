"""What `strict` refuses of a JSON schema, and what it leaves alone."""

import re
from pathlib import Path
from typing import Any

import pytest

from transom_api.fields import Fields, InvalidField
from transom_api.strict_schema import UNHELD, refuse_unheld

PAGE = Path(__file__).parents[2] / "web" / "src" / "worker" / "grammar" / "json-schema.ts"
ODD = {"multipleOf": 2}


def refuse(schema: dict[str, Any]) -> None:
    refuse_unheld(Fields({}, "tools[0]"), "parameters", schema)


def test_the_keywords_are_those_that_the_page_tells_of() -> None:
    listed = PAGE.read_text().partition("const UNHELD = [")[2].partition("];")[0]
    assert set(re.findall(r'"([^"]+)"', listed)) == set(UNHELD)


@pytest.mark.parametrize("keyword", UNHELD)
def test_each_keyword(keyword: str) -> None:
    with pytest.raises(InvalidField) as refused:
        refuse({"properties": {"a": {keyword: {}}}})
    assert refused.value.param == "tools[0].parameters"
    assert f"holds it to {keyword}, which is at #/properties/a; leave out {keyword}, or" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (ODD, "#"),
        ({"items": ODD}, "#/items"),
        ({"items": [{}, ODD]}, "#/items/1"),
        ({"prefixItems": [True, ODD]}, "#/prefixItems/1"),
        ({"anyOf": [{"type": "null"}, {"allOf": [ODD]}]}, "#/anyOf/1/allOf/0"),
        ({"oneOf": [ODD]}, "#/oneOf/0"),
        ({"additionalProperties": ODD}, "#/additionalProperties"),
        ({"propertyNames": ODD}, "#/propertyNames"),
        ({"patternProperties": {"^x": ODD}}, "#/patternProperties/^x"),
        ({"$defs": {"a/b~c": ODD}}, "#/$defs/a~1b~0c"),
        ({"definitions": {"a": ODD}}, "#/definitions/a"),
        ({"properties": {"enum": ODD}}, "#/properties/enum"),
    ],
)
def test_wherever_a_schema_stands(schema: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidField, match="multipleOf, which is at ") as refused:
        refuse(schema)
    assert f"at {place};" in str(refused.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"not": False, "uniqueItems": False, "unevaluatedItems": True, "contains": None},
        {"unevaluatedProperties": True},
        {"enum": [ODD], "const": ODD, "default": ODD, "examples": [ODD], "x-more": ODD},
        {"properties": {"not": {}, "if": {"type": "string"}, "uniqueItems": True}},
        {"required": ["contains"], "anyOf": "none", "properties": 3, "items": 5},
        {"then": ODD, "else": ODD},
    ],
)
def test_what_says_nothing_is_no_schema_or_is_a_name(schema: dict[str, Any]) -> None:
    refuse(schema)


def test_deep_and_long_ones_make_a_short_error() -> None:
    schema: dict[str, Any] = ODD
    for _ in range(50_000):
        schema = {"properties": {"x" * 100: schema}}
    with pytest.raises(InvalidField) as refused:
        refuse(schema)
    assert len(str(refused.value)) < 600
