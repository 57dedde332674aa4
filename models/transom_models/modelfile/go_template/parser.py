"""From actions to a tree: the grammar of Go's text/template. Knows no data and no Jinja."""

import re
from collections.abc import Iterator
from typing import Final

from transom_models.modelfile.go_template.lexer import Action, Text, Token, lex
from transom_models.modelfile.go_template.tree import (
    Branch,
    Dot,
    Fields,
    Function,
    Invoke,
    Jump,
    Literal,
    Node,
    Operand,
    Output,
    Pipeline,
    Place,
    Template,
    TextNode,
    Variable,
)

# Jinja2 makes Python of a template, which nests 20 loops and 100 blocks at most; a block here may
# need two there. Published templates nest six deep.
MAX_DEPTH: Final = 32
MAX_LOOPS: Final = 12

_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.?))"
)
_IS_FLOAT: Final = re.compile(r"^[0-9_]*(?:\.|[0-9_]+[eE])")
_SIMPLE: Final = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))
_KEYWORDS: Final = frozenset("block break continue define else end if range template with".split())


def parse(source: str, first_line: int = 1) -> Template:
    """Read a template. Raises `UntranslatableTemplate`."""
    return _Parser(source, first_line).template()


class _Parser:
    def __init__(self, source: str, first_line: int) -> None:
        self._items: Iterator[Text | Action] = lex(source, first_line)
        self._named: dict[str, tuple[Node, ...]] = {}
        self._loops = 0
        self._depth = 0

    def template(self) -> Template:
        body, ending = self._nodes(None)
        if ending is not None:
            raise _place(ending).error(f"no block is open that {ending.tokens[0].text} could close")
        return Template(body, self._named)

    def _nodes(self, opened: Action | None) -> tuple[tuple[Node, ...], Action | None]:
        """Nodes up to the `end` or `else` that closes `opened`, or to the end of the text."""
        found: list[Node] = []
        for item in self._items:
            if isinstance(item, Text):
                found.append(TextNode(item.text))
                continue
            word = item.tokens[0].text if item.tokens and item.tokens[0].kind == "word" else ""
            if word in ("end", "else"):
                return tuple(found), item
            node = self._action(word, item)
            if node is not None:
                found.append(node)
        if opened is not None:
            raise _place(opened).error("the block is never closed by {{ end }}")
        return tuple(found), None

    def _action(self, word: str, action: Action) -> Node | None:
        place = _place(action)
        if word in ("if", "with", "range"):
            return self._branch(word, action, action.tokens[1:])
        if word in ("break", "continue"):
            if len(action.tokens) > 1:
                raise place.error(f"{word} takes nothing")
            if not self._loops:
                raise place.error(f"{word} outside of range")
            return Jump(word, place)
        if word == "template":
            name, rest = self._name(action)
            return Invoke(name, _pipeline(rest, place) if rest else None, place)
        if word in ("define", "block"):
            return self._define(word, action)
        return Output(_pipeline(action.tokens, place))

    def _branch(self, kind: str, action: Action, tokens: tuple[Token, ...]) -> Branch:
        place = _place(action)
        # A chain of `else if` counts too: each is inside the one before.
        self._enter(place)
        pipeline = _pipeline(tokens, place, most_variables=2 if kind == "range" else 1)
        self._loops += kind == "range"
        if self._loops > MAX_LOOPS:
            raise place.error(f"ranges are nested more than {MAX_LOOPS} deep")
        body, ending = self._nodes(action)
        self._loops -= kind == "range"
        orelse: tuple[Node, ...] = ()
        assert ending is not None
        if ending.tokens[0].text == "else":
            after = ending.tokens[1:]
            if after and after[0].text in ("if", "with") and kind != "range":
                # `else if` is a branch inside the else, closed by the same end.
                orelse = (self._branch(after[0].text, ending, after[1:]),)
                self._depth -= 1
                return Branch(kind, pipeline, body, orelse)
            if after:
                raise _place(ending).error("else takes if, with or nothing")
            orelse, ending = self._nodes(action)
            assert ending is not None
            if ending.tokens[0].text == "else":
                raise _place(ending).error("a second else")
        if len(ending.tokens) > 1:
            raise _place(ending).error("end takes nothing")
        self._depth -= 1
        return Branch(kind, pipeline, body, orelse)

    def _enter(self, place: Place) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise place.error(f"blocks are nested more than {MAX_DEPTH} deep")

    def _define(self, word: str, action: Action) -> Node | None:
        place = _place(action)
        name, rest = self._name(action)
        if word == "define" and (rest or self._depth):
            raise place.error("define takes a name, outside of every block")
        loops, self._loops = self._loops, 0
        self._enter(place)
        body, ending = self._nodes(action)
        self._depth -= 1
        self._loops = loops
        if ending is None or ending.tokens[0].text != "end":
            raise place.error("the block is never closed by {{ end }}")
        if name in self._named:
            raise place.error(f"{name!r:.40} is defined twice")
        self._named[name] = body
        return None if word == "define" else Invoke(name, _pipeline(rest, place), place)

    def _name(self, action: Action) -> tuple[str, tuple[Token, ...]]:
        if len(action.tokens) < 2 or action.tokens[1].kind not in ("string", "raw"):
            raise _place(action).error("a quoted name is missing")
        return _text(action.tokens[1], _place(action)), action.tokens[2:]


