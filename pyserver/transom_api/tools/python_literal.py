"""Values as Python writes them, of JSON's kinds only. Nothing is evaluated."""

import json
import re
from typing import Any, Final

# Arguments are a few levels deep; more would end in Python's own limit on calls.
MAX_DEPTH: Final = 32

_WORDS: Final = {"True": True, "False": False, "None": None, "true": True, "false": False}
_WORDS_PATTERN: Final = re.compile(r"[A-Za-z]+")
_NUMBER: Final = re.compile(r"[+-]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_STRING: Final = re.compile(r"('''|\"\"\"|'|\")((?:\\.|(?!\1).)*)\1", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\n|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0", "\n": ""}


def as_json(text: str) -> str:
    """The value as JSON. Raises `ValueError`."""
    value, end = _value(text, _space(text, 0), 0)
    if _space(text, end) != len(text):
        raise ValueError(f"more than a value: {text[end : end + 40]!r}")
    return json.dumps(value, ensure_ascii=False)


def _space(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if match := _STRING.match(text, at):
        return _ESCAPE.sub(_unescape, match[2]), match.end()
    if match := _NUMBER.match(text, at):
        number = match[0].replace("_", "")
        return (int(number) if number.lstrip("+-").isdigit() else float(number)), match.end()
    if match := _WORDS_PATTERN.match(text, at):
        if match[0] not in (*_WORDS, "null"):
            raise ValueError(f"{match[0]!r:.40} is no value")
        return _WORDS.get(match[0]), match.end()
    if text[at : at + 1] in ("[", "("):
        return _list(text, at, depth)
    if text[at : at + 1] == "{":
        return _object(text, at, depth)
    raise ValueError(f"no value: {text[at : at + 40]!r}")


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    close = {"[": "]", "(": ")"}[text[at]]
    items: list[Any] = []
    at = _space(text, at + 1)
    while text[at : at + 1] != close:
        item, at = _value(text, at, depth + 1)
        items.append(item)
        at = _separator(text, at, close)
    return items, at + 1


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _space(text, at + 1)
    while text[at : at + 1] != "}":
        key, at = _value(text, at, depth + 1)
        at = _space(text, at)
        if not isinstance(key, str) or text[at : at + 1] != ":":
            raise ValueError("an object's names are strings before a colon")
        found[key], at = _value(text, _space(text, at + 1), depth + 1)
        at = _separator(text, at, "}")
    return found, at + 1


def _separator(text: str, at: int, close: str) -> int:
    at = _space(text, at)
    if text[at : at + 1] == ",":
        return _space(text, at + 1)
    if text[at : at + 1] != close:
        raise ValueError(f"{close} is missing")
    return at


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code[0] in "ux" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code if code in "\\'\"" else match[0])
