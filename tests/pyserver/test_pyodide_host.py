"""pytest tests/pyserver/test_pyodide_host.py: the API core hosted as in the page, without a page.

Its answers are compared with the server's, where both have engines that say the same; what only a
page does (refusing, letting go, cancelling) is tested by itself. Whole conformance is the business
of tests/contract/api.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fakes.fake_engine import FakeLoader
from tests.fakes.fake_page_engine import FakePageEngine, KeptChannel, model_row
from tests.pyserver.native_models import put_native
from transom_api.engine import Cancelled, ContextOverflow, Done, GenerateRequest, TokenEvent
from transom_pyodide import http_answer
from transom_pyodide.host import Handling, Host, start
from transom_pyodide.warming import warm_up
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 20
PIECES = ("<think>hm", "</think>", "one", " twö", " three")
TEMPLATE = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}<think>"
PARAMETERS = {"temperature": 0, "stop": ["x"]}
HELLO = [{"role": "user", "content": "hello"}]
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SEES_NOT = "messages: tiny sees no images; leave them out"
ANTHROPIC = {"anthropic-version": "2023-06-01"}

# Made up anew, or measured.
_CHANGING = re.compile(
    r'(?<="id":")(?:chatcmpl-|cmpl-)[0-9a-f]+|(?:msg|resp|req|rs|call)_[0-9a-f]{24,60}'
    r'|(?<="created":)\d+|(?<="created_at":)(?:\d+|"[^"]+")|(?<="modified_at":)"[^"]+"'
    r'|(?<="total_duration":)\d+|(?<="load_duration":)\d+|(?<="load_ms":)[0-9.e-]+'
    r'|(?<="request_id":)"[^"]+"'
)
_HEADERS = ("content-type", "cache-control", "x-accel-buffering", "allow", "retry-after")


def page_engine(**more: Any) -> FakePageEngine:
    opened = {"template": TEMPLATE, "parameters": PARAMETERS}
    rows = [model_row("library/tiny:latest")]
    return FakePageEngine(**{"pieces": PIECES, "opened": opened, "rows": rows, **more})


def asking(
    method: str,
    target: str,
    body: Any = None,
    *,
    engine: FakePageEngine | None = None,
    headers: dict[str, str] | None = None,
    then: Callable[[Host, Handling, KeptChannel], Any] | None = None,
) -> KeptChannel:
    """What a page answers. `then` is awaited while the answer is on its way."""

    async def run() -> KeptChannel:
        channel = KeptChannel()
        host = start(engine or page_engine())
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        pairs = json.dumps([*(headers or {}).items()])
        handling = host.handle(method, target, pairs, text, channel)
        if then is not None:
            await asyncio.wait_for(then(host, handling, channel), SECONDS)
        else:
            await asyncio.wait_for(channel.over.wait(), SECONDS)
        return channel

    return asyncio.run(run())


class Overflowing(FakeLoader):
    """Its engines find each prompt too long."""

    def __call__(self, *given: Any) -> Any:
        engine = super().__call__(*given)

        def generate(
            request: GenerateRequest, cancelled: Cancelled
        ) -> Generator[TokenEvent | Done, None, None]:
            raise ContextOverflow("the prompt is too long")
            yield

        engine.generate = generate  # type: ignore[method-assign]
        return engine


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pyodide") / "models"
    put_native(Store(folder), "tiny", template=TEMPLATE, parameters=PARAMETERS)
    return folder


def client_of(models: Path, loader: FakeLoader) -> Iterator[FlaskClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transom_server.engines.choice.LlamaCpp", loader)
        app = create_app(Config.read({"TRANSOM_MODELS": str(models)}))
        yield app.test_client()
        app.extensions["transom_close"]()


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[FlaskClient]:
    yield from client_of(models, FakeLoader(*PIECES))


@pytest.fixture(scope="module")
def overflowing(models: Path) -> Iterator[FlaskClient]:
    yield from client_of(models, Overflowing(*PIECES))


def assert_same(
    server: FlaskClient,
    method: str,
    target: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    engine: FakePageEngine | None = None,
) -> KeptChannel:
    data = None if body is None else body if isinstance(body, str) else json.dumps(body)
    theirs = server.open(target, method=method, data=data, headers=headers)
    ours = asking(method, target, body, headers=headers, engine=engine)
    assert ours.status == theirs.status_code, (ours.text, theirs.text)
    assert _CHANGING.sub("~", ours.text) == _CHANGING.sub("~", theirs.text)
    found = {name.lower(): value for name, value in ours.headers.items()}
    for name in _HEADERS:
        said = theirs.headers.get(name)
        if name == "allow" and said is not None:
            assert sorted(found[name].split(", ")) == sorted(said.split(", "))
        else:
            assert found.get(name) == said, name
    return ours


# The server's answers


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 5, "seed": 1, "stop": "q"}),
        ("/v1/chat/completions", {"messages": HELLO, "tools": [TOOL]}),
        ("/v1/chat/completions", {"messages": HELLO, "reasoning_effort": "none"}),
        ("/v1/completions", {"prompt": "once"}),
        ("/v1/completions", {"prompt": "once", "echo": True, "ignore_eos": True}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/responses", {"input": HELLO, "instructions": "be brief", "store": False}),
        ("/v1/messages", {"messages": HELLO, "max_tokens": 50}),
        ("/v1/messages", {"messages": HELLO, "max_tokens": 50, "system": "be brief"}),
        ("/api/chat", {"messages": HELLO}),
        ("/api/chat", {"messages": HELLO, "think": False, "options": {"num_predict": 2}}),
        ("/api/generate", {"prompt": "hi"}),
        ("/api/generate", {"prompt": "hi", "raw": True}),
        ("/api/generate", {"prompt": "hi", "template": "{{ .Prompt }}", "system": "s"}),
    ],
)
def test_conversations(server: FlaskClient, path: str, body: dict[str, Any], stream: bool) -> None:
    server.post("/api/generate", json={"model": "tiny"})  # loaded, as the page's is
    found = assert_same(server, "POST", path, {"model": "tiny", "stream": stream, **body})
    assert found.status == 200
    assert "three" in found.text


def test_usage_comes_in_a_chunk_of_its_own(server: FlaskClient) -> None:
    body = {"messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
    found = assert_same(server, "POST", "/v1/chat/completions", {"model": "tiny", **body})
    assert '"choices":[],"usage":' in found.text


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("POST", "/v1/completions", {"model": "tiny", "prompt": ["a", "b"]}, {}),
        ("POST", "/v1/chat/completions/input_tokens", {"model": "tiny", "messages": HELLO}, {}),
        ("POST", "/v1/responses/input_tokens", {"model": "tiny", "input": "hi"}, {}),
        ("POST", "/v1/messages/count_tokens", {"model": "tiny", "messages": HELLO}, {}),
        ("POST", "/v1/embeddings", {"model": "tiny", "input": ["a", "bcd"]}, {}),
        ("POST", "/v1/embeddings", {"model": "tiny", "input": "a", "dimensions": 1}, {}),
        (
            "POST",
            "/v1/embeddings",
            {"model": "tiny", "input": "a", "encoding_format": "base64"},
            {},
        ),
        ("POST", "/v1/embeddings", {"model": "tiny", "input": "a", "dimensions": 3}, {}),
        ("POST", "/api/embed", {"model": "tiny", "input": ["a", "b" * 100]}, {}),
        ("POST", "/api/embed", {"model": "tiny"}, {}),
        ("POST", "/api/embeddings", {"model": "tiny", "prompt": "a"}, {}),
        ("POST", "/tokenize", {"model": "tiny", "content": "abc", "add_special": True}, {}),
        ("POST", "/detokenize", {"model": "tiny", "tokens": [97, 98]}, {}),
        ("POST", "/api/generate", {"model": "tiny"}, {}),
        ("POST", "/api/chat", {"model": "tiny", "keep_alive": 0}, {}),
        ("GET", "/v1/models", None, {}),
        ("HEAD", "/v1/models", None, {}),
        ("GET", "/v1/models/library/tiny:latest", None, {}),
        ("GET", "/v1/models?limit=1", None, ANTHROPIC),
        ("GET", "/v1/models?after_id=tiny", None, ANTHROPIC),
        ("GET", "/v1/models/tiny", None, ANTHROPIC),
        ("GET", "/api/version", None, {}),
        ("GET", "/v1/responses/resp_1", None, {}),
        ("DELETE", "/v1/responses/resp_1", None, {}),
        ("OPTIONS", "/v1/models", None, {}),
    ],
)
def test_other_answers(
    server: FlaskClient, method: str, target: str, body: Any, headers: dict[str, str]
) -> None:
    assert assert_same(server, method, target, body, headers).refused is None


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("GET", "/v1/unknown", None, {}),
        ("POST", "/v1/unknown", None, ANTHROPIC),
        ("GET", "/api/unknown", None, {}),
        ("GET", "/v1/models/", None, {}),
        ("GET", "/v1/m%6Fdels/", None, {}),
        ("GET", "/v1/chat/completions", None, {}),
        ("GET", "/v1/messages", None, {}),
        ("PUT", "/v1/responses/x", None, {}),
        ("DELETE", "/api/tags", None, {}),
        ("GET", "/api/pull", None, {}),
        ("GET", "/tokenize", None, {}),
        ("POST", "/v1/chat/completions", "{", {}),
        ("POST", "/v1/chat/completions", None, {}),
        ("POST", "/v1/chat/completions", {"model": "tiny", "messages": [{"role": "x"}]}, {}),
        ("POST", "/v1/chat/completions", {"model": "a b", "messages": HELLO}, {}),
        ("POST", "/v1/chat/completions", {"model": "tiny", "messages": HELLO, "lora": [{}]}, {}),
        ("POST", "/v1/messages", {"model": "tiny", "messages": HELLO}, {}),
        ("POST", "/v1/responses", {"model": "tiny", "previous_response_id": "x", "input": ""}, {}),
        ("POST", "/api/chat", {"model": "tiny", "messages": [{"role": "x"}]}, {}),
        ("POST", "/api/generate", {"model": "tiny", "prompt": "a", "options": {"top_p": 2}}, {}),
        ("POST", "/api/show", "", {}),
        ("POST", "/api/show", {}, {}),
        ("POST", "/api/show", " " * (1024 * 1024 + 1), {}),
        ("POST", "/api/embed", {"model": "tiny", "input": 3}, {}),
        ("POST", "/tokenize", {"model": "tiny"}, {}),
        ("GET", "/v1/models?limit=0", None, ANTHROPIC),
        ("GET", "/v1/models/a%20b", None, {}),
        ("POST", "/v1/completions", {"model": "tiny", "prompt": "a"}, {"Content-Encoding": "br"}),
    ],
)
def test_what_is_wrong_with_a_request(
    server: FlaskClient, method: str, target: str, body: Any, headers: dict[str, str]
) -> None:
    found = assert_same(server, method, target, body, headers)
    assert found.status >= 400
    assert found.refused is None


PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/api/chat"]


def body_of(path: str, **more: Any) -> dict[str, Any]:
    asked = {"input": "hi"} if path.endswith("responses") else {"messages": HELLO}
    if path.endswith("/completions") and "chat" not in path:
        asked = {"prompt": "hi"}
    limit = {"max_tokens": 9} if path == "/v1/messages" else {}
    return {"model": "tiny", **asked, **limit, **more}


@pytest.mark.parametrize("path", PATHS)
def test_a_model_that_nobody_has_is_refused_in_the_dialect(server: FlaskClient, path: str) -> None:
    message = "no model none in the store; `transom list` shows what is"
    engine = page_engine(failures={"open": {"code": "model-not-found", "message": message}})
    found = assert_same(server, "POST", path, body_of(path, model="none"), engine=engine)
    assert found.refused == {"code": "model-not-found", "message": message}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_an_engine_that_fails_before_the_head_is_refused_in_the_dialect(
    overflowing: FlaskClient, path: str, stream: bool
) -> None:
    error = {"code": "context-overflow", "message": "the prompt is too long"}
    engine = page_engine(failures={"complete": error})
    body = body_of(path, stream=stream)
    assert assert_same(overflowing, "POST", path, body, engine=engine).refused == error


# The page's own


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("context-overflow", 400, "context_length_exceeded"),
        ("invalid-request", 400, "invalid_value"),
        ("no-variant", 400, "invalid_request_error"),
        ("model-not-found", 404, "model_not_found"),
        ("busy", 503, "server_error"),
        ("aborted", 503, "server_error"),
        ("network", 502, "server_error"),
        ("no-room", 507, "server_error"),
        ("out-of-memory", 500, "server_error"),
        ("no-webgpu", 500, "server_error"),
        ("device-lost", 500, "server_error"),
        ("a code of tomorrow", 500, "server_error"),
    ],
)
@pytest.mark.parametrize("kind", ["open", "complete"])
def test_each_code_of_the_engine_has_a_status(
    kind: str, code: str, status: int, words: str
) -> None:
    engine = page_engine(failures={kind: {"code": code, "message": "it is so"}})
    body = body_of("/v1/chat/completions", stream=True)
    found = asking("POST", "/v1/chat/completions", body, engine=engine)
    assert found.refused is not None
    assert (found.refused["code"], found.status) == (code, status)
    error = json.loads(found.text)["error"]
    # The field that an engine's refusal is about nobody knows.
    assert words in (error["code"], error["type"]) or code == "invalid-request"
    assert ("Retry-After" in found.headers) == (status == 503)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:0"),
        ("HEAD", "/api/blobs/sha256:0"),
        ("POST", "/v1/rerank"),
        ("GET", "/openapi.json"),
    ],
)
def test_what_only_a_server_can_do_is_refused(method: str, path: str) -> None:
    found = asking(method, path, {})
    assert found.refused is not None
    assert found.status == 501
    assert method == "HEAD" or "a Transom server can" in found.text


def test_pictures_are_refused() -> None:
    content = [{"type": "image_url", "image_url": {"url": PICTURE}}]
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}]}
    found = asking("POST", "/v1/chat/completions", body)
    assert found.refused is not None
    assert (found.status, "sees no images" in found.text) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": PICTURE}}]}]},
            {"error": {"message": SEES_NOT, "type": "invalid_request_error", "param": "messages",
                       "code": "invalid_value"}},
        ),
        (
            "/api/chat",
            {"messages": [{"role": "user", "content": "?", "images": [PICTURE.split(",")[1]]}]},
            {"error": SEES_NOT},
        ),
        (
            "/api/generate",
            {"prompt": "?", "images": [PICTURE.split(",")[1]]},
            {"error": SEES_NOT},
        ),
        (
            "/v1/messages",
            {"max_tokens": 5, "messages": [{"role": "user", "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png",
                                             "data": PICTURE.split(",")[1]}}]}]},
            {"type": "error", "error": {"type": "invalid_request_error", "message": SEES_NOT}},
        ),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [
                {"type": "input_image", "image_url": PICTURE}]}]},
            {"error": {"message": SEES_NOT, "type": "invalid_request_error", "param": "messages",
                       "code": "invalid_value"}},
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_no_model_is_loaded_for_pictures_that_none_sees(
    path: str, body: dict[str, Any], error: dict[str, Any], stream: bool
) -> None:
    engine = page_engine()
    found = asking("POST", path, {"model": "tiny", "stream": stream, **body}, engine=engine)
    assert found.refused is not None  # a server gets it
    said = json.loads(found.text)
    said.pop("request_id", None)
    assert (found.status, said) == (400, error)
    assert {kind for kind, _ in engine.calls} == {"models"}


def test_pictures_for_a_model_that_nobody_has() -> None:
    content = [{"type": "image_url", "image_url": {"url": PICTURE}}]
    body = {"model": "none", "messages": [{"role": "user", "content": content}]}
    found = asking("POST", "/v1/chat/completions", body)
    assert (found.status, found.refused is not None) == (404, True)


@pytest.mark.parametrize("path", PATHS)
def test_what_fails_late_is_the_last_frame(path: str) -> None:
    engine = page_engine(failures={"after": {"code": "device-lost", "message": "the GPU is gone"}})
    found = asking("POST", path, body_of(path, stream=True), engine=engine)
    assert (found.status, found.refused) == (200, None) or path == "/api/chat"
    assert "the GPU is gone" in found.text


def test_a_long_answer_in_one_piece_sends_its_head_ahead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/v1/chat/completions"
    monkeypatch.setattr(http_answer, "HEAD_SECONDS", 0.05)

    async def wait(host: Host, handling: Handling, channel: KeptChannel) -> None:
        while not channel.heads:
            await asyncio.sleep(0.01)
        assert (channel.status, channel.written) == (200, [])
        assert channel.headers["Content-Type"] == "application/json"
        engine.gate.set()  # type: ignore[union-attr]
        await channel.over.wait()

    engine = page_engine(gate=asyncio.Event())
    found = asking("POST", path, body_of(path), engine=engine, then=wait)
    assert json.loads(found.text)["choices"][0]["message"]["content"] == "one twö three"
    # What breaks afterwards has no status any more, and no words that a client would look for.
    engine = page_engine(
        gate=asyncio.Event(),
        failures={"after": {"code": "device-lost", "message": "the GPU is gone"}},
    )
    found = asking("POST", path, body_of(path), engine=engine, then=wait)
    assert (found.broken, found.refused, found.written) == (True, None, [])
    assert "broke off: the GPU is gone" in capsys.readouterr().err


def test_an_answer_of_a_moment_keeps_its_status() -> None:
    path = "/v1/chat/completions"
    engine = page_engine(failures={"after": {"code": "device-lost", "message": "the GPU is gone"}})
    found = asking("POST", path, body_of(path), engine=engine)
    assert (found.heads, found.status, found.broken) == (0, 500, False)


class Silent(FakePageEngine):
    """Ends without having said anything."""

    def complete(self, payload: str, on_events: Callable[[str], None]) -> Any:
        return super().complete(payload, lambda text: None)


def test_an_answer_that_only_stops_is_no_answer() -> None:
    engine = Silent(PIECES, rows=[model_row("library/tiny:latest")], opened={"template": TEMPLATE})
    found = asking("POST", "/v1/chat/completions", body_of("/v1/chat/completions"), engine=engine)
    assert found.refused == {
        "code": "engine-crashed",
        "message": "the engine ended in the middle of the answer",
    }


def test_choices_and_logprobs() -> None:
    body = body_of("/v1/chat/completions", n=2, logprobs=True, top_logprobs=1)
    found = asking("POST", "/v1/chat/completions", body)
    choices = json.loads(found.text)["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["one twö three"] * 2
    row = choices[0]["logprobs"]["content"][-1]
    assert (row["token"], row["logprob"], len(row["top_logprobs"])) == (" three", -0.5, 1)


def test_what_the_engine_is_asked() -> None:
    engine = page_engine()
    body = body_of(
        "/v1/chat/completions",
        max_tokens=7,
        seed=3,
        stop=["q"],
        logit_bias={"5": -100},
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
    )
    asking("POST", "/v1/chat/completions", body, engine=engine)
    (asked,) = engine.requests
    assert asked["model"] == "tiny"
    assert asked["prompt"].startswith("[user:hello]<think>")
    assert (asked["maxTokens"], asked["stop"], asked["logitBias"]) == (7, ["q"], [[5, -100]])
    assert (asked["sampling"]["seed"], asked["sampling"]["temperature"]) == (3, 0)
    assert asked["jsonSchema"]["required"] == ["a"]
    assert (asked["grammar"], asked["choices"], asked["logprobs"]) == (None, 1, None)


@pytest.mark.parametrize(("held", "code"), [(True, "invalid_schema"), (False, None)])
def test_a_schema_that_the_engine_cannot_hold_is_named(held: bool, code: str | None) -> None:
    error = {"code": "invalid-request", "message": "nothing fits"}
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}
    body = body_of("/v1/chat/completions", **({"response_format": schema} if held else {}))
    engine = page_engine(failures={"complete": error})
    found = asking("POST", "/v1/chat/completions", body, engine=engine)
    assert (found.refused, found.status) == (error, 400)
    assert json.loads(found.text)["error"]["code"] == code


def test_cancelling_ends_the_engines_work_at_once() -> None:
    engine = page_engine()

    async def leave(host: Host, handling: Handling, channel: KeptChannel) -> None:
        while not channel.written:
            await asyncio.sleep(0)
        before = engine.aborted
        handling.cancel()
        assert (before, engine.aborted) == (0, 1)
        with pytest.raises(asyncio.CancelledError):
            await handling.task  # type: ignore[misc]
        handling.cancel()

    engine.gate = asyncio.Event()
    found = asking(
        "POST",
        "/v1/chat/completions",
        body_of("/v1/chat/completions", stream=True, keep_alive=0),
        engine=engine,
        then=leave,
    )
    assert not found.over.is_set()
    # It is let go of, too.
    assert engine.calls[-1] == ("unload", {"model": "tiny"})


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/chat/completions", {"messages": HELLO}, "open"),
        ("/v1/embeddings", {"input": ["a"]}, "embed"),
        ("/tokenize", {"content": "a"}, "tokenize"),
    ],
)
def test_cancelling_ends_whatever_the_engine_was_asked(
    path: str, body: dict[str, Any], kind: str
) -> None:
    engine = page_engine(gated=(kind,))

    async def leave(host: Host, handling: Handling, channel: KeptChannel) -> None:
        while not engine.calls or engine.calls[-1][0] != kind:
            await asyncio.sleep(0)
        handling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await handling.task  # type: ignore[misc]

    engine.gate = asyncio.Event()
    found = asking("POST", path, {"model": "tiny", **body}, engine=engine, then=leave)
    assert not found.over.is_set()
    assert engine.aborted_calls == [kind]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": HELLO}),
        ("/v1/chat/completions", {"messages": HELLO}),
        ("/api/embed", {"input": "a", "truncate": False}),
    ],
)
def test_a_model_may_be_let_go_of_after_its_answer(path: str, body: dict[str, Any]) -> None:
    # That it could not be does not change the answer.
    engine = page_engine(failures={"unload": {"code": "internal", "message": "no"}})
    found = asking("POST", path, {"model": "tiny", "keep_alive": 0, **body}, engine=engine)
    assert (found.status, found.refused) == (200, None)
    assert [kind for kind, _ in engine.calls if kind != "embed"] == ["open", "unload"]


def test_a_model_is_kept_as_long_as_the_last_request_says() -> None:
    engine = page_engine()
    engine.rows[0]["loadedBytes"] = 100
    engine.opened["name"] = engine.rows[0]["name"]

    async def run() -> None:
        host = start(engine)

        async def ask(path: str, **body: Any) -> Any:
            channel = KeptChannel()
            text = json.dumps({"model": "tiny", "stream": False, **body}) if body else None
            host.handle("POST" if body else "GET", path, "[]", text, channel)
            await asyncio.wait_for(channel.over.wait(), SECONDS)
            assert channel.status == 200, channel.text
            return json.loads(channel.text)

        def unloads() -> int:
            return [kind for kind, _ in engine.calls].count("unload")

        await ask("/api/chat", messages=HELLO, keep_alive=-1)
        (forever,) = (await ask("/api/ps"))["models"]
        await ask("/api/chat", messages=HELLO, keep_alive="1h")
        (row,) = (await ask("/api/ps"))["models"]
        assert forever["expires_at"] > row["expires_at"]
        # It needs its time from the end of the last answer on.
        await ask("/api/generate", keep_alive="100ms")
        assert unloads() == 0
        await asyncio.sleep(0.5)
        assert unloads() == 1
        # Others use it still.
        engine.gate = asyncio.Event()
        long = asyncio.ensure_future(ask("/api/chat", messages=HELLO, keep_alive=0))
        while len(engine.requests) < 3:
            await asyncio.sleep(0)
        await ask("/api/embed", input="a", keep_alive=0)
        assert unloads() == 1
        engine.gate.set()
        await long
        assert unloads() == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {"messages": HELLO, "options": {"num_ctx": 65}}),
        ("/api/generate", {"options": {"num_ctx": 65}}),
        ("/v1/chat/completions", {"messages": HELLO, "num_ctx": 65}),
        ("/api/embed", {"input": "a", "options": {"num_ctx": 65}}),
    ],
)
def test_more_context_than_there_is_is_a_servers_matter(path: str, body: dict[str, Any]) -> None:
    found = asking("POST", path, {"model": "tiny", **body})
    assert found.refused is not None
    assert (found.refused["code"], found.status) == ("invalid-request", 400)
    assert "a context of 64 tokens in this browser, not of 65" in found.refused["message"]
    # Less is no loss.
    text = json.dumps({"model": "tiny", **body}).replace("65", "64")
    assert asking("POST", path, text).status == 200


def test_a_body_is_no_larger_than_the_servers() -> None:
    found = asking("POST", "/v1/chat/completions", " " * (64 * 1024 * 1024 + 1))
    assert (found.status, found.refused) == (413, None)
    assert "67108864 bytes at most" in found.text


def test_requests_are_answered_side_by_side() -> None:
    engine = page_engine()
    engine.gate = asyncio.Event()

    async def both(host: Host, handling: Handling, channel: KeptChannel) -> None:
        while not channel.written:
            await asyncio.sleep(0)
        other = KeptChannel()
        host.handle("GET", "/v1/models", "[]", "", other)
        await other.over.wait()
        assert not channel.over.is_set()
        assert engine.gate is not None
        engine.gate.set()
        await channel.over.wait()

    body = body_of("/v1/chat/completions", stream=True)
    found = asking("POST", "/v1/chat/completions", body, engine=engine, then=both)
    assert found.text.endswith("data: [DONE]\n\n")


def test_a_response_goes_on_with_the_one_before() -> None:
    engine = page_engine()

    async def again(host: Host, handling: Handling, channel: KeptChannel) -> None:
        await channel.over.wait()
        before = json.loads(channel.text)["id"]
        body = {"model": "tiny", "input": "more", "previous_response_id": before}
        for method, path, given in (
            ("POST", "/v1/responses", json.dumps(body)),
            ("GET", f"/v1/responses/{before}", ""),
            ("DELETE", f"/v1/responses/{before}", ""),
        ):
            other = KeptChannel()
            host.handle(method, path, "[]", given, other)
            await other.over.wait()
            assert other.status == 200

    asking("POST", "/v1/responses", {"model": "tiny", "input": "hi"}, engine=engine, then=again)
    assert "[assistant:one twö three][user:more]" in engine.requests[1]["prompt"]


def test_ollamas_lists_of_the_browsers_models() -> None:
    rows = [
        model_row("library/old:latest", created=1),
        model_row("me/new:v1", created=2, loadedBytes=7),
    ]
    tags = json.loads(asking("GET", "/api/tags", engine=page_engine(rows=rows)).text)["models"]
    assert [row["name"] for row in tags] == ["me/new:v1", "old:latest"]
    assert tags[0]["details"]["families"] == ["llama"]
    engine = page_engine(rows=rows, opened={"contextTokens": 48})
    (loaded,) = json.loads(asking("GET", "/api/ps", engine=engine).text)["models"]
    assert (loaded["model"], loaded["size"], loaded["size_vram"]) == ("me/new:v1", 7, 7)
    assert (loaded["context_length"], loaded["details"]["context_length"]) == (48, 64)


def test_a_model_is_shown_with_its_texts_when_it_is_loaded() -> None:
    rows = [model_row("library/tiny:latest")]
    cold = json.loads(
        asking("POST", "/api/show", {"model": "tiny"}, engine=page_engine(rows=rows)).text
    )
    warm_engine = page_engine(rows=[{**rows[0], "loadedBytes": 1}])
    warm = json.loads(asking("POST", "/api/show", {"model": "tiny"}, engine=warm_engine).text)
    assert "template" not in cold
    assert (warm["template"], "temperature" in warm["parameters"]) == (TEMPLATE, True)
    assert cold["model_info"] == {"general.architecture": "llama", "llama.context_length": 64}


def test_a_model_that_nobody_told_of_is_looked_at_when_it_is_loaded() -> None:
    row = {**model_row("library/tiny:latest"), "details": {}, "loadedBytes": 1}
    opened = {"template": "{{ tools }}<think>", "license": "Apache License", "contextTokens": 64}
    engine = page_engine(rows=[row], opened=opened)
    shown = json.loads(asking("POST", "/api/show", {"model": "tiny"}, engine=engine).text)
    assert shown["capabilities"] == ["completion", "tools", "thinking"]
    assert (shown["license"], shown["details"]["context_length"]) == ("Apache License", 64)


def test_a_model_of_vectors_writes_no_text() -> None:
    engine = page_engine(opened={"task": "embed", "template": None})
    found = asking("POST", "/v1/chat/completions", body_of("/v1/chat/completions"), engine=engine)
    assert (found.status, found.refused) == (400, None)
    assert "makes vectors" in found.text


def test_our_own_faults_say_nothing_of_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    engine = page_engine()
    engine._open = lambda given: {"name": "tiny"}  # type: ignore[method-assign]
    found = asking("POST", "/v1/chat/completions", body_of("/v1/chat/completions"), engine=engine)
    assert found.refused == {
        "code": "internal",
        "message": "the server failed; its log says why",
    }
    assert "KeyError" in capsys.readouterr().err


def test_an_id_of_the_clients_own_is_kept() -> None:
    found = asking("GET", "/v1/models", headers={"X-Request-Id": "mine-1"})
    assert found.headers["x-request-id"] == "mine-1"
    other = asking("GET", "/v1/models", headers={"X-Request-Id": "not sane"})
    assert other.headers["x-request-id"].startswith("req_")


def test_it_starts_without_what_a_page_does_not_have() -> None:
    """What Pyodide would have to load, or has not."""
    unwanted = (
        "flask",
        "ssl",
        "socket",
        "multiprocessing",
        "subprocess",
        "email",
        "http",
        "difflib",
    )
    code = (
        "import sys, asyncio; before = set(sys.modules); import transom_pyodide.host\n"
        f"print(*sorted(set({unwanted!r}) & (set(sys.modules) - before)))\n"
        "print(*[name for name in sys.modules if name.startswith('transom_server')])\n"
        "print(*[name for name in sys.modules if name.startswith('transom_api.openapi')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_what_warms_up_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Its template is one that renders; an error would show in the page's console."""
    warm_up()
    warm_up()
    assert capsys.readouterr() == ("", "")
