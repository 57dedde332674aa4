"""Calls for models that were never taught any: the system text says how, the answer is
`{"tool_calls": [{"name": …, "arguments": {…}}]}`."""

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from transom_api.chat import Message, Text, Tool
from transom_api.conversation import function_of
from transom_api.tools.form import Forced, Form, list_schema, moved_apart
from transom_api.tools.json_calls import JsonReader
from transom_api.tools.reader import Block, NotACall

_KEY: Final = "tool_calls"
_FENCE: Final = "```"
_CALL_KEYS: Final = ("name", "function", "type", "id", "arguments", "parameters")
_EXAMPLE: Final = (
    '{"tool_calls": [{"name": "the name", "arguments": {"an argument": "its value"}}]}'
)


class GenericReader(JsonReader):
    openers = ("```json",)
    bare = "{"

    def block(self, opener: str) -> Block:
        """See `CallReader.block`."""
        is_fenced = opener != "{"
        if is_fenced and (yield from self.next_word()) != "{":
            raise NotACall
        char = yield from self.next_word()
        if char != '"':
            raise NotACall
        key = ""
        while (char := (yield)) != '"':
            key += char
            if not char or not any(known.startswith(key) for known in (_KEY, *_CALL_KEYS)):
                raise NotACall
        rest = yield from (self._list() if key == _KEY else self.call(f'"{key}"'))
        if rest is not None:
            return rest
        if is_fenced:
            return (yield from self._fence())
        return ""

    def _list(self) -> Generator[None, str, str | None]:
        for wanted in ":[":
            if (yield from self.next_word()) != wanted:
                raise NotACall
        while True:
            char = yield from self.next_word()
            if char == "{":
                if (rest := (yield from self.call())) is not None:
                    return rest
            elif char == "]":
                break
            elif char != "," or not self.has_called:
                if not self.has_called:
                    raise NotACall
                return char
        if not self.has_called:
            raise NotACall
        char = yield from self.next_word()
        return None if char in ("}", "") else char

    def _fence(self) -> Block:
        read = ""
        while not read.strip().startswith(_FENCE):
            char = yield
            read += char
            if not char or not _FENCE.startswith(read.strip()):
                return read
        self.settle()
        return ""


def instructions(tools: Sequence[Tool]) -> str:
    """What the system text says of the tools."""
    shown = "\n".join(json.dumps(function_of(tool), ensure_ascii=False) for tool in tools)
    return (
        "You may call these functions. Each is a JSON object, its parameters a JSON schema:\n"
        f"{shown}\n\n"
        "To call, answer with nothing but JSON of this form, one item for each call:\n"
        f"{_EXAMPLE}\n"
        "The next message then says what they returned. Answer in plain words when no call is "
        "needed."
    )


def written_out(messages: Sequence[Message]) -> list[Message]:
    """A conversation without calls and results: what a template knows that never saw a tool."""
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    found: list[Message] = []
    is_results = False
    for message in messages:
        if message.role == "tool":
            name = message.name or names.get(message.tool_call_id or "") or "function"
            text = f"{name} returned:\n{message.text}"
            if is_results:
                # Templates want the turns to alternate.
                last = found.pop()
                text = f"{last.text}\n\n{text}"
            others = tuple(part for part in message.parts if not isinstance(part, Text))
            found.append(Message("user", (*others, Text(text))))
        elif message.tool_calls:
            calls = ", ".join(
                f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}'
                for call in message.tool_calls
            )
            said = f"{message.text}\n" if message.text else ""
            text = f'{said}{{"{_KEY}": [{calls}]}}'
            found.append(replace(message, parts=(Text(text),), tool_calls=()))
        else:
            found.append(message)
        is_results = message.role == "tool"
    return found


def calls_schema(
    tools: Sequence[Tool], parallel: bool, answer: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Calls, or the answer that was asked for where one was."""
    calls = list_schema(tools, parallel)
    shared = calls.pop("$defs", None) or {}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {_KEY: calls},
        "required": [_KEY],
        "additionalProperties": False,
    }
    if answer is not None:
        own, more = moved_apart(answer, "answer")
        schema, shared = {"anyOf": [schema, own]}, {**shared, **more}
    return {**schema, "$defs": shared} if shared else schema


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced:
    return Forced("", calls_schema(tools, parallel))


GENERIC: Final = Form("generic", GenericReader, _forces)
