"""Calls as Python writes them: `[f(a=1, b="x"), g()]` (Llama 3.2 and 4, LFM2, Olmo 3), or in a
fence of `tool_code` (Gemma). The arguments go on as JSON, each when it is whole."""

import json
from collections.abc import Generator, Sequence
from typing import Final

from transom_api.chat import Tool
from transom_api.tools.form import Forced, Form
from transom_api.tools.python_literal import as_json
from transom_api.tools.reader import Block, CallReader, NotACall

_CLOSERS: Final = ("<|python_end|>", "<|tool_call_end|>", "```")
# Before a name in Gemma's examples, and around a call.
_MODULE: Final = "default_api."
_WRAPPER: Final = "print"
# Names of functions have 64 characters.
_MAX_NAME_CHARS: Final = 128
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


class PythonicReader(CallReader):
    openers = ("<|python_start|>", "<|tool_call_start|>", "```tool_code", "```tool_call")
    bare = "["
    marks = (*openers[:2], *_CLOSERS[:2])

    def block(self, opener: str) -> Block:
        """See `CallReader.block`."""
        read, found = "", 0
        char = opener if opener in self.bare else ""
        is_list = False
        while True:
            char = char or (yield)
            if char == "[" and not (found or is_list):
                is_list = True
            elif char and (char.isidentifier() and not read.strip(" \n,;")):
                if (rest := (yield from self._call(char))) is not None:
                    return rest
                found, read = found + 1, ""
            elif char and (char.isspace() or (found and char in ",;])")):
                read += char
            elif char and found and any(closer.startswith(char) for closer in _CLOSERS):
                return (yield from self._closer(read, char))
            elif found:
                return read + char if char else ""
            else:
                raise NotACall
            char = ""

    def _closer(self, read: str, held: str) -> Block:
        while held not in _CLOSERS:
            char = yield
            held += char
            if not char or not any(closer.startswith(held) for closer in _CLOSERS):
                return read + held
        self.settle()
        return ""

    def _call(self, name: str) -> Generator[None, str, str | None]:
        """A call from the first letter of its name to its bracket. Raises `NotACall` until its
        first argument is whole; returns text to read again where it breaks later."""
        while (char := (yield)) != "(" or name == _WRAPPER:
            name = "" if char == "(" else name + char
            if not char or len(name) > _MAX_NAME_CHARS:
                raise NotACall
        name = name.strip().removeprefix(_MODULE)
        written: set[str] = set()
        while True:
            text, end = yield from self._argument()
            if not text.strip() and end == ")":
                break
            key, _, value = text.partition("=")
            key = key.strip()
            try:
                if not key.isidentifier() or key in written:
                    raise ValueError("no name of an argument")
                piece = f"{json.dumps(key)}: {as_json(value)}"
            except ValueError:
                if not written:
                    raise NotACall from None
                # Not closed: nobody shall run a call that lacks arguments.
                return text + end
            if not written:
                self.begin(name)
            self.arguments((", " if written else "{") + piece)
            self.settle()
            written.add(key)
            if end == ")":
                break
        if not written:
            self.begin(name)
        self.arguments("}" if written else "{}")
        self.settle()
        return None

    def _argument(self) -> Generator[None, str, tuple[str, str]]:
        """Text up to a comma or bracket outside of strings and brackets, and that; "" at the
        end."""
        text, quote, is_escaped = "", "", False
        stack: list[str] = []
        while char := (yield):
            if quote:
                if char == quote and not is_escaped:
                    quote = ""
                is_escaped = char == "\\" and not is_escaped
            elif char in "'\"":
                quote = char
            elif char in _CLOSING:
                stack.append(_CLOSING[char])
            elif not stack and char in ",)":
                return text, char
            elif stack and char == stack[-1]:
                stack.pop()
            text += char
        # The answer broke off.
        return text, ""


def _forces(tools: Sequence[Tool], parallel: bool) -> Forced | None:
    # Python is not JSON; the generic form serves.
    return None


PYTHONIC: Final = Form("pythonic", PythonicReader, _forces)
