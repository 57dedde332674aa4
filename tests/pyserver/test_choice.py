"""Which engine the settings choose. Ray itself is judged by tests/api/test_ray.py."""

import sys
from dataclasses import fields

import pytest

from transom_api.engine import EngineError, ModelFiles
from transom_models.digest import Digest
from transom_server.engines.choice import chosen_engine
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.engines.ray_replica import located
from transom_server.settings.config import Config, InvalidSetting
from transom_server.store import Store


def config(**texts: str) -> Config:
    return Config.read({}, **texts)


def test_llama_cpp_is_what_nobody_has_to_ask_for(store: Store) -> None:
    chosen = chosen_engine(config(memory="3G"), store)
    assert (chosen.load, chosen.store, chosen.memory) == (LlamaCpp, store, 3 * 2**30)


def test_without_ray_one_line_says_how_to_get_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "transom_server.engines.ray_cluster", raising=False)
    with pytest.raises(EngineError, match=r"pip install 'transom\[ray\]'"):
        chosen_engine(config(engine="ray"), store)


@pytest.mark.parametrize(
    "texts",
    [
        {"engine": "vllm"},
        {"ray_address": "head"},
        {"ray_address": "ray://head:10001"},
        {"ray_replicas": "0"},
        {"ray_replicas": "4-1"},
        {"ray_replicas": "1-"},
        {"ray_replicas": "1-9999"},
    ],
)
def test_settings_that_cannot_be_meant(texts: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting, match=f"TRANSOM_{next(iter(texts)).upper()}"):
        config(**texts)


def test_replicas_are_a_number_or_two() -> None:
    assert config(ray_replicas="2").ray_replicas == (2, 2)
    assert config(ray_replicas="1-8").ray_replicas == (1, 8)
    assert config(ray_address="[::1]:6379").ray_address == "[::1]:6379"


def test_every_file_of_a_model_is_found_anew() -> None:
    digest = str(Digest.of(b"x"))
    texts = {
        field.name: (digest,) if field.name == "adapters" else digest
        for field in fields(ModelFiles)
    }
    found = located(ModelFiles(**texts), lambda text: f"/there/{text}")  # type: ignore[arg-type]
    assert all(
        value == ((f"/there/{digest}",) if name == "adapters" else f"/there/{digest}")
        for name, value in ((field.name, getattr(found, field.name)) for field in fields(found))
    )
    bare = located(ModelFiles(digest), lambda text: "/a")
    assert bare == ModelFiles("/a")
