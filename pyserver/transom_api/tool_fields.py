"""What readers of tools have in common, whatever their dialect. Pure."""

from collections.abc import Callable

from transom_api.chat import MAX_TOOLS, Tool
from transom_api.fields import Fields


def read_each(fields: Fields, read: Callable[[Fields], Tool]) -> tuple[Tool, ...]:
    """The rows of `tools`, each name once. Raises `InvalidField`."""
    found: dict[str, Tool] = {}
    for row in fields.objects("tools", most=MAX_TOOLS):
        tool = read(row)
        if tool.name in found:
            row.refuse("name", f"{tool.name} is the name of two tools")
        found[tool.name] = tool
    return tuple(found.values())


def refuse_other_callers(row: Fields) -> None:
    """Only the model itself calls a tool, and it knows each from the start. Raises
    `InvalidField`."""
    if row.flag("defer_loading", False):
        row.refuse("defer_loading", "tools are not searched; leave it out")
    callers = row.texts("allowed_callers", most=MAX_TOOLS)
    if callers and "direct" not in callers:
        row.refuse("allowed_callers", "only the model itself calls tools; add direct")
