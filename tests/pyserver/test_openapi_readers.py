"""pytest tests/pyserver/test_openapi_readers.py: each reader of a body and its schema are one.

What a reader looks up, as what and within which bounds, is recorded while it reads bodies made of
the schema, one field at a time, at its bounds and beyond them. So a field, a choice or a cap that
only one of the two knows is found.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from transom_api.anthropic.messages import read_count_tokens, read_messages
from transom_api.fields import InvalidField
from transom_api.ollama import management as ollama
from transom_api.ollama.chat import read_chat as read_ollama_chat
from transom_api.ollama.chat import read_generate
from transom_api.ollama.embed import read_embed, read_embeddings
from transom_api.ollama.generation import InvalidRequest
from transom_api.openai.chat import read_chat
from transom_api.openai.completions import read_completion
from transom_api.openai.embeddings import read_embeddings as read_openai_embeddings
from transom_api.openai_responses.kept_responses import KeptResponses
from transom_api.openai_responses.request import read_response_request
from transom_api.rerank import read_rerank
from transom_api.tokens import read_detokenize, read_tokenize
from transom_models.errors import TransomError
from transom_server.openapi.document import schemas

SCHEMAS = schemas()
HELLO = [{"role": "user", "content": "hello"}]
# Refused though a schema allows it: it depends on other fields, or on what a text holds.
TOLD = (
    "send one of them",
    "is there twice",
    "is the name of two tools",
    "begins a new message",
    "is none of the tools",
    "are no tools to choose from",
    "must be a JSON schema, as an object or as its text",
    "before it has this id",
    "over 512 characters",
    "no such response is kept",
    "is empty",
    "must be less than max_tokens",
    "is no base64",
    "are not fetched from addresses",
    "neither 'from' or 'files' was specified",
    "REQUIRES needs a version",
)
# Fields that are another's other name: with both of them, one is not looked at.
INSTEAD = {
    ("", "name"): "model",
    ("RerankRequest", "texts"): "documents",
    ("TokenizeRequest", "prompt"): "content",
    ("OllamaCreateRequest", "files"): "from",
}
# And by which name an error speaks of them.
SAID_AS = {"name": "model", "quantization": "quantize"}
# What asks for nothing is passed over by some readers, whatever it should be.
NOTHING: tuple[Any, ...] = ("", [], {}, 0, False)
Read = Callable[[Any], object]
# Lists of more are not made here.
MANY = 4_096
# Each pattern of a schema allows one of these.
WORDS = (
    "f",
    "5",
    "-1.5h",
    "sha256:" + "0" * 64,
    "clear_thinking_20251015",
    "model.gguf",
)


@dataclass(frozen=True)
class Reader:
    """`smallest`: the smallest body that it takes. `apart`: fields that need others beside them,
    and those."""

    schema: str
    read: Read
    smallest: Mapping[str, Any]
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    also: tuple[Mapping[str, Any], ...] = ()
    """What is read only where two things come together."""


TOOL = {"type": "function", "function": {"name": "f"}}
SAID = [*HELLO, {"role": "assistant", "content": "a"}]
CALL = {"type": "function_call", "call_id": "c", "name": "f"}
ANSWER = {"type": "function_call_output", "call_id": "c"}
PARTS: tuple[dict[str, Any], ...] = (
    {"type": "text", "text": "a"},
    {"type": "refusal", "refusal": "a"},
    {"type": "input_image", "detail": "low", "image_url": "data:,"},
    {"type": "input_image", "file_id": "a"},
)
CHOOSING = {"tool_choice": {"tools": [{"name": "f", "input_schema": {}}]}}
USE = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
IMAGE = {"type": "image", "source": {"type": "base64", "data": "", "media_type": ""}}


def result(block: Mapping[str, Any]) -> dict[str, Any]:
    """A conversation with a tool's answer."""
    found = {"type": "tool_result", "tool_use_id": "c", "content": [block], "is_error": True}
    turns = [{"role": "assistant", "content": [USE]}, {"role": "user", "content": [found]}]
    return {"model": "m", "messages": turns}


