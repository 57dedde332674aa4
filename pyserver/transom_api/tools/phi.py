"""Phi-4 mini and Granite 3: `<|tool_call|>[{"name": …, "arguments": …}]<|/tool_call|>`."""

from collections.abc import Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form, list_schema
from transom_api.tools.json_calls import JsonCalls


class PhiReader(JsonCalls):
    openers = ("<|tool_call|>", "<tool_call>")
    closers = ("<|/tool_call|>", "</tool_call>")
    marks = (*openers, *closers)


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced:
    return Forced("<|tool_call|>", list_schema(tools, parallel))


PHI: Final = Form("phi", PhiReader, _forces)
GRANITE: Final = Form("granite", PhiReader, _forces)
