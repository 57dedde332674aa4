"""Objects of a JSON schema that list their properties get no others, unless it asks for them.

By the letter of JSON Schema, an object may have any property more. A small model held to such a
schema invents some until it is cut off, and a grammar that rules out each known name is slow. What
is held to the closed schema fits the open one too. Pure.
"""

from typing import Any, Final

# What says more of an object's properties than their list; such an object stays as it is.
_SAYS_MORE: Final = frozenset(
    {
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "dependentSchemas",
        "allOf",
        "anyOf",
        "oneOf",
        "if",
        "not",
        "$ref",
    }
)
# Where schemas stand within schemas. Parts of `allOf` describe one object, so none is closed alone.
_ONE: Final = frozenset({"items", "additionalProperties"})
_LISTS: Final = frozenset({"anyOf", "oneOf", "prefixItems", "items"})
_BY_NAME: Final = frozenset({"properties", "$defs", "definitions"})


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A copy of it with closed objects. Keeps no stack of calls: schemas come from anybody."""
    whole = dict(schema)
    waiting = [whole]

    def copied(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        waiting.append(dict(part))
        return waiting[-1]

    while waiting:
        part = waiting.pop()
        if _lists_all(part):
            part["additionalProperties"] = False
        for key, value in part.items():
            if key in _ONE and isinstance(value, dict):
                part[key] = copied(value)
            elif key in _LISTS and isinstance(value, list):
                part[key] = [copied(one) for one in value]
            elif key in _BY_NAME and isinstance(value, dict):
                part[key] = {name: copied(one) for name, one in value.items()}
    return whole


def _lists_all(part: dict[str, Any]) -> bool:
    properties, required = part.get("properties"), part.get("required", [])
    if not isinstance(properties, dict) or not properties or _SAYS_MORE & part.keys():
        return False
    return isinstance(required, list) and all(
        isinstance(name, str) and name in properties for name in required
    )