RESULTS = tuple(result(block) for block in ({"type": "text", "text": "a"}, IMAGE))
CHAT: Mapping[str, Mapping[str, Any]] = {
    "stream_options": {"stream": True},
    "top_logprobs": {"logprobs": True},
    "tool_choice": {"tools": [TOOL]},
    "function_call": {"functions": [{"name": "f"}]},
    "add_generation_prompt": {"messages": SAID, "continue_final_message": True},
    "continue_final_message": {"messages": SAID},
}
READERS = {
    row.schema: row
    for row in [
        Reader("ChatCompletionRequest", read_chat, {"model": "m", "messages": HELLO}, CHAT),
        Reader(
            "CompletionRequest",
            read_completion,
            {"model": "m", "prompt": "a"},
            {"stream_options": {"stream": True}, "top_logprobs": {"logprobs": True}},
        ),
        Reader("EmbeddingsRequest", read_openai_embeddings, {"model": "m", "input": "a"}),
        Reader(
            "ResponseRequest",
            lambda body: read_response_request(body, KeptResponses()),
            {"model": "m", "input": "a"},
            {
                "tool_choice": {"tools": [{"type": "function", "name": "f"}]},
                "add_generation_prompt": {"input": SAID, "continue_final_message": True},
                "continue_final_message": {"input": SAID},
            },
            (
                *({"model": "m", "input": [CALL, {**ANSWER, "output": [p]}]} for p in PARTS),
                *({"model": "m", "input": [{"role": "user", "content": [p]}]} for p in PARTS),
            ),
        ),
        Reader(
            "MessagesRequest",
            read_messages,
            {"model": "m", "messages": HELLO, "max_tokens": 2**31 - 1},
            CHOOSING,
            tuple({**row, "max_tokens": 1} for row in RESULTS),
        ),
        Reader(
            "CountTokensRequest",
            read_count_tokens,
            {"model": "m", "messages": HELLO},
            CHOOSING,
            RESULTS,
        ),
        Reader(
            "OllamaChatRequest",
            read_ollama_chat,
            {"model": "m"},
            {"top_logprobs": {"logprobs": True}, "tool_choice": {"tools": [TOOL]}},
        ),
        Reader(
            "OllamaGenerateRequest",
            read_generate,
            {"model": "m"},
            {"top_logprobs": {"logprobs": True}},
        ),
        Reader("OllamaEmbedRequest", read_embed, {"model": "m"}),
        Reader("OllamaEmbeddingsRequest", read_embeddings, {"model": "m"}),
        Reader("OllamaShowRequest", ollama.read_show, {"model": "m"}),
        Reader("OllamaDeleteRequest", ollama.read_delete, {"model": "m"}),
        Reader("OllamaCopyRequest", ollama.read_copy, {"source": "m", "destination": "n"}),
        Reader("OllamaTransferRequest", ollama.read_transfer, {"model": "m"}),
        Reader("OllamaCreateRequest", ollama.read_create, {"model": "m", "from": "n"}),
        Reader("RerankRequest", read_rerank, {"model": "m", "query": "a", "documents": []}),
        Reader("TokenizeRequest", read_tokenize, {"model": "m", "content": ""}),
        Reader("DetokenizeRequest", read_detokenize, {"model": "m", "tokens": []}),
    ]
}


class Watched(dict[str, Any]):
    """An object of a body that remembers what was asked of it. `where` leaves numbers out."""

    def __init__(self, value: Mapping[str, Any], where: str, asked: set[str]) -> None:
        super().__init__(
            {name: watched(inner, f"{where}.{name}", asked) for name, inner in value.items()}
        )
        self._where, self._asked = where, asked

    def items(self) -> Any:
        self._asked |= {f"{self._where}.{name}" for name in self}
        return super().items()

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(f"{self._where}.{name}")
        return super().get(name, default)


def watched(value: Any, where: str, asked: set[str]) -> Any:
    if isinstance(value, dict):
        return Watched(value, where, asked)
    if isinstance(value, list):
        return [watched(inner, f"{where}[]", asked) for inner in value]
    return value


