"""What `strict` promises and no engine can keep: keywords of a JSON schema that no grammar holds.

Without `strict` such a schema is held as far as it can be. Pure.
"""

from collections.abc import Mapping
from typing import Any, Final

from transom_api.fields import SHOWN_CHARS, Fields

# Keywords that no engine here holds, and the value with which each says nothing. Those of
# web/src/worker/grammar/json-schema.ts, where an answer in the page is held.
UNHELD: Final[Mapping[str, Any]] = {
    "not": False,
    "if": None,
    "dependentRequired": None,
    "dependentSchemas": None,
    "unevaluatedProperties": True,
    "unevaluatedItems": True,
    "uniqueItems": False,
    "contains": None,
    "multipleOf": None,
    "$dynamicRef": None,
}
# Where schemas stand within schemas; `const`, `enum`, `default` and `examples` hold values.
_ONE: Final = frozenset({"items", "additionalItems", "additionalProperties", "propertyNames"})
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
_BY_NAME: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})
# Steps of a path, from the last to the first.
_Path = tuple[Any, ...]


def refuse_unheld(fields: Fields, name: str, schema: Mapping[str, Any]) -> None:
    """Raises `InvalidField` at the field's name. Keeps no stack of calls: schemas come from
    anybody."""
    waiting: list[tuple[Any, _Path]] = [(schema, ())]
    while waiting:
        part, path = waiting.pop()
        if not isinstance(part, dict):
            continue
        for keyword, nothing in UNHELD.items():
            value = part.get(keyword)
            if value is not None and value is not nothing:
                where = _pointer(path)
                fields.refuse(
                    name,
                    f"strict is for schemas that an answer can be held to, and nothing here holds "
                    f"it to {keyword}, which is at {where}; leave out {keyword}, or strict",
                )
        for key, value in part.items():
            if key in _BY_NAME and isinstance(value, dict):
                waiting += [(one, (each, (key, path))) for each, one in value.items()]
            elif key in _LISTS and isinstance(value, list):
                waiting += [(one, (number, (key, path))) for number, one in enumerate(value)]
            elif key in _ONE:
                waiting.append((value, (key, path)))


def _pointer(path: _Path) -> str:
    """A place in the schema as `$ref` would name it, short enough for an error."""
    steps: list[str] = []
    while path:
        step, path = path
        steps.append(str(step)[:SHOWN_CHARS].replace("~", "~0").replace("/", "~1"))
    text = "/".join(["#", *reversed(steps)])
    return text if len(text) <= 4 * SHOWN_CHARS else text[: 4 * SHOWN_CHARS] + "…"
