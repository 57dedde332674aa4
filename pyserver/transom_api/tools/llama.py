"""Llama 3.x: `{"name": …, "parameters": …}` as the whole answer, or after `<|python_tag|>`."""

from collections.abc import Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form, call_schema
from transom_api.tools.json_calls import JsonCalls


class LlamaReader(JsonCalls):
    openers = ("<|python_tag|>",)
    closers = ("<|eom_id|>", "<|eot_id|>")
    # Not the closers: they end an answer, and would be its last words.
    marks = openers
    bare = "{["


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced:
    return Forced("", call_schema(tools, "parameters"))


LLAMA: Final = Form("llama-json", LlamaReader, _forces)
