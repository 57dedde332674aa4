"""pytest tests/pyserver/test_operations.py: what an address and a body ask for, as plain data."""

import json
from typing import Any

import pytest

from transom_api.addresses import ADDRESSES, SERVERS_ALONE, Found, NotAllowed, find
from transom_api.engine import Embeddings
from transom_api.fields import InvalidField
from transom_api.json_text import json_bytes
from transom_api.openai_responses.kept import KeptResponse
from transom_api.openai_responses.kept_responses import KeptResponses
from transom_api.operations import (
    Converse,
    CountTokens,
    Embed,
    FindModel,
    ListedModel,
    ListModels,
    Load,
    Operation,
    Say,
    Unload,
)
from transom_api.reading import READERS, HttpRequest, Means, read
from transom_api.statuses import STATUSES, check_encoding, status_of
from transom_models.errors import TransomError
from transom_models.name import InvalidName

HELLO = [{"role": "user", "content": "hi"}]
ROW = ListedModel("tiny", 1_700_000_000.5, "library")
MEANS = Means(
    now=lambda: 1_700_000_000.9,
    ticks=lambda: 5,
    token=lambda count: "ab" * count,
    kept=KeptResponses(),
    version=lambda: "1.2.3",
)


def asked(method: str, path: str, body: Any = None, **headers: str) -> Operation:
    found = find(method, path.partition("?")[0])
    assert isinstance(found, Found)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    data = b"" if body is None else json.dumps(body).encode()
    query = dict(pair.split("=") for pair in path.partition("?")[2].split("&") if pair)
    return read(found, HttpRequest(query, names, data), MEANS)


# Addresses


def test_each_address_has_a_reader_and_each_reader_an_address() -> None:
    assert {address.name for address in ADDRESSES} == set(READERS)
    assert [address for address in SERVERS_ALONE if address.name is not None] == []


@pytest.mark.parametrize(
    ("method", "path", "name", "names"),
    [
        ("GET", "/v1/models", "models", {}),
        ("HEAD", "/v1/models", "models", {}),
        ("GET", "/v1/models/a/b:c", "model", {"name": "a/b:c"}),
        ("GET", "/v1/models/a%2Fb", "model", {"name": "a%2Fb"}),
        ("POST", "/v1/responses/input_tokens", "openai_response_tokens", {}),
        ("GET", "/v1/responses/input_tokens", "kept_response", {"response_id": "input_tokens"}),
        ("DELETE", "/v1/responses/x", "forget_response", {"response_id": "x"}),
        ("POST", "/api/pull", None, {}),
        ("HEAD", "/api/blobs/sha256:0", None, {"digest": "sha256:0"}),
    ],
)
def test_an_address_is_found(
    method: str, path: str, name: str | None, names: dict[str, str]
) -> None:
    found = find(method, path)
    assert isinstance(found, Found)
    assert (found.address.name, found.names) == (name, names)


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/models/", "/v1/responses/", "/v1/responses/a/b", "/api/", "/v1/modelsx"],
)
def test_no_such_address(path: str) -> None:
    assert find("GET", path) is None


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/chat/completions", ("OPTIONS", "POST")),
        ("/v1/models", ("GET", "HEAD", "OPTIONS")),
        ("/v1/responses/x", ("DELETE", "GET", "HEAD", "OPTIONS")),
        ("/api/blobs/x", ("HEAD", "OPTIONS", "POST")),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(path: str, methods: tuple[str, ...]) -> None:
    assert find("PATCH", path) == NotAllowed(methods)


# Operations


@pytest.mark.parametrize(
    ("path", "body", "frames"),
    [
        ("/v1/chat/completions", {"messages": HELLO}, "text/event-stream; charset=utf-8"),
        ("/v1/completions", {"prompt": "hi"}, "text/event-stream; charset=utf-8"),
        ("/v1/responses", {"input": "hi"}, "text/event-stream; charset=utf-8"),
        ("/v1/messages", {"messages": HELLO, "max_tokens": 9}, "text/event-stream; charset=utf-8"),
        ("/api/chat", {"messages": HELLO}, "application/x-ndjson"),
        ("/api/generate", {"prompt": "hi"}, "application/x-ndjson"),
    ],
)
def test_a_conversation_and_who_frames_its_answer(
    path: str, body: dict[str, Any], frames: str
) -> None:
    operation = asked("POST", path, {"model": "tiny", **body})
    assert isinstance(operation, Converse)
    ((chat, writer),) = operation.turns
    assert chat.model == "tiny"
    assert writer.content_type == frames


def test_prompts_are_turns() -> None:
    operation = asked("POST", "/v1/completions", {"model": "tiny", "prompt": ["a", "b"]})
    assert isinstance(operation, Converse)
    assert [chat.raw_prompt for chat, _ in operation.turns] == ["a", "b"]


