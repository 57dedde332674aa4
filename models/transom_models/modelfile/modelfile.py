"""`Modelfile`: reading and writing, in the grammar of Ollama's parser.

A directive is a word in any case, a space, and a value up to the end of its line. A value that
begins with `\"` or `\"\"\"` goes on, over line ends, until a line ends with the same quotes; there
are no escapes, and single quotes are part of the value. `#` starts a comment where a directive
could start. Of several TEMPLATE or SYSTEM lines the last holds, as in Ollama.

What differs: `PLATFORM webgpu|native` is ours; line ends are LF whatever they were in the file;
a bad byte, an empty value where one is needed, and a second FROM are errors. Pure.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from transom_models.errors import TransomError
from transom_models.modelfile.parameters import (
    RETIRED,
    InvalidParameter,
    Parameters,
    ParameterValue,
    check_value,
    near_misses,
    parse_value,
)

# Licences are tens of KiB each and templates less; a file of this size is something else.
MAX_MODELFILE_CHARS: Final = 4 * 1024 * 1024
# Seed messages take context; no context holds more turns than this.
MAX_MESSAGES: Final = 1024
# Each is one layer of the manifest, whose rows are capped too.
MAX_LICENSES: Final = 64
MAX_ADAPTERS: Final = 16
# A path or a model name; longer than common systems allow for either.
MAX_PATH_CHARS: Final = 4096

ROLES: Final = ("system", "user", "assistant")
PLATFORMS: Final = ("webgpu", "native")
DIRECTIVES: Final = (
    "FROM",
    "PARAMETER",
    "TEMPLATE",
    "SYSTEM",
    "ADAPTER",
    "DRAFT",
    "LICENSE",
    "MESSAGE",
    "REQUIRES",
    "PLATFORM",
)
# Directives of Ollama that name code inside Ollama.
_NOT_OURS: Final = {
    "RENDERER": "it names code inside Ollama; take the line out and give the chat template with "
    "TEMPLATE, or leave TEMPLATE out to use the one inside the model",
    "PARSER": "it names code inside Ollama; take the line out (tool calls and thinking are read "
    "by the chat template's own marks)",
}

_QUOTES: Final = ('"""', '"')
_WORD: Final = re.compile(r"[A-Za-z]+")
_NAME_AND_VALUE: Final = re.compile(r"([A-Za-z0-9_]+)[ \t]+(.*)", re.DOTALL)
# Semantic versions, with Go's short forms (`1`, `1.2`); `v` in front may be there.
_VERSION: Final = re.compile(
    r"v?((?:0|[1-9][0-9]{0,8})(?:\.(?:0|[1-9][0-9]{0,8})){0,2}"
    r"(?:-[0-9A-Za-z.-]{1,64})?(?:\+[0-9A-Za-z.-]{1,64})?)"
)
_SHOWN_CHARS: Final = 60


class ModelfileError(TransomError):
    """The text is not a Modelfile that we can use; the message names the line."""

    def __init__(self, reason: str, line: int | None = None, text: str = "") -> None:
        shown = text.strip()
        if len(shown) > _SHOWN_CHARS:
            shown = shown[:_SHOWN_CHARS] + "…"
        where = "Modelfile" if line is None else f"Modelfile line {line}"
        super().__init__(f"{where}: {shown!r}: {reason}" if shown else f"{where}: {reason}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Modelfile:
    """What a Modelfile says. `template` is as written (Go or Jinja), `template_line` the line that
    its text begins on; `system` and `template` are None where no line gives them, and may be
    empty. `notes` are lines for people about what was passed over."""

    base: str
    adapters: tuple[str, ...] = ()
    draft: str | None = None
    template: str | None = None
    template_line: int = field(default=1, compare=False)
    system: str | None = None
    parameters: Parameters = field(default_factory=dict, hash=False)
    licenses: tuple[str, ...] = ()
    messages: tuple[tuple[str, str], ...] = ()
    requires: str | None = None
    platforms: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))


def decode_modelfile(data: bytes) -> str:
    """Bytes of a file: UTF-8, or UTF-16 where a byte order mark says so. Raises
    `ModelfileError`."""
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        name = "UTF-8" if encoding == "utf-8-sig" else "UTF-16"
        raise ModelfileError(f"this is not {name} text; save the file as UTF-8", line) from None


def parse_modelfile(text: str) -> Modelfile:
    """Read a Modelfile. Raises `ModelfileError` with the number and text of the line."""
    if len(text) > MAX_MODELFILE_CHARS:
        raise ModelfileError(f"{len(text)} characters are over the cap of {MAX_MODELFILE_CHARS}")
    reader = _Reader()
    for directive in _directives(text):
        reader.take(directive)
    return reader.result()