def _place(action: Action) -> Place:
    return Place(action.line, action.source)


def _pipeline(tokens: tuple[Token, ...], place: Place, most_variables: int = 1) -> Pipeline:
    """A whole action's pipeline, with what it declares."""
    names: list[str] = []
    for count in range(1, most_variables + 1):
        # `$x :=` or `$i, $x :=`.
        head = tokens[: 2 * count]
        if (
            len(head) == 2 * count
            and all(token.kind == "variable" for token in head[::2])
            and all(token.text == "," for token in head[1:-1:2])
            and head[-1].text in (":=", "=")
        ):
            names = [token.text[1:] for token in head[::2]]
            break
    if "" in names:
        raise place.error("$ is the root and takes no value")
    assigns = bool(names) and tokens[2 * len(names) - 1].text == "="
    rest = tokens[2 * len(names) :]
    reader = _Operands(rest, place)
    commands = reader.commands(closing=False)
    return Pipeline(tuple(names), assigns, commands, place)


class _Operands:
    """Reads commands out of the tokens of one action."""

    def __init__(self, tokens: tuple[Token, ...], place: Place) -> None:
        self._tokens = tokens
        self._at = 0
        self._place = place
        self._depth = 0

    def commands(self, *, closing: bool) -> tuple[tuple[Operand, ...], ...]:
        """`command | command`, up to the end, or to the `)` that closes."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._place.error(f"parentheses are nested more than {MAX_DEPTH} deep")
        found: list[tuple[Operand, ...]] = []
        operands: list[Operand] = []
        while True:
            token = self._tokens[self._at] if self._at < len(self._tokens) else None
            if token is None or (token.text == ")" and token.kind == "mark"):
                if (token is not None) != closing:
                    raise self._place.error("a parenthesis is open" if closing else "a ) too many")
                self._at += closing
                break
            if token.text == "|" and token.kind == "mark":
                found.append(self._command(operands))
                operands = []
                self._at += 1
                continue
            if operands and not token.spaced:
                raise self._place.error(f"a space is missing before {token.text!r:.20}")
            operands.append(self._operand())
        found.append(self._command(operands))
        self._depth -= 1
        return tuple(found)

    def _command(self, operands: list[Operand]) -> tuple[Operand, ...]:
        if not operands:
            raise self._place.error("a value is missing")
        return tuple(operands)

    def _operand(self) -> Operand:
        token = self._tokens[self._at]
        self._at += 1
        base = self._term(token)
        names: list[str] = []
        while (
            self._at < len(self._tokens)
            and self._tokens[self._at].kind == "field"
            and not self._tokens[self._at].spaced
        ):
            names.append(self._tokens[self._at].text[1:])
            self._at += 1
        if token.kind == "field":
            names.insert(0, token.text[1:])
        if not names:
            return base
        if isinstance(base, Literal | Function):
            raise self._place.error(f"{token.text!r:.20} has no fields")
        return Fields(base, tuple(names))

    def _term(self, token: Token) -> Operand:
        if token.kind == "field" or (token.kind == "mark" and token.text == "."):
            return Dot()
        if token.kind == "variable":
            return Variable(token.text[1:])
        if token.kind in ("string", "raw"):
            return Literal(_text(token, self._place))
        if token.kind == "char":
            return Literal(ord(_text(token, self._place)))
        if token.kind == "number":
            return Literal(_number(token, self._place))
        if token.kind == "word":
            if token.text in ("true", "false"):
                return Literal(token.text == "true")
            if token.text == "nil":
                return Literal(None)
            if token.text in _KEYWORDS:
                raise self._place.error(f"{token.text} must come first in its action")
            return Function(token.text)
        if token.text == "(":
            return Pipeline((), False, self.commands(closing=True), self._place)
        raise self._place.error(f"{token.text!r} has no meaning here")


def _text(token: Token, place: Place) -> str:
    if token.kind == "raw":
        # Go drops carriage returns from raw strings.
        return token.text[1:-1].replace("\r", "")

    def unescape(match: re.Match[str]) -> str:
        simple, byte, short, long, octal, other = match.groups()
        if simple:
            return _SIMPLE[simple]
        code = int(octal, 8) if octal else int(byte or short or long or "0", 16)
        # A byte over 127 would be part of a character, which no text here can hold alone.
        if other is not None or ((byte or octal) and code > 127) or code > 0x10FFFF:
            raise place.error(f"the escape {match.group()!r} cannot be said")
        if 0xD800 <= code <= 0xDFFF:
            raise place.error("half a surrogate pair cannot be said")
        return chr(code)

    text = _ESCAPE.sub(unescape, token.text[1:-1])
    if token.kind == "char" and len(text) != 1:
        raise place.error(f"{token.text} is not one character")
    return text


def _number(token: Token, place: Place) -> int | float:
    digits = token.text.lstrip("+-")
    try:
        if digits.isdigit() and digits.startswith("0"):
            value: float = int(token.text, 8)  # Go reads 010 as eight.
        else:
            value = float(token.text) if _IS_FLOAT.search(digits) else int(token.text, 0)
    except ValueError:
        raise place.error(f"{token.text!r:.20} is not a number") from None
    if not -(2**63) <= value < 2**63:
        raise place.error(f"{token.text!r:.20} is too large")
    return value
