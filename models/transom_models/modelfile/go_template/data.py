"""What a template of Ollama's can see: the types of its data, their fields, and where the
conversation that Jinja is given holds them.

Facts from Ollama's `template/template.go` and `api/types.go` (v0.33). Must not know the tree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

# Types are named; these are the plain ones. MIXED is a value of one of several types, of which
# only the truth is known; MISSING is a name that Ollama does not set in this kind of template.
STRING: Final = "text"
INT: Final = "whole number"
FLOAT: Final = "number"
BOOL: Final = "boolean"
ANY: Final = "value of a tool call"
MIXED: Final = "value of several types"
MISSING: Final = "value that is never set"
ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class Field:
    """`code` with `{}` for the Jinja expression of the value that has the field."""

    code: str
    type: str


@dataclass(frozen=True, slots=True)
class Type:
    """`fields` by Go name; `element` and `key` are what range gives; `show` is the Jinja of what
    `{{ . }}` prints and `json` of what `json .` gives, None where Go prints its own struct."""

    fields: Mapping[str, Field]
    element: str | None = None
    key: str | None = None
    always_true: bool = False
    show: str | None = None
    json: str | None = None


def _raw(name: str, otherwise: str) -> str:
    # `get`, because a key named `items` or `keys` is also a method of a mapping.
    return f"({{}}.get('{name}') or {otherwise})"


_JSON = "go_json({})"
# A list that is not there is nil in Go.
_JSON_LIST = "go_json({} or none)"

TYPES: Final[Mapping[str, Type]] = {
    STRING: Type({}, show="{}", json=_JSON),
    INT: Type({}, element=INT, key=INT, show="{}", json="{}"),
    FLOAT: Type({}, show="{}", json="{}"),
    BOOL: Type({}, show="('true' if {} else 'false')", json="('true' if {} else 'false')"),
    ANY: Type({}, show="go_text({}, '<no value>')", json=_JSON),
    MIXED: Type({}),
    MISSING: Type({}, show="'<no value>'", json="'null'"),
    ROOT: Type({}, always_true=True),
    "list of messages": Type({}, element="message", key=INT),
    "message": Type(
        {
            "Role": Field("{}.role", STRING),
            "Content": Field("{}.content", STRING),
            "Thinking": Field("{}.thinking", STRING),
            "Images": Field("{}.images", "list of pictures"),
            "ToolCalls": Field("{}.tool_calls", "list of tool calls"),
            "ToolName": Field("{}.tool_name", STRING),
            "ToolCallID": Field("{}.tool_call_id", STRING),
        },
        always_true=True,
    ),
    "list of pictures": Type({}, element="picture", key=INT),
    "picture": Type({}),
    "list of tool calls": Type({}, element="tool call", key=INT),
    "tool call": Type(
        {
            "ID": Field(_raw("id", "''"), STRING),
            "Function": Field("({0}.get('function') or {0})", "called function"),
        },
        always_true=True,
    ),
    "called function": Type(
        {
            "Index": Field(_raw("index", "0"), INT),
            "Name": Field(_raw("name", "''"), STRING),
            "Arguments": Field(_raw("arguments", "{{}}"), "table of arguments"),
        },
        always_true=True,
    ),
    # OpenAI's form has the arguments as JSON text: shown as it is, but without parts.
    "table of arguments": Type(
        {},
        element=ANY,
        key=STRING,
        show="({0} if {0} is string else go_json({0}))",
        json="({0} if {0} is string else go_json({0}))",
    ),
    "list of tools": Type({}, element="tool", key=INT, show="go_tools({})", json="go_tools({})"),
    "tool": Type(
        {
            "Type": Field(_raw("type", "''"), STRING),
            "Items": Field("{}.get('items')", ANY),
            "Function": Field(_raw("function", "{{}}"), "tool function"),
        },
        always_true=True,
        show="go_tool({})",
        json="go_tool({})",
    ),
    "tool function": Type(
        {
            "Name": Field(_raw("name", "''"), STRING),
            "Description": Field(_raw("description", "''"), STRING),
            "Parameters": Field(_raw("parameters", "{{}}"), "tool parameters"),
        },
        always_true=True,
        show="go_function({})",
        json="go_function({})",
    ),
    "tool parameters": Type(
        {
            "Type": Field(_raw("type", "''"), STRING),
            "Defs": Field("{}.get('$defs')", ANY),
            "Items": Field("{}.get('items')", ANY),
            "Required": Field(_raw("required", "[]"), "list of texts"),
            "Properties": Field(_raw("properties", "{{}}"), "table of properties"),
        },
        always_true=True,
        show="go_parameters({})",
        json="go_parameters({})",
    ),
    "table of properties": Type(
        {},
        element="property",
        key=STRING,
        show="go_properties({})",
        json="go_properties({})",
    ),
    "property": Type(
        {
            "AnyOf": Field(_raw("anyOf", "[]"), "list of properties"),
            "Type": Field(
                "([{0}.get('type')] if {0}.get('type') is string else ({0}.get('type') or []))",
                "property type",
            ),
            "Items": Field("{}.get('items')", ANY),
            "Description": Field(_raw("description", "''"), STRING),
            "Enum": Field(_raw("enum", "[]"), "list of values"),
            "Properties": Field(_raw("properties", "{{}}"), "table of properties"),
            "Required": Field(_raw("required", "[]"), "list of texts"),
        },
        always_true=True,
        json="go_property({})",
    ),
    "list of properties": Type({}, element="property", key=INT),
    # A list of names that shows itself as the name where there is one.
    "property type": Type(
        {},
        element=STRING,
        key=INT,
        show="('' if not {0} else {0}[0] if ({0} | length) == 1 else go_text({0}))",
        json="go_json(({0}[0] if ({0} | length) == 1 else {0}) or none)",
    ),
    "list of texts": Type({}, element=STRING, key=INT, show="go_text({})", json=_JSON_LIST),
    "list of values": Type({}, element=ANY, key=INT, show="go_text({})", json=_JSON_LIST),
}

_THINK: Final = {
    "Think": Field("(enable_thinking or reasoning_effort)", BOOL),
    "ThinkLevel": Field("(reasoning_effort or '')", STRING),
    "IsThinkSet": Field(
        "((enable_thinking is defined and enable_thinking is not none) or "
        "(reasoning_effort is defined and reasoning_effort is not none))",
        BOOL,
    ),
}
_SUFFIX: Final = Field("(suffix or '')", STRING)
_NEVER: Final = Field("''", MISSING)

# What the root holds in a template that ranges over `.Messages`, …
CONVERSATION: Final[Mapping[str, Field]] = {
    "Messages": Field("go.messages", "list of messages"),
    "System": Field("go.system", STRING),
    "Tools": Field("go.tools", "list of tools"),
    "Prompt": _NEVER,
    "Response": Field("''", STRING),
    "First": _NEVER,
    "Suffix": _SUFFIX,
    **_THINK,
}
# … and in one of the older form, which Ollama runs once for each turn. `.First` is gone from
# Ollama; where a template has it, it means the first turn.
TURN: Final[Mapping[str, Field]] = {
    "System": Field("turn.system", STRING),
    "Prompt": Field("turn.prompt", STRING),
    "Response": Field("turn.response", STRING),
    "First": Field("turn.first", BOOL),
    "Tools": _NEVER,
    "Suffix": _SUFFIX,
    **_THINK,
}
