"""pytest tests/pyserver/test_same_picture.py: one picture, sent in each dialect's way, is one."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fakes.pictures import png
from tests.fakes.tiny_gguf import tiny_llama
from tests.fakes.tiny_projector import tiny_projector
from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.store import Store

TOKENS = 12


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("pictures") / "models"
    weights = tiny_llama(metadata={"llama.context_length": 4096}).to_bytes()
    projector = tiny_projector().to_bytes()
    # By chance, always the same: the likeliest token of random weights is one whatever they see.
    options = {**OPTIONS, "num_predict": TOKENS, "temperature": 5, "top_k": 0}
    # The dialects have defaults of their own.
    options |= {"top_p": 1, "seed": 7}
    put_native(Store(folder), "sees", weights, parameters=options, projector=projector)
    app = create_app(Config.read({"TRANSOM_MODELS": str(folder)}))
    yield app.test_client()
    app.extensions["transom_close"]()


def asked(client: FlaskClient, path: str, body: dict[str, Any]) -> Any:
    answer = client.post(path, json={"model": "sees", "stream": False, **body})
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def answers(client: FlaskClient, picture: bytes) -> list[str]:
    data = base64.b64encode(picture).decode()
    url = f"data:image/png;base64,{data}"
    text = {"type": "text", "text": "hello"}
    source = {"type": "base64", "media_type": "image/png", "data": data}
    chat = asked(
        client,
        "/api/chat",
        {"messages": [{"role": "user", "content": "hello", "images": [data]}]},
    )
    generated = asked(client, "/api/generate", {"prompt": "hello", "images": [data]})
    parts = [{"type": "image_url", "image_url": {"url": url}}, text]
    completed = asked(
        client, "/v1/chat/completions", {"messages": [{"role": "user", "content": parts}]}
    )
    parts = [{"type": "input_image", "image_url": url}, {"type": "input_text", "text": "hello"}]
    responded = asked(client, "/v1/responses", {"input": [{"role": "user", "content": parts}]})
    blocks = [{"type": "image", "source": source}, text]
    message = asked(
        client,
        "/v1/messages",
        {"messages": [{"role": "user", "content": blocks}], "max_tokens": TOKENS},
    )
    return [
        chat["message"]["content"],
        generated["response"],
        completed["choices"][0]["message"]["content"],
        responded["output"][-1]["content"][0]["text"],
        message["content"][0]["text"],
    ]


def test_each_dialect_sees_the_same(client: FlaskClient) -> None:
    seen = [answers(client, png(number)) for number in range(4)]
    for each in seen:
        assert len(set(each)) == 1, each
    # Some pictures look alike to random weights.
    assert len({each[0] for each in seen}) > 1
