"""pytest tests/hostile/test_registry.py: what the registry must not be talked into.

One test for each class of hole that registries and their clients have had, named after it, with
the smallest legal request beside the lie. Over a socket: paths reach us as they were sent.
"""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pyserver.registry import CONFIG_TYPE, LAYER_TYPE, Registry, running_registry
from transom_api.addresses import MAX_BODY_BYTES
from transom_models.digest import Digest
from transom_models.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from transom_server.http.request_body import body_limit
from transom_server.registry import uploads
from transom_server.store import Store

REPO = "me/model"
HEX = "ab" * 32


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "models"


@pytest.fixture
def registry(models: Path) -> Iterator[Registry]:
    with running_registry(models) as registry:
        yield registry


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[None]:
    """Whatever a test does, nothing is made outside of the store, and nothing is read there."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    yield
    assert sorted(path.name for path in tmp_path.iterdir()) in (["secret"], ["deep", "secret"])
    if (tmp_path / "deep").exists():
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["models"]
    assert secret.read_text() == "secret"


def files(models: Path) -> set[str]:
    """Everything in the store but its lock."""
    found = {str(path.relative_to(models)) for path in models.rglob("*") if path.is_file()}
    return found - {".tmp/store.lock"}


# Paths


@pytest.mark.parametrize(
    "repository",
    [
        "..",
        "../..",
        "../../secret",
        "me/..",
        "%2e%2e/%2e%2e",
        "..%2f..%2fsecret",
        "%2Fetc%2Fpasswd",
        "/etc",
        "me%00/model",
        "me/model%0a",
        "me/model%0d%0aX-Evil:%201",
        "me\\..\\model",
        "me/.hidden",
        "a/b/c/d",
        "me/model:tag",
        "me/model@sha256:" + HEX,
        "m%c3%a9/model",
        "me/" + "m" * 81,
        "x" * 60_000,
    ],
)
def test_path_tricks_in_the_repository(
    registry: Registry, models: Path, outside: None, repository: str
) -> None:
    for method, rest, body in (
        ("GET", "tags/list", None),
        ("GET", f"blobs/sha256:{HEX}", None),
        ("GET", f"referrers/sha256:{HEX}", None),
        ("POST", "blobs/uploads/", b""),
        ("PUT", "manifests/v1", b"{}"),
        ("DELETE", "manifests/v1", None),
        ("DELETE", f"blobs/sha256:{HEX}", None),
    ):
        answer = registry.ask(method, f"/v2/{repository}/{rest}", body)
        # Two slashes in a row are one; that address says 308 and leads to an ordinary name.
        assert answer.status in (308, 400, 404, 405), (method, rest)
        assert answer.status != 308 or repository.startswith(("/", "%2F"))
        assert "x-evil" not in answer.headers
    assert files(models) == set()


def test_path_tricks_in_the_repository_have_legal_neighbours(registry: Registry) -> None:
    for number, repository in enumerate(
        ["model", "me/model", "host.example/me/model", "127.0.0.1:5000/me/m.o-d_el", "_/_"]
    ):
        data = registry.push(repository, "v1", str(number).encode())
        assert registry.ask("GET", f"/v2/{repository}/manifests/v1").body == data
        assert registry.ask("GET", f"/v2/{repository}/tags/list").json["name"] == repository


@pytest.mark.parametrize(
    "tag",
    [
        "..",
        ".hidden",
        "%2e%2e%2f%2e%2e%2fsecret",
        "v1%00",
        "v1%0a",
        "v1%20",
        "-v1",
        "t" * 81,
        "v1@sha256%3a" + HEX,
        "v%c3%a91",
        "_referrer-" + "0" * 32 + "-" + "0" * 32,
    ],
)
def test_path_tricks_in_the_tag(registry: Registry, models: Path, outside: None, tag: str) -> None:
    registry.push(REPO, "v1", b"layer")
    manifest = registry.image(REPO, b"layer")
    before = files(models)
    assert registry.put_manifest(REPO, tag, manifest).status in (400, 404, 405)
    assert registry.ask("GET", f"/v2/{REPO}/manifests/{tag}").status in (400, 404)
    assert registry.ask("DELETE", f"/v2/{REPO}/manifests/{tag}").status in (400, 404, 405)
    assert files(models) == before
    # The longest and oddest that may be.
    for legal in ("t" * 80, "_", "9", "V1.0_x-y"):
        assert registry.put_manifest(REPO, legal, manifest).status == 201


def test_a_tag_in_another_case_is_the_same_tag(registry: Registry, models: Path) -> None:
    """Where file systems fold case, two names would be one file."""
    registry.push(REPO, "Latest", b"first")
    second = registry.push(REPO, "latest", b"second")
    assert registry.ask("GET", "/v2/ME/Model/manifests/LATEST").body == second
    assert registry.ask("GET", f"/v2/{REPO}/tags/list").json["tags"] == ["Latest"]


DIGESTS = [
    "sha256:../../../../secret",
    "sha256:%2e%2e%2f%2e%2e%2fsecret",
    "sha256%3a..%2f..%2f..%2fsecret",
    "sha256-" + HEX,
    "sha256:" + HEX.upper(),
    "sha256:" + HEX[:-1],
    "sha256:" + HEX + "0",
    "sha256:" + HEX + "%0a",
    "sha256:" + HEX[:-1] + "%00",
    "SHA256:" + HEX,
    " sha256:" + HEX.replace("a", "g"),
    # Digits that are not ASCII: Python's `isdigit` and `int` take them.
    "sha256:" + "%d9%a1" * 64,
    "sha256:" + "%ef%bc%91" * 64,
    "sha512:" + HEX * 2,
    "md5:" + "0" * 32,
]


@pytest.mark.parametrize("digest", DIGESTS)
def test_digest_path_traversal_cve_2024_37032(
    registry: Registry, models: Path, outside: None, digest: str
) -> None:
    digest = digest.replace(" ", "%20")
    for method, path, body in (
        ("GET", "blobs/", None),
        ("HEAD", "blobs/", None),
        ("DELETE", "blobs/", None),
        ("GET", "manifests/", None),
        ("PUT", "manifests/", b"{}"),
        ("DELETE", "manifests/", None),
        ("GET", "referrers/", None),
        ("POST", "blobs/uploads/?mount=", b""),
        ("POST", "blobs/uploads/?digest=", b"secret"),
    ):
        answer = registry.ask(method, f"/v2/{REPO}/{path}{digest}", body)
        assert answer.status in (400, 404, 405), (method, path)
        assert b"secret" not in answer.body.replace(digest.encode(), b"").replace(b"/secret", b"")
    assert files(models) == set()


def test_a_digest_that_is_well_formed_is_taken(registry: Registry) -> None:
    digest = registry.put_blob(REPO, b"secret")
    assert registry.ask("GET", f"/v2/{REPO}/blobs/{digest}").body == b"secret"
    assert registry.ask("GET", f"/v2/{REPO}/blobs/sha256%3A{digest.hex}").body == b"secret"


@pytest.mark.parametrize(
    "upload",
    [
        "..",
        "../../secret",
        "%2e%2e%2f%2e%2e%2fsecret",
        "../../blobs/sha256/" + HEX,
        "0" * 31,
        "0" * 33,
        "0" * 31 + "%0a",
        "0" * 32 + "%00",
        "A" * 32,
        "%d9%a1" * 32,
        "store.lock",
    ],
)
def test_path_tricks_in_the_upload_id(
    registry: Registry, models: Path, outside: None, upload: str
) -> None:
    registry.put_blob(REPO, b"blob")
    before = files(models)
    url = f"/v2/{REPO}/blobs/uploads/{upload}"
    for method, body in (("GET", None), ("PATCH", b"x"), ("DELETE", None)):
        assert registry.ask(method, url, body).status in (308, 404, 405)
    assert registry.ask("PUT", f"{url}?digest={Digest.of(b'x')}", b"x").status in (308, 404, 405)
    assert files(models) == before


def test_a_file_the_client_never_sent_cve_2024_39722(
    registry: Registry, models: Path, outside: None, tmp_path: Path
) -> None:
    """Neither a path nor a digest tells a client which files there are, or makes one a blob."""
    digest = Digest.of(b"secret")
    for query in (
        f"mount={digest}&from=../../..",
        f"mount={digest}&from={tmp_path}",
        f"mount={digest}",
    ):
        answer = registry.ask("POST", f"/v2/{REPO}/blobs/uploads/?{query}", b"")
        assert answer.status == 202
        registry.ask("DELETE", answer.headers["location"])
    row = {"mediaType": LAYER_TYPE, "digest": str(digest), "size": 6}
    for extra in ({}, {"path": str(tmp_path / "secret")}, {"from": str(tmp_path / "secret")}):
        manifest = {**registry.image(REPO), "layers": [{**row, **extra}]}
        answer = registry.put_manifest(REPO, "v1", manifest)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")
    # What the client did send may be named.
    registry.put_blob(REPO, b"secret")
    assert (
        registry.put_manifest(REPO, "v1", {**registry.image(REPO), "layers": [row]}).status == 201
    )


# Manifests


def put(registry: Registry, data: bytes, kind: str = OCI_MANIFEST) -> tuple[int, str]:
    answer = registry.ask("PUT", f"/v2/{REPO}/manifests/v1", data, Content_Type=kind)
    return answer.status, "" if answer.status == 201 else answer.code


def test_huge_manifests_cve_2017_11468(registry: Registry, models: Path) -> None:
    data = json.dumps(registry.image(REPO)).encode()
    before = files(models)
    assert put(registry, data + b" " * 5_000_000) == (413, "SIZE_INVALID")

    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 100_000

    # The same without saying beforehand how much it will be.
    registry._connection.request(
        "PUT", f"/v2/{REPO}/manifests/v1", chunks(), {"Content-Type": OCI_MANIFEST}
    )
    response = registry._connection.getresponse()
    response.read()
    assert response.status == 413
    assert files(models) == before
    assert put(registry, data + b" " * 4_000_000) == (201, "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'"sha256:' + HEX.encode() + b'"',
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"\xff\xfe{}",
        b'{"schemaVersion": 2, "config": "\\ud800"}',
        b'{"schemaVersion": ' + b"9" * 100_000 + b"}",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2, "x": NaN}',
    ],
    ids=lambda data: data[:12].decode(errors="replace"),
)
def test_what_is_no_manifest(registry: Registry, models: Path, data: bytes) -> None:
    assert put(registry, data) == (400, "MANIFEST_INVALID")
    assert files(models) == set()


def test_a_key_that_stands_twice(registry: Registry) -> None:
    """Two readers of one digest could see two manifests."""
    data = json.dumps(registry.image(REPO)).encode()
    assert put(registry, data[:-1] + b', "layers": []}') == (400, "MANIFEST_INVALID")
    assert put(registry, data[:-1] + b', "other": []}') == (201, "")


def test_an_index_that_is_a_manifest_too_cve_2021_41190(registry: Registry) -> None:
    manifest = registry.image(REPO, b"layer")
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    for kind in (OCI_MANIFEST, OCI_INDEX):
        for value in ({**manifest, **index}, {**index, **manifest}):
            value = {**value, "mediaType": kind}
            data = json.dumps(value).encode()
            assert put(registry, data, kind) == (400, "MANIFEST_INVALID")
            del value["mediaType"]
            assert put(registry, json.dumps(value).encode(), kind) == (400, "MANIFEST_INVALID")
    assert put(registry, json.dumps(manifest).encode()) == (201, "")
    assert put(registry, json.dumps(index).encode(), OCI_INDEX) == (201, "")


def test_a_media_type_that_is_not_the_bodys(registry: Registry) -> None:
    manifest = registry.image(REPO, b"layer")
    data = json.dumps(manifest).encode()
    for kind in (OCI_INDEX, DOCKER_MANIFEST):
        assert put(registry, data, kind) == (400, "MANIFEST_INVALID")
    for kind in ("text/html", "application/json", "../..", "a" * 1000):
        assert put(registry, data, kind) == (415, "UNSUPPORTED")
    bare = {key: value for key, value in manifest.items() if key != "mediaType"}
    assert put(registry, json.dumps(bare).encode(), DOCKER_MANIFEST) == (400, "MANIFEST_INVALID")
    # What the body does not say, the header may; what neither says, the fields do.
    assert put(registry, json.dumps(bare).encode()) == (201, "")
    assert put(registry, json.dumps(bare).encode(), "") == (201, "")


def test_a_media_type_does_not_become_a_header(registry: Registry) -> None:
    for kind in ("a\r\nX-Evil: 1", "text/html\n", "a b", ""):
        row = {"mediaType": kind, "digest": f"sha256:{HEX}", "size": 1}
        data = json.dumps({**registry.image(REPO), "layers": [row]}).encode()
        assert put(registry, data) == (400, "MANIFEST_INVALID")
    # A blob is bytes and no page, whatever its manifest calls it.
    registry.put_manifest(REPO, "v1", registry.image(REPO, b"<script>"))
    answer = registry.ask("GET", f"/v2/{REPO}/blobs/{Digest.of(b'<script>')}")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_foreign_layers_are_never_fetched_cve_2020_15157(registry: Registry) -> None:
    """A layer's `urls` would have us ask any host, and show it who we are."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/layer"
        row = {"mediaType": LAYER_TYPE, "digest": f"sha256:{HEX}", "size": 1, "urls": [url]}
        data = json.dumps({**registry.image(REPO), "layers": [row]}).encode()
        assert put(registry, data) == (400, "MANIFEST_BLOB_UNKNOWN")
        # Of a blob that is here, where else it may be is of no interest.
        digest = registry.put_blob(REPO, b"here")
        row |= {"digest": str(digest), "size": 4}
        data = json.dumps({**registry.image(REPO), "layers": [row]}).encode()
        assert put(registry, data) == (201, "")
        assert registry.ask("GET", f"/v2/{REPO}/blobs/{digest}").body == b"here"
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("size", [-1, 0, 5, 2**53, 1.0, True, "4", None])
def test_a_size_that_is_a_lie(registry: Registry, size: object) -> None:
    manifest = registry.image(REPO, b"four")
    manifest["layers"][0]["size"] = size
    status, code = put(registry, json.dumps(manifest).encode())
    assert (status, code) == (400, "MANIFEST_INVALID")
    manifest["layers"][0]["size"] = 4
    assert put(registry, json.dumps(manifest).encode()) == (201, "")


