"""JSON Schema (2020-12) in a few words. Knows no dialect."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Schema = dict[str, Any]


def text(about: str = "", *, least: int = 0, most: int | None = None, pattern: str = "") -> Schema:
    """A string of so many characters."""
    schema: Schema = {"type": "string"}
    if least:
        schema["minLength"] = least
    if most is not None:
        schema["maxLength"] = most
    if pattern:
        schema["pattern"] = f"^(?:{pattern})$"
    return _about(schema, about)


def choice(values: Iterable[str], about: str = "") -> Schema:
    """One of some strings."""
    return _about({"type": "string", "enum": list(values)}, about)


def flag(about: str = "") -> Schema:
    return _about({"type": "boolean"}, about)


def whole(about: str = "", *, least: int | None = None, most: int | None = None) -> Schema:
    """A whole number within bounds."""
    return _about(_bounded("integer", least, most), about)


def number(about: str = "", *, least: float | None = None, most: float | None = None) -> Schema:
    """A number within bounds."""
    return _about(_bounded("number", least, most), about)


def rows(
    items: Schema, about: str = "", *, least: int | None = None, most: int | None = None
) -> Schema:
    """A list."""
    schema: Schema = {"type": "array", "items": items}
    if least is not None:
        schema["minItems"] = least
    if most is not None:
        schema["maxItems"] = most
    return _about(schema, about)


def either(*schemas: Schema, about: str = "") -> Schema:
    return _about({"anyOf": list(schemas)}, about)


def record(
    required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, about: str = ""
) -> Schema:
    """An object of a request: other fields are passed over, and null is as good as absent."""
    properties = {**required, **{name: nullable(row) for name, row in (optional or {}).items()}}
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return _about(schema, about)


def answer(
    required: Mapping[str, Schema],
    optional: Mapping[str, Schema] | None = None,
    about: str = "",
    *,
    closed: bool = True,
) -> Schema:
    """An object of an answer: these fields, and no others unless it is open."""
    schema: Schema = {"type": "object", "properties": {**required, **(optional or {})}}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return _about(schema, about)


def table(values: Schema, about: str = "", *, names: str = "", most: int | None = None) -> Schema:
    """An object whose names are the client's own."""
    schema: Schema = {"type": "object", "additionalProperties": values}
    if names:
        schema["propertyNames"] = {"pattern": f"^(?:{names})$"}
    if most is not None:
        schema["maxProperties"] = most
    return _about(schema, about)


def anything(about: str = "") -> Schema:
    return _about({}, about)


def json_object(about: str = "") -> Schema:
    """An object that is passed on as it is."""
    return _about({"type": "object"}, about)


def const(value: object) -> Schema:
    return {"const": value}


def ref(name: str) -> Schema:
    """A schema among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def refused(
    ways_out: Mapping[str, str], neutral: Mapping[str, Sequence[object]] | None = None
) -> dict[str, Schema]:
    """Fields that cannot be honoured: only values that ask for nothing are taken. They are no
    `enum`, because generators of clients give up where its values have several types."""
    return {
        name: {
            "description": f"Cannot be honoured, so whatever asks for it is refused: {way_out}.",
            "x-transom-refused": True,
            "x-transom-taken": [None, False, 0, "", [], {}, *(neutral or {}).get(name, ())],
        }
        for name, way_out in ways_out.items()
    }


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if "anyOf" in schema:
        kinds = schema["anyOf"]
        known = {"type": "null"} in kinds
        return schema if known else {**schema, "anyOf": [*kinds, {"type": "null"}]}
    if "enum" in schema and None not in schema["enum"]:
        schema = {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return schema


def _bounded(kind: str, least: float | None, most: float | None) -> Schema:
    schema: Schema = {"type": kind}
    if least is not None:
        schema["minimum"] = least
    if most is not None:
        schema["maximum"] = most
    return schema


def _about(schema: Schema, about: str) -> Schema:
    return {**schema, "description": about} if about else schema
