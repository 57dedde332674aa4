"""pytest tests/pyserver/test_ollama_routes.py: Ollama's management routes, well and badly asked.

Named after what they hold off: CVE-2024-37032 (a digest as a path), CVE-2024-39719 (which files
exist), CVE-2024-39720 and -8063 (a tiny or lying GGUF), CVE-2024-39721 (/dev/random as a file),
CVE-2024-39722 (a path in push), CVE-2024-45436 (a zip that unpacks outside).
"""

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.fakes.tiny_gguf import TinyGguf, tiny_llama
from tests.pyserver.bundles import write_bundle
from transom_api.ollama import management as ollama
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import Index
from transom_models.modelfile import Modelfile
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.exchange.bundle_import import import_bundle
from transom_server.http.progress_stream import progress_answer
from transom_server.model import creation_child
from transom_server.model.base import fresh_base_from_gguf
from transom_server.model.creation import CannotCreate, create_model
from transom_server.model.creation_child import Conversion, create_in_child
from transom_server.model.model_texts import ModelTexts
from transom_server.settings.config import Config
from transom_server.store import Store
from transom_server.transfer.status import Cancelled, Report, Status

NOBODY = f"sha256:{'0' * 64}"


@pytest.fixture
def app(store: Store) -> Flask:
    return create_app(Config.read({}, models=str(store.location)))


@pytest.fixture
def client(app: Flask) -> Iterator[FlaskClient]:
    with app.test_client() as client:
        yield client


@pytest.fixture
def tiny(store: Store) -> Digest:
    """A native model `tiny`; the digest of its GGUF."""
    digest = store.put_bytes(tiny_llama().to_bytes())
    base = fresh_base_from_gguf(store, digest)
    create_model(store, ModelName.parse("tiny"), Modelfile("x"), base, lambda _: None)
    return digest


def error_of(response: TestResponse) -> str:
    assert response.content_type == "application/json", response.data
    body: Any = response.get_json()
    assert list(body) == ["error"]
    assert "\n" not in body["error"]
    assert len(body["error"]) < 500
    return str(body["error"])


def lines_of(response: TestResponse) -> list[dict[str, Any]]:
    assert response.content_type == "application/x-ndjson"
    return [json.loads(line) for line in response.data.splitlines()]


