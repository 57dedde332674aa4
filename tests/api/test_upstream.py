"""A server in front of another one: the same greedy answers in every dialect, and who answers when
the other one has gone."""

import json
import os
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.commands import Server, serve

Read = Callable[[Any], Any]
MESSAGES = [{"role": "user", "content": "Name three colours of the rainbow."}]
TOOL = {"name": "weather", "description": "The weather", "parameters": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

# Name -> route, body without the model, and what has to be the same of the answer.
ASKED: dict[str, tuple[str, dict[str, Any], Read]] = {
    "chat": (
        "/v1/chat/completions",
        {"messages": MESSAGES, "max_tokens": 12, "n": 2, "logprobs": True, "top_logprobs": 2},
        lambda body: [
            (row["message"]["content"], row["finish_reason"], _shape(row["logprobs"]))
            for row in body["choices"]
        ],
    ),
    "stop": (
        "/v1/chat/completions",
        {"messages": MESSAGES, "max_tokens": 40, "stop": [","]},
        lambda body: (body["choices"], body["usage"]["completion_tokens"]),
    ),
    "schema": (
        "/v1/chat/completions",
        {
            "messages": MESSAGES,
            "max_tokens": 20,
            "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}},
        },
        lambda body: body["choices"],
    ),
    "call": (
        "/v1/chat/completions",
        {
            "messages": MESSAGES,
            "max_tokens": 40,
            "tools": [{"type": "function", "function": TOOL}],
            "tool_choice": "required",
        },
        lambda body: [call["function"] for call in body["choices"][0]["message"]["tool_calls"]],
    ),
    "text": (
        "/v1/completions",
        {"prompt": "The sky is", "max_tokens": 8, "logprobs": 2},
        lambda body: [(row["text"], row["logprobs"]["tokens"]) for row in body["choices"]],
    ),
    "messages": (
        "/v1/messages",
        {"messages": MESSAGES, "max_tokens": 12},
        lambda body: (body["content"], body["stop_reason"], body["usage"]["output_tokens"]),
    ),
    "stopped": (
        "/v1/messages",
        {"messages": MESSAGES, "max_tokens": 40, "stop_sequences": [","]},
        lambda body: (body["content"], body["stop_reason"], body["stop_sequence"]),
    ),
    "responses": (
        "/v1/responses",
        {"input": "Name three colours.", "max_output_tokens": 12},
        lambda body: [row["content"][0]["text"] for row in body["output"]],
    ),
    "ollama": (
        "/api/chat",
        {"messages": MESSAGES, "stream": False, "options": {"num_predict": 12}},
        lambda body: (body["message"], body["done_reason"], body["eval_count"]),
    ),
    "generate": (
        "/api/generate",
        {"prompt": "The sky is", "raw": True, "stream": False, "options": {"num_predict": 8}},
        lambda body: body["response"],
    ),
    "vectors": (
        "/v1/embeddings",
        {"input": ["red", "blue"]},
        lambda body: [[round(x, 4) for x in row["embedding"]] for row in body["data"]],
    ),
    "tokens": ("/tokenize", {"content": "Hello there"}, lambda body: body["tokens"]),
    "count": (
        "/v1/messages/count_tokens",
        {"messages": MESSAGES},
        lambda body: body["input_tokens"],
    ),
}


@pytest.fixture(scope="module")
def behind(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The other server."""
    with serve(models, tmp_path_factory.mktemp("behind") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def front(behind: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("front")
    with serve(folder / "models", folder / "log", "--settings", settings(folder, behind)) as server:
        yield server


def settings(folder: Path, other: Server, ours: str = "big:7b") -> str:
    path = folder / "transom.toml"
    table = f'url = "{other.address}/v1"\nkind = "transom"\nmodels = {{"{ours}" = "smollm2"}}\n'
    path.write_text(f"[[upstream]]\n{table}")
    return str(path)


def post(server: Server, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(server.address + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@pytest.mark.parametrize("name", ASKED)
def test_the_answer_is_the_same(front: Server, behind: Server, name: str) -> None:
    path, body, read = ASKED[name]
    direct = read(post(behind, path, {"model": "smollm2", **body}))
    assert direct
    assert read(post(front, path, {"model": "big:7b", **body})) == direct


def test_a_stream_is_the_same(front: Server, behind: Server) -> None:
    # Tokens that come together are one piece, of a few at most: so many are several, however late
    # anybody is.
    body = {"messages": MESSAGES, "max_tokens": 64, "ignore_eos": True, "stream": True}
    found = []
    for server, model in ((behind, "smollm2"), (front, "big:7b")):
        data = json.dumps({"model": model, **body}).encode()
        request = urllib.request.Request(server.address + "/v1/chat/completions", data)
        with urllib.request.urlopen(request, timeout=120) as answer:
            lines = [line[6:].strip() for line in answer if line.startswith(b"data: ")]
        assert lines[-1] == b"[DONE]"
        rows = [json.loads(line)["choices"][0] for line in lines[:-1]]
        words = [row["delta"].get("content") or "" for row in rows]
        assert len(words) > 4
        found.append(
            ("".join(words), [row["finish_reason"] for row in rows if row["finish_reason"]])
        )
    assert found[0] == found[1]


def test_a_model_of_its_own_answers_when_the_other_server_has_gone(
    models: Path, tmp_path: Path
) -> None:
    body = {"model": "smollm2", "messages": MESSAGES, "max_tokens": 3}
    with serve(models, tmp_path / "behind.log") as behind:
        file = settings(tmp_path, behind, "smollm2")
        with serve(models, tmp_path / "front.log", "--settings", file) as front:
            first = post(front, "/v1/chat/completions", body)["choices"]
            assert _loaded(front) == _loaded(behind) == 1
            _end(behind)
            assert post(front, "/v1/chat/completions", body)["choices"] == first
            with urllib.request.urlopen(f"{front.address}/readyz") as answer:
                assert list(json.load(answer)["upstreams"].values()) == ["failing"]


def test_nobody_left_is_a_502_that_names_the_server(tmp_path: Path, models: Path) -> None:
    with serve(models, tmp_path / "behind.log") as behind:
        file = settings(tmp_path, behind)
        with serve(tmp_path / "models", tmp_path / "log", "--settings", file) as front:
            _end(behind)
            with pytest.raises(urllib.error.HTTPError) as caught:
                post(front, "/api/chat", {"model": "big:7b", "messages": MESSAGES})
            assert caught.value.code == 502
            assert behind.address.split("//")[1] in json.load(caught.value)["error"]


def _loaded(server: Server) -> int:
    with urllib.request.urlopen(f"{server.address}/api/ps") as answer:
        return len(json.load(answer)["models"])


def _end(server: Server) -> None:
    """As a machine that loses its power."""
    os.kill(server.pid, signal.SIGKILL)
    time.sleep(0.5)


def _shape(logprobs: Any) -> Any:
    """Tokens and how many others: batches of another size differ in the last digits."""
    return [(row["token"], len(row["top_logprobs"])) for row in logprobs["content"]]
