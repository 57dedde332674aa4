"""pytest tests/pyserver/test_routes.py: what each route answers, header by header."""

import base64
import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.pyserver.bundles import TinyBundle, write_bundle
from transom_models.digest import Digest
from transom_models.manifest import Index, Manifest
from transom_models.media_types import OCI_INDEX, OCI_MANIFEST
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.exchange.bundle_import import import_bundle
from transom_server.http.packed_files import PackedFiles
from transom_server.routes.web import CONTENT_SECURITY_POLICY, OWN_POLICIES
from transom_server.settings.config import Config, InvalidSetting
from transom_server.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHARD = "params_shard_0.bin"


@pytest.fixture
def web_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<title>page</title>")
    (folder / "assets" / "main-1a2b.js").write_text("1;")
    return folder


@pytest.fixture
def app(filled: Store, web_dir: Path) -> Flask:
    return create_app(Config.read({}, models=str(filled.root), web_dir=str(web_dir)))


@pytest.fixture
def client(app: Flask) -> Iterator[FlaskClient]:
    with app.test_client() as client:
        yield client


def blob_url(bundle: TinyBundle, title: str = SHARD) -> str:
    return f"/v2/library/tiny/blobs/{Digest.of(bundle.contents[title])}"


def code_of(response: TestResponse) -> str:
    body: Any = response.get_json()
    (error,) = body["errors"]
    assert error["message"]
    assert "\n" not in error["message"]
    return str(error["code"])


# Blobs


def test_a_blob(client: FlaskClient, bundle: TinyBundle) -> None:
    data = bundle.contents[SHARD]
    response = client.get(blob_url(bundle))
    assert response.status_code == 200
    assert response.data == data
    assert response.headers["Content-Length"] == str(len(data))
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response.headers["ETag"] == f'"{Digest.of(data)}"'
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_head_says_the_same_without_the_bytes(client: FlaskClient, bundle: TinyBundle) -> None:
    get, head = client.get(blob_url(bundle)), client.head(blob_url(bundle))
    assert head.status_code == 200
    assert head.data == b""
    assert {**head.headers, "x-request-id": ""} == {**get.headers, "x-request-id": ""}
    # Range means something for GET only.
    ranged = client.head(blob_url(bundle), headers={"Range": "bytes=0-1"})
    assert ranged.status_code == 200
    assert ranged.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize(
    ("header", "part", "content_range"),
    [
        ("bytes=0-0", slice(0, 1), "bytes 0-0/4096"),
        ("bytes=10-19", slice(10, 20), "bytes 10-19/4096"),
        ("bytes=4000-", slice(4000, None), "bytes 4000-4095/4096"),
        ("bytes=4000-9999", slice(4000, None), "bytes 4000-4095/4096"),
        ("bytes=-5", slice(-5, None), "bytes 4091-4095/4096"),
    ],
)
def test_a_range(
    client: FlaskClient, bundle: TinyBundle, header: str, part: slice, content_range: str
) -> None:
    response = client.get(blob_url(bundle), headers={"Range": header})
    assert response.status_code == 206
    assert response.data == bundle.contents[SHARD][part]
    assert response.headers["Content-Range"] == content_range
    assert response.headers["Content-Length"] == str(len(response.data))
    assert response.headers["ETag"] == f'"{Digest.of(bundle.contents[SHARD])}"'


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "bytes=5-2", "lines=0-1", "rubbish"])
def test_what_is_no_single_range_gets_the_whole(
    client: FlaskClient, bundle: TinyBundle, header: str
) -> None:
    response = client.get(blob_url(bundle), headers={"Range": header})
    assert response.status_code == 200
    assert response.data == bundle.contents[SHARD]
    assert "Content-Range" not in response.headers


@pytest.mark.parametrize("header", ["bytes=4096-", "bytes=9999-99999", "bytes=-0"])
def test_a_range_outside(client: FlaskClient, bundle: TinyBundle, header: str) -> None:
    response = client.get(blob_url(bundle), headers={"Range": header})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */4096"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.data == b""


