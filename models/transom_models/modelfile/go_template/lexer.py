"""Go's text/template cut into text and actions, and an action into tokens.

Follows the lexer of Go 1.27's text/template/parse: `{{- ` and ` -}}` eat the white space next to
them, comments vanish, a field follows what it belongs to without a space. Must not know what a
token means.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from transom_models.modelfile.go_template.errors import UntranslatableTemplate

# What Go trims and what separates its words.
SPACE: Final = " \t\r\n"

_COMMENT_END: Final = re.compile(r"\*/(?:[ \t\r\n]-)?\}\}")
_RIGHT: Final = re.compile(r"[ \t\r\n]+-\}\}|\}\}")
_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<raw>`[^`]*`)
      | (?P<char>'(?:[^'\\\n]|\\[^\n][^'\n]*)')
      | (?P<number>[+-]?(?:0[xXbBoO][0-9a-fA-F_]+
          |(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))
      | (?P<field>\.[^\W\d]\w*)
      | (?P<variable>\$\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<mark>:=|=|\||\(|\)|,|\.)
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an action. `spaced`: white space comes before it."""

    kind: str
    text: str
    line: int
    spaced: bool


@dataclass(frozen=True, slots=True)
class Text:
    """What stands between actions, trimmed."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Action:
    """What stands between `{{` and `}}`: its tokens, and its `source` with the braces."""

    tokens: tuple[Token, ...]
    source: str
    line: int


def lex(source: str, first_line: int = 1) -> Iterator[Text | Action]:
    """Texts (never empty) and actions in turn. Raises `UntranslatableTemplate`."""
    at = 0
    trim = False
    lines = _Lines(source, first_line)
    while at < len(source):
        start = source.find("{{", at)
        end = len(source) if start < 0 else start
        text = source[at:end]
        if trim:
            text = text.lstrip(SPACE)
        if start < 0:
            if text:
                yield Text(text, lines.at(at))
            return
        inside = start + 2
        # A minus sign trims only before a space: `{{-3}}` is a number.
        if source.startswith("-", inside) and source[inside + 1 : inside + 2] in tuple(SPACE):
            text = text.rstrip(SPACE)
            inside += 2
        if text:
            yield Text(text, lines.at(at))
        if source.startswith("/*", inside):
            at, trim = _skip_comment(source, start, inside, lines)
            continue
        tokens, at, trim = _tokens(source, start, inside, lines)
        yield Action(tokens, source[start:at], lines.at(start))


def _skip_comment(source: str, start: int, inside: int, lines: "_Lines") -> tuple[int, bool]:
    close = source.find("*/", inside + 2)
    match = _COMMENT_END.match(source, close) if close >= 0 else None
    if match is None:
        raise UntranslatableTemplate(
            lines.at(start), source[start : start + 80], "the comment is not closed by */}}"
        )
    return match.end(), match.group().startswith("*/") and "-" in match.group()


def _tokens(
    source: str, start: int, at: int, lines: "_Lines"
) -> tuple[tuple[Token, ...], int, bool]:
    """The tokens of an action, where the text after it begins, and whether that is trimmed."""
    tokens: list[Token] = []
    spaced = False
    while at < len(source):
        right = _RIGHT.match(source, at)
        if right is not None:
            return tuple(tokens), right.end(), len(right.group()) > 2
        match = _TOKEN.match(source, at)
        if match is None:
            what = source[at : at + 20].split("}}")[0].strip() or source[at]
            raise UntranslatableTemplate(
                lines.at(at), source[start : at + 20], f"{what!r} has no meaning in an action"
            )
        kind = match.lastgroup or ""
        if kind == "space":
            spaced = True
        else:
            tokens.append(Token(kind, match.group(), lines.at(at), spaced))
            spaced = False
        at = match.end()
    raise UntranslatableTemplate(
        lines.at(start), source[start : start + 80], "the action is not closed by }}"
    )


class _Lines:
    """Line numbers of places that only go forward."""

    def __init__(self, source: str, first_line: int) -> None:
        self._source = source
        self._place = 0
        self._line = first_line

    def at(self, place: int) -> int:
        """The number of the line that `place` is in. An earlier place gets the last answer."""
        if place > self._place:
            self._line += self._source.count("\n", self._place, place)
            self._place = place
        return self._line
