"""pytest tests/pyserver/test_closed_schema.py: what is listed is all that comes."""

from typing import Any

import jsonschema
import pytest

from transom_api.closed_schema import closed

A: dict[str, Any] = {"a": {"type": "string"}}


def test_objects_at_every_place_are_closed() -> None:
    schema = {
        "$defs": {"Sky": {"type": "object", "properties": A, "required": ["a"]}},
        "properties": {
            "one": {"$ref": "#/$defs/Sky"},
            "many": {"type": "array", "items": {"properties": A}},
            "either": {"anyOf": [{"properties": A}, {"type": "null"}]},
            "pair": {"prefixItems": [{"properties": A}, True]},
            "map": {"type": "object", "additionalProperties": {"properties": A}},
        },
    }
    before = repr(schema)
    found = closed(schema)
    assert repr(schema) == before
    shut = {"properties": A, "additionalProperties": False}
    assert found["additionalProperties"] is False
    assert found["$defs"]["Sky"]["additionalProperties"] is False
    assert found["properties"] == {
        "one": {"$ref": "#/$defs/Sky"},
        "many": {"type": "array", "items": shut},
        "either": {"anyOf": [shut, {"type": "null"}]},
        "pair": {"prefixItems": [shut, True]},
        "map": {"type": "object", "additionalProperties": shut},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"properties": {}},
        {"properties": A, "additionalProperties": True},
        {"properties": A, "patternProperties": {"^x": {}}},
        {"properties": A, "minProperties": 2},
        {"properties": A, "required": ["b"]},
        {"properties": A, "allOf": [{"properties": {"b": {}}}]},
        {"allOf": [{"properties": A}, {"properties": {"b": {}}}]},
        # A property by the name of a keyword is none.
        {"properties": {"properties": {"type": "string"}}, "additionalProperties": {}},
        {"enum": [{"properties": A}]},
        {"const": {"properties": A}},
        {"properties": A, "required": 7, "items": 7, "anyOf": 7, "$defs": 7},
    ],
)
def test_others_stay_as_they_are(schema: dict[str, Any]) -> None:
    assert closed(schema) == schema


def test_what_fits_the_closed_schema_fits_the_open_one() -> None:
    schema = {"type": "object", "properties": A}
    jsonschema.validate({"a": "x"}, closed(schema))
    jsonschema.validate({"a": "x", "b": 1}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"a": "x", "b": 1}, closed(schema))


def test_a_schema_may_be_as_deep_as_it_likes() -> None:
    schema: dict[str, Any] = {"properties": A}
    for _ in range(10_000):
        schema = {"items": schema}
    found = closed(schema)
    for _ in range(10_000):
        found = found["items"]
    assert found["additionalProperties"] is False
