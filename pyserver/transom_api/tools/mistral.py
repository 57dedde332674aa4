"""Mistral: `[TOOL_CALLS][{"name": …, "arguments": …}]`, and `[TOOL_CALLS]name[ARGS]{…}` later."""

from collections.abc import Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form, arguments_schema, list_schema
from transom_api.tools.json_calls import JsonCalls
from transom_api.tools.reader import Block, NotACall

_OPENER: Final = "[TOOL_CALLS]"
_ARGS: Final = "[ARGS]"
_CALL_ID: Final = "[CALL_ID]"
# Names of functions have 64 characters, ids nine.
_MAX_HEAD_CHARS: Final = 160


class MistralReader(JsonCalls):
    openers = (_OPENER,)
    marks = (_OPENER, _ARGS, _CALL_ID)

    def block(self, opener: str) -> Block:
        """See `CallReader.block`."""
        char = yield from self.next_word()
        if char in ("[", "{"):
            return (yield from self.calls(char))
        head = ""
        while char != "{":
            head += char
            if not char or len(head) > _MAX_HEAD_CHARS:
                raise NotACall
            char = yield
        self.begin(head.removesuffix(_ARGS).partition(_CALL_ID)[0].strip())
        rest = yield from self.json_arguments(char)
        return rest or ""


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced:
    return Forced(_OPENER, list_schema(tools, parallel))


def _forces_named(tools: Sequence[Tool], parallel: bool) -> Forced | None:
    if len(tools) != 1:
        return None
    return Forced(f"{_OPENER}{tools[0].name}{_ARGS}", arguments_schema(tools[0]))


MISTRAL: Final = Form("mistral", MistralReader, _forces)
MISTRAL_NAMED: Final = Form("mistral", MistralReader, _forces_named)
