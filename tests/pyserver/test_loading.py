"""pytest tests/pyserver/test_loading.py: how models are loaded, and who is told that one is not.

llama.cpp with tiny random models, asked in each dialect.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fakes.tiny_bert import tiny_bert
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.app import create_app
from transom_server.engines.llama_cpp_process import LlamaCppProcess
from transom_server.settings.config import Config
from transom_server.store import Store

TRAINED = 1024
HELLO = [{"role": "user", "content": "hello"}]
ONE_THREAD = {"num_thread": 1}
# Whole in its header, and cut off in its weights.
CUT = tiny_llama(seed=2).to_bytes()[:-20_000]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("loading") / "models"
    store = Store(folder)
    tiny = tiny_llama(metadata={"llama.context_length": TRAINED}).to_bytes()
    put_native(store, "tiny", tiny, parameters={**OPTIONS, "num_predict": 2})
    put_native(store, "bert", tiny_bert().to_bytes(), parameters=ONE_THREAD)
    reranker = tiny_bert(pooling=4, scores=True).to_bytes()
    put_native(store, "reranker", reranker, parameters=ONE_THREAD)
    put_native(store, "cut", CUT)
    app = create_app(Config.read({"TRANSOM_MODELS": str(folder)}))
    yield app.test_client()
    app.extensions["transom_close"]()


@pytest.mark.parametrize("asked", [100_000, 512, None])
def test_no_more_context_than_a_model_was_trained_for(
    client: FlaskClient, asked: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    client.post("/api/generate", json={"model": "tiny", "keep_alive": 0})
    options = {} if asked is None else {"num_ctx": asked}
    body = {"model": "tiny", "prompt": "hello", "stream": False, "options": options}
    assert client.post("/api/generate", json=body).status_code == 200
    (row,) = [
        row for row in client.get("/api/ps").get_json()["models"] if row["model"] == "tiny:latest"
    ]
    assert row["context_length"] == min(asked or TRAINED, TRAINED)
    # Keys and values of 100,000 tokens would be 50 MB in four slots.
    assert row["size"] < 60_000_000
    told = [line for line in caplog.messages if "trained for 1024 tokens" in line]
    assert len(told) == (asked == 100_000)
    if told:
        assert "100000 (num_ctx)" in told[0]
        assert client.post("/api/generate", json=body).status_code == 200
        assert len([line for line in caplog.messages if "trained for" in line]) == 1


@pytest.mark.parametrize("card_bytes", [0, 5_000_000])
def test_what_is_on_a_graphics_card_is_told(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, card_bytes: int
) -> None:
    """Stands in for a card: the build of llama.cpp here knows none, so 0 is what it says itself."""
    if card_bytes:
        taken = property(lambda _: card_bytes, _ignored)
        monkeypatch.setattr(LlamaCppProcess, "gpu_bytes", taken, raising=False)
    client.post("/api/generate", json={"model": "tiny", "keep_alive": 0})
    client.post("/api/generate", json={"model": "tiny", "prompt": "hello", "stream": False})
    (row,) = [
        row for row in client.get("/api/ps").get_json()["models"] if row["model"] == "tiny:latest"
    ]
    assert row["size_vram"] == card_bytes
    assert row["size"] > card_bytes


def _ignored(process: object, value: int) -> None: ...


def test_a_prompt_over_all_that_it_was_trained_for(client: FlaskClient) -> None:
    body = {"model": "tiny", "prompt": "hello" * 1100, "raw": True, "options": {"num_ctx": 9999}}
    answer = client.post("/api/generate", json=body)
    assert answer.status_code == 400
    assert "all that this model was trained for; shorten" in answer.get_json()["error"]
    body["options"] = {"num_ctx": 512}
    assert "larger num_ctx" in client.post("/api/generate", json=body).get_json()["error"]


CHATS: list[tuple[str, dict[str, Any]]] = [
    ("/api/chat", {"messages": HELLO}),
    ("/api/generate", {"prompt": "hello"}),
    ("/v1/chat/completions", {"messages": HELLO}),
    ("/v1/completions", {"prompt": "hello"}),
    ("/v1/responses", {"input": "hello"}),
    ("/v1/messages", {"messages": HELLO, "max_tokens": 5}),
    ("/v1/messages/count_tokens", {"messages": HELLO}),
]


@pytest.mark.parametrize(("path", "body"), CHATS, ids=[path for path, _ in CHATS])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("model", "does"), [("bert", "makes vectors"), ("reranker", "scores documents")]
)
def test_what_writes_no_text_is_not_asked_to(
    client: FlaskClient, path: str, body: dict[str, Any], stream: bool, model: str, does: str
) -> None:
    answer = client.post(path, json={"model": model, "stream": stream, **body})
    assert answer.status_code == 400, answer.text
    error = answer.get_json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert re.fullmatch(rf"{model} writes no text, it {does} \(/v1/\w+\); .*", message)


@pytest.mark.parametrize(("path", "body"), CHATS[:6], ids=[path for path, _ in CHATS[:6]])
def test_a_damaged_file_is_one_clear_error(
    client: FlaskClient, path: str, body: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    answer = client.post(path, json={"model": "cut", "stream": False, **body})
    assert answer.status_code == 500
    error = answer.get_json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert re.match(r"cut: llama.cpp cannot load this model: ", message)
    assert "`transom verify cut`" in message
    assert str(tmp_path_factory.getbasetemp()) not in message
    assert "/sha256/" not in message