def send(client: FlaskClient, route: str, body: Any) -> TestResponse:
    """As curl does: JSON without saying so."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    method = "DELETE" if route.endswith("delete") else "POST"
    return client.open(route, method=method, data=data, content_type="text/plain")


# What is answered


def test_version_and_liveness(client: FlaskClient) -> None:
    body: Any = client.get("/api/version").get_json()
    assert body["version"].count(".") == 2
    assert client.head("/api/version").status_code == 200
    assert client.head("/api/tags").status_code == 200
    # Clients of Ollama ask so, whether the page is built or not.
    assert client.head("/").status_code == 200


def test_tags_newest_first_and_whole(
    client: FlaskClient, store: Store, tiny: Digest, tmp_path: Path
) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    import_bundle(store, bundle.folder, ModelName.parse("me/both:v1"), bundle.files)
    rows: Any = client.get("/api/tags").get_json()["models"]
    assert [row["name"] for row in rows] == ["me/both:v1", "tiny:latest"]
    row = rows[1]
    assert row["model"] == row["name"]
    assert row["digest"] == store.get_index(ModelName.parse("tiny")).digest.hex
    assert row["modified_at"].endswith("Z")
    assert row["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "79K",
        "quantization_level": "Q4_1",
        "context_length": 256,
        "embedding_length": 64,
    }
    # As `/api/show` has them; of files that are no more, nothing is said.
    shown: Any = client.post("/api/show", json={"model": "tiny"}).get_json()
    assert row["capabilities"] == shown["capabilities"] == ["completion"]
    # One damaged model hides no other.
    model = store.get_index(ModelName.parse("tiny")).index.manifests[0]
    store.remove_blob(model.digest)
    rows = client.get("/api/tags").get_json()["models"]
    assert [row["name"] for row in rows] == ["me/both:v1"]
    del tiny


def test_show_has_what_is_true_and_no_more(client: FlaskClient, tiny: Digest) -> None:
    del tiny
    send(
        client,
        "/api/create",
        {
            "model": "full",
            "from": "tiny",
            "system": "Hi.",
            "parameters": {"stop": ["a", "b"], "temperature": 1, "mirostat": 2, "seed": None},
            "messages": [{"role": "user", "content": "x"}],
            "license": "mit",
            "requires": "0.14.0",
        },
    )
    body: Any = send(client, "/api/show", {"name": "full"}).get_json()
    assert set(body) == {
        *("license", "modelfile", "parameters", "template", "system", "details", "messages"),
        *("model_info", "capabilities", "modified_at", "requires"),
    }
    assert body["license"] == "mit"
    assert body["messages"] == [{"role": "user", "content": "x"}]
    assert body["requires"] == "0.14.0"
    assert body["parameters"].split() == ["stop", '"a"', "stop", '"b"', "temperature", "1.0"]
    info = body["model_info"]
    assert info["general.architecture"] == "llama"
    assert info["general.parameter_count"] == 78_656
    assert info["tokenizer.ggml.tokens"] is None
    assert "tokenizer.chat_template" not in info
    verbose: Any = send(client, "/api/show", {"model": "full", "verbose": True}).get_json()
    assert verbose["model_info"]["tokenizer.ggml.merges"][0] == "h e"
    assert {"name": "output_norm.weight", "type": "F32", "shape": [64]} in verbose["tensors"]
    bare: Any = send(client, "/api/show", {"model": "tiny"}).get_json()
    assert "system" not in bare
    assert "messages" not in bare


def test_a_model_for_browsers_alone(client: FlaskClient, store: Store, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    import_bundle(store, bundle.folder, ModelName.parse("both"), bundle.files)
    model = store.get_index(ModelName.parse("both"))
    rows = [row for row in model.index.manifests if row.platform and row.platform.os == "browser"]
    store.put_index(ModelName.parse("browser"), Index(tuple(rows)))
    body: Any = send(client, "/api/show", {"model": "browser"}).get_json()
    assert body["details"]["format"] == "webgpu"
    assert body["template"] == "{{ messages }} é"
    assert body["details"]["context_length"] == 2048
    assert body["model_info"]["general.architecture"] == ""


def test_create_streams_or_not(client: FlaskClient, tiny: Digest) -> None:
    body = {"model": "new", "files": {"model.gguf": str(tiny)}}
    statuses = [line["status"] for line in lines_of(send(client, "/api/create", body))]
    assert (statuses[0], statuses[-1]) == ("reading model metadata", "success")
    response = send(client, "/api/create", {**body, "stream": False})
    assert response.get_json() == {"status": "success"}
    assert response.headers["Cache-Control"] == "no-store"


def test_blobs(client: FlaskClient, store: Store) -> None:
    data = b"GGUF" * 1000
    digest = Digest.of(data)
    url = f"/api/blobs/{digest}"
    assert client.head(url).status_code == 404
    assert client.post(url, data=data).status_code == 201
    assert client.head(url).status_code == 200
    assert client.post(url, data=data).status_code == 200
    assert store.read_manifest_bytes(digest) == data
    # Only asked for and sent: a blob is fetched under /v2/.
    assert client.get(url).status_code == 405


def test_copy_and_delete_say_nothing(client: FlaskClient, tiny: Digest, store: Store) -> None:
    response = send(client, "/api/copy", {"source": "tiny", "destination": "TWIN"})
    assert (response.status_code, response.data) == (200, b"")
    response = send(client, "/api/delete", {"name": "twin"})
    assert (response.status_code, response.data) == (200, b"")
    assert store.has_blob(tiny)


# What is refused

_MODEL: dict[str, Any] = {"model": "new", "from": "tiny"}
BAD: list[tuple[str, Any, int, str]] = [
    ("/api/show", b"", 400, "missing request body"),
    ("/api/show", b"{", 400, "not JSON"),
    ("/api/show", b"[]", 400, "must be a JSON object"),
    ("/api/show", b"[" * 200_000, 400, "not JSON"),
    ("/api/show", b'{"model":' + b"9" * 5000 + b"}", 400, "not JSON"),
    ("/api/show", b'{"model":"\xff"}', 400, "not JSON"),
    ("/api/show", b" " * (ollama.MAX_JSON_BYTES + 1), 413, "too large"),
    ("/api/show", {}, 400, "model is required"),
    ("/api/show", {"model": ["tiny"]}, 400, "model: must be a text"),
    ("/api/show", {"model": "../../etc/passwd"}, 400, "cannot be the"),
    ("/api/show", {"model": "/etc/passwd"}, 400, "nothing before the"),
    ("/api/show", {"model": "tiny\0"}, 400, "no text can have"),
    ("/api/show", {"model": "\ud800"}, 400, "no text can have"),
    ("/api/show", {"model": "a" * 5000}, 400, "longer than any can be"),
    ("/api/show", {"model": "tiny", "verbose": 1}, 400, "verbose: must be true or false"),
    ("/api/show", {"model": "none"}, 404, "no model none"),
    ("/api/delete", {"model": "none"}, 404, "no model none"),
    ("/api/delete", {"model": "../tiny"}, 400, "cannot be the"),
    ("/api/copy", {"source": "none", "destination": "x"}, 404, "no model none"),
    ("/api/copy", {"source": "tiny"}, 400, "source and destination"),
    ("/api/copy", {"source": "tiny", "destination": "a/../b"}, 400, "cannot be the"),
    ("/api/copy", {"source": "tiny", "destination": ".tmp/x"}, 400, "cannot be the"),
    ("/api/push", {"model": "none"}, 404, "no model none"),
    ("/api/push", {"model": "../../../etc/passwd"}, 400, "cannot be the"),
    ("/api/pull", {"model": "x", "username": "u"}, 400, "transom login"),
    ("/api/pull", {"model": "tiny", "stream": False}, 400, "TRANSOM_REGISTRY"),
    ("/api/pull", {"model": "sha256:/x"}, 400, "cannot be the"),
    ("/api/pull", {"model": "https://x/" + "a" * 2000}, 400, "more than 2000"),
    ("/api/pull", {"model": "https://example.com/"}, 400, "cannot be the"),
    ("/api/pull", {"model": "file:///etc/passwd"}, 400, "https://"),
    ("/api/pull", {"model": "hf://a/b/c.gguf"}, 400, "HF_ENDPOINT"),
    ("/api/create", {"model": "new"}, 400, "neither 'from' or 'files'"),
    # Ollama's older spelling took the text of a Modelfile, and paths of the server in it.
    ("/api/create", {"model": "new", "modelfile": "FROM /etc/passwd"}, 400, "neither 'from'"),
    ("/api/create", {"model": "new", "path": "/etc/passwd"}, 400, "neither 'from' or 'files'"),
    ("/api/create", {"model": "new", "from": "/etc/passwd"}, 400, "nothing before the"),
    ("/api/create", {"model": "new", "from": "/etc/none"}, 400, "nothing before the"),
    ("/api/create", {"model": "new", "from": "/dev/random"}, 400, "nothing before the"),
    ("/api/create", {"model": "new", "from": "../../dev/random"}, 400, "cannot be the"),
    ("/api/create", {"model": "new", "from": "none"}, 404, "no model none"),
    ("/api/create", {**_MODEL, "files": {"a.gguf": NOBODY}}, 400, "cannot both"),
    ("/api/create", {"model": "new", "files": {"/dev/random": NOBODY}}, 400, "not the plain name"),
    ("/api/create", {"model": "new", "files": {"../a.gguf": NOBODY}}, 400, "not the plain name"),
    ("/api/create", {"model": "new", "files": {"a\0.gguf": NOBODY}}, 400, "not the plain name"),
    ("/api/create", {"model": "new", "files": {"": NOBODY}}, 400, "not the plain name"),
    ("/api/create", {"model": "new", "files": {"a.gguf": "/dev/random"}}, 400, "not a digest"),
    ("/api/create", {"model": "new", "files": {"a.gguf": "sha256:../x"}}, 400, "not a digest"),
    ("/api/create", {"model": "new", "files": {"a.gguf": NOBODY.upper()}}, 400, "not a digest"),
    ("/api/create", {"model": "new", "files": {"a.gguf": NOBODY}}, 400, "send it first"),
    ("/api/create", {"model": "new", "files": {"a.safetensors": NOBODY}}, 400, "send it first"),
    ("/api/create", {"model": "new", "files": {"a.bin": NOBODY}}, 400, "pickles are not read"),
    ("/api/create", {"model": "new", "files": ["a"]}, 400, "files: must be an object"),
    (
        "/api/create",
        {"model": "new", "files": {f"{n}.gguf": NOBODY for n in range(ollama.MAX_FILES + 1)}},
        400,
        "more than 256 files",
    ),
    ("/api/create", {**_MODEL, "quantize": "--force"}, 400, "no scheme"),
    ("/api/create", {**_MODEL, "quantize": "q4\n"}, 400, "no scheme"),
    ("/api/create", {**_MODEL, "quantize": 4}, 400, "quantize: must be a text"),
    ("/api/create", {"model": "new", "from": "none", "quantize": "q8_0"}, 400, "FROM none"),
    ("/api/create", {**_MODEL, "compile": "yes"}, 400, "compile: must be true or false"),
    ("/api/create", {**_MODEL, "renderer": "x"}, 400, "renderer: it names code"),
    ("/api/create", {**_MODEL, "remote_host": "http://x"}, 400, "remote_host"),
    ("/api/create", {**_MODEL, "template": 1}, 400, "template: must be a text"),
    ("/api/create", {**_MODEL, "template": "{{ nonsense }}{{ .Prompt }}"}, 400, "nonsense"),
    ("/api/create", {**_MODEL, "system": "\udfff"}, 400, "no text can have"),
    ("/api/create", {**_MODEL, "license": [1]}, 400, "license[0]: must be a text"),
    ("/api/create", {**_MODEL, "license": ["x"] * 65}, 400, "more than 64"),
    ("/api/create", {**_MODEL, "parameters": {"nonsense": 1}}, 400, "not a parameter"),
    ("/api/create", {**_MODEL, "parameters": {"top_p": 2}}, 400, "top_p must be"),
    ("/api/create", {**_MODEL, "parameters": []}, 400, "parameters: must be an object"),
    ("/api/create", {**_MODEL, "messages": [{"role": "root"}]}, 400, "messages[0].role"),
    ("/api/create", {**_MODEL, "messages": [1]}, 400, "messages[0]: must be an object"),
    (
        "/api/create",
        {**_MODEL, "messages": [{"role": "user", "content": "", "images": ["x"]}]},
        400,
        "texts only",
    ),
    ("/api/create", {**_MODEL, "messages": [{"role": "user"}] * 1025}, 400, "more than 1024"),
    ("/api/create", {**_MODEL, "requires": "x"}, 400, "REQUIRES needs a version"),
    ("/api/create", {**_MODEL, "requires": "1\nFROM y"}, 400, "must be a version"),
    ("/api/create", {**_MODEL, "adapters": {"a.gguf": NOBODY}}, 400, "send it first"),
    ("/api/create", {**_MODEL, "adapters": {"../a": NOBODY}}, 400, "not the plain name"),
]


@pytest.mark.parametrize(("route", "body", "status", "error"), BAD)
def test_a_bad_request(
    client: FlaskClient, store: Store, tiny: Digest, route: str, body: Any, status: int, error: str
) -> None:
    del tiny
    response = send(client, route, body)
    if response.content_type == "application/x-ndjson":
        # It began well: the error is a line.
        message = lines_of(response)[-1]["error"]
    else:
        assert response.status_code == status, response.data
        message = error_of(response)
    assert error in message
    assert [str(model.name) for model in store.list_models()] == ["tiny"]


def test_every_field_that_is_good_is_taken(client: FlaskClient, tiny: Digest) -> None:
    """The truth beside the lies: nothing above is refused for another reason."""
    body = {
        **_MODEL,
        "template": "{{ .Prompt }}",
        "system": "x",
        "license": ["x"] * 64,
        "parameters": {"top_p": 1},
        "messages": [{"role": "user", "content": ""}] * 1024,
        "requires": "1.0",
        "adapters": {},
        "unheard_of": [1],
    }
    assert lines_of(send(client, "/api/create", body))[-1] == {"status": "success"}
    del tiny


@pytest.mark.parametrize(
    "digest",
    [
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "G" * 64,
        "sha256-" + "0" * 64,
        "sha512:" + "0" * 64,
        "..%2f..%2f..%2fetc%2fpasswd",
        "sha256:..%2f" + "0" * 61,
        "sha256:" + "0" * 63 + "%00",
        "sha256:" + "0" * 64 + "%0a",
    ],
)
def test_a_digest_is_no_path(client: FlaskClient, store: Store, digest: str) -> None:
    for method in ("HEAD", "POST"):
        response = client.open(f"/api/blobs/{digest}", method=method, data=b"x")
        assert response.status_code in (400, 404, 405)
    assert list(store.storage.entries("blobs")) == []


def test_a_blob_is_what_its_digest_says(client: FlaskClient, store: Store) -> None:
    response = client.post(f"/api/blobs/{NOBODY}", data=b"something else")
    assert response.status_code == 400
    assert "sha256" in error_of(response)
    assert list(store.storage.entries("blobs")) == []


def zip_that_leaves() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("../../../../tmp/pwned", "x")
    return data.getvalue()


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"GGUF",
        b"GGUF" + bytes(20),
        zip_that_leaves(),
        TinyGguf(tensor_count=2**63).to_bytes(),
        TinyGguf(key_count=2**63).to_bytes(),
        tiny_llama().to_bytes()[:-1],
    ],
)
def test_a_file_that_is_no_model(client: FlaskClient, store: Store, file: bytes) -> None:
    digest = store.put_bytes(file)
    body = {"model": "new", "files": {"a.gguf": str(digest)}}
    response = send(client, "/api/create", body)
    assert response.status_code == 400
    # It names the blob, which the client sent itself, and no place on the disk.
    assert str(digest) in error_of(response)
    assert str(store.location) not in error_of(response)
    assert store.list_models() == []


def test_a_page_of_another_site_changes_nothing(
    client: FlaskClient, store: Store, tiny: Digest
) -> None:
    del tiny
    for route, body in (
        ("/api/create", _MODEL),
        ("/api/delete", {"model": "tiny"}),
        ("/api/copy", {"source": "tiny", "destination": "x"}),
    ):
        method = "DELETE" if route.endswith("delete") else "POST"
        headers = {"Origin": "https://evil.example.com"}
        response = client.open(route, method=method, json=body, headers=headers)
        assert response.status_code == 403
        error_of(response)
    assert [str(model.name) for model in store.list_models()] == ["tiny"]


def test_a_server_that_is_not_writable(store: Store, tiny: Digest) -> None:
    del tiny
    app = create_app(Config.read({}, models=str(store.location), writable="no"))
    with app.test_client() as client:
        assert send(client, "/api/delete", {"model": "tiny"}).status_code == 403
        assert send(client, "/api/show", {"model": "tiny"}).status_code == 200
        assert client.post(f"/api/blobs/{NOBODY}", data=b"x").status_code == 403


# Long work


def test_a_slow_client_holds_nothing_up(app: Flask) -> None:
    """A thousand statuses of one blob, told before anybody reads: the first and the last."""
    told = threading.Event()

    def work(report: Report, cancelled: threading.Event) -> None:
        report(Status("begin"))
        for done in range(1000):
            report(Status("pulling", Digest.of(b"x"), 999, done))
        told.set()
        assert not cancelled.is_set()

    with app.test_request_context():
        response = progress_answer(work, stream=True)
        told.wait()
        lines = [json.loads(line) for line in response.response]  # type: ignore[union-attr]
        response.close()
    assert lines[0] == {"status": "begin"}
    assert lines[-1]["completed"] == 999
    assert len(lines) < 10


def test_a_client_that_goes_away_cancels_the_work(app: Flask) -> None:
    ended = threading.Event()

    def work(report: Report, cancelled: threading.Event) -> None:
        report(Status("begin"))
        assert cancelled.wait(30)
        ended.set()

    with app.test_request_context():
        response = progress_answer(work, stream=True)
        response.close()
    assert ended.is_set()
    gone = {"waitress.client_disconnected": lambda: True}
    ended.clear()
    with app.test_request_context(environ_overrides=gone):
        assert progress_answer(work, stream=False).get_json() == {"status": "begin"}
    assert ended.is_set()


def test_our_own_fault_is_one_line_too(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def work(report: Report, cancelled: threading.Event) -> None:
        report(Status("begin"))
        cancelled.wait(0.4)
        raise ZeroDivisionError("a secret")

    with app.test_request_context():
        response = progress_answer(work, stream=True)
        lines = [json.loads(line) for line in response.response]  # type: ignore[union-attr]
        response.close()
    assert lines == [{"status": "begin"}, {"error": "the server failed; its log says why"}]
    assert "a secret" in caplog.text


def test_shapes() -> None:
    assert ollama.shown_name(ModelName.parse("example.com/a/b")) == "example.com/a/b:latest"
    assert ollama.shown_name(ModelName.parse("me/b:v1")) == "me/b:v1"
    assert ollama.finite((1.5, float("inf"), [float("nan")])) == [1.5, None, [None]]
    assert ollama.parameters_text(ModelTexts().parameters) == ""


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
_FIELDS = st.sampled_from(
    [
        *("model", "name", "from", "files", "adapters", "template", "system", "license", "stream"),
        *("parameters", "messages", "requires", "quantize", "source", "destination", "insecure"),
        "compile",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    body=st.dictionaries(_FIELDS, _JSON),
    good=st.booleans(),
    read=st.sampled_from(
        [
            *(ollama.read_create, ollama.read_show, ollama.read_copy),
            *(ollama.read_transfer, ollama.read_pull),
        ]
    ),
)
def test_any_body_is_taken_or_refused_in_one_line(body: Any, good: bool, read: Any) -> None:
    if good:
        body = {**body, "model": "new", "from": "tiny", "files": None, "quantize": None}
    message = ""
    try:
        read(body)
    except TransomError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 500


# Work in a process of its own


def conversion(store: Store) -> Conversion:
    digest = store.put_bytes(b"{}")
    return Conversion(
        ModelName.parse("new"), Modelfile("files"), {"config.json": digest}, {}, "q8_0"
    )


def test_a_command_that_dies_is_one_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creation_child, "_COMMAND", "import sys; print('noise'); sys.exit(3)")
    with pytest.raises(CannotCreate, match="ended without a word"):
        create_in_child(store, conversion(store), lambda _: None, threading.Event())
    assert list((store.scratch / "work").iterdir()) == []


def test_a_command_ends_with_the_request(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to end, it may clean up; where it does not, it is killed."""
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        'print(\'{"event":"phase","phase":"convert","total_bytes":null}\', flush=True); '
        "time.sleep(60)"
    )
    monkeypatch.setattr(creation_child, "_END_SECONDS", 0.2)
    monkeypatch.setattr(creation_child, "_COMMAND", stubborn)
    cancelled, told = threading.Event(), []

    def report(status: Status) -> None:
        told.append(status.text)
        if status.text == "converting model":
            cancelled.set()

    with pytest.raises(Cancelled):
        create_in_child(store, conversion(store), report, cancelled)
    assert told == ["reading model metadata", "converting model"]
    assert list((store.scratch / "work").iterdir()) == []


