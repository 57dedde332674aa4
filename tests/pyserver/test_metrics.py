"""pytest tests/pyserver/test_metrics.py: what the server counts, and that it is no secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.fakes.tiny_bert import tiny_bert
from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.app import create_app
from transom_server.metrics import BUCKETS, Metrics
from transom_server.settings.config import Config
from transom_server.store import Store


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    put_native(Store(tmp_path / "models"), "tiny", parameters={**OPTIONS, "num_ctx": 256})
    app = create_app(Config.read({"TRANSOM_MODELS": str(tmp_path / "models")}))
    yield app.test_client()
    app.extensions["transom_close"]()


def values(text: str) -> dict[str, float]:
    rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in rows}


def test_answers_tokens_and_models_are_counted(client: FlaskClient) -> None:
    body = {"model": "tiny", "prompt": "hellosecret", "raw": True, "stream": False}
    body["options"] = {"num_predict": 3}
    answer = client.post("/api/generate", json=body).get_json()
    client.get("/api/secret")
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = values(response.text)
    asked = 'method="POST",route="/api/generate",status="200"'
    assert found[f"transom_requests_total{{{asked}}}"] == 1
    assert found['transom_request_seconds_count{route="/api/generate"}'] == 1
    assert found['transom_tokens_total{kind="prompt"}'] == answer["prompt_eval_count"] > 0
    assert found['transom_tokens_total{kind="completion"}'] == answer["eval_count"] > 0
    assert found["transom_loaded_models"] == 1
    assert found["transom_loaded_bytes"] > 10_000_000
    assert found["transom_waiting_requests"] == 0
    assert "secret" not in response.text


def test_tokens_of_vectors_and_scores_count_too(client: FlaskClient, tmp_path: Path) -> None:
    store = Store(tmp_path / "models")
    put_native(store, "bert", tiny_bert().to_bytes(), parameters={"num_thread": 1})
    reranker = tiny_bert(pooling=4, scores=True).to_bytes()
    put_native(store, "reranker", reranker, parameters={"num_thread": 1})
    read = 0
    for path, body in (
        ("/v1/embeddings", {"model": "bert", "input": ["the cat", "a dog runs"]}),
        ("/v1/rerank", {"model": "reranker", "query": "cat", "documents": ["the cat", "sea"]}),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        read += answer.get_json()["usage"]["total_tokens"]
    embedded = client.post("/api/embed", json={"model": "bert", "input": "cat", "truncate": True})
    read += embedded.get_json()["prompt_eval_count"]
    found = values(client.get("/metrics").text)
    assert found['transom_tokens_total{kind="prompt"}'] == read > 10
    assert found['transom_tokens_total{kind="completion"}'] == 0


def test_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()["status"]) == (200, "ok")


def test_times_fall_into_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.001, BUCKETS[0], 0.3, 1000.0):
        metrics.request('/a"b', "GET", 200, seconds)
    found = values(metrics.text({}))
    name = "transom_request_seconds_bucket"
    assert found[name + '{le="0.005",route="/a\\"b"}'] == 2
    assert found[name + '{le="0.5",route="/a\\"b"}'] == 3
    assert found[name + '{le="120.0",route="/a\\"b"}'] == 3
    assert found[name + '{le="+Inf",route="/a\\"b"}'] == 4