def test_ollamas_empty_requests_load_and_let_go() -> None:
    loads = asked("POST", "/api/generate", {"model": "tiny"})
    lets_go = asked("POST", "/api/chat", {"model": "tiny", "keep_alive": 0})
    assert isinstance(loads, Load)
    assert isinstance(lets_go, Unload)
    assert (loads.body()["done_reason"], lets_go.body()["done_reason"]) == ("load", "unload")
    assert loads.body()["created_at"] == "2023-11-14T22:13:20.900000Z"


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        (
            "/v1/chat/completions/input_tokens",
            {"messages": HELLO},
            {"object": "chat.input_tokens", "input_tokens": 7},
        ),
        (
            "/v1/responses/input_tokens",
            {"input": "hi"},
            {"object": "response.input_tokens", "input_tokens": 7},
        ),
        ("/v1/messages/count_tokens", {"messages": HELLO}, {"input_tokens": 7}),
    ],
)
def test_tokens_are_counted(path: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
    operation = asked("POST", path, {"model": "tiny", **body})
    assert isinstance(operation, CountTokens)
    assert operation.body(7) == answer


def test_the_context_comes_in_a_header_too() -> None:
    body = {"model": "tiny", "messages": HELLO}
    operation = asked("POST", "/v1/chat/completions", body, x_transom_context="128")
    assert isinstance(operation, Converse)
    assert operation.turns[0][0].options == {"num_ctx": 128}


def test_vectors_in_two_dialects() -> None:
    ours = asked("POST", "/api/embed", {"model": "tiny", "input": ["a", "b"], "keep_alive": "1m"})
    theirs = asked("POST", "/v1/embeddings", {"model": "tiny", "input": [1, 2]})
    assert isinstance(ours, Embed)
    assert isinstance(theirs, Embed)
    assert (ours.inputs, ours.cuts, ours.asked.keep_seconds) == (("a", "b"), True, 60)
    assert (theirs.inputs, theirs.cuts) == (((1, 2),), False)
    told = ours.body(Embeddings(((1.0,), (0.0,)), 2, (1,)), 0.5)
    assert (told["truncated"], told["load_duration"]) == ([1], 500_000_000)


def test_models_as_each_dialect_lists_them() -> None:
    openai, anthropic = (
        asked("GET", "/v1/models"),
        asked("GET", "/v1/models", anthropic_version="1"),
    )
    assert isinstance(openai, ListModels)
    assert isinstance(anthropic, ListModels)
    assert openai.body([ROW])["data"][0]["owned_by"] == "library"
    assert anthropic.body([ROW])["first_id"] == "tiny"
    pages = asked("GET", "/v1/models?limit=0", anthropic_version="1")
    assert isinstance(pages, ListModels)
    with pytest.raises(InvalidField, match="limit"):
        pages.body([ROW])


def test_one_model_by_its_whole_name() -> None:
    operation = asked("GET", "/v1/models/library/tiny:latest")
    assert isinstance(operation, FindModel)
    assert str(operation.name) == "tiny"
    assert operation.body(ROW)["created"] == 1_700_000_000
    with pytest.raises(InvalidName):
        asked("GET", "/v1/models/a b")


def test_a_kept_response_is_said_and_forgotten() -> None:
    MEANS.kept.put("resp_1", KeptResponse({"id": "resp_1"}, ()))
    assert asked("GET", "/v1/responses/resp_1") == Say({"id": "resp_1"})
    gone = {"id": "resp_1", "object": "response", "deleted": True}
    assert asked("DELETE", "/v1/responses/resp_1") == Say(gone)
    again = asked("DELETE", "/v1/responses/resp_1")
    assert isinstance(again, Say)
    assert again.status == 404


def test_the_version_is_given_in() -> None:
    assert asked("GET", "/api/version") == Say({"version": "1.2.3"})


def test_a_body_that_is_no_json_is_told() -> None:
    found = find("POST", "/v1/chat/completions")
    assert isinstance(found, Found)
    with pytest.raises(InvalidField, match="the body is not JSON"):
        read(found, HttpRequest(body=b"{"), MEANS)


# Statuses, JSON


def test_an_error_has_the_status_of_its_kind() -> None:
    class Odd(InvalidField):
        pass

    assert status_of(Odd("a", "b"), STATUSES) == (400, "UNSUPPORTED")
    assert status_of(TransomError("who knows"), STATUSES) == (500, "UNKNOWN")


def test_a_packed_body_is_refused() -> None:
    check_encoding(None)
    check_encoding(" Identity")
    with pytest.raises(TransomError, match="gzip"):
        check_encoding("gzip")


def test_json_is_words_as_they_are_and_never_fails() -> None:
    assert json_bytes({"a": "ä", "b": [1, 2.5, None]}) == '{"a":"ä","b":[1,2.5,null]}'.encode()
    assert json_bytes({"a": "\ud800ä"}) == b'{"a":"\\ud800\\u00e4"}'
