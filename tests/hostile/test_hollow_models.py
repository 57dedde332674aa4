"""pytest tests/hostile/test_hollow_models.py: models that lack parts (the class of CVE-2025-1975).

They are sound as far as digests go, so a registry may have them and a pull keeps them. Whoever asks
for one gets an answer or one clear refusal, and the others stay as they were.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.pyserver.bundles import TinyBundle, write_bundle
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.exchange.bundle_import import import_bundle
from transom_server.settings.config import Config
from transom_server.store import Store

HOLLOW = ModelName.parse("hollow")


def row(store: Store, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    digest = store.put_bytes(data)
    return {"mediaType": media_type, "digest": str(digest), "size": len(data), **more}


def manifest(store: Store, config: bytes = b"{}", *layers: dict[str, Any]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": row(store, config, media_types.OLLAMA_CONFIG),
        "layers": list(layers),
    }


def index(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": list(rows)}


def hollow(store: Store, kind: str) -> dict[str, Any]:
    """A document of which something is missing or empty."""
    weights = media_types.OLLAMA_MODEL
    if kind == "no platforms":
        return index()
    if kind == "no layers":
        return manifest(store)
    if kind == "weights of no bytes":
        return manifest(store, b"{}", row(store, b"", weights))
    if kind == "weights that are no GGUF":
        return manifest(store, b"{}", row(store, b"GGUF\3\0\0\0" + b"\xff" * 64, weights))
    if kind == "a config that is no object":
        return manifest(store, b"[]", row(store, b"GGUF", weights))
    if kind == "texts of no bytes":
        texts = [
            row(store, b"", media_type)
            for media_type in (
                media_types.OLLAMA_TEMPLATE,
                media_types.OLLAMA_PARAMS,
                media_types.OLLAMA_MESSAGES,
            )
        ]
        return manifest(store, b"{}", row(store, b"GGUF", weights), *texts)
    assert kind == "a browser platform of nothing"
    platform = {"os": "browser", "architecture": "webgpu", "variant": "f32"}
    inner = json.dumps(manifest(store)).encode()
    return index(row(store, inner, media_types.OCI_MANIFEST, platform=platform))


KINDS = (
    "no platforms",
    "no layers",
    "weights of no bytes",
    "weights that are no GGUF",
    "a config that is no object",
    "texts of no bytes",
    "a browser platform of nothing",
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def bundle(tmp_path: Path) -> TinyBundle:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def client(store: Store) -> Iterator[FlaskClient]:
    app = create_app(Config.read({}, models=str(store.root)))
    with app.test_client() as client:
        yield client
    app.extensions["transom_close"]()


@pytest.mark.parametrize("kind", KINDS)
def test_a_hollow_model_harms_nobody(
    kind: str, store: Store, client: FlaskClient, bundle: TinyBundle
) -> None:
    import_bundle(store, bundle.folder, ModelName.parse("tiny"), bundle.files)
    data = json.dumps(hollow(store, kind)).encode()
    assert store.put_index(HOLLOW, data) == Digest.of(data)
    names = {model["name"] for model in client.get("/api/tags").get_json()["models"]}
    assert names == {"hollow:latest", "tiny:latest"}
    assert len(client.get("/v1/models").get_json()["data"]) == 2
    for path, body in (
        ("/api/show", {"model": "hollow"}),
        ("/api/show", {"model": "hollow", "verbose": True}),
        ("/api/chat", {"model": "hollow", "messages": [{"role": "user", "content": "hi"}]}),
        ("/api/generate", {"model": "hollow", "prompt": "hi"}),
        ("/api/create", {"model": "mine", "from": "hollow", "system": "hi", "stream": False}),
    ):
        response = client.post(path, json=body)
        if response.status_code != 200:
            error = response.get_json()["error"]
            assert error
            assert "\n" not in error
            # llama.cpp says so of its own accord, and its process is gone with it.
            assert response.status_code < 500 or "cannot load this model" in error
    assert client.get("/webllm/hollow/latest/resolve/main/a").status_code == 404
    assert {model.name for model in store.usage().models} >= {HOLLOW}
    assert store.verify().problems == ()
    store.collect_garbage(0)
    assert store.verify().problems == ()
    assert client.delete("/api/delete", json={"model": "hollow"}).status_code == 200
    assert client.post("/api/show", json={"model": "tiny"}).status_code == 200
