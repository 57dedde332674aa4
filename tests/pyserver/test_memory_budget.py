"""pytest tests/pyserver/test_memory_budget.py: a server whose models do not all fit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.store import Store

ASK = {"prompt": "hello", "stream": False, "raw": True, "options": {"num_predict": 1}}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    """Room for one tiny model of about 40 MB."""
    store = Store(tmp_path / "models")
    trained = tiny_llama(metadata={"llama.context_length": 1_000_000}).to_bytes()
    for name in ("one", "two"):
        put_native(store, name, trained, parameters={**OPTIONS, "num_ctx": 256})
    config = Config.read({"TRANSOM_MODELS": str(tmp_path / "models"), "TRANSOM_MEMORY": "60M"})
    app = create_app(config)
    yield app.test_client()
    app.extensions["transom_close"]()


def loaded(client: FlaskClient) -> list[str]:
    return [row["name"] for row in client.get("/api/ps").get_json()["models"]]


def test_the_one_not_in_use_goes(client: FlaskClient) -> None:
    for name in ("one", "two"):
        answer = client.post("/api/generate", json={**ASK, "model": name})
        assert answer.status_code == 200, answer.text
        assert loaded(client) == [f"{name}:latest"]


def test_what_never_fits_is_refused_with_the_way_out(client: FlaskClient) -> None:
    options = {"num_predict": 1, "num_ctx": 200_000}
    answer = client.post("/api/generate", json={**ASK, "model": "one", "options": options})
    assert answer.status_code == 400
    error = answer.get_json()["error"]
    assert "needs about" in error
    assert "may take 0.06 GB (TRANSOM_MEMORY)" in error
    assert "smaller num_ctx" in error
    assert loaded(client) == []
