"""From operands and pipelines to Jinja expressions, with the type of each.

A type decides what Go would print, compare and range over; where Jinja would do something else,
or Go would fail, the expression is refused. Must not know blocks.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from transom_models.modelfile.go_template.data import (
    ANY,
    BOOL,
    FLOAT,
    INT,
    MISSING,
    MIXED,
    ROOT,
    STRING,
    TYPES,
    Field,
)
from transom_models.modelfile.go_template.tree import (
    Dot,
    Function,
    Literal,
    Operand,
    Pipeline,
    Place,
    Variable,
)

# Ten fields deep; published templates go four.
MAX_FIELD_CHARS: Final = 8192

_VERB: Final = re.compile(r"%(.?)", re.DOTALL)
# Two characters that would open or close something in Jinja; a quoted text never holds a pair.
_MARKS: Final = re.compile(r"(?<=[{%#])(?=[{%#}])|(?<=})(?=})")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
_COMPARISONS: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_COMPARABLE: Final = frozenset({STRING, INT, FLOAT, BOOL, ANY})


@dataclass(frozen=True, slots=True)
class Value:
    """A Jinja expression that may stand anywhere, its type, and its value where it is constant.
    `counts_bytes`: Go's length of a text, which Jinja counts in characters."""

    code: str
    type: str
    constant: object = None
    counts_bytes: bool = False

    @property
    def truth(self) -> str:
        """Jinja that is true where Go takes the value for true."""
        if TYPES[self.type].always_true:
            return "true"
        return "false" if self.type == MISSING else self.code


def quote(text: str) -> str:
    """A Jinja string literal, or several joined by `~`."""
    parts = [f'"{part.translate(_ESCAPES)}"' for part in _MARKS.split(text)]
    return parts[0] if len(parts) == 1 else f"({' ~ '.join(parts)})"


class Scope:
    """What names mean at one place: the root, the dot and the variables."""

    def __init__(self, root: Mapping[str, Field], dollar: Value, dot: Value) -> None:
        self.root = root
        self.dollar = dollar
        self.dot = dot
        self._variables: list[dict[str, Value]] = [{}]

    def inside(self, dot: Value | None = None) -> Scope:
        """The scope of a block in this one."""
        scope = Scope(self.root, self.dollar, self.dot if dot is None else dot)
        scope._variables = [*self._variables, {}]
        return scope

    def declare(self, name: str, value: Value) -> None:
        """`$name :=`."""
        self._variables[-1][name] = value

    def variable(self, name: str, place: Place) -> Value:
        """What `$name` is here."""
        for names in reversed(self._variables):
            if name in names:
                return names[name]
        raise place.error(f"the variable ${name:.40} is not declared here")

    def assign(self, name: str, value: Value, place: Place) -> Value:
        """`$name =`: the variable, whose type becomes the one that fits both."""
        for names in reversed(self._variables):
            if name in names:
                old = names[name]
                names[name] = Value(old.code, _common(old, value))
                return names[name]
        raise place.error(f"the variable ${name:.40} is not declared here")

    def pipeline(self, pipeline: Pipeline) -> Value:
        """The value of the commands; what they declare is the caller's."""
        value: Value | None = None
        for command in pipeline.commands:
            value = self._command(command, value, pipeline.place)
        assert value is not None
        return value

    def _command(self, command: Sequence[Operand], piped: Value | None, place: Place) -> Value:
        first, *rest = command
        if isinstance(first, Function):
            arguments = [self._operand(operand, place) for operand in rest]
            return _call(first.name, arguments + ([piped] if piped else []), place)
        if rest or piped is not None:
            raise place.error("only a function takes a value")
        return self._operand(first, place)

    def _operand(self, operand: Operand, place: Place) -> Value:
        if isinstance(operand, Literal):
            return _literal(operand.value, place)
        if isinstance(operand, Dot):
            return self.dot
        if isinstance(operand, Variable):
            return self.dollar if not operand.name else self.variable(operand.name, place)
        if isinstance(operand, Function):
            return _call(operand.name, [], place)
        if isinstance(operand, Pipeline):
            return self.pipeline(operand)
        value = self._operand(operand.base, place)
        for name in operand.names:
            value = self._field(value, name, place)
            # A field of a value of unknown type is asked for twice, and so doubles each time.
            if len(value.code) > MAX_FIELD_CHARS:
                raise place.error("too many fields in one another")
        return value

    def _field(self, value: Value, name: str, place: Place) -> Value:
        if value.type == MISSING:
            return value
        if value.type == ANY:
            code = f"({value.code}.get({quote(name)}) if {value.code} is mapping else none)"
            return Value(code, ANY)
        if TYPES[value.type].key == STRING:
            return _item(value, Value(quote(name), STRING))
        fields = self.root if value.type == ROOT else TYPES[value.type].fields
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            has = f"did you mean .{near[0]}?" if near else f"it has {', '.join(fields)}"
            if not fields:
                has = "it has no fields"
            raise place.error(f"a {value.type} has no .{name:.40}; {has}")
        return Value(fields[name].code.format(value.code), fields[name].type)


