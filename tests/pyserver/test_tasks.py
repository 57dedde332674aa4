"""pytest tests/pyserver/test_tasks.py: vectors, scores and tokens over a socket, by the official
clients of `ollama` and `openai`, from tiny random models in llama.cpp."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import ollama
import openai
import pytest

from tests.fakes.fake_engine import FakeLoader
from tests.fakes.tiny_bert import POSITIONS, WIDTH, tiny_bert
from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.app import create_app
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 30
TEXTS = ["the cat sat on the mat", "a dog runs"]
LONG = "cat " * (POSITIONS + 10)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tasks") / "models"
    store = Store(folder)
    put_native(store, "bert", tiny_bert().to_bytes(), parameters={"num_thread": 1})
    reranker = tiny_bert(pooling=4, scores=True).to_bytes()
    put_native(store, "reranker", reranker, parameters={"num_thread": 1})
    put_native(store, "tiny", parameters={**OPTIONS, "num_predict": 3})
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[ollama.Client]:
    client = ollama.Client(server.url, timeout=SECONDS)
    yield client
    client._client.close()


def post(server: Server, path: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, timeout=SECONDS)


def test_the_ollama_client_embeds(client: ollama.Client) -> None:
    found = client.embed("bert", TEXTS)
    assert found.prompt_eval_count == 8 + 5
    assert found.total_duration is not None
    vectors = np.asarray(found.embeddings)
    assert vectors.shape == (2, WIDTH)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    alone = client.embed("bert", TEXTS[0]).embeddings
    assert np.allclose(alone, vectors[:1], atol=1e-6)
    old = client.embeddings("bert", TEXTS[0]).embedding
    assert np.allclose(old, vectors[0], atol=1e-6)
    assert client.embeddings("bert", "").embedding == []
    assert client.embed("bert", []).embeddings == []


def test_fewer_dimensions(client: ollama.Client) -> None:
    whole = client.embed("bert", "a dog").embeddings[0]
    short = client.embed("bert", "a dog", dimensions=8).embeddings[0]
    assert math.isclose(math.hypot(*short), 1, rel_tol=1e-5)
    scale = short[0] / whole[0]
    assert np.allclose(np.asarray(whole[:8]) * scale, short, atol=1e-6)
    with pytest.raises(ollama.ResponseError, match=f"dimensions: .* only {WIDTH}") as caught:
        client.embed("bert", "a dog", dimensions=WIDTH + 1)
    assert caught.value.status_code == 400


def test_what_is_too_long_is_cut_and_says_so(server: Server, client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match=rf"tokens.*holds {POSITIONS}") as caught:
        client.embed("bert", LONG, truncate=False)
    assert caught.value.status_code == 400
    cut = client.embed("bert", [LONG, "a dog"])
    answer = post(server, "/api/embed", model="bert", input=["a dog", LONG]).json()
    assert answer["truncated"] == [1]
    assert "truncated" not in post(server, "/api/embed", model="bert", input="a dog").json()
    assert cut.prompt_eval_count == POSITIONS + 4
    # The beginning, with the separator at its end.
    fits = client.embed("bert", "cat " * (POSITIONS - 2))
    assert np.allclose(cut.embeddings[0], fits.embeddings[0], atol=1e-5)


def test_a_model_that_writes_embeds_what_it_can_hold(server: Server) -> None:
    options = {"num_ctx": 256}
    answer = post(server, "/api/embed", model="tiny", input="hello " * 999, options=options)
    assert (answer.status_code, answer.json().get("truncated")) == (200, [0])


@pytest.mark.parametrize("context", [1, 2, 7, POSITIONS - 1, POSITIONS + 1])
def test_any_context_can_be_asked_for(server: Server, context: int) -> None:
    body = {"model": "bert", "input": "", "options": {"num_ctx": context}}
    assert post(server, "/api/embed", **body).status_code == 200


@pytest.mark.parametrize(
    "options",
    [
        {"num_batch": 1},
        {"num_batch": 3},
        {"repeat_last_n": -1, "repeat_penalty": 1.5},
        {"repeat_last_n": 2**31 - 1, "repeat_penalty": 1.5},
    ],
)
def test_options_at_their_bounds(server: Server, options: dict[str, float]) -> None:
    body = {"model": "tiny", "prompt": "a", "options": options, "stream": False}
    assert post(server, "/api/generate", **body).status_code == 200


def test_the_openai_client_embeds(server: Server, client: ollama.Client) -> None:
    expected = client.embed("bert", TEXTS).embeddings
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as other:
        found = other.embeddings.create(model="bert", input=TEXTS)
        assert np.allclose([row.embedding for row in found.data], expected, atol=1e-6)
        assert (found.usage.prompt_tokens, found.model) == (13, "bert")
        ids = post(server, "/tokenize", model="bert", prompt=TEXTS[0]).json()["tokens"]
        by_ids = other.embeddings.create(model="bert", input=ids, encoding_format="float")
        assert np.allclose(by_ids.data[0].embedding, expected[0], atol=1e-6)
        with pytest.raises(openai.BadRequestError) as caught:
            other.embeddings.create(model="bert", input=LONG)
        assert "tokens" in caught.value.message


def test_a_chat_model_embeds_beside_its_answers(client: ollama.Client) -> None:
    one, other = client.embed("tiny", ["hello w", "hello"]).embeddings
    assert abs(np.dot(one, other)) < 0.999
    assert client.generate("tiny", "hello").eval_count == 3
    assert [row.model for row in client.ps().models].count("tiny:latest") == 2


@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/reranking", "/rerank", "/reranking"])
def test_rerank(server: Server, path: str) -> None:
    documents = ["the cat sat", "the sea is blue", "a dog runs fast"]
    answer = post(server, path, model="reranker", query="the cat", documents=documents).json()
    rows = answer["results"]
    assert sorted(row["index"] for row in rows) == [0, 1, 2]
    scores = [row["relevance_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert answer["usage"]["prompt_tokens"] > 10
    best = post(
        server,
        path,
        model="reranker",
        query="the cat",
        documents=[{"text": document} for document in documents],
        top_n=1,
        return_documents=True,
    ).json()["results"]
    assert best == [{**rows[0], "document": {"text": documents[rows[0]["index"]]}}]


def test_tokens(server: Server) -> None:
    def tokens(**body: Any) -> Any:
        return post(server, "/tokenize", model="tiny", **body).json()["tokens"]

    ids = tokens(content="<|im_end|>hello w")
    assert len(ids) == 3
    assert len(tokens(content="<|im_end|>hello w", parse_special=False)) > 3
    text = post(server, "/detokenize", model="tiny", tokens=ids).json()["content"]
    assert text == "<|im_end|>hello w"
    assert len(tokens(content="")) == 0
    around = post(server, "/tokenize", model="bert", content="cat", add_special=True).json()
    assert (around["count"], around["max_model_len"]) == (3, POSITIONS)


@pytest.mark.parametrize(
    ("path", "body", "problem"),
    [
        ("/api/embed", {"model": "reranker", "input": "a"}, "scores documents; ask /v1/rerank"),
        ("/api/embed", {"model": "bert", "input": [1]}, r"input\[0\]: must be a string"),
        ("/api/embed", {"input": "a"}, "model: is missing"),
        ("/api/embed", {"model": "bert", "options": {"num_ctx": "x"}}, "options.num_ctx"),
        ("/api/embeddings", {"model": "bert", "prompt": 1}, "prompt: must be a string"),
        ("/v1/rerank", {"model": "bert", "query": "a", "documents": []}, "ask a reranker"),
        ("/v1/rerank", {"model": "reranker", "documents": []}, "query: is missing"),
        ("/v1/rerank", {"model": "reranker", "query": "a"}, "documents: is missing"),
        ("/v1/rerank", {"model": "m", "query": "a", "documents": [1]}, r"documents\[0\]: must"),
        ("/tokenize", {"model": "tiny"}, "content: is missing"),
        ("/tokenize", {"content": "a"}, "model: is missing"),
        ("/detokenize", {"model": "tiny", "tokens": [-1]}, r"tokens\[0\]"),
        ("/detokenize", {"model": "tiny"}, "tokens: is missing"),
    ],
)
def test_what_is_refused(server: Server, path: str, body: dict[str, Any], problem: str) -> None:
    answer = post(server, path, **body)
    assert answer.status_code == 400
    assert re.search(problem, answer.text), answer.text


def test_a_token_that_there_is_not(server: Server) -> None:
    answer = post(server, "/detokenize", model="tiny", tokens=[3, 2**31 - 1])
    assert (answer.status_code, "no token 2147483647" in answer.text) == (400, True)
    answer = post(server, "/v1/embeddings", model="bert", input=[[3, 5000]])
    assert (answer.status_code, "no token 5000" in answer.text) == (400, True)
    assert post(server, "/tokenize", model="tiny", content="hello").status_code == 200


def test_the_settings_reach_the_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = FakeLoader("a")
    monkeypatch.setattr("transom_server.engines.choice.LlamaCpp", loader)
    put_native(Store(tmp_path), "tiny", parameters={"num_ctx": 128})
    app = create_app(
        Config.read(
            {
                "TRANSOM_MODELS": str(tmp_path),
                "TRANSOM_PARALLEL": "3",
                "TRANSOM_KV_TYPE": "q8_0",
            }
        )
    )
    client = app.test_client()
    for path, body in (("/api/generate", {"prompt": "a"}), ("/api/embed", {"input": "a"})):
        assert client.post(path, json={"model": "tiny", "stream": False, **body}).status_code == 200
    app.extensions["transom_close"]()
    one, two = loader.options
    assert (one.context_tokens, one.parallel, one.kv_type, one.task) == (128, 3, "q8_0", "generate")
    assert (two.task, two.pooling, two.parallel) == ("embed", "last", 3)
