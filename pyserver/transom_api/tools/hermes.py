"""Hermes, Qwen 2.5 and 3, Granite 4 and many others: `<tool_call>{"name": …}</tool_call>`."""

from collections.abc import Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form, call_schema
from transom_api.tools.json_calls import JsonCalls


class HermesReader(JsonCalls):
    openers = ("<tool_call>",)
    closers = ("</tool_call>",)
    marks = (*openers, *closers)


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced:
    return Forced("<tool_call>\n", call_schema(tools))


HERMES: Final = Form("hermes", HermesReader, _forces)