def test_what_the_command_gets_is_links_to_blobs(store: Store, tmp_path: Path) -> None:
    wanted = conversion(store)
    path = creation_child._write(store, wanted, tmp_path)
    assert path.read_text() == "FROM ./checkpoint/config.json\nPLATFORM native\n"
    assert (tmp_path / "checkpoint" / "config.json").read_bytes() == b"{}"
    more = replace(wanted, files={**wanted.files, "a.safetensors": store.put_bytes(b"x")})
    (tmp_path / "second").mkdir()
    path = creation_child._write(store, more, tmp_path / "second")
    assert path.read_text() == "FROM ./checkpoint\nPLATFORM native\n"


def test_a_model_for_browsers_says_no_platform(store: Store, tmp_path: Path) -> None:
    """So that the command compiles it where it can, and else says why not."""
    file = {"a.gguf": store.put_bytes(b"x")}
    wanted = Conversion(ModelName.parse("new"), Modelfile("files"), file, {}, None, compiles=True)
    path = creation_child._write(store, wanted, tmp_path)
    assert path.read_text() == "FROM ./checkpoint/a.gguf\n"


def test_what_the_command_says_of_its_work_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = [
        {"event": "phase", "phase": "repack", "total_bytes": 8},
        {"event": "progress", "phase": "repack", "total_bytes": 8, "done_bytes": 5},
        {"event": "phase", "phase": "libraries", "total_bytes": None},
        {"event": "items", "phase": "libraries", "done": 2, "total": 6},
        {"event": "note", "phase": "libraries", "text": "library-f16.wasm: link"},
        {"event": "report", "notes": ["not for browsers: an odd architecture"]},
    ]
    lines = "\n".join(json.dumps(event) for event in events)
    monkeypatch.setattr(creation_child, "_COMMAND", f"print({lines!r})")
    told: list[Status] = []
    create_in_child(store, conversion(store), told.append, threading.Event())
    assert [(status.text, status.completed) for status in told] == [
        ("reading model metadata", None),
        ("packing weights", 0),
        ("packing weights", 5),
        ("compiling for browsers", None),
        ("compiling for browsers: 2 of 6", None),
        ("note: not for browsers: an odd architecture", None),
        ("success", None),
    ]