def show(value: Value, place: Place) -> str:
    """Jinja of what Go prints for a value."""
    form = TYPES[value.type].show
    if form is None:
        raise place.error(f"a {value.type} cannot be shown; show one of its fields, or use json")
    return form.format(value.code)


def _literal(value: str | int | float | bool | None, place: Place) -> Value:
    if value is None:
        raise place.error("nil cannot be said in Jinja")
    if isinstance(value, str):
        return Value(quote(value), STRING, value)
    if isinstance(value, bool):
        return Value("true" if value else "false", BOOL, value)
    return Value(f"({value})" if value < 0 else str(value), _number_type(value), value)


def _number_type(value: float) -> str:
    return INT if isinstance(value, int) else FLOAT


def _common(one: Value, other: Value) -> str:
    if one.type == other.type or other.type == MISSING:
        return one.type
    if one.type == MISSING:
        return other.type
    return MIXED


def _call(name: str, arguments: list[Value], place: Place) -> Value:
    function = _FUNCTIONS.get(name)
    if function is None:
        raise place.error(_REFUSED.get(name, f"{name:.40} is not a function of Ollama's templates"))
    least, most, write = function
    if not least <= len(arguments) <= most:
        raise place.error(f"{name} takes another number of values than {len(arguments)}")
    return write(name, arguments, place)


def _logic(name: str, arguments: list[Value], place: Place) -> Value:
    kind = arguments[0].type
    for argument in arguments[1:]:
        kind = kind if argument.type == kind else MIXED
    codes = [a.truth if TYPES[a.type].always_true else a.code for a in arguments]
    if kind == MIXED:
        codes = [argument.truth for argument in arguments]
    return Value(f"({f' {name} '.join(codes)})", kind)


def _not(name: str, arguments: list[Value], place: Place) -> Value:
    return Value(f"(not {arguments[0].truth})", BOOL)


def _equal(name: str, arguments: list[Value], place: Place) -> Value:
    first, *others = arguments
    tests = [_equals(name, first, other, place) for other in others]
    code = tests[0] if len(tests) == 1 else f"({' or '.join(tests)})"
    return Value(f"(not {code})" if name == "ne" else code, BOOL)


def _equals(name: str, one: Value, other: Value, place: Place) -> str:
    if MISSING in (one.type, other.type):
        return "false"
    for value in (one, other):
        if value.type not in _COMPARABLE:
            raise place.error(f"{name} cannot compare a {value.type}")
    if one.type != other.type and ANY not in (one.type, other.type):
        raise place.error(f"{name} cannot compare a {one.type} with a {other.type}")
    _refuse_byte_count(one, other, place)
    return f"({one.code} == {other.code})"


def _order(name: str, arguments: list[Value], place: Place) -> Value:
    one, other = arguments
    if one.type != other.type or one.type not in (INT, FLOAT):
        raise place.error(f"{name} compares two numbers of one kind")
    # `lt (len .X) 1` and `ge (len .X) 1` ask whether the text is empty.
    empty = one if name in ("lt", "ge") else other
    _refuse_byte_count(one, other, place, or_one=empty)
    return Value(f"({one.code} {_COMPARISONS[name]} {other.code})", BOOL)


def _refuse_byte_count(one: Value, other: Value, place: Place, or_one: Value | None = None) -> None:
    """Go's length of a text counts bytes, Jinja's characters: the same only where it is nought,
    so it may be compared with 0, and `or_one` with 1."""
    for length, bound in ((one, other), (other, one)):
        allowed = (0, 1) if length is or_one else (0,)
        if length.counts_bytes and bound.constant not in allowed:
            raise place.error("Go counts the bytes of a text here, Jinja characters")


def _len(name: str, arguments: list[Value], place: Place) -> Value:
    (value,) = arguments
    row = TYPES[value.type]
    if value.type != STRING and (row.element is None or value.type == INT):
        raise place.error(f"a {value.type} has no length")
    return Value(f"({value.code} | length)", INT, counts_bytes=value.type == STRING)