def solid(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema itself, where it is named."""
    name = schema.get("$ref")
    return schema if name is None else SCHEMAS[name.rpartition("/")[2]]


def kinds_of(schema: Mapping[str, Any]) -> set[str]:
    kinds = schema.get("type", ())
    return {kinds} if isinstance(kinds, str) else set(kinds)


def described(schema: Mapping[str, Any], where: str = "") -> set[str]:
    """Paths of all fields."""
    schema = solid(schema)
    found: set[str] = set()
    for branch in schema.get("anyOf", ()):
        found |= described(branch, where)
    for name, inner in schema.get("properties", {}).items():
        found |= {f"{where}.{name}"} | described(inner, f"{where}.{name}")
    if "items" in schema:
        found |= described(schema["items"], f"{where}[]")
    return found


def free_objects(schema: Mapping[str, Any], where: str = "") -> set[str]:
    """Paths of objects whose fields are the client's own, as those of a JSON schema."""
    schema = solid(schema)
    found: set[str] = set()
    if "object" in kinds_of(schema) and not schema.get("properties"):
        found.add(where)
    for branch in schema.get("anyOf", ()):
        found |= free_objects(branch, where)
    for name, inner in schema.get("properties", {}).items():
        found |= free_objects(inner, f"{where}.{name}")
    return found | (free_objects(schema["items"], f"{where}[]") if "items" in schema else set())


def truths(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Small values that the schema allows, one for each thing that it says; null aside."""
    schema = solid(schema)
    if "x-transom-refused" in schema:
        yield from (value for value in schema["x-transom-taken"] if value is not None)
    if "const" in schema:
        yield schema["const"]
    elif "enum" in schema:
        yield from (value for value in schema["enum"] if value is not None)
    elif "anyOf" in schema:
        for branch in schema["anyOf"]:
            yield from truths(branch)
    kinds = kinds_of(schema)
    if "enum" in schema:
        return
    if "boolean" in kinds:
        yield from (True, False)
    if kinds & {"integer", "number"}:
        least, most = schema.get("minimum", -1), schema.get("maximum", 1000)
        yield from (int(least), int(most))
        if abs(most) < 2**53:  # where a double is exact
            yield float(most)
    if "string" in kinds:
        yield from texts(schema)
    if "array" in kinds:
        yield from lists(schema)
    if "object" in kinds:
        yield from objects(schema)


def texts(schema: Mapping[str, Any]) -> Iterator[str]:
    if "pattern" in schema:
        fitting = [word for word in WORDS if allows(schema, word)]
        assert fitting, schema
        yield from fitting
        return
    yield "a" * max(schema.get("minLength", 0), 1)
    if "minLength" not in schema:
        yield ""
    if "maxLength" in schema:
        yield "a" * schema["maxLength"]


def lists(schema: Mapping[str, Any]) -> Iterator[list[Any]]:
    inner = [[value] for value in truths(schema["items"])]
    yield from inner
    if schema.get("minItems", 0) == 0:
        yield []
    if schema.get("maxItems", MANY + 1) <= MANY:
        yield inner[0] * schema["maxItems"]


def objects(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    least = {name: next(truths(properties[name])) for name in required}
    yield least
    for name, inner in properties.items():
        for value in truths(inner):
            yield {**least, name: value}
    several = [name for name in required if len(list(truths(properties[name]))) > 1]
    for values in product(*(truths(properties[name]) for name in several)):
        both = {**least, **dict(zip(several, values, strict=True))}
        yield both
    if not properties and "additionalProperties" in schema:
        names = [name for name in WORDS if allows(schema.get("propertyNames", {}), name)]
        for value in truths(schema["additionalProperties"]):
            yield {names[0]: value}


WRONG: tuple[Any, ...] = (3.25, True, "no such word, nor a date", [{}], {"a": [1]})


def lies(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Values just beyond what the schema allows."""
    whole = solid(schema)
    if "x-transom-refused" in whole:
        taken = [(type(value), value) for value in whole["x-transom-taken"]]
        yield from (value for value in WRONG if (type(value), value) not in taken)
    for value in _lies(whole):
        if not allows(whole, value):
            yield value


def _lies(schema: Mapping[str, Any]) -> Iterator[Any]:
    yield from WRONG
    for branch in schema.get("anyOf", ()):
        # What an object has to be depends on which of several it is.
        yield from (value for value in _lies(solid(branch)) if not isinstance(value, dict))
    kinds = kinds_of(schema)
    if kinds & {"integer", "number"}:
        for bound, step in (("minimum", -1), ("maximum", 1)):
            if bound in schema:
                yield schema[bound] + step
    if "string" in kinds and "pattern" not in schema:
        if "maxLength" in schema:
            yield "a" * (schema["maxLength"] + 1)
        yield ""
    if "array" in kinds:
        one = next(truths(schema["items"]))
        if schema.get("maxItems", MANY + 1) <= MANY:
            yield [one] * (schema["maxItems"] + 1)
        yield from ([value] for value in lies(schema["items"]))
    if "object" in kinds:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        least = {name: next(truths(properties[name])) for name in required}
        for name, inner in properties.items():
            yield from ({**least, name: value} for value in lies(inner))
        for name in required:
            yield {key: value for key, value in least.items() if key != name}


def allows(schema: Mapping[str, Any], value: Any) -> bool:
    rules = {**schema, "components": {"schemas": SCHEMAS}}
    return bool(Draft202012Validator(rules).is_valid(value))


def body_of(reader: Reader, name: str, value: Any) -> dict[str, Any]:
    replaced = INSTEAD.get((reader.schema, name), INSTEAD.get(("", name)))
    smallest = {key: row for key, row in reader.smallest.items() if key != replaced}
    return {**smallest, **reader.beside.get(name, {}), name: value}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_the_smallest_body_is_taken(reader: Reader) -> None:
    assert allows(SCHEMAS[reader.schema], dict(reader.smallest))
    reader.read(dict(reader.smallest))


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_a_reader_asks_for_is_described_and_nothing_else(reader: Reader) -> None:
    schema = SCHEMAS[reader.schema]
    asked: set[str] = set()
    bodies: list[Mapping[str, Any]] = [*reader.also]
    for name, inner in schema["properties"].items():
        for value in truths(inner):
            bodies.append(body_of(reader, name, value))
    for body in bodies:
        with suppress(TransomError):
            reader.read(watched(body, "", asked))
    known, free = described(schema), free_objects(schema)
    inside = {path for path in asked if any(path.startswith(f"{whole}.") for whole in free)}
    assert asked - known - inside == set(), "the document does not tell of them"
    assert known - asked == set(), "nobody reads them"


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_is_allowed_is_taken_or_refused_as_told(reader: Reader) -> None:
    refusals = {}
    for name, inner in SCHEMAS[reader.schema]["properties"].items():
        for value in truths(inner):
            body = body_of(reader, name, value)
            assert allows(SCHEMAS[reader.schema], body), body
            try:
                reader.read(body)
            except TransomError as error:
                refusals[name] = str(error)
    unknown = {name: text for name, text in refusals.items() if not any(t in text for t in TOLD)}
    assert unknown == {}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_is_not_allowed_is_refused_by_its_name(reader: Reader) -> None:
    schema = SCHEMAS[reader.schema]
    taken: list[tuple[str, str]] = []
    unnamed: list[tuple[str, str]] = []
    tried = 0
    for name, inner in schema["properties"].items():
        for value in lies(inner):
            tried += 1
            try:
                reader.read(body_of(reader, name, value))
            except (InvalidField, InvalidRequest) as error:
                names = {name, SAID_AS.get(name, name)}
                unnamed += [] if any(n in str(error) for n in names) else [(name, str(error))]
            except TransomError:
                continue  # a name or an option, which says itself what it is
            else:
                taken += [] if value in NOTHING else [(name, json.dumps(value)[:80])]
    assert (taken, unnamed) == ([], [])
    assert tried > 5
