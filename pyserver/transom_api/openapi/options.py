"""What all dialects share: Ollama's options, how long a model stays, the model's name. From the
table of options that readers check against."""

from typing import Final

from transom_api.adapters import MAX_SCALE
from transom_api.chat import MAX_STOPS
from transom_api.ollama.generation import DURATION, SECONDS
from transom_api.openapi.schema import (
    Schema,
    either,
    flag,
    number,
    record,
    rows,
    text,
    whole,
)
from transom_models.modelfile.modelfile import MAX_ADAPTERS
from transom_models.modelfile.parameters import MAX_STOP_CHARS, PARAMETERS, Parameter

_SCALE: Final = number("1 is the whole adapter.", least=-MAX_SCALE, most=MAX_SCALE)
_STOP: Final = text(least=1, most=MAX_STOP_CHARS)
STOPS: Final = either(
    _STOP, rows(_STOP, most=MAX_STOPS), about="Texts that end the answer; they are no part of it."
)
KEEP_ALIVE: Final = either(
    number(),
    text(pattern=f"{SECONDS.pattern}|{DURATION.pattern}"),
    about="How long the model stays loaded after it: seconds, or as 5m; negative is for ever.",
)
MODEL: Final = text(
    "A model of the store, as `GET /v1/models` lists them; `:ctx=8192` behind it is a context.",
    least=1,
)
OLLAMA_MODEL: Final = text("A model of the store, as `GET /api/tags` lists them.", least=1)


LORA: Final = rows(
    record({"id": whole(least=0, most=MAX_ADAPTERS - 1), "scale": _SCALE}),
    "How much each adapter counts, by its place in the Modelfile; one not named counts nothing.",
    most=MAX_ADAPTERS,
)


def option(name: str) -> Schema:
    """An option in the body of a request."""
    return STOPS if name == "stop" else _of(PARAMETERS[name])


def options() -> Schema:
    """Ollama's `options`."""
    return record(
        {}, {name: option(name) for name in PARAMETERS}, "Ollama's options, by its names."
    )


def _of(row: Parameter) -> Schema:
    if row.kind is bool:
        return flag(row.meaning)
    schema = number(row.meaning, least=row.minimum, most=row.maximum)
    if row.kind is int:
        schema["type"] = "integer"
    if row.default is not None:
        schema["x-transom-default"] = row.default
    return schema
