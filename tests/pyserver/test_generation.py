"""pytest tests/pyserver/test_generation.py: /api/chat, /api/generate and /api/ps over a socket.

The official `ollama` client asks; llama.cpp answers, with tiny random models. Where an answer has
to stop at a certain point, a fake engine gives it.
"""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from tests.fakes.fake_engine import FakeLoader
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.bundles import write_bundle
from tests.pyserver.native_models import OPTIONS, put_native
from transom_models.manifest import Index
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.exchange.bundle_import import import_bundle
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 30
HELLO = {"role": "user", "content": "hello"}
SHORT = {"num_predict": 5}
# These random weights go on for thousands of tokens.
ENDLESS = tiny_llama(seed=1, metadata={"llama.context_length": 65536}).to_bytes()
WITHOUT_TEMPLATE = tiny_llama(metadata={"tokenizer.chat_template": None}).to_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generation") / "models"
    store = Store(folder)
    put_native(store, "tiny")
    put_native(
        store,
        "mine",
        system="be brief",
        template="{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}",
        parameters={**OPTIONS, "num_predict": 2, "num_ctx": 128},
        messages=[{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}],
    )
    put_native(store, "go", template="{{ .System }}|{{ .Prompt }}|{{ .Response }}")
    put_native(store, "endless", ENDLESS, parameters={**OPTIONS, "num_ctx": 32768})
    put_native(store, "plain", WITHOUT_TEMPLATE)
    put_native(
        store,
        "alternate",
        template="{{ raise_exception('roles must alternate') }}{% if 1 %}{% endif %}",
    )
    put_native(store, "broken", template="{% if %}")
    put_native(store, "junk", b"GGUF" + bytes(64))
    bundle = write_bundle(folder.parent / "bundle")
    import_bundle(store, bundle.folder, ModelName.parse("both"), bundle.files)
    rows = store.get_index(ModelName.parse("both")).index.manifests
    browser = Index(tuple(row for row in rows if row.platform and row.platform.os == "browser"))
    store.put_index(ModelName.parse("browser-only"), browser)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[ollama.Client]:
    client = ollama.Client(server.url, timeout=SECONDS)
    yield client
    client._client.close()


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> FakeLoader:
    """Fake engines instead of llama.cpp, in servers made after this."""
    loader = FakeLoader("one", " two", " three")
    monkeypatch.setattr("transom_server.engines.choice.LlamaCpp", loader)
    return loader


@pytest.fixture
def faked(folder: Path, loader: FakeLoader) -> Iterator[Server]:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


def post(server: Server, path: str, body: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(server.url + path, content=content, timeout=SECONDS)


# Answers


def test_a_stream_says_what_a_whole_answer_says(client: ollama.Client) -> None:
    parts = list(client.chat("tiny", [HELLO], stream=True, options=SHORT))
    whole = client.chat("tiny", [HELLO], options=SHORT)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    for last in (parts[-1], whole):
        assert last.done_reason == "length"
        assert last.eval_count == 5
        # <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n
        assert last.prompt_eval_count == 20
        assert (last.total_duration or 0) >= (last.eval_duration or 0) > 0


def test_generate_goes_through_the_template_unless_raw(client: ollama.Client) -> None:
    chat = client.chat("tiny", [HELLO], options=SHORT)
    generated = client.generate("tiny", "hello", options=SHORT)
    assert generated.response == chat.message.content
    raw = client.generate("tiny", "hello", raw=True, options=SHORT)
    assert raw.prompt_eval_count == 1


def test_layers_of_the_model_are_its_defaults(faked: Server, loader: FakeLoader) -> None:
    post(faked, "/api/chat", {"model": "mine", "messages": [HELLO], "stream": False})
    own = {"role": "system", "content": "other"}
    options = {"num_predict": 7, "stop": ["x"], "seed": 3}
    body = {"model": "mine", "messages": [own, HELLO], "options": options, "stream": False}
    post(faked, "/api/chat", body)
    prompts = {"model": "mine", "prompt": "p", "system": "s", "stream": False}
    post(faked, "/api/generate", prompts)
    post(faked, "/api/generate", {**prompts, "template": "{{ .Prompt }}", "system": ""})
    post(faked, "/api/generate", {**prompts, "raw": True})
    (engine,) = loader.loaded
    assert [request.prompt for request in engine.requests] == [
        "[system:be brief][user:1][assistant:2][user:hello]",
        "[system:other][user:1][assistant:2][user:hello]",
        "[system:s][user:1][assistant:2][user:p]",
        "12p",
        "p",
    ]
    first, second, *_ = engine.requests
    assert (first.max_tokens, second.max_tokens) == (2, 7)
    assert (second.stop, second.sampling.seed) == (("x",), 3)
    assert loader.options[0].context_tokens == 128


def test_a_go_template_of_an_ollama_model(faked: Server, loader: FakeLoader) -> None:
    post(faked, "/api/generate", {"model": "go", "prompt": "p", "system": "s", "stream": False})
    assert loader.loaded[0].requests[0].prompt == "s|p|"


def test_without_a_template_a_prompt_alone_is_continued(
    client: ollama.Client, server: Server
) -> None:
    assert client.generate("plain", "hello", options=SHORT).prompt_eval_count == 1
    answer = post(server, "/api/chat", {"model": "plain", "messages": [HELLO]})
    assert answer.status_code == 400
    assert "plain has no chat template" in answer.json()["error"]
    body = {"model": "plain", "messages": [HELLO]}
    # Our page then continues the text.
    assert post(server, "/v1/chat/completions", body).json()["error"]["code"] == "no_chat_template"


def test_json(client: ollama.Client) -> None:
    schema = {"enum": ["yes", "no"]}
    answer = client.generate("tiny", "hello", format=schema)
    assert json.loads(answer.response or "") in ("yes", "no")


def test_log_probabilities(client: ollama.Client) -> None:
    asked: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "options": SHORT}
    whole = client.chat("tiny", [HELLO], **asked)
    assert whole.logprobs is not None
    assert [len(row.top_logprobs or ()) for row in whole.logprobs] == [2] * len(whole.logprobs)
    assert whole.logprobs[0].logprob == whole.logprobs[0].top_logprobs[0].logprob
    parts = list(client.chat("tiny", [HELLO], stream=True, **asked))
    streamed = [row for part in parts for row in part.logprobs or ()]
    assert [row.token for row in streamed] == [row.token for row in whole.logprobs]
    generated = client.generate("tiny", "hello", **asked)
    assert [row.token for row in generated.logprobs or ()] == [row.token for row in streamed]


