"""The form in which a family of models writes calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from transom_api.chat import Tool
from transom_api.tools.reader import CallReader


@dataclass(frozen=True, slots=True)
class Forced:
    """How a model is made to call: `prefill` is written for it, `schema` holds what follows."""

    prefill: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """`forces` says how to make a model call one of some tools, several at once or not; None where
    the form has no JSON to hold to."""

    name: str
    reader: type[CallReader]
    forces: Callable[[Sequence[Tool], bool], Forced | None]

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts that the reader looks for, many of them special tokens."""
        return self.reader.marks


# OpenAI's models make a few dozen calls at once at most; a list without an end fills the context.
MAX_CALLS: Final = 32
# litellm leaves the # out on Anthropic's route; nothing else could be meant.
_SHARED: Final = ("#/$defs/", "#/definitions/", "/$defs/", "/definitions/")


def call_schema(tools: Sequence[Tool], key: str = "arguments") -> dict[str, Any]:
    """One call of one of the tools, as an object with name and arguments."""
    shared: dict[str, Any] = {}
    calls = []
    for number, tool in enumerate(tools):
        arguments, more = moved_apart(arguments_schema(tool), str(number))
        shared |= more
        properties = {"name": {"const": tool.name}, key: arguments}
        calls.append(
            {
                "type": "object",
                "properties": properties,
                "required": ["name", key],
                "additionalProperties": False,
            }
        )
    whole = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {**whole, "$defs": shared} if shared else whole


def list_schema(tools: Sequence[Tool], parallel: bool, key: str = "arguments") -> dict[str, Any]:
    """A list of calls, at least one."""
    call = call_schema(tools, key)
    shared = call.pop("$defs", None)
    most = MAX_CALLS if parallel else 1
    found = {"type": "array", "items": call, "minItems": 1, "maxItems": most}
    return {**found, "$defs": shared} if shared else found


def arguments_schema(tool: Tool) -> dict[str, Any]:
    """A tool's parameters, as an object's schema whatever they say."""
    return {"type": "object", **tool.parameters}


def moved_apart(schema: Mapping[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A schema to stand inside of another one, and its shared parts to stand at the top, where
    `prefix` keeps their names from others'."""
    own = dict(schema)
    shared: dict[str, Any] = {}
    for place in ("$defs", "definitions"):
        parts = own.pop(place, None)
        if isinstance(parts, dict):
            shared |= {f"{prefix}_{name}": _moved(part, prefix) for name, part in parts.items()}
    found = _moved(own, prefix)
    assert isinstance(found, dict)
    return found, shared


def _moved(value: Any, prefix: str) -> Any:
    """A schema whose shared parts are now those of the whole, under other names."""
    if isinstance(value, list):
        return [_moved(item, prefix) for item in value]
    if not isinstance(value, dict):
        return value
    moved = {key: _moved(item, prefix) for key, item in value.items()}
    target = value.get("$ref")
    if isinstance(target, str) and target.startswith(_SHARED):
        moved["$ref"] = f"#/$defs/{prefix}_{target.split('/', 2)[2]}"
    return moved