@pytest.mark.parametrize(
    "subject",
    ["x", [], {"digest": 7}, {"digest": "sha256:../.."}, {"digest": "sha256:" + HEX.upper()}],
)
def test_a_subject_that_is_none(registry: Registry, subject: object) -> None:
    data = json.dumps(registry.image(REPO, subject=subject)).encode()
    assert put(registry, data) == (400, "MANIFEST_INVALID")
    legal = {"mediaType": CONFIG_TYPE, "digest": f"sha256:{HEX}", "size": 1}
    assert put(registry, json.dumps(registry.image(REPO, subject=legal)).encode()) == (201, "")


def test_a_title_that_leads_outside(registry: Registry) -> None:
    for title in ("../secret", "/etc/passwd", "a/../../b", "a\\b", "a\0b", "a\nb", ""):
        manifest = registry.image(REPO, b"layer")
        manifest["layers"][0]["annotations"] = {"org.opencontainers.image.title": title}
        assert put(registry, json.dumps(manifest).encode()) == (400, "MANIFEST_INVALID")
    manifest["layers"][0]["annotations"] = {"org.opencontainers.image.title": "a/b c.bin"}
    assert put(registry, json.dumps(manifest).encode()) == (201, "")


# Lists


@pytest.mark.parametrize("n", ["-1", "1e9", "x", "0x10", "1" * 5000, "%d9%a1", "1%0a", "+1", ""])
def test_a_number_of_tags_that_is_none_cve_2023_2253(registry: Registry, n: str) -> None:
    registry.push(REPO, "v1")
    answer = registry.ask("GET", f"/v2/{REPO}/tags/list?n={n}")
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")