def test_if_range(client: FlaskClient, bundle: TinyBundle) -> None:
    etag = f'"{Digest.of(bundle.contents[SHARD])}"'

    def status(condition: str) -> int:
        headers = {"Range": "bytes=0-0", "If-Range": condition}
        return client.get(blob_url(bundle), headers=headers).status_code

    assert status(etag) == 206
    assert status(f"W/{etag}") == 200
    assert status('"something else"') == 200
    assert status("Sat, 21 Nov 2026 05:56:10 GMT") == 200


def test_a_piece_can_be_checked_alone(
    client: FlaskClient, bundle: TinyBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9530: the digest of the bytes of this answer, for those who ask."""
    data, url = bundle.contents[SHARD], blob_url(bundle)

    def answer(wanted: str, part: str | None = None) -> TestResponse:
        headers = {"Want-Content-Digest": wanted} | ({"Range": part} if part else {})
        return client.get(url, headers=headers)

    def digest_of(part: bytes) -> str:
        return f"sha-256=:{base64.b64encode(hashlib.sha256(part).digest()).decode()}:"

    for wanted in ("sha-256=1", "sha-512=3, sha-256=10"):
        ranged = answer(wanted, "bytes=10-99")
        assert ranged.data == data[10:100]
        assert ranged.headers["Content-Digest"] == digest_of(data[10:100])
        whole = answer(wanted)
        assert whole.data == data
        assert whole.headers["Content-Digest"] == digest_of(data)
    for wanted in ("", "sha-512=1", "sha-256=0", "sha-256=11", "xsha-256=1", "sha-256"):
        assert "Content-Digest" not in answer(wanted, "bytes=10-99").headers
    assert "Content-Digest" not in client.get(url).headers
    # Each range is read twice for it, so a large one goes without.
    monkeypatch.setattr("transom_server.http.blob_response.MAX_HASHED_BYTES", 90)
    assert "Content-Digest" in answer("sha-256=1", "bytes=10-99").headers
    assert "Content-Digest" not in answer("sha-256=1", "bytes=10-100").headers


def test_a_piece_of_a_damaged_blob_does_not_pass_for_whole(
    client: FlaskClient, bundle: TinyBundle, filled: Store
) -> None:
    digest = Digest.of(bundle.contents[SHARD])
    path = filled.blob_path(digest)
    path.chmod(0o600)
    path.write_bytes(b"x" + bundle.contents[SHARD][1:])
    answer = client.get(blob_url(bundle), headers={"Want-Content-Digest": "sha-256=1"})
    promised = f"sha-256=:{base64.b64encode(bytes.fromhex(digest.hex)).decode()}:"
    assert answer.headers["Content-Digest"] == promised
    assert Digest.of(answer.data) != digest


def test_if_none_match(client: FlaskClient, bundle: TinyBundle) -> None:
    etag = f'"{Digest.of(bundle.contents[SHARD])}"'
    for condition in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        headers = {"If-None-Match": condition, "Range": "bytes=0-0"}
        response = client.get(blob_url(bundle), headers=headers)
        assert response.status_code == 304
        assert response.data == b""
        assert response.headers["ETag"] == etag
        assert "immutable" in response.headers["Cache-Control"]
    assert client.get(blob_url(bundle), headers={"If-None-Match": '"x"'}).status_code == 200


def test_an_empty_blob(client: FlaskClient, filled: Store) -> None:
    digest = filled.put_bytes(b"")
    response = client.get(f"/v2/x/blobs/{digest}")
    assert response.status_code == 200
    assert response.headers["Content-Length"] == "0"
    ranged = client.get(f"/v2/x/blobs/{digest}", headers={"Range": "bytes=0-"})
    assert ranged.status_code == 416


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v2/library/tiny/blobs/{Digest.of(b'nothing')}", 404, "BLOB_UNKNOWN"),
        ("/v2/library/tiny/blobs/sha256:../../etc", 404, None),
        ("/v2/library/tiny/blobs/latest", 400, "DIGEST_INVALID"),
        (f"/v2/library/tiny/blobs/{str(Digest.of(b'')).upper()}", 400, "DIGEST_INVALID"),
        (f"/v2/library/../blobs/{Digest.of(b'')}", 400, "NAME_INVALID"),
        ("/v2/library/tiny/manifests/nothing", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/nothing/manifests/latest", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/tiny/manifests/..", 404, "MANIFEST_UNKNOWN"),
        ("/v2/a/b/c/d/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/tiny:v2/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/library/tiny/manifests/sha256:abc", 400, "DIGEST_INVALID"),
        (f"/v2/library/tiny/manifests/{Digest.of(b'nothing')}", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/tiny%00/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/nothing/of/the/kind", 404, "UNSUPPORTED"),
    ],
)
def test_registry_errors_are_ocis(
    client: FlaskClient, path: str, status: int, code: str | None
) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"
    if code is not None:
        assert code_of(response) == code


# Manifests


def test_the_index_of_a_tag(client: FlaskClient, bundle: TinyBundle) -> None:
    data = (bundle.folder / "index.json").read_bytes()
    for path in (
        "/v2/library/tiny/manifests/latest",
        "/v2/tiny/manifests/latest",
        "/v2/localhost/library/tiny/manifests/latest",
        "/v2/library/TINY/manifests/Latest",
    ):
        response = client.get(path)
        assert response.status_code == 200
        assert response.data == data
        assert response.headers["Content-Type"] == OCI_INDEX
        assert response.headers["Docker-Content-Digest"] == str(Digest.of(data))
        assert response.headers["ETag"] == f'"{Digest.of(data)}"'
        assert response.headers["Cache-Control"] == "no-cache"
        head = client.head(path, headers={"x-request-id": response.headers["x-request-id"]})
        assert dict(head.headers) == dict(response.headers)
    again = client.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status_code == 304
    assert again.data == b""


def test_an_index_and_its_manifests_by_digest(client: FlaskClient, bundle: TinyBundle) -> None:
    index = client.get("/v2/library/tiny/manifests/latest")
    by_digest = f"/v2/library/tiny/manifests/{index.headers['Docker-Content-Digest']}"
    response = client.get(by_digest)
    assert response.data == index.data
    assert response.headers["Content-Type"] == OCI_INDEX
    assert "immutable" in response.headers["Cache-Control"]
    for row in Index.from_bytes(index.data).manifests:
        response = client.get(f"/v2/library/tiny/manifests/{row.digest}")
        assert response.headers["Content-Type"] == OCI_MANIFEST
        assert Digest.of(response.data) == row.digest
        Manifest.from_bytes(response.data)


def test_other_blobs_are_no_manifests(client: FlaskClient, filled: Store) -> None:
    for data in (b"", b"{}", b"[]", bytes(5_000_000)):
        digest = filled.put_bytes(data)
        response = client.get(f"/v2/library/tiny/manifests/{digest}")
        assert response.status_code == 404
        assert code_of(response) == "MANIFEST_UNKNOWN"


def test_a_registry_is_here(client: FlaskClient) -> None:
    response = client.get("/v2/")
    assert response.get_json() == {}
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


# WebLLM's view


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("mlc-chat-config.json", "application/json"),
        ("tensor-cache.json", "application/json"),
        ("tokenizer.json", "application/json"),
        (SHARD, "application/octet-stream"),
        ("library-f32.wasm", "application/wasm"),
        ("library-f32-fallback.wasm", "application/wasm"),
        ("library-f16.wasm", "application/wasm"),
        ("chat_template.jinja", "text/plain; charset=utf-8"),
    ],
)
def test_files_by_title(client: FlaskClient, bundle: TinyBundle, title: str, kind: str) -> None:
    data = bundle.contents[title]
    for model in ("tiny/latest", "library/tiny/latest"):
        response = client.get(f"/webllm/{model}/resolve/main/{title}")
        assert response.status_code == 200
        assert response.data == data
        assert response.headers["Content-Type"] == kind
        assert response.headers["ETag"] == f'"{Digest.of(data)}"'
        assert response.headers["Cache-Control"] == "no-cache"
    part = client.get(f"/webllm/{model}/resolve/main/{title}", headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.data) == (206, data[1:3])


@pytest.mark.parametrize(
    "path",
    [
        "/webllm/tiny/latest/resolve/main/nothing.bin",
        "/webllm/tiny/latest/resolve/main/native-config.json",  # not a file for browsers
        "/webllm/tiny/latest/resolve/main/../main/tokenizer.json",
        "/webllm/tiny/latest/resolve/main/%00",
        "/webllm/nothing/latest/resolve/main/tokenizer.json",
        "/webllm/tiny/v9/resolve/main/tokenizer.json",
    ],
)
def test_files_that_are_not_there(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.text.startswith("error: ")
    assert response.text.count("\n") == 1


def test_a_moved_tag_is_noticed_at_once(client: FlaskClient, filled: Store, tmp_path: Path) -> None:
    path = f"/webllm/tiny/latest/resolve/main/{SHARD}"
    etag = client.get(path).headers["ETag"]
    other = write_bundle(tmp_path / "other", seed=b"2")
    import_bundle(filled, other.folder, ModelName.parse("tiny"), other.files)
    response = client.get(path, headers={"If-None-Match": etag})
    assert response.status_code == 200
    assert response.data == other.contents[SHARD]


# Models, health, page


def test_models_as_openai_lists_them(client: FlaskClient, filled: Store) -> None:
    modified = filled.get_index(ModelName.parse("tiny")).modified
    row = {"id": "tiny", "object": "model", "created": int(modified), "owned_by": "library"}
    assert client.get("/v1/models").get_json() == {"object": "list", "data": [row]}


def test_health(client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok"}


def test_the_page_and_its_assets(client: FlaskClient) -> None:
    page = client.get("/?model=tiny")
    assert page.text == "<title>page</title>"
    assert page.headers["Cache-Control"] == "no-cache"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'"
    assert page.headers["Content-Security-Policy"] == policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    asset = client.get("/assets/main-1a2b.js")
    assert "immutable" in asset.headers["Cache-Control"]
    assert asset.headers["Content-Type"] == "text/javascript; charset=utf-8"
    # A worker is bound by the policy of its own file.
    assert asset.headers["Content-Security-Policy"] == policy
    # Threads may share memory only if the page and every script of a worker say these.
    for response in (page, asset):
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    again = client.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert again.status_code == 304


def test_files_of_the_page_are_packed_for_who_unpacks(client: FlaskClient, web_dir: Path) -> None:
    script = b"let answer = 42;\n" * 99
    (web_dir / "assets" / "long.js").write_bytes(script)
    (web_dir / "assets" / "python.zip").write_bytes(script)
    accepts = {"Accept-Encoding": "deflate, gzip;q=0.5, br"}
    plain, packed = client.get("/assets/long.js"), client.get("/assets/long.js", headers=accepts)
    assert "Content-Encoding" not in plain.headers
    assert plain.data == script
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == script
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(script) / 2
    assert packed.headers["ETag"] == f'"{Digest.of(script)}-gzip"'
    for response in (plain, packed):
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert "immutable" in response.headers["Cache-Control"]
    head = client.head("/assets/long.js", headers=accepts)
    assert (head.data, head.headers["Content-Length"]) == (b"", packed.headers["Content-Length"])
    again = {**accepts, "If-None-Match": packed.headers["ETag"]}
    current = client.get("/assets/long.js", headers=again)
    assert (current.status_code, current.headers["ETag"]) == (304, packed.headers["ETag"])
    assert "Content-Encoding" not in current.headers
    # Other bytes than those that the client has.
    other = {**accepts, "If-None-Match": plain.headers["ETag"]}
    assert client.get("/assets/long.js", headers=other).status_code == 200
    for path, wanted in (
        ("/assets/long.js", {"Accept-Encoding": "gzip;q=0"}),
        ("/assets/python.zip", accepts),
        ("/assets/main-1a2b.js", accepts),
    ):
        assert "Content-Encoding" not in client.get(path, headers=wanted).headers


def test_what_is_packed_is_kept_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def compress(data: bytes, *_: int, mtime: float) -> bytes:
        made.append(data[0])
        return data[: len(data) // 2]

    monkeypatch.setattr("transom_server.http.packed_files.gzip.compress", compress)
    files = PackedFiles(most_bytes=100)
    wanted = [bytes([number]) * 80 for number in range(3)]
    for number in (0, 1, 0, 2, 0, 1):
        data = wanted[number]
        assert files.get(Digest.of(data), data) == data[:40]
    # 1 had to leave for 2, and comes again.
    assert made == [0, 1, 2, 1]


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/assets", "/../app.py", "/assets/../../secret", "/%2e%2e/secret", "/%00", "//"],
)
def test_nothing_outside_of_the_page(client: FlaskClient, web_dir: Path, path: str) -> None:
    (web_dir.parent / "secret").write_text("secret")
    response = client.get(path, follow_redirects=True)
    assert "secret" not in response.text or response.status_code == 404
    if path != "//":
        assert response.status_code == 404
        assert response.text.startswith("error: ")


def test_the_policy_is_the_one_that_the_built_page_carries() -> None:
    source = (ROOT / "web" / "content-security-policy.ts").read_text()
    in_page = re.findall(r'^  "([^"]+)",$', source, re.MULTILINE)
    assert in_page == CONTENT_SECURITY_POLICY.split("; ")
    of_frames = {
        name: re.findall(r'^    "([^"]+)",$', directives, re.MULTILINE)
        for name, directives in re.findall(r'^  "(\S+)": \[(.*?)^  \]', source, re.DOTALL | re.M)
    }
    assert of_frames == {name: policy.split("; ") for name, policy in OWN_POLICIES.items()}


def test_frames_of_the_page_are_nobody_elses(client: FlaskClient, web_dir: Path) -> None:
    for name, policy in OWN_POLICIES.items():
        (web_dir / name).write_text(name)
        headers = client.get(f"/{name}").headers
        assert headers["Content-Security-Policy"] == f"{policy}; frame-ancestors 'self'"
        # Else a page that is isolated could not have it.
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"


SITE = "https://blog.example"


def _embedding(filled: Store, web_dir: Path, origins: str) -> FlaskClient:
    for name in ("embed.html", "consent.html", "connect.js"):
        (web_dir / name).write_text(name)
    environ = {"TRANSOM_EMBED_ORIGINS": origins}
    config = Config.read(environ, models=str(filled.root), web_dir=str(web_dir))
    return create_app(config).test_client()


def test_other_sites_have_our_frame_if_they_are_listed(filled: Store, web_dir: Path) -> None:
    client = _embedding(filled, web_dir, f"{SITE},http://localhost:3000")
    frame = client.get("/embed.html").headers
    ancestors = f"frame-ancestors 'self' {SITE} http://localhost:3000"
    assert frame["Content-Security-Policy"].endswith(f"; {ancestors}")
    assert frame["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert client.get("/embed.json").get_json() == {"origins": [SITE, "http://localhost:3000"]}
    # The window that asks has to answer the frame that opened it.
    question = client.get("/consent.html").headers
    assert "Cross-Origin-Opener-Policy" not in question
    assert question["Content-Security-Policy"].endswith("; frame-ancestors 'none'")
    script = client.get("/connect.js", headers={"Origin": SITE}).headers
    assert script["Access-Control-Allow-Origin"] == SITE
    assert script["Vary"] == "Origin, Accept-Encoding"
    strange = client.get("/connect.js", headers={"Origin": "https://other.example"}).headers
    assert "Access-Control-Allow-Origin" not in strange
    # The page itself is nobody's frame.
    page = client.get("/").headers
    assert page["Content-Security-Policy"].endswith("; frame-ancestors 'none'")
    assert "Cross-Origin-Resource-Policy" not in page


def test_by_default_the_frame_is_for_our_own_pages(filled: Store, web_dir: Path) -> None:
    client = _embedding(filled, web_dir, "")
    frame = client.get("/embed.html").headers
    assert frame["Content-Security-Policy"].endswith("; frame-ancestors 'self'")
    assert "Cross-Origin-Resource-Policy" not in frame
    assert client.get("/embed.json").get_json() == {"origins": []}


@pytest.mark.parametrize(
    "origins",
    [
        "https://a.example/",
        "https://a.example:443",
        "https://*.example",
        "http://a.example",
        "http://localhost:80",
        "a.example",
        "*",
    ],
)
def test_a_site_has_one_spelling(origins: str) -> None:
    with pytest.raises(InvalidSetting, match=r"TRANSOM_EMBED_ORIGINS: .* is not a site"):
        Config.read({"TRANSOM_EMBED_ORIGINS": origins})


def test_without_a_page_it_says_how_to_build_one(filled: Store, tmp_path: Path) -> None:
    config = Config.read({}, models=str(filled.root), web_dir=str(tmp_path / "none"))
    client = create_app(config).test_client()
    response = client.get("/")
    assert response.status_code == 503
    assert "npm run build" in response.text
    assert client.get("/assets/x.js").status_code == 404
    assert client.get("/v1/models").status_code == 200


# Doors


def test_a_strange_host_gets_nothing(client: FlaskClient, bundle: TinyBundle) -> None:
    for path in ("/", "/healthz", "/v1/models", "/nothing", "/a//b", blob_url(bundle)):
        response = client.get(path, headers={"Host": "evil.example"})
        assert response.status_code == 403
        assert "evil.example" in response.text
        assert "TRANSOM_HOSTS" in response.text


def test_pages_of_this_machine_may_read_models(client: FlaskClient, bundle: TinyBundle) -> None:
    origin = {"Origin": "http://localhost:5173"}
    for path in (
        blob_url(bundle),
        "/v2/tiny/manifests/latest",
        "/v2/tiny/manifests/nothing",
        "/webllm/tiny/latest/resolve/main/tokenizer.json",
        "/v1/models",
    ):
        response = client.get(path, headers=origin)
        assert response.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        assert "ETag" in response.headers["Access-Control-Expose-Headers"]
        assert "Origin" in response.vary
    etag = client.get(blob_url(bundle)).headers["ETag"]
    response = client.get(blob_url(bundle), headers={**origin, "If-None-Match": etag})
    assert response.status_code == 304
    assert response.headers["Access-Control-Allow-Origin"] == origin["Origin"]


def test_pages_of_elsewhere_may_not(client: FlaskClient, bundle: TinyBundle) -> None:
    for origin in ("https://evil.example", "null", "http://localhost.evil.example"):
        response = client.get(blob_url(bundle), headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["Vary"] == "Origin"
    # The page itself is for nobody else.
    page = client.get("/", headers={"Origin": "http://localhost:5173"})
    assert "Access-Control-Allow-Origin" not in page.headers


def test_preflight(client: FlaskClient, bundle: TinyBundle) -> None:
    headers = {
        "Origin": "http://localhost:5173",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "if-range",
    }
    response = client.options(blob_url(bundle), headers=headers)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == headers["Origin"]
    assert "GET" in response.headers["Access-Control-Allow-Methods"]
    assert "If-Range" in response.headers["Access-Control-Allow-Headers"]


def test_a_blob_cannot_be_changed(client: FlaskClient, bundle: TinyBundle) -> None:
    for method in ("POST", "PUT", "PATCH"):
        response = client.open(blob_url(bundle), method=method)
        assert response.status_code == 405
        assert "GET" in response.headers["Allow"]
        assert code_of(response) == "UNSUPPORTED"
    error = client.post("/v1/models").get_json()
    assert error["error"]["type"] == "invalid_request_error"


def test_the_log_has_one_line_per_answer(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="transom_server")
    client.get("/v1/models%0aGET%20/forged%20200?x=%0d").close()
    (record,) = caplog.records
    assert record.getMessage() == "request"
    fields = vars(record)["fields"]
    assert (fields["method"], fields["route"], fields["status"]) == ("GET", "none", 404)


def test_a_damaged_store_is_an_error_not_a_crash(client: FlaskClient, filled: Store) -> None:
    path = ModelName.parse("tiny").manifest_path(filled.root)
    path.unlink()
    path.write_bytes(b"{")
    response = client.get("/v2/tiny/manifests/latest")
    assert response.status_code == 500
    assert code_of(response) == "UNKNOWN"
    assert client.get("/v1/models").get_json()["data"] == []


# Docs


def test_the_readme_lists_every_route(app: Flask) -> None:
    readme = (ROOT / "pyserver" / "README.md").read_text()
    documented = set(re.findall(r"^\| `(/[^`]*)` \|", readme, re.MULTILINE))
    assert documented == {rule.rule for rule in app.url_map.iter_rules()}
