"""What an answer is held to, in an engine's words: a JSON schema, or a grammar in llama.cpp's GBNF.

Regular expressions become grammars: the part of the language that says what a text is, without
looking around or back. Pure.
"""

import re
from typing import Any, Final, NoReturn

from transom_api.chat import Constraint
from transom_api.fields import InvalidField
from transom_api.schema_limits import check_grammar

# A grammar is expanded where it repeats; llama.cpp gives up at about as many.
MAX_REPEATS: Final = 1000
MAX_REGEX_CHARS: Final = 10_000
# Groups in groups; deeper ones would end in Python's own limit on calls.
MAX_DEPTH: Final = 64

_CLASSES: Final = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\r\\n"}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_WRITTEN: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
# What means something in a class of GBNF.
_IN_CLASS: Final = {"[": "\\[", "]": "\\]", "\\": "\\\\", "^": "\\x5E", "-": "\\x2D"}
_REPEAT: Final = re.compile(r"\{(\d{1,6})(,(\d{0,6}))?\}")
_HEX: Final = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")


def schema_of(constraint: Constraint | None) -> dict[str, Any] | None:
    """The schema of an answer in JSON; None where it is held to none."""
    if constraint is None:
        return None
    if constraint.kind == "json_object":
        return {"type": "object"}
    return dict(constraint.schema or {}) if constraint.kind == "json_schema" else None


def grammar_of(constraint: Constraint | None) -> str | None:
    """The grammar of an answer that is no JSON; None where it has none. Raises `InvalidField`."""
    if constraint is None:
        return None
    if constraint.kind == "grammar":
        check_grammar(constraint.text)
        return constraint.text
    if constraint.kind == "choice":
        return "root ::= " + " | ".join(_literal(text) for text in constraint.choices)
    if constraint.kind == "regex":
        return "root ::= " + _Regex(constraint.text).grammar()
    return None


def _literal(text: str) -> str:
    return '"' + "".join(_char(char, '"\\') for char in text) + '"'


def _char(char: str, quoted: str) -> str:
    """A character in GBNF, with a backslash before those of `quoted`."""
    if char < " ":
        return _WRITTEN.get(char, f"\\x{ord(char):02X}")
    return "\\" + char if char in quoted else char


class _Regex:
    """A regular expression, read once from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_REGEX_CHARS:
            raise InvalidField(None, f"a regular expression has over {MAX_REGEX_CHARS} characters")
        self._text = text
        self._at = 0
        self._depth = 0

    def grammar(self) -> str:
        found = self._alternatives()
        if self._at < len(self._text):
            self._refuse("a bracket is closed that was not opened")
        return found

    def _alternatives(self) -> str:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"more than {MAX_DEPTH} groups in each other")
        found = [self._sequence()]
        while self._next("|"):
            found.append(self._sequence())
        self._depth -= 1
        return " | ".join(found)

    def _sequence(self) -> str:
        found = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            # An answer is matched from its first to its last character anyway.
            at_start = self._at == 0 and self._next("^")
            at_end = self._at == len(self._text) - 1 and self._next("$")
            if not (at_start or at_end):
                found.append(self._item() + self._repeats())
        return " ".join(found) or '""'

    def _item(self) -> str:
        char = self._text[self._at]
        self._at += 1
        if char == "(":
            if self._next("?") and not (self._next(":") or self._is_name()):
                self._refuse("nothing is looked around for, and no flags are set")
            found = self._alternatives()
            if not self._next(")"):
                self._refuse("a bracket is not closed")
            return f"({found})"
        if char == "[":
            return self._class()
        if char == ".":
            return "[^\\n]"
        if char == "\\":
            char, ranges = self._escape()
            return f"[{ranges}]" if ranges else _literal(char)
        if char in "*+?^$":
            self._refuse(f"{char} has nothing before it, or stands inside of the text")
        return _literal(char)

    def _is_name(self) -> bool:
        match = re.compile(r"P?<[A-Za-z_]\w*>").match(self._text, self._at)
        self._at = match.end() if match else self._at
        return match is not None

    def _repeats(self) -> str:
        for sign in "*+?":
            if self._next(sign):
                self._next("?")
                return sign
        match = _REPEAT.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        self._next("?")
        least, most = int(match[1]), int(match[3] or 0)
        if max(least, most) > MAX_REPEATS:
            self._refuse(f"something is repeated more than {MAX_REPEATS} times")
        if match[3] and most < least:
            self._refuse(f"{match[0]} is less than itself")
        return match[0]

    def _class(self) -> str:
        found = "[^" if self._next("^") else "["
        is_first, is_range = True, False
        while is_first or not self._next("]"):
            if self._at >= len(self._text):
                self._refuse("a [ is not closed")
            char = self._text[self._at]
            self._at += 1
            if char == "\\":
                char, ranges = self._escape()
                if ranges.startswith("^"):
                    self._refuse(f"\\{char} inside of [] has no grammar")
                found += ranges or _IN_CLASS.get(char) or _char(char, "")
                is_range = bool(ranges)
            else:
                # After a whole class a hyphen is one, and no range.
                is_hyphen = char == "-" and not is_range
                found += char if is_hyphen else _IN_CLASS.get(char) or _char(char, "")
                is_range = False
            is_first = False
        return found + "]"

    def _escape(self) -> tuple[str, str]:
        """What follows a backslash: a character, and the ranges where it names a class."""
        if match := _HEX.match(self._text, self._at):
            self._at = match.end()
            return chr(int(match[1] or match[2], 16)), ""
        char = self._text[self._at : self._at + 1]
        self._at += 1
        if char in _CLASSES:
            return char, _CLASSES[char]
        if char.lower() in _CLASSES:
            return char, "^" + _CLASSES[char.lower()]
        if char not in _CONTROLS and (not char or char.isalnum()):
            self._refuse(f"\\{char} is not known")
        return _CONTROLS.get(char, char), ""

    def _next(self, char: str) -> bool:
        is_there = self._text.startswith(char, self._at)
        self._at += len(char) if is_there else 0
        return is_there

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidField(None, f"the regular expression cannot be a grammar: {why}")
