"""Calls written as JSON objects: `{"name": …, "arguments": {…}}`, alone, in a row or in a list."""

import json
from collections.abc import Generator
from typing import ClassVar, Final

from transom_api.tools.json_text import BrokenJson, JsonText
from transom_api.tools.reader import Block, CallReader, NotACall

_NAME: Final = ("name", "function")
_ARGUMENTS: Final = ("arguments", "parameters", "args")
# What else such an object may have; anything else says that it is no call.
_PASSED_OVER: Final = ("id", "type", "index", "tool_call_id")

Part = Generator[None, str, str | None]
"""Part of a block: None when the block goes on, else the block is over, with text to read again."""


class JsonReader(CallReader):
    """What families share that write JSON. `closers` are markers that end a block."""

    closers: ClassVar[tuple[str, ...]] = ()

    def next_word(self) -> Generator[None, str, str]:
        """Pass over white space."""
        while (char := (yield)).isspace():
            pass
        return char

    def json_arguments(self, char: str) -> Part:
        """The arguments of a call that has begun, an object from its first character on."""
        text = JsonText()
        while True:
            try:
                text.take(char)
            except BrokenJson:
                return (yield from self.broken_arguments(char))
            self.arguments(char)
            if text.done:
                self.settle()
                return None
            char = yield

    def broken_arguments(self, char: str) -> Part:
        """Whatever follows is the client's to judge, up to the end of the block."""
        held = ""
        while char:
            held += char
            if held in self.closers:
                break
            while held and not any(closer.startswith(held) for closer in self.closers):
                self.arguments(held[0])
                held = held[1:]
            char = yield
        else:
            if held:
                self.arguments(held)
        self.settle()
        return ""

    def call(self, read: str = "") -> Part:
        """The rest of a call's object, after `{` and what was `read` of its first key. Raises
        `NotACall` until it has begun."""
        call = _CallObject()
        for char in read:
            call.take(char)
        while not call.text.done:
            char = yield
            try:
                piece = call.take(char)
            except BrokenJson:
                if not call.is_begun:
                    raise NotACall from None
                if call.is_in_arguments:
                    return (yield from self.broken_arguments(char))
                self.settle()
                return char
            if piece and not call.is_begun:
                self.begin(call.name)
                call.is_begun = True
            if piece:
                self.arguments(piece)
        if not call.is_begun:
            self.begin(call.name)
            self.arguments(call.early or "{}")
        self.settle()
        return None


class _CallObject:
    """Name and arguments of a call, as its object comes."""

    def __init__(self) -> None:
        self.text = JsonText()
        self.text.take("{")
        self.name = ""
        self.early = ""
        """Arguments that came before the name, or as a string of JSON."""
        self.is_begun = False
        self.is_in_arguments = False
        self._level = 1
        self._key = ""
        self._value: list[str] | None = None

    def take(self, char: str) -> str:
        """Returns what belongs to the arguments. Raises `BrokenJson`, `NotACall`."""
        text = self.text
        before, depth = text.expects, text.depth
        text.take(char)
        if self._value is not None:
            return self._take_value(char)
        if depth != self._level or char.isspace():
            if before == "key string" and depth == self._level:
                self._key += char
        elif before in ("key", "first key") and char == '"':
            self._key = char
        elif before == "key string":
            self._key += char
            if text.expects == "colon":
                self._end_key()
        elif before == "value":
            return self._begin_value(char)
        if text.depth < self._level:
            self._level = 1
        return ""

    def _end_key(self) -> None:
        self._key = json.loads(self._key)
        if not self.is_begun and self._key not in (*_NAME, *_ARGUMENTS, *_PASSED_OVER):
            raise NotACall

    def _begin_value(self, char: str) -> str:
        if self._key == "function" and char == "{" and self._level == 1:
            self._level = 2
            return ""
        self._value = [char]
        new = not (self.is_begun or self.early)
        if self._key in _ARGUMENTS and char == "{" and self.name and new:
            self.is_in_arguments = True
            return char
        return ""

    def _take_value(self, char: str) -> str:
        assert self._value is not None
        text = self.text
        # A number or word ends before the character that says so.
        if self._value[0] in '{["' or text.expects == "scalar":
            self._value.append(char)
        if text.depth <= self._level and text.expects not in ("scalar", "string"):
            self._end_value()
            if text.depth < self._level:
                self._level = 1
            was_in, self.is_in_arguments = self.is_in_arguments, False
            return char if was_in else ""
        return char if self.is_in_arguments else ""

    def _end_value(self) -> None:
        assert self._value is not None
        written, self._value = "".join(self._value), None
        if self.is_in_arguments:
            return
        if self._key in _NAME and not self.name and written.startswith('"'):
            self.name = json.loads(written)
        elif self._key in _ARGUMENTS and not (self.is_begun or self.early):
            self.early = _object_of(written)


def _object_of(written: str) -> str:
    """Arguments as an object's text, from an object or a string that holds one."""
    try:
        value = json.loads(written)
        if isinstance(value, str):
            written, value = value, json.loads(value or "{}")
    except (ValueError, RecursionError):
        raise NotACall from None
    if value is not None and not isinstance(value, dict):
        raise NotACall
    return (written or "{}") if value is not None else "{}"


class JsonCalls(JsonReader):
    """Objects one after the other or in a list, up to a closer where the family has one."""

    def block(self, opener: str) -> Block:
        """See `CallReader.block`."""
        return (yield from self.calls(opener if opener in self.bare else ""))

    def calls(self, char: str) -> Block:
        """Calls from their first character on, "" where that is to come."""
        read, is_list, found = "", False, 0
        while True:
            while not char or char.isspace():
                read += char
                char = yield
                if not char:
                    break
            if char == "{":
                rest = yield from self.call()
                if rest is not None:
                    return rest
                found, read = found + 1, ""
            elif char == "[" and not (found or is_list):
                is_list = True
            elif (char == "]" and is_list) or (char and char in ",;" and found):
                read += char
            elif char and any(closer.startswith(char) for closer in self.closers):
                return (yield from self._closer(read + char, char, found))
            elif found:
                return read + char if char else ""
            else:
                raise NotACall
            char = ""

    def _closer(self, read: str, held: str, found: int) -> Block:
        while held not in self.closers:
            char = yield
            read, held = read + char, held + char
            if not char or not any(closer.startswith(held) for closer in self.closers):
                if not found:
                    raise NotACall
                return read
        if not found:
            raise NotACall
        self.settle()
        return ""
