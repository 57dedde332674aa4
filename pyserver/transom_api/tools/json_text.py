"""JSON recognised character by character: where a value ends, and where it is none any more.

Python's own reader wants the whole text; a call's arguments go on to the client while they come.
"""

import json
from typing import Final

_CLOSING: Final = {"{": "}", "[": "]"}
_HEX: Final = frozenset("0123456789abcdefABCDEF")


class BrokenJson(Exception):
    """The text is no JSON from this character on."""


class JsonText:
    """One object, list or string. `done` once it is whole.

    `expects` says what comes next: "value" or "first value", "key" or "first key", "key string" and
    "string" for the rest of one, "scalar" for the rest of a number or word, "colon", and "more" for
    a comma or the end."""

    def __init__(self) -> None:
        self.done = False
        self._open: list[str] = []
        self.expects = "value"
        self._scalar = ""
        self._digits = 0

    @property
    def depth(self) -> int:
        """Objects and lists that are open."""
        return len(self._open)

    def take(self, char: str) -> None:
        """The next character. Raises `BrokenJson`."""
        if self.done or not char:
            raise BrokenJson
        if self.expects in ("string", "key string"):
            self._in_string(char)
        elif self.expects == "scalar" and char not in ",]} \t\r\n":
            self._scalar += char
        else:
            if self.expects == "scalar":
                self._end_scalar()
            if char not in " \t\r\n":
                self._between(char)

    def _in_string(self, char: str) -> None:
        if self._digits:
            if char not in _HEX:
                raise BrokenJson
            self._digits -= 1
        elif self._scalar:
            # After a backslash.
            if char not in '"\\/bfnrtu':
                raise BrokenJson
            self._scalar, self._digits = "", 4 if char == "u" else 0
        elif char == "\\":
            self._scalar = char
        elif char == '"':
            self.expects = "colon" if self.expects == "key string" else "more"
            self.done = not self._open
        elif char < " ":
            raise BrokenJson

    def _end_scalar(self) -> None:
        try:
            json.loads(self._scalar)
        except ValueError:
            raise BrokenJson from None
        self._scalar, self.expects = "", "more"

    def _between(self, char: str) -> None:
        expects = self.expects
        if char in "}]":
            empty = {"}": "first key", "]": "first value"}[char]
            if not self._open or self._open[-1] != char or expects not in ("more", empty):
                raise BrokenJson
            self._open.pop()
            self.expects, self.done = "more", not self._open
        elif expects in ("value", "first value"):
            self._begin(char)
        elif expects in ("key", "first key") and char == '"':
            self.expects = "key string"
        elif expects == "colon" and char == ":":
            self.expects = "value"
        elif expects == "more" and char == ",":
            self.expects = "key" if self._open[-1] == "}" else "value"
        else:
            raise BrokenJson

    def _begin(self, char: str) -> None:
        if char in _CLOSING:
            self._open.append(_CLOSING[char])
            self.expects = "first key" if char == "{" else "first value"
        elif char == '"':
            self.expects = "string"
        elif self._open:
            self._scalar, self.expects = char, "scalar"
        else:
            raise BrokenJson