def _index(name: str, arguments: list[Value], place: Place) -> Value:
    value, *keys = arguments
    for key in keys:
        row = TYPES[value.type]
        if row.element is None or value.type == INT or row.key != key.type:
            raise place.error(f"a {value.type} cannot be indexed with a {key.type}")
        value = _item(value, key)
    return value


def _item(value: Value, key: Value) -> Value:
    """One item of a list or a table."""
    element = TYPES[value.type].element
    assert element is not None
    if key.type == INT:
        return Value(f"{value.code}[{key.code}]", element)
    code = f"{value.code}.get({key.code})"
    return Value(code if element == ANY else f"({code} or {{}})", element)


def _slice(name: str, arguments: list[Value], place: Place) -> Value:
    value, *ends = arguments
    if TYPES[value.type].key != INT or value.type == INT:
        raise place.error(f"slice cuts lists only; Go cuts a {value.type} by bytes, or not at all")
    if any(end.type != INT for end in ends):
        raise place.error("slice takes whole numbers")
    start = ends[0].code if ends else ""
    stop = ends[1].code if len(ends) > 1 else ""
    return Value(f"{value.code}[{start}:{stop}]", value.type)


def _print(name: str, arguments: list[Value], place: Place) -> Value:
    codes: list[str] = []
    for number, value in enumerate(arguments):
        # Go's Sprint puts a space between two values where neither is a text.
        if number and STRING not in (value.type, arguments[number - 1].type):
            codes.append('" "')
        codes.append(show(value, place))
    return Value(_joined(codes), STRING)


def _joined(codes: list[str]) -> str:
    # The empty text makes one of a lone number.
    return "(" + " ~ ".join(['""', *codes]) + ")"


def _printf(name: str, arguments: list[Value], place: Place) -> Value:
    form, *values = arguments
    if not isinstance(form.constant, str):
        raise place.error("the first value of printf must be a quoted text")
    codes: list[str] = []
    at = 0
    for match in _VERB.finditer(form.constant):
        if match.start() > at:
            codes.append(quote(form.constant[at : match.start()]))
        at = match.end()
        verb = match.group(1)
        if verb == "%":
            codes.append('"%"')
            continue
        if not values:
            raise place.error("printf has too few values")
        value = values.pop(0)
        wanted = {"s": (STRING, ANY), "d": (INT,), "t": (BOOL,), "v": tuple(TYPES)}.get(verb)
        if wanted is None or value.type not in wanted:
            raise place.error(f"printf cannot show a {value.type} with %{verb}")
        codes.append(show(value, place))
    if values:
        raise place.error("printf has too many values")
    if at < len(form.constant):
        codes.append(quote(form.constant[at:]))
    return Value(_joined(codes), STRING)


def _json(name: str, arguments: list[Value], place: Place) -> Value:
    (value,) = arguments
    form = TYPES[value.type].json
    if form is None:
        raise place.error(f"a {value.type} has no fixed JSON in Ollama; write its fields")
    return Value(form.format(value.code), STRING)


def _current_date(name: str, arguments: list[Value], place: Place) -> Value:
    return Value("strftime_now('%Y-%m-%d')", STRING)


def _typescript(name: str, arguments: list[Value], place: Place) -> Value:
    (value,) = arguments
    if value.type != "property":
        return Value('"any"', STRING, "any")
    return Value(f"go_typescript({value.code})", STRING)


# Least and most values, and what writes the call.
_FUNCTIONS: Final[Mapping[str, tuple[int, int, Callable[[str, list[Value], Place], Value]]]] = {
    "and": (1, 64, _logic),
    "or": (1, 64, _logic),
    "not": (1, 1, _not),
    "eq": (2, 64, _equal),
    "ne": (2, 2, _equal),
    "lt": (2, 2, _order),
    "le": (2, 2, _order),
    "gt": (2, 2, _order),
    "ge": (2, 2, _order),
    "len": (1, 1, _len),
    "index": (1, 8, _index),
    "slice": (1, 3, _slice),
    "print": (0, 64, _print),
    "printf": (1, 64, _printf),
    "json": (1, 1, _json),
    "currentDate": (0, 8, _current_date),
    "toTypeScriptType": (1, 1, _typescript),
}
_REFUSED: Final = {
    "yesterdayDate": "Jinja has today's date only",
    "println": "use print, and a line end in the text",
    "html": "a prompt is not HTML",
    "js": "a prompt is not JavaScript",
    "urlquery": "a prompt is not a URL",
    "call": "no value here can be called",
}
