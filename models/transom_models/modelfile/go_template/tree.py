"""The nodes of a parsed Go template. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from transom_models.modelfile.go_template.errors import UntranslatableTemplate


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node stands: for errors."""

    line: int
    source: str

    def error(self, reason: str) -> UntranslatableTemplate:
        """The error that shows this place."""
        return UntranslatableTemplate(self.line, self.source, reason)


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: text, whole number, float or boolean; None is `nil`."""

    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Dot:
    """`.`"""


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`; the name alone, empty for `$`."""

    name: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Fields:
    """`base.A.B`."""

    base: Operand
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`$a, $b := command | command`; `assigns` where it says `=`. `place` is the action's."""

    variables: tuple[str, ...]
    assigns: bool
    commands: tuple[tuple[Operand, ...], ...]
    place: Place


Operand = Literal | Dot | Variable | Function | Fields | Pipeline


@dataclass(frozen=True, slots=True)
class TextNode:
    """Text as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """`{{ pipeline }}`: shown, unless it declares or assigns."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with` and `range`."""

    kind: str
    pipeline: Pipeline
    body: tuple[Node, ...]
    orelse: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` and `continue`."""

    kind: str
    place: Place


@dataclass(frozen=True, slots=True)
class Invoke:
    """`{{ template "name" pipeline }}`."""

    name: str
    pipeline: Pipeline | None
    place: Place


Node = TextNode | Output | Branch | Jump | Invoke


@dataclass(frozen=True, slots=True)
class Template:
    """The template, and those that `define` and `block` name inside it."""

    body: tuple[Node, ...]
    named: dict[str, tuple[Node, ...]]
