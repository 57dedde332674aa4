"""TypeScript types from JSON Schemas, as Prettier would write them. Knows the few words of JSON
Schema that `schema.py` uses, and refuses any other."""

from collections.abc import Mapping
from typing import Any, Final

_HEAD: Final = """\
/**
 * Types of the store's JSON, and the names and caps that both sides share. Generated from the
 * Python dataclasses by `python -m transom_models.schema`; change those.
 */
"""
_WIDTH: Final = 100
_PLAIN: Final = {
    "integer": "number",
    "number": "number",
    "string": "string",
    "boolean": "boolean",
    "null": "null",
}


def module(
    schemas: Mapping[str, Mapping[str, Any]], tables: Mapping[str, Mapping[str, str | int]]
) -> str:
    """The text of a module: one interface `<Title>Json` a schema, and each table as a constant."""
    parts = [_HEAD]
    for name, table in tables.items():
        rows = "".join(f"  {key}: {_literal(value)},\n" for key, value in table.items())
        parts.append(f"export const {name} = {{\n{rows}}} as const;\n")
    parts += [_interface(schema) for schema in schemas.values()]
    return "\n".join(parts)


def _interface(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    lines = [f"/** {schema['description']} */", f"export interface {schema['title']}Json {{"]
    for name, row in schema["properties"].items():
        if row is False:
            # Never there: the document would be of two kinds.
            lines.append(f"  {name}?: never;")
            continue
        if "description" in row:
            lines.append(f"  /** {row['description']} */")
        lines.append(f"  {name}{'' if name in required else '?'}: {_type(row)};")
    if any(len(line) > _WIDTH for line in lines):
        raise ValueError(f"a line of {schema['title']} is longer than {_WIDTH}; shorten it")
    return "\n".join([*lines, "}", ""])


def _type(row: Mapping[str, Any]) -> str:
    if "$ref" in row:
        return f"{row['$ref'].rpartition('/')[2]}Json"
    if "const" in row:
        return _literal(row["const"])
    if "enum" in row:
        # A union of long words would be broken in a way of its own; the reader checks the value.
        return "string"
    if "anyOf" in row:
        return " | ".join(_type(one) for one in row["anyOf"])
    kind = row["type"]
    if isinstance(kind, list):
        return " | ".join(_type({"type": one}) for one in kind)
    if kind == "array":
        return f"{_type(row['items'])}[]"
    if kind == "object":
        return f"Record<string, {_type(row['additionalProperties'])}>"
    return _PLAIN[kind]


def _literal(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
