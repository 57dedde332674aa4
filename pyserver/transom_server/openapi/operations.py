"""What is said of a route. Knows no route."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from transom_api.openapi.schema import Schema, ref, text

Dialect = Literal["openai", "anthropic", "ollama", "registry", "models", "plain"]

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
LINES: Final = "application/x-ndjson"
TEXT: Final = "text/plain"
BYTES: Final = "application/octet-stream"

ERRORS: Final[Mapping[Dialect, str]] = {
    "openai": "OpenAIError",
    "anthropic": "AnthropicError",
    "ollama": "OllamaError",
    "registry": "RegistryError",
    "models": "ModelsError",
}
MEANINGS: Final[Mapping[int, str]] = {
    400: "The request cannot be honoured; the message names the field and the way out.",
    401: "No key, or one that is not known.",
    403: "The Host, the Origin or the key may not do this, or the store is not writable.",
    404: "There is no such thing.",
    405: "It is needed by something else.",
    413: "The body is too large.",
    415: "It is no type that is kept.",
    416: "The bytes do not begin where they have to.",
    429: "Too many requests of this client at once, or with this key.",
    431: "The headers are too large.",
    500: "The server failed; its log says why.",
    502: "Another server did not do its part.",
    503: "No room now, or the store cannot be reached; Retry-After says when.",
    507: "The disk is full.",
    529: "No room now; Retry-After says when.",
}
# Before and around any route: headers that cannot be read, keys, doors, our own faults.
EVERYWHERE: Final = (400, 401, 403, 429, 431, 500, 503)
# And where a body is read and a model looked for.
OF_MODELS: Final = (404, 413, 502, 507)
# Anthropic's word for 503, which its clients try again.
_ANTHROPICS: Final = {503: 529}


@dataclass(frozen=True, slots=True)
class Given:
    """An answer: its bodies by content type, each a schema."""

    about: str
    bodies: Mapping[str, Schema] = field(default_factory=dict, hash=False)
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Those that it always has, and what they say."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something of the address or a header."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema = field(hash=False)
    about: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path. `takes` are bodies by content type; `frames` names the schema of a
    frame by the content type of the stream."""

    method: str
    path: str
    tag: str
    summary: str
    dialect: Dialect
    gives: Mapping[int, Given] = field(hash=False)
    takes: Mapping[str, Schema] = field(default_factory=dict, hash=False)
    frames: Mapping[str, str] = field(default_factory=dict, hash=False)
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    """Beside those that any route can have."""

    @property
    def statuses(self) -> list[int]:
        """Of its errors."""
        found = {*EVERYWHERE, *self.errors} - self.gives.keys()
        if self.dialect == "anthropic":
            found = {_ANTHROPICS.get(status, status) for status in found}
        elif self.dialect == "models":
            found |= {_ANTHROPICS[503]}
        return sorted(found)

    def error_bodies(self) -> dict[str, Schema]:
        if self.dialect == "plain":
            return {TEXT: text(least=1)}
        return {JSON: ref(ERRORS[self.dialect])}


def json_given(name: str, about: str = "The answer.") -> Given:
    return Given(about, {JSON: ref(name)})


def streamed(name: str, kind: str) -> Given:
    """Whole, or piece by piece."""
    return Given("The answer, whole or as a stream.", {JSON: ref(name), kind: {"type": "string"}})
