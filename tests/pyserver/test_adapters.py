"""pytest tests/pyserver/test_adapters.py: how much each adapter counts, from request to request.

llama.cpp with a tiny random llama and two tiny random adapters.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fakes.tiny_adapter import tiny_adapter
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import OPTIONS, put_native
from transom_api.adapters import read_lora
from transom_api.engine import (
    Done,
    GenerateRequest,
    LoadOptions,
    ModelFiles,
    Sampling,
    TokenEvent,
)
from transom_api.fields import Fields, InvalidField
from transom_server.app import create_app
from transom_server.engines.llama_cpp import LlamaCpp
from transom_server.settings.config import Config
from transom_server.store import Store

TOKENS = 24
Lora = tuple[float, ...] | None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    (folder / "tiny.gguf").write_bytes(tiny_llama().to_bytes())
    for number in (0, 1):
        (folder / f"{number}.gguf").write_bytes(tiny_adapter(number))
    return folder


def load(folder: Path, *adapters: int) -> LlamaCpp:
    paths = tuple(str(folder / f"{number}.gguf") for number in adapters)
    options = LoadOptions(threads=1, parallel=2)
    return LlamaCpp(ModelFiles(str(folder / "tiny.gguf"), adapters=paths), options, lambda: False)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[LlamaCpp]:
    engine = load(folder, 0, 1)
    yield engine
    engine.close()


def ids(engine: LlamaCpp, lora: Lora = None, prompt: str = "hello w") -> list[int]:
    request = GenerateRequest(
        prompt, Sampling(temperature=0), max_tokens=TOKENS, lora=lora, ignore_eos=True
    )
    events = list(engine.generate(request, lambda: False))
    assert isinstance(events[-1], Done)
    found = [
        token for event in events if isinstance(event, TokenEvent) for token in event.token_ids
    ]
    assert len(found) > 4
    return found


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[Lora, list[int]]:
    """What models with these adapters alone say."""
    found: dict[Lora, list[int]] = {}
    for scales, adapters in (((0.0, 0.0), ()), ((1.0, 0.0), (0,)), ((0.0, 1.0), (1,))):
        engine = load(folder, *adapters)
        try:
            found[scales] = ids(engine)
        finally:
            engine.close()
    return found


def test_each_request_has_its_own(engine: LlamaCpp, expected: dict[Lora, list[int]]) -> None:
    assert engine.facts.adapters == 2
    base, first, second = expected.values()
    assert first != base != second != first
    # In turns, so that a slot which remembers the prompt would remember too much.
    for _ in range(2):
        for scales, answer in expected.items():
            assert ids(engine, scales) == answer
    assert ids(engine) == ids(engine, (1.0, 1.0))
    assert ids(engine, (0.25, 0.0)) not in (base, first)


def test_different_ones_at_once(engine: LlamaCpp, expected: dict[Lora, list[int]]) -> None:
    asked: list[Lora] = [*expected] * 4
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = list(threads.map(lambda lora: ids(engine, lora), asked))
    assert answers == [expected[lora] for lora in asked]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    models = tmp_path_factory.mktemp("adapted") / "models"
    store = Store(models)
    put_native(store, "plain")
    put_native(store, "adapted", adapters=[tiny_adapter(0), tiny_adapter(1)])
    app = create_app(Config.read({"TRANSOM_MODELS": str(models)}))
    yield app.test_client()
    app.extensions["transom_close"]()


def asked(model: str, dialect: str, lora: Any, place: str = "body") -> tuple[str, dict[str, Any]]:
    options = {**OPTIONS, "num_predict": 12}
    body: dict[str, Any] = {"model": model, "prompt": "hello w", "stream": False}
    if dialect == "ollama":
        body |= {"raw": True, "options": options}
    else:
        body |= options
    if lora is not None:
        (body["options"] if place == "options" else body)["lora"] = lora
    return ("/api/generate" if dialect == "ollama" else "/v1/completions"), body


def text(client: FlaskClient, *arguments: Any) -> str:
    path, body = asked(*arguments)
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found = answer.get_json()
    return str(found["response"] if "response" in found else found["choices"][0]["text"])


def test_in_each_dialect(client: FlaskClient) -> None:
    none = [{"id": 0, "scale": 0}, {"id": 1, "scale": 0.0}]
    base = text(client, "plain", "ollama", None)
    assert text(client, "adapted", "ollama", None) != base
    assert text(client, "adapted", "ollama", none) == base
    assert text(client, "adapted", "ollama", none, "options") == base
    assert text(client, "adapted", "openai", none) == base
    assert text(client, "adapted", "openai", []) == base
    one = [{"id": 1, "scale": 1}]
    assert text(client, "adapted", "openai", one) == text(client, "adapted", "ollama", one) != base
    # Nothing is asked of a model without any.
    assert text(client, "plain", "openai", []) == base


@pytest.mark.parametrize("dialect", ["ollama", "openai"])
def test_what_a_model_has_not_is_refused_by_name(client: FlaskClient, dialect: str) -> None:
    for model, problem in (
        ("plain", "plain has no adapters; leave it out"),
        ("adapted", "adapted has no adapter 2, only 0 to 1"),
    ):
        path, body = asked(model, dialect, [{"id": 2, "scale": 1}])
        answer = client.post(path, json=body)
        assert answer.status_code == 400
        assert problem in answer.text
        if dialect == "openai":
            assert answer.get_json()["error"]["param"] == "lora"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x", "lora: must be a list"),
        ([1], r"lora\[0\]: must be an object"),
        ([{"scale": 1}], r"lora\[0\].id: is missing"),
        ([{"id": 0}], r"lora\[0\].scale: is missing"),
        ([{"id": -1, "scale": 1}], r"lora\[0\].id: must be from 0"),
        ([{"id": 0, "scale": 1e9}], r"lora\[0\].scale: must be from -100 to 100"),
        ([{"id": 0, "scale": True}], r"lora\[0\].scale: must be a number"),
        ([{"id": 0, "scale": 1}, {"id": 0, "scale": 2}], r"lora\[1\].id: 0 is there twice"),
        ([{"id": 0, "scale": 1}] * 17, "lora: "),
    ],
)
def test_what_cannot_be_read(value: Any, problem: str) -> None:
    with pytest.raises(InvalidField, match=problem):
        read_lora(Fields({"lora": value}))
