"""pytest tests/pyserver/test_models_list.py: `/v1/models` by the official clients of OpenAI and of
Anthropic, each in its own shape."""

from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from flask.testing import FlaskClient

from tests.pyserver.native_models import put_native
from transom_api.anthropic.models import ModelRow, model_page
from transom_api.fields import InvalidField
from transom_server.app import create_app
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store
from transom_server.store.object_errors import ObjectStoreError

NAMES = ["a", "b", "c"]
ROWS = [ModelRow(name, 0) for name in NAMES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("list") / "models"
    store = Store(folder)
    for name in NAMES:
        put_native(store, name)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


@pytest.fixture
def client(folder: Path) -> FlaskClient:
    app = create_app(Config.read({"TRANSOM_MODELS": str(folder)}))
    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "localhost"
    return client


def test_each_client_reads_its_own_list(server: Server) -> None:
    with anthropic.Anthropic(base_url=server.url, api_key="none") as theirs:
        # Two pages, of two and of one.
        listed = list(theirs.models.list(limit=2))
        assert [row.id for row in listed] == NAMES
        assert {(row.type, row.display_name == row.id) for row in listed} == {("model", True)}
        assert listed[0].created_at.year > 2000
        assert theirs.models.retrieve("b").id == "b"
        with pytest.raises(anthropic.NotFoundError) as missing:
            theirs.models.retrieve("nothing")
        assert "not_found_error" in str(missing.value.body)
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as ours:
        assert [row.id for row in ours.models.list()] == NAMES
        assert ours.models.retrieve("b").object == "model"
    assert httpx.get(f"{server.url}/v1/models").json()["object"] == "list"


@pytest.mark.parametrize(
    ("asked", "names", "more"),
    [
        ({}, "abc", False),
        ({"limit": "2"}, "ab", True),
        ({"limit": "2", "after": "a"}, "bc", False),
        ({"limit": "1", "after": "a"}, "b", True),
        ({"after": "c"}, "", False),
        ({"limit": "1", "before": "c"}, "b", True),
        ({"limit": "2", "before": "c"}, "ab", False),
        ({"before": "a"}, "", False),
    ],
)
def test_pages(asked: dict[str, str], names: str, more: bool) -> None:
    page = model_page(ROWS, **asked)
    assert "".join(row["id"] for row in page["data"]) == names
    assert page["has_more"] is more
    ends = (names[0], names[-1]) if names else (None, None)
    assert (page["first_id"], page["last_id"]) == ends


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "two"}, "limit"),
        ({"after": "z"}, "after_id"),
        ({"before": "z"}, "before_id"),
    ],
)
def test_pages_that_there_are_not(asked: dict[str, str], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        model_page(ROWS, **asked)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ObjectStoreError(113, "nobody answers there"), 503, "the store cannot be reached: nobody"),
        (OSError(28, "No space left on device"), 507, "the server's disk is full"),
        (OSError(5, "Input/output error", "/a/path"), 500, "its log says why"),
    ],
)
def test_what_the_server_stands_on_fails_it(
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    error: OSError,
    status: int,
    said: str,
) -> None:
    def fail(store: Store) -> None:
        raise error

    monkeypatch.setattr(Store, "list_models", fail)
    answer = client.get("/v1/models")
    assert answer.status_code == status
    assert said in answer.get_json()["error"]["message"]
    assert "/a/path" not in answer.text
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_tokens_beyond_the_vocabulary_are_named(server: Server) -> None:
    body = {"model": "a", "prompt": "a", "max_tokens": 1}
    most = httpx.post(
        f"{server.url}/v1/completions", json={**body, "logit_bias": {"2000000000": 1}}, timeout=60
    )
    assert (most.status_code, most.json()["error"]["param"]) == (400, "logit_bias.2000000000")
    stop = httpx.post(
        f"{server.url}/v1/completions", json={**body, "stop_token_ids": [2000000000]}, timeout=60
    )
    assert (stop.status_code, stop.json()["error"]["param"]) == (400, "stop_token_ids[0]")
    fine = httpx.post(
        f"{server.url}/v1/completions", json={**body, "logit_bias": {"3": 1}}, timeout=60
    )
    assert fine.status_code == 200


@pytest.mark.parametrize("data", [b"nothing", b"GGUF" + bytes(100)])
def test_a_damaged_file_is_named_without_its_path(folder: Path, data: bytes) -> None:
    put_native(Store(folder), "damaged", data, template="{{ messages[0].content }}")
    app = create_app(Config.read({"TRANSOM_MODELS": str(folder)}))
    client = app.test_client()
    client.environ_base["HTTP_HOST"] = "localhost"
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}]}),
        ("/v1/embeddings", {"input": "a"}),
        ("/tokenize", {"content": "a"}),
    ):
        answer = client.post(path, json={"model": "damaged", **body})
        assert 400 <= answer.status_code <= 500, path
        assert str(folder) not in answer.text
        assert "damaged" in answer.text or "sha256:" in answer.text, (path, answer.text)
    Store(folder).remove_model(next(n for n in Store(folder).names() if n.model == "damaged"))
    app.extensions["transom_close"]()