CALLS = "{{ messages[-1].content }}{% if tools %}<tool_call>{{ tools | tojson }}{% endif %}"


def test_thoughts_are_told_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with saying("hm", "m</think>", "\n\nyes", folder=folder, monkeypatch=monkeypatch) as server:
        client = ollama.Client(server.url, timeout=SECONDS)
        put_native(Store(folder), "thinker", template="{{ messages[-1].content }}<think>\n")
        parts = list(client.chat("thinker", [HELLO], stream=True, think=True))
        whole = client.generate("thinker", "hello", think="high")
        client._client.close()
    assert "".join(part.message.thinking or "" for part in parts) == "hmm"
    assert "".join(part.message.content or "" for part in parts).strip() == "yes"
    assert (whole.thinking, (whole.response or "").strip()) == ("hmm", "yes")


def test_calls_of_tools_have_their_arguments_as_objects(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": [2]}}\n</tool_call>'
    pieces = [said[start : start + 9] for start in range(0, len(said), 9)]
    add = {
        "type": "function",
        "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
    }
    with saying(*pieces, folder=folder, monkeypatch=monkeypatch) as server:
        client = ollama.Client(server.url, timeout=SECONDS)
        put_native(Store(folder), "caller", template=CALLS)
        whole = client.chat("caller", [HELLO], tools=[add])
        parts = list(client.chat("caller", [HELLO], tools=[add], stream=True))
        again: list[Any] = [
            HELLO,
            whole.message,
            {"role": "tool", "tool_name": "add", "content": "3"},
        ]
        assert client.chat("caller", again, tools=[add]).done_reason == "stop"
        client._client.close()
    assert whole.message.tool_calls is not None
    (call,) = whole.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("add", {"a": 1, "b": [2]})
    (part,) = (part for part in parts if part.message.tool_calls)
    assert part.message.tool_calls[0].function == call.function  # type: ignore[index]
    assert [part.done_reason for part in parts if part.done] == ["stop"]


@contextmanager
def saying(*pieces: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose models all say this."""
    loader = FakeLoader(*pieces)
    monkeypatch.setattr("transom_server.engines.choice.LlamaCpp", loader)
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


# What is loaded


def test_ps_keep_alive_load_and_unload(client: ollama.Client) -> None:
    assert client.generate("tiny", keep_alive="2m").done_reason == "load"
    (row,) = (model for model in client.ps().models if model.model == "tiny:latest")
    assert (row.size or 0) > 1_000_000
    assert row.context_length == 256
    assert row.details is not None
    assert (row.details.family, row.details.quantization_level) == ("llama", "Q4_1")
    assert row.expires_at is not None
    left = row.expires_at - datetime.now(UTC)
    assert timedelta(seconds=90) < left <= timedelta(seconds=120)
    client.chat("tiny", [HELLO], keep_alive=-1, options=SHORT)
    (row,) = (model for model in client.ps().models if model.model == "tiny:latest")
    assert row.expires_at is not None
    assert row.expires_at.year > 2200
    assert client.generate("tiny", keep_alive=0).done_reason == "unload"
    assert "tiny:latest" not in [model.model for model in client.ps().models]
    client.chat("tiny", [HELLO], keep_alive=0, options=SHORT)
    assert "tiny:latest" not in [model.model for model in client.ps().models]


def test_nothing_is_left_when_the_server_ends(folder: Path) -> None:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    before = children()
    with serving(create_app(config), config) as running:
        post(running, "/api/generate", {"model": "tiny", "stream": False})
        assert len(children() - before) == 1
    assert children() <= before


# What goes wrong


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("chat", b"{", 400, "not JSON"),
        ("chat", b"[" * 100_000, 400, "not JSON"),
        ("chat", {"messages": [HELLO]}, 400, "model: is missing"),
        ("chat", {"model": "../x", "messages": [HELLO]}, 400, "model name"),
        ("chat", {"model": "none", "messages": [HELLO]}, 404, "no model none in the store"),
        ("chat", {"model": "tiny", "messages": [HELLO], "tools": [{}]}, 400, "tools"),
        (
            "chat",
            {"model": "tiny", "messages": [{**HELLO, "images": ["R0lGODlhAQABAA=="]}]},
            400,
            "no images",
        ),
        (
            "chat",
            {"model": "tiny", "messages": [{**HELLO, "content": "hello" * 300}]},
            400,
            "num_ctx",
        ),
        ("chat", {"model": "alternate", "messages": [HELLO]}, 400, "roles must alternate"),
        ("chat", {"model": "broken", "messages": [HELLO]}, 400, "TemplateSyntaxError"),
        ("chat", {"model": "browser-only", "messages": [HELLO]}, 400, "no native platform"),
        ("chat", {"model": "junk", "messages": [HELLO]}, 500, "cannot load this model"),
        ("generate", {"model": "tiny", "prompt": "p", "suffix": "s"}, 400, "suffix"),
        ("generate", {"model": "none", "keep_alive": 0}, 404, "no model none"),
        ("generate", {"model": "tiny", "prompt": "p", "options": {"top_p": 2}}, 400, "top_p"),
        ("generate", {"model": "tiny", "prompt": "p", "format": {"$ref": "#/x"}}, 400, "schema"),
    ],
)
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_errors_have_a_status_and_a_reason(
    server: Server, path: str, body: Any, status: int, reason: str, stream: bool
) -> None:
    if isinstance(body, dict):
        body = {**body, "stream": stream}
    answer = post(server, f"/api/{path}", body)
    assert answer.status_code == status
    assert reason in answer.json()["error"]


def test_a_killed_child_is_an_error_line_and_the_next_request_works(
    server: Server, client: ollama.Client
) -> None:
    before = children()
    client.generate("endless")
    (child,) = children() - before
    body = json.dumps({"model": "endless", "prompt": "hello w", "raw": True})
    address = server.url + "/api/generate"
    with httpx.stream("POST", address, content=body, timeout=SECONDS) as answer:
        lines = answer.iter_lines()
        assert "error" not in json.loads(next(lines))
        os.kill(child, signal.SIGKILL)
        *_, last = lines
    assert "ended by SIGKILL; ask again" in json.loads(last)["error"]
    assert client.chat("endless", [HELLO], options=SHORT).eval_count == 5


def test_a_client_that_goes_away_lets_go_of_the_model(faked: Server, loader: FakeLoader) -> None:
    """After the first line, and while it waits for the next one."""
    loader.go.clear()
    address = ("127.0.0.1", faked.port)
    body = json.dumps({"model": "tiny", "messages": [HELLO]}).encode()
    with socket.create_connection(address, timeout=SECONDS) as connection:
        head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        received = b""
        while b"one" not in received:
            received += connection.recv(4096)
    assert loader.loaded[0].cancelled.wait(SECONDS)
    loader.go.set()
    answer = post(faked, "/api/chat", {"model": "tiny", "messages": [HELLO], "stream": False})
    assert answer.json()["message"]["content"] == "one two three"


def test_a_server_that_ends_waits_for_no_answer(folder: Path, loader: FakeLoader) -> None:
    loader.go.clear()
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    body = json.dumps({"model": "tiny", "messages": [HELLO]})
    with serving(create_app(config), config) as running:
        client = httpx.Client(timeout=SECONDS)
        stream = client.stream("POST", running.url + "/api/chat", content=body)
        answer = stream.__enter__()
        assert "one" in next(answer.iter_lines())
    assert loader.loaded[0].closed.is_set()
    assert loader.loaded[0].cancelled.wait(SECONDS)
    client.close()


def children() -> set[int]:
    """The llama.cpp processes of this one."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            command = (path / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid() and b"llama_cpp_child" in command:
            found.add(int(path.name))
    return found