@dataclass(frozen=True, slots=True)
class _Directive:
    """One directive; `value_line` is where its value begins, after the quotes."""

    word: str
    value: str
    line: int
    text: str

    def error(self, reason: str) -> ModelfileError:
        return ModelfileError(reason, self.line, self.text)


def _directives(text: str) -> Iterator[_Directive]:
    """Cut the text into directives. PARAMETER and MESSAGE keep their first word in the value."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at = 0
    while at < len(lines):
        first, number = lines[at], at + 1
        at += 1
        line = first.lstrip()
        if not line or line.startswith("#"):
            continue
        match = _WORD.match(line)
        word = match.group().upper() if match else ""
        if word in _NOT_OURS:
            raise ModelfileError(f"{word}: {_NOT_OURS[word]}", number, line)
        rest = line[len(word) :]
        if word not in DIRECTIVES or rest[:1] not in ("", " ", "\t"):
            written = line.split(maxsplit=1)[0].upper()
            hint = near_misses(written, DIRECTIVES) or f"; known: {', '.join(DIRECTIVES)}"
            raise ModelfileError(f"no directive{hint}", number, line)
        if not rest.strip():
            raise ModelfileError(f"{word} needs a value", number, line)
        rest = rest.lstrip(" \t")
        head = ""
        if word in ("PARAMETER", "MESSAGE"):
            pair = _NAME_AND_VALUE.fullmatch(rest)
            if pair is None or not pair.group(2).strip():
                form = "PARAMETER name value" if word == "PARAMETER" else "MESSAGE role text"
                raise ModelfileError(f"write {form}", number, line)
            head, rest = pair.groups()
        found = _read_value(rest, lines, at)
        if found is None:
            raise ModelfileError("the quotes that open here are never closed", number, line)
        value, at = found
        yield _Directive(word, f"{head} {value}" if head else value, number, first)


def _read_value(first: str, lines: list[str], at: int) -> tuple[str, int] | None:
    """The value that begins with `first` and may go on in `lines[at:]`, and where the next
    directive begins; None when its quotes are never closed."""
    first = first.lstrip()
    quotes = next((mark for mark in _QUOTES if first.startswith(mark)), "")
    tail = first.rstrip()
    if not quotes:
        return tail, at
    if len(tail) >= 2 * len(quotes) and tail.endswith(quotes):
        return tail[len(quotes) : -len(quotes)], at
    for end in range(at, len(lines)):
        tail = lines[end].rstrip()
        if tail.endswith(quotes):
            body = [first[len(quotes) :], *lines[at:end], tail[: -len(quotes)]]
            return "\n".join(body), end + 1
    return None


class _Reader:
    """Takes directives in order, and gives the Modelfile that they make."""

    def __init__(self) -> None:
        self._base: str | None = None
        self._adapters: list[str] = []
        self._draft: str | None = None
        self._template: str | None = None
        self._template_line = 1
        self._system: str | None = None
        self._parameters: dict[str, ParameterValue] = {}
        self._licenses: list[str] = []
        self._messages: list[tuple[str, str]] = []
        self._requires: str | None = None
        self._platforms: list[str] = []
        self._notes: list[str] = []

    def take(self, directive: _Directive) -> None:
        """Add one. Raises `ModelfileError`."""
        if "\0" in directive.value:
            raise directive.error("a NUL character cannot be part of a value")
        getattr(self, f"_take_{directive.word.lower()}")(directive)

    def result(self) -> Modelfile:
        """Raises `ModelfileError` when there was no FROM."""
        if self._base is None:
            raise ModelfileError("no FROM line; FROM names a model, a GGUF file or a folder")
        return Modelfile(
            base=self._base,
            adapters=tuple(self._adapters),
            draft=self._draft,
            template=self._template,
            template_line=self._template_line,
            system=self._system,
            parameters=self._parameters,
            licenses=tuple(self._licenses),
            messages=tuple(self._messages),
            requires=self._requires,
            platforms=tuple(self._platforms),
            notes=tuple(self._notes),
        )

    def _take_from(self, directive: _Directive) -> None:
        if self._base is not None:
            raise directive.error(
                f"FROM was given already ({self._base!r:.80}); a model has one base"
            )
        self._base = _path(directive)

    def _take_adapter(self, directive: _Directive) -> None:
        _room(directive, self._adapters, MAX_ADAPTERS)
        self._adapters.append(_path(directive))

    def _take_draft(self, directive: _Directive) -> None:
        if self._draft is not None:
            raise directive.error(
                f"DRAFT was given already ({self._draft!r:.80}); a model has one draft"
            )
        self._draft = _path(directive)

    def _take_template(self, directive: _Directive) -> None:
        self._template = directive.value
        self._template_line = directive.line

    def _take_system(self, directive: _Directive) -> None:
        self._system = directive.value

    def _take_license(self, directive: _Directive) -> None:
        _room(directive, self._licenses, MAX_LICENSES)
        self._licenses.append(_filled(directive))

    def _take_message(self, directive: _Directive) -> None:
        role, _, content = directive.value.partition(" ")
        if role not in ROLES:
            raise directive.error(f"the role {role!r:.40} must be one of {', '.join(ROLES)}")
        _room(directive, self._messages, MAX_MESSAGES)
        self._messages.append((role, content))

    def _take_requires(self, directive: _Directive) -> None:
        match = _VERSION.fullmatch(directive.value.strip())
        if match is None:
            raise directive.error("REQUIRES needs a version such as 0.14.0")
        self._requires = match.group(1)

    def _take_platform(self, directive: _Directive) -> None:
        platform = directive.value.lower()
        if platform not in PLATFORMS:
            raise directive.error(
                f"PLATFORM must be {' or '.join(PLATFORMS)}{near_misses(platform, PLATFORMS)}"
            )
        if platform not in self._platforms:
            self._platforms.append(platform)

    def _take_parameter(self, directive: _Directive) -> None:
        name, _, text = directive.value.partition(" ")
        if name in RETIRED:
            self._notes.append(
                f"Modelfile line {directive.line}: {name} has no effect any more; left out"
            )
            return
        try:
            value = parse_value(name, text)
            before = self._parameters.get(name)
            if isinstance(value, tuple) and isinstance(before, tuple):
                value = check_value(name, before + value)
        except InvalidParameter as error:
            raise directive.error(str(error)) from None
        self._parameters[name] = value


def _filled(directive: _Directive) -> str:
    if not directive.value.strip():
        raise directive.error(f"{directive.word} needs a value")
    return directive.value


def _path(directive: _Directive) -> str:
    value = _filled(directive)
    if len(value) > MAX_PATH_CHARS or "\n" in value:
        raise directive.error(
            f"{directive.word} needs a name or a path on one line, of {MAX_PATH_CHARS} characters "
            "at most"
        )
    return value


def _room(directive: _Directive, values: list[str] | list[tuple[str, str]], cap: int) -> None:
    if len(values) >= cap:
        raise directive.error(f"more than {cap} {directive.word} lines")


def write_modelfile(modelfile: Modelfile) -> str:
    """A text that `parse_modelfile` reads back as an equal value.

    Raises `ModelfileError` for a value that the grammar cannot spell: it has no escapes, so a
    text with a line that ends in quotes, a carriage return or a NUL has no spelling."""
    lines = [f"FROM {_quote(modelfile.base)}"]
    lines += [f"ADAPTER {_quote(path)}" for path in modelfile.adapters]
    if modelfile.draft is not None:
        lines.append(f"DRAFT {_quote(modelfile.draft)}")
    lines += [f"PLATFORM {platform}" for platform in modelfile.platforms]
    if modelfile.requires is not None:
        lines.append(f"REQUIRES {modelfile.requires}")
    if modelfile.template is not None:
        lines.append(f"TEMPLATE {_quote(modelfile.template)}")
    if modelfile.system is not None:
        lines.append(f"SYSTEM {_quote(modelfile.system)}")
    lines += parameter_lines(modelfile.parameters)
    lines += [f"MESSAGE {role} {_quote(content)}" for role, content in modelfile.messages]
    lines += [f"LICENSE {_quote(text)}" for text in modelfile.licenses]
    text = "\n".join(lines) + "\n"
    if parse_modelfile(text) != modelfile:
        raise ModelfileError("it holds a value that a Modelfile cannot say")
    return text


def parameter_lines(parameters: Mapping[str, ParameterValue]) -> list[str]:
    """`PARAMETER name value` lines, in the order of the names. Raises `ModelfileError`."""
    return [
        f"PARAMETER {name} {_spell(item)}"
        for name, value in sorted(parameters.items())
        for item in (value if isinstance(value, tuple) else (value,))
    ]


def _spell(value: ParameterValue) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quote(value) if isinstance(value, str) else repr(value)


def _quote(value: str) -> str:
    """The plainest spelling that reads back as `value`."""
    for written in (value, f'"{value}"', f'"""{value}"""'):
        if _reads_back(written, value):
            return written
    raise ModelfileError(
        "a Modelfile cannot spell this value (its grammar has no escapes)", None, value
    )


def _reads_back(written: str, value: str) -> bool:
    """Whether the parser, which stops at the first line end that closes, reads all of it."""
    if not written or "\r" in value or "\0" in value:
        return False
    first, *rest = written.split("\n")
    return _read_value(first, rest, 0) == (value, len(rest))