def test_a_huge_number_of_tags_is_capped_cve_2023_2253(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = json.dumps(registry.image(REPO)).encode()
    for number in range(5):
        registry.put_manifest(REPO, f"v{number}", data)
    url = f"/v2/{REPO}/tags/list?n=9999999999"
    assert registry.ask("GET", url).json["tags"] == ["v0", "v1", "v2", "v3", "v4"]
    monkeypatch.setattr("transom_server.routes.tags.MAX_TAGS", 3)
    answer = registry.ask("GET", url)
    assert answer.json["tags"] == ["v0", "v1", "v2"]
    assert "n=3&last=v2" in answer.headers["link"]


def test_a_long_list_of_referrers_comes_in_parts(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom_server.registry.referrers.MAX_ROWS", 2)
    subject = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{HEX}", "size": 1}
    pushed = {
        str(Digest.of(registry.push(REPO, f"v{number}", str(number).encode(), subject=subject)))
        for number in range(5)
    }
    url, found = f"/v2/{REPO}/referrers/sha256:{HEX}", []
    for rows in (2, 2, 1):
        answer = registry.ask("GET", url)
        assert len(answer.json["manifests"]) == rows
        found += [row["digest"] for row in answer.json["manifests"]]
        link = answer.headers.get("link", "<>")
        url = link[1 : link.index(">")]
    assert url == ""
    assert sorted(found) == sorted(pushed)


# Uploads


@pytest.mark.parametrize(
    "span",
    [
        "",
        "0",
        "-1",
        "0-",
        "4-0",
        "a-b",
        "0-3-5",
        "0-" + "9" * 400,
        "%-%",
        "\u0660-\u0663",
        "bytes */4",
    ],
)
def test_a_content_range_that_is_none(registry: Registry, span: str) -> None:
    location = registry.start(REPO)
    try:
        span.encode("latin-1")
    except UnicodeEncodeError:
        span = span.encode().decode("latin-1")
    answer = registry.ask("PATCH", location, b"four", Content_Range=span)
    assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")
    # A length that is not the body's leaves nothing behind either.
    for wrong in ("0-2", "0-4"):
        answer = registry.ask("PATCH", location, b"four", Content_Range=wrong)
        assert (answer.status, answer.code) == (400, "BLOB_UPLOAD_INVALID")
    assert registry.ask("GET", location).headers["range"] == "0-0"
    for legal in ("0-3", "bytes 4-7/*"):
        assert registry.ask("PATCH", location, b"four", Content_Range=legal).status == 202
    digest = Digest.of(b"fourfour")
    assert registry.ask("PUT", f"{location}?digest={digest}", b"").status == 201


def test_uploads_that_nobody_ends_are_capped(
    registry: Registry, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS", 3)
    locations = [registry.start(REPO) for _ in range(3)]
    answer = registry.ask("POST", f"/v2/{REPO}/blobs/uploads/", b"")
    assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
    registry.ask("DELETE", locations[0])
    assert registry.ask("POST", f"/v2/{REPO}/blobs/uploads/", b"").status == 202
    # The care of the store removes them, and then they are gone for their clients too.
    Store(models).collect_garbage(grace_seconds=0)
    assert registry.ask("PATCH", locations[1], b"x").status == 404


def test_a_body_larger_than_the_disk_is_refused_before_it_comes(
    registry: Registry, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom_server.http.request_body._free_bytes", lambda folder: 4_000_000)
    location = registry.start(REPO)
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as client:
        head = f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n"
        client.sendall(head.encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert registry.ask("PATCH", location, bytes(1_900_000)).status == 202
    # Nor does it help not to say how much will come.
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as client:
        head = f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head.encode())
        piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        with pytest.raises(ConnectionError):
            client.sendall(piece * 1000)
    assert registry.ask("GET", location).headers["range"] == "0-1899999"


def test_only_uploads_may_be_large() -> None:
    plenty = 10**15
    for path in ("/v2/a/blobs/uploads/", "/v2/a/b/blobs/uploads/0", "/api/blobs/sha256:0"):
        assert body_limit(path, plenty) == plenty // 2
        assert body_limit(path, 10**9) == 10**9 // 2
    for path in ("/", "/v1/chat/completions", "/api/create", "/v2/a/manifests/x", "/v2/blobs"):
        assert body_limit(path, plenty) == MAX_BODY_BYTES


def test_no_large_body_from_a_web_page(registry: Registry, models: Path) -> None:
    """It would fill the disk before anybody looks at where it comes from."""
    url = f"/v2/{REPO}/blobs/uploads/"
    head = f"POST {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n"
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as client:
        client.sendall(f"{head}Origin: https://evil.example\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as client:
        client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as client:
        other = head.replace(url, "/v1/models")
        client.sendall(f"{other}Expect: 100-continue\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_large_body_lies_in_the_stores_folder(
    registry: Registry, models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not in memory, and not in /tmp, which often is memory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no such folder"))
    data = bytes(3_000_000)
    digest = registry.put_blob(REPO, data)
    assert registry.ask("GET", f"/v2/{REPO}/blobs/{digest}").body == data


def test_a_client_that_goes_away_leaves_no_half_body(registry: Registry, models: Path) -> None:
    location = registry.start(REPO)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", registry.port)) as client:
            head = (
                f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n"
            )
            client.sendall(head.encode() + bytes(1_000_000))
    assert registry.ask("GET", location).headers["range"] == "0-0"
    assert registry.ask("PUT", f"{location}?digest={Digest.of(b'x')}", b"x").status == 201


# Pages of other sites


def test_a_strange_page_cannot_push(registry: Registry, models: Path) -> None:
    url = f"/v2/{REPO}/blobs/uploads/?digest={Digest.of(b'x')}"
    assert registry.ask("POST", url, b"x", Origin="https://evil.example").status == 403
    assert registry.ask("POST", url, b"x", Host="evil.example").status == 403
    assert files(models) == set()
    assert registry.ask("POST", url, b"x", Origin=f"http://localhost:{registry.port}").status == 201
