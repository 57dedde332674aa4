"""From a tree to Jinja that says the same, under Jinja2 and under `@huggingface/jinja`.

Every text is a quoted string and every tag trims, so no rule of white space of either can touch a
prompt. Variables are attributes of one namespace, each declaration under a number of its own,
because Jinja forgets at the end of a loop what was set inside. `break` and `continue` become
conditions: `@huggingface/jinja` (0.5.11) loses what an iteration wrote before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from transom_models.modelfile.go_template.data import (
    CONVERSATION,
    INT,
    MISSING,
    ROOT,
    STRING,
    TURN,
    TYPES,
    Field,
)
from transom_models.modelfile.go_template.errors import UntranslatableTemplate
from transom_models.modelfile.go_template.expressions import Scope, Value, quote, show
from transom_models.modelfile.go_template.parser import MAX_DEPTH, MAX_LOOPS
from transom_models.modelfile.go_template.prelude import prelude
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

# Named templates are written out where they are called; a chain of calls could double each time.
MAX_NODES: Final = 20_000

# What the page takes (chat-template.ts).
MAX_JINJA_CHARS: Final = 256 * 1024

_CUT: Final = "turn.cut"
_PLAIN_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,30}")


def write(template: Template, first_line: int = 1) -> str:
    """Jinja text. Raises `UntranslatableTemplate`."""
    names = set(_field_names([*template.body, *_all_named(template)]))
    suffix = "Suffix" in names
    turns = "Messages" not in names
    body = template.body
    if turns and "Response" not in names:
        place = Place(1, "{{ .Response }}")
        response = Fields(Dot(), ("Response",))
        body = (*body, Output(Pipeline((), False, ((response,),), place)))
    root = TURN if turns else CONVERSATION
    if suffix:
        prompt = Field("turn.prompt" if turns else "go.prompt", STRING)
        root = {**root, "Prompt": prompt}
    writer = _Writer(template, first_line, turns=turns)
    scope = Scope(root, Value("", ROOT), Value("", ROOT))
    if turns:
        writer.tag("for turn in go.turns")
        writer.nodes(body, scope)
        writer.tag("endfor")
    else:
        writer.nodes(body, scope)
    text = writer.text()
    whole = prelude(text, turns=turns, suffix=suffix) + text
    writer.require_room(len(whole))
    return whole


class _Writer:
    def __init__(self, template: Template, first_line: int, *, turns: bool) -> None:
        self._first_line = first_line
        self._turns = turns
        self._named = template.named
        self._assigned = set(_assigned([*template.body, *_all_named(template)]))
        self._lines: list[str] = []
        self._chars = 0
        self._depth = 0
        self._number = 0
        self._nodes_left = MAX_NODES
        self._calling: list[str] = []
        # The flag of the loop that is being written, and the conditions that hold here.
        self._loops: list[str] = []
        self._outer_loops = 0
        self._guards: list[str] = []
        self._cut = False

    def text(self) -> str:
        """All that was written."""
        return "\n".join(self._lines)

    def require_room(self, chars: int) -> None:
        """Refuse to write more than anybody takes."""
        if chars > MAX_JINJA_CHARS:
            raise UntranslatableTemplate(
                self._first_line, "TEMPLATE", f"its Jinja has over {MAX_JINJA_CHARS} characters"
            )

    def tag(self, words: str) -> None:
        """`{%- words -%}` on a line of its own."""
        first = words.split(" ", 1)[0]
        closes = first in ("endif", "endfor")
        between = first in ("else", "elif")
        self._depth -= closes or between
        self._write(f"{{%- {words} -%}}")
        self._depth += between or first in ("if", "for")

    def _show(self, code: str) -> None:
        self._write(f"{{{{- {code} -}}}}")

    def _write(self, text: str) -> None:
        line = "  " * self._depth + text
        self._lines.append(line)
        self._chars += len(line) + 1

    def nodes(self, nodes: Sequence[Node], scope: Scope) -> None:
        """Write nodes in order; those after a jump, or after the answer, under a condition."""
        open_guard: list[str] = []
        jumped = False
        guarded = _CUT in self._guards
        for node in nodes:
            wanted = [self._loops[-1]] if jumped else []
            if self._cut and not guarded:
                wanted.append(_CUT)
            if wanted != open_guard:
                self._close(open_guard)
                open_guard = wanted
                self._open(open_guard)
            self._node(node, scope)
            if _jumps(node):
                # The flag may have changed: what follows asks again.
                jumped = True
                self._close(open_guard)
                open_guard = []
        self._close(open_guard)

    def _open(self, guards: list[str]) -> None:
        if guards:
            self.tag("if " + " and ".join(f"not {guard}" for guard in guards))
            self._guards += guards

    def _close(self, guards: list[str]) -> None:
        if guards:
            self.tag("endif")
            del self._guards[-len(guards) :]

    def _node(self, node: Node, scope: Scope) -> None:
        self._nodes_left -= 1
        self.require_room(self._chars)
        if isinstance(node, TextNode):
            self._show(quote(node.text))
        elif isinstance(node, Output):
            self._output(node, scope)
        elif isinstance(node, Jump):
            if node.kind == "break":
                self.tag(f"set {_stop(self._loops[-1])} = true")
            self.tag(f"set {self._loops[-1]} = true")
        elif isinstance(node, Invoke):
            self._invoke(node, scope)
        elif node.kind == "range":
            self._range(node, scope)
        else:
            self._branch(node, scope)

    def _output(self, node: Output, scope: Scope) -> None:
        value = scope.pipeline(node.pipeline)
        if node.pipeline.variables:
            self._set(node.pipeline, value, scope)
            return
        self._show(show(value, node.pipeline.place))
        if self._turns and _shows_response(node.pipeline):
            # Ollama ends the last turn here, and so does everything that follows in the text.
            self._cut = True

    def _set(self, pipeline: Pipeline, value: Value, scope: Scope) -> Value:
        """`$x := …` or `$x = …`: the variable."""
        (name,) = pipeline.variables
        if pipeline.assigns:
            variable = scope.assign(name, value, pipeline.place)
        else:
            variable = replace(value, code=self._fresh(name), constant=None)
            scope.declare(name, variable)
        if value.type == ROOT:
            raise pipeline.place.error("the root cannot be kept in a variable; use $")
        self.tag(f"set {variable.code} = {value.code}")
        return variable

    def _fresh(self, name: str) -> str:
        self._number += 1
        plain = name if _PLAIN_NAME.fullmatch(name) else "value"
        return f"go.{plain}_{self._number}"

    def _branch(self, node: Branch, scope: Scope) -> None:
        inside = scope.inside()
        value = inside.pipeline(node.pipeline)
        if node.pipeline.variables:
            value = self._set(node.pipeline, value, inside)
        if node.kind == "with" and value.type != ROOT:
            if not node.pipeline.variables or node.pipeline.variables[0] in self._assigned:
                # Read once, as Go does: inside, the names of the value may mean something else.
                code = self._fresh("dot")
                self.tag(f"set {code} = {value.code}")
                value = replace(value, code=code, constant=None)
        self.tag(f"if {value.truth}")
        self.nodes(node.body, inside.inside(value) if node.kind == "with" else inside.inside())
        if node.orelse:
            self.tag("else")
            self.nodes(node.orelse, inside.inside())
        self.tag("endif")

    def _range(self, node: Branch, scope: Scope) -> None:
        place = node.pipeline.place
        if len(self._loops) + self._outer_loops >= MAX_LOOPS:
            raise place.error(f"ranges are nested more than {MAX_LOOPS} deep, with the templates")
        inside = scope.inside()
        value = inside.pipeline(node.pipeline)
        row = TYPES[value.type]
        if value.type == MISSING:
            # Nothing to range over, ever.
            self.nodes(node.orelse, inside)
            return
        if value.type == INT and len(node.pipeline.variables) > 1:
            raise place.error("range over a number gives one variable")
        if row.element is None or row.key is None:
            raise place.error(f"range over a {value.type} is not possible")
        self._number += 1
        key, element = f"key_{self._number}", f"item_{self._number}"
        flag = f"go.skip_{self._number}"
        if value.type == INT:
            loop = f"{element} in range({value.code})"
        elif row.key == INT:
            loop = f"{element} in {value.code}"
        else:
            loop = f"{key}, {element} in {value.code} | dictsort(true)"
        breaks = any(_jumps(child, "break") for child in node.body)
        skips = breaks or any(_jumps(child) for child in node.body)
        if breaks:
            self.tag(f"set {_stop(flag)} = false")
        self.tag(f"for {loop}")
        if row.key == INT:
            # A loop inside has a `loop` of its own.
            self.tag(f"set {key} = loop.index0")
        dot = Value(element, row.element)
        body = inside.inside(dot)
        self._range_variables(node.pipeline, Value(key, row.key), dot, body)
        if skips:
            self.tag(f"set {flag} = false")
        self._loops.append(flag)
        if breaks:
            self.tag(f"if not {_stop(flag)}")
        self.nodes(node.body, body)
        if breaks:
            self.tag("endif")
        self._loops.pop()
        if node.orelse:
            self.tag("else")
            self.nodes(node.orelse, inside.inside())
        self.tag("endfor")

    def _range_variables(self, pipeline: Pipeline, key: Value, item: Value, scope: Scope) -> None:
        values = [item] if len(pipeline.variables) == 1 else [key, item]
        for name, value in zip(pipeline.variables, values, strict=False):
            if pipeline.assigns:
                variable = scope.assign(name, value, pipeline.place)
                self.tag(f"set {variable.code} = {value.code}")
            elif name in self._assigned:
                variable = replace(value, code=self._fresh(name))
                scope.declare(name, variable)
                self.tag(f"set {variable.code} = {value.code}")
            else:
                scope.declare(name, value)

    def _invoke(self, node: Invoke, scope: Scope) -> None:
        if node.name not in self._named:
            raise node.place.error(f"no template {node.name!r:.40} is defined")
        if node.pipeline is None:
            raise node.place.error("Ollama wants a value here, such as the dot")
        if node.name in self._calling:
            raise node.place.error(f"{node.name!r:.40} calls itself, which cannot be written out")
        if self._nodes_left < 0:
            raise node.place.error(f"over {MAX_NODES} parts once its templates are written out")
        value = scope.pipeline(node.pipeline)
        if node.pipeline.variables:
            raise node.place.error("a template's value declares no variable")
        if self._depth > MAX_DEPTH:
            raise node.place.error("templates that call each other are nested too deep")
        self._calling.append(node.name)
        loops, self._loops = self._loops, []
        self._outer_loops += len(loops)
        self.nodes(self._named[node.name], Scope(scope.root, value, value))
        self._outer_loops -= len(loops)
        self._loops = loops
        self._calling.pop()


def _stop(flag: str) -> str:
    return flag.replace("skip", "stop")


def _jumps(node: Node, kind: str | None = None) -> bool:
    """Whether the node may end this turn of the loop that it stands in."""
    if isinstance(node, Jump):
        return kind is None or node.kind == kind
    if not isinstance(node, Branch):
        return False
    # What a loop's own body does stays in that loop.
    inner = node.orelse if node.kind == "range" else (*node.body, *node.orelse)
    return any(_jumps(child, kind) for child in inner)


def _all_named(template: Template) -> list[Node]:
    return [node for body in template.named.values() for node in body]


def _pipelines(nodes: Sequence[Node]) -> Iterator[Pipeline]:
    for node in nodes:
        if isinstance(node, Output):
            yield node.pipeline
        elif isinstance(node, Invoke) and node.pipeline is not None:
            yield node.pipeline
        elif isinstance(node, Branch):
            yield node.pipeline
            yield from _pipelines(node.body)
            yield from _pipelines(node.orelse)


def _assigned(nodes: Sequence[Node]) -> Iterator[str]:
    for pipeline in _pipelines(nodes):
        if pipeline.assigns:
            yield from pipeline.variables


def _field_names(nodes: Sequence[Node]) -> Iterator[str]:
    for pipeline in _pipelines(nodes):
        yield from _names_in(pipeline)


def _names_in(operand: Operand) -> Iterator[str]:
    if isinstance(operand, Pipeline):
        for command in operand.commands:
            for argument in command:
                yield from _names_in(argument)
    elif isinstance(operand, Fields):
        yield from operand.names
        yield from _names_in(operand.base)
    else:
        assert isinstance(operand, Literal | Dot | Variable | Function)


def _shows_response(pipeline: Pipeline) -> bool:
    return "Response" in _names_in(pipeline)
