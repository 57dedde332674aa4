"""What an answer has to be, in all the words for it: `response_format`, llama.cpp's `grammar` and
`json_schema`, vLLM's `guided_…` and `structured_outputs`. At most one of them."""

import json
from collections.abc import Callable, Mapping
from typing import Final

from transom_api.chat import Constraint
from transom_api.fields import Fields, kind_of
from transom_api.strict_schema import refuse_unheld

# vLLM's `choice`: each is a branch of the grammar.
MAX_CHOICES: Final = 1024
NO_TAGS: Final = "structural tags are not read; a grammar can say the same"
# Where the text of a regex is; each has somebody who writes it so.
REGEX_FIELDS: Final = ("regex", "pattern", "value")
FORMATS: Final = ("text", "json_object", "json_schema", "grammar", "regex")


def read_constraint(body: Fields) -> Constraint | None:
    """Raises `InvalidField`, also when two fields constrain the answer."""
    found: Constraint | None = None
    first = ""
    for name, read in _FIELDS.items():
        if name not in body:
            continue
        constraint = read(body, name)
        if constraint is None:
            continue
        if found is not None:
            body.refuse(name, f"{first} constrains the answer already; send one of them")
        found, first = constraint, name
    return found


def _response_format(body: Fields, name: str) -> Constraint | None:
    form = Fields(body.raw(name), body.path(name))
    kind = form.required_text("type")
    if kind == "structural_tag":
        form.refuse("type", NO_TAGS)
    form.text("type", "", choices=FORMATS)
    if kind == "text":
        return None
    if kind == "json_object":
        # llama.cpp and MLC take a schema here, too.
        return _schema(form, "schema") if "schema" in form else Constraint("json_object")
    if kind == "json_schema":
        inner = form.object("json_schema")
        holder = form if inner is None else inner
        is_strict = False
        if inner is not None:
            inner.text("name", None)
            inner.text("description", None)
            is_strict = inner.flag("strict", False)
        if "schema" not in holder:
            holder.refuse("schema", "is missing")
        constraint = _schema(holder, "schema")
        if is_strict:
            refuse_unheld(holder, "schema", constraint.schema or {})
        return constraint
    names = ("grammar",) if kind == "grammar" else REGEX_FIELDS
    named = next((word for word in names if word in form), names[0])
    return _text_kind(kind)(form, named)


def _schema(fields: Fields, name: str) -> Constraint:
    """A schema, as an object or as its JSON text."""
    value = fields.raw(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            fields.refuse(name, "must be a JSON schema, as an object or as its text")
    if not isinstance(value, dict):
        fields.refuse(name, f"must be an object, not {kind_of(value)}")
    return Constraint("json_schema", schema=value)


def _text_kind(kind: str) -> Callable[[Fields, str], Constraint]:
    def read(fields: Fields, name: str) -> Constraint:
        text = fields.required_text(name)
        return Constraint("grammar" if kind == "grammar" else "regex", text=text)

    return read


def _choice(fields: Fields, name: str) -> Constraint:
    texts = fields.texts(name, most=MAX_CHOICES)
    if not texts or not all(texts):
        fields.refuse(name, "must be a list of texts, none of them empty")
    return Constraint("choice", choices=tuple(dict.fromkeys(texts)))


def _grammar(fields: Fields, name: str) -> Constraint | None:
    # LM Studio and llama.cpp's own clients send an empty text for none.
    if fields.raw(name) == "":
        return None
    return _text_kind("grammar")(fields, name)


def _json_object(fields: Fields, name: str) -> Constraint | None:
    return Constraint("json_object") if fields.flag(name, False) else None


def _structured(body: Fields, name: str) -> Constraint | None:
    inner = Fields(body.raw(name), body.path(name))
    inner.refuse_if_set({"structural_tag": NO_TAGS})
    given = [word for word in _STRUCTURED if word in inner]
    if len(given) > 1:
        inner.refuse(given[1], f"{given[0]} constrains the answer already; send one of them")
    return _STRUCTURED[given[0]](inner, given[0]) if given else None


_Read = Callable[[Fields, str], Constraint | None]
_STRUCTURED: Final[Mapping[str, _Read]] = {
    "json": _schema,
    "regex": _text_kind("regex"),
    "choice": _choice,
    "grammar": _grammar,
    "json_object": _json_object,
}
_FIELDS: Final[Mapping[str, _Read]] = {
    "response_format": _response_format,
    "grammar": _grammar,
    "json_schema": _schema,
    "guided_json": _schema,
    "guided_regex": _text_kind("regex"),
    "guided_choice": _choice,
    "guided_grammar": _grammar,
    "structured_outputs": _structured,
}
