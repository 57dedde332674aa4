"""What the model may call in a response: `tools` and `tool_choice`. Pure."""

import re
from typing import Any, Final

from transom_api.chat import MAX_TOOLS, Tool, ToolChoice
from transom_api.fields import Fields, shown
from transom_api.strict_schema import refuse_unheld
from transom_api.tool_fields import read_each, refuse_other_callers

NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
MODES: Final = ("none", "auto", "required")
ALLOWED_MODES: Final = ("auto", "required")


def read_tools(fields: Fields) -> tuple[Tool, ...]:
    """Functions; what OpenAI's own machines would do is refused by its name."""
    return read_each(fields, _tool)


def read_tool_choice(
    fields: Fields, tools: tuple[Tool, ...]
) -> tuple[ToolChoice, tuple[Tool, ...]]:
    """How the model may call, and which of the tools."""
    parallel = fields.flag("parallel_tool_calls", True)
    if not isinstance(fields.raw("tool_choice"), dict):
        mode = fields.text("tool_choice", "auto", choices=MODES)
        if mode == "required" and not tools:
            fields.refuse("tool_choice", "there are no tools to choose from")
        return _choice(mode, parallel), tools
    choice = Fields(fields.raw("tool_choice"), fields.path("tool_choice"))
    kind = choice.required_text("type")
    if kind == "function":
        name = _known(choice, tools)
        # Of a function that is named, OpenAI's models make exactly one call.
        return ToolChoice("required", name, parallel=False), tools
    if kind != "allowed_tools":
        choice.refuse("type", f"{kind:.60} is none of the tools here; name a function")
    mode = choice.text("mode", "auto", choices=ALLOWED_MODES)
    names = {_known(row, tools) for row in choice.objects("tools", most=MAX_TOOLS)}
    if not names:
        choice.refuse("tools", "is empty")
    return _choice(mode, parallel), tuple(tool for tool in tools if tool.name in names)


def tool_json(tool: Tool) -> dict[str, Any]:
    """A tool as a response repeats it."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description or None,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _choice(mode: str, parallel: bool) -> ToolChoice:
    if mode == "none":
        return ToolChoice("none", parallel=parallel)
    return ToolChoice("required" if mode == "required" else "auto", parallel=parallel)


def _known(row: Fields, tools: tuple[Tool, ...]) -> str:
    name = row.required_text("name")
    if all(tool.name != name for tool in tools):
        row.refuse("name", f"{shown(name)} is none of the tools")
    return name


def _tool(row: Fields) -> Tool:
    kind = row.required_text("type")
    if kind != "function":
        way_out = "give a function with its parameters instead"
        row.refuse("type", f"{kind:.60} is a tool of OpenAI's; {way_out}")
    name = row.required_text("name")
    if NAME.fullmatch(name) is None:
        row.refuse("name", "must be 1 to 128 letters, digits and _ . : / -")
    refuse_other_callers(row)
    parameters = row.mapping("parameters") or {}
    is_strict = row.flag("strict", False)
    if is_strict:
        refuse_unheld(row, "parameters", parameters)
    return Tool(name, row.text("description", ""), parameters, is_strict)
