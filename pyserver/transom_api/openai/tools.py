"""Tools that the model may call: `tools` and `tool_choice`, and `functions` and `function_call`
from before there were tools."""

import re
from typing import Final

from transom_api.chat import MAX_TOOLS, Tool, ToolChoice
from transom_api.fields import Fields, shown
from transom_api.strict_schema import refuse_unheld

# OpenAI's own are shorter and have no dots; MCP's have.
NAME: Final = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
MODES: Final = ("none", "auto", "required")


def read_tools(body: Fields) -> tuple[tuple[Tool, ...], ToolChoice, bool]:
    """Tools, how they may be called, and whether the request speaks of functions instead."""
    if "functions" in body or "function_call" in body:
        for name in ("tools", "tool_choice"):
            if name in body:
                body.refuse(name, "functions and function_call are in the way; send tools only")
        tools = tuple(_tool(row) for row in body.objects("functions", most=MAX_TOOLS))
        _check_names(body, "functions", tools)
        # The field holds one call.
        return tools, _legacy_choice(body, tools), True
    tools = tuple(_wrapped_tool(row) for row in body.objects("tools", most=MAX_TOOLS))
    _check_names(body, "tools", tools)
    return tools, _choice(body, tools), False


def _wrapped_tool(row: Fields) -> Tool:
    kind = row.text("type", "function")
    if kind != "function":
        row.refuse("type", f"{shown(kind)} tools are not called here; describe it as a function")
    function = row.object("function")
    if function is None:
        row.refuse("function", "is missing")
    return _tool(function)


def _tool(row: Fields) -> Tool:
    name = row.required_text("name")
    if NAME.fullmatch(name) is None:
        row.refuse("name", f"{shown(name)} has other characters than letters, digits and _.:/-")
    tool = Tool(
        name=name,
        description=row.text("description", ""),
        parameters=row.mapping("parameters") or {},
        strict=row.flag("strict", False),
    )
    if tool.strict:
        refuse_unheld(row, "parameters", tool.parameters)
    return tool


def _check_names(body: Fields, field: str, tools: tuple[Tool, ...]) -> None:
    seen: set[str] = set()
    for number, tool in enumerate(tools):
        if tool.name in seen:
            body.refuse(f"{field}[{number}]", f"{tool.name} is there twice")
        seen.add(tool.name)


def _choice(body: Fields, tools: tuple[Tool, ...]) -> ToolChoice:
    parallel = body.flag("parallel_tool_calls", True)
    value = body.raw("tool_choice")
    if not isinstance(value, dict):
        mode = body.text("tool_choice", "auto", choices=MODES)
        if mode == "required":
            if not tools:
                body.refuse("tool_choice", "there are no tools to call")
            return ToolChoice("required", parallel=parallel)
        return ToolChoice("none" if mode == "none" else "auto", parallel=parallel)
    named = Fields(value, body.path("tool_choice"))
    kind = named.required_text("type")
    if kind == "allowed_tools":
        named.refuse("type", "send only those tools that may be called, and required or auto")
    if kind != "function":
        named.refuse("type", f"{shown(kind)} is not function")
    function = named.object("function")
    # Responses and some clients leave the inner object out.
    return _named(named if function is None else function, tools)


def _legacy_choice(body: Fields, tools: tuple[Tool, ...]) -> ToolChoice:
    value = body.raw("function_call")
    if isinstance(value, dict):
        return _named(Fields(value, body.path("function_call")), tools)
    mode = body.text("function_call", "auto", choices=("none", "auto"))
    return ToolChoice("none" if mode == "none" else "auto", parallel=False)


def _named(holder: Fields, tools: tuple[Tool, ...]) -> ToolChoice:
    """Of a function that is named, OpenAI's models make exactly one call."""
    name = holder.required_text("name")
    if name not in [tool.name for tool in tools]:
        holder.refuse("name", f"{shown(name)} is none of the tools")
    return ToolChoice("required", name, parallel=False)
