"""pytest tests/pyserver/test_registry_conformance.py: the OCI distribution spec 1.1, case by case.

Each test is one case of the four categories of the spec; its id is the title that the spec's own
conformance suite gives it, or a sentence of the spec where the suite has none. They run over a
socket, since half of a registry is what its HTTP server does.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pyserver.registry import LAYER_TYPE, Answer, Registry, running_registry
from transom_models.digest import Digest
from transom_models.media_types import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

Case = Callable[[Registry, str], None]
CASES: dict[str, Case] = {}
NOWHERE = Digest.of(b"nowhere")
A, B = b"first half, ", b"second half"


def case(title: str) -> Callable[[Case], Case]:
    def add(function: Case) -> Case:
        assert title not in CASES
        CASES[title] = function
        return function

    return add


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    models: Path = tmp_path_factory.mktemp("conformance") / "models"
    with running_registry(models) as registry:
        yield registry


# Pull


@case("Pull blobs: HEAD request to nonexistent blob should result in 404 response")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("HEAD", f"/v2/{repo}/blobs/{NOWHERE}")
    assert (answer.status, answer.body) == (404, b"")


@case("Pull blobs: HEAD request to existing blob should yield 200")
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(repo, A)
    answer = registry.ask("HEAD", f"/v2/{repo}/blobs/{digest}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["docker-content-digest"] == str(digest)
    assert answer.headers["content-length"] == str(len(A))


@case("Pull blobs: GET nonexistent blob should result in 404 response")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("GET", f"/v2/{repo}/blobs/{NOWHERE}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


@case("Pull blobs: GET request to existing blob URL should yield 200")
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(repo, A)
    answer = registry.ask("GET", f"/v2/{repo}/blobs/{digest}")
    assert (answer.status, answer.body) == (200, A)
    assert answer.headers["docker-content-digest"] == str(digest)


@case("Pull blobs: a registry SHOULD support the Range request header")
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(repo, A)
    url = f"/v2/{repo}/blobs/{digest}"
    answer = registry.ask("GET", url, Range="bytes=2-4")
    assert (answer.status, answer.body) == (206, A[2:5])
    assert answer.headers["content-range"] == f"bytes 2-4/{len(A)}"
    assert registry.ask("GET", url, Range="bytes=99-").status == 416


@case("Pull blobs: a zero byte blob")
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(repo, b"")
    assert registry.ask("GET", f"/v2/{repo}/blobs/{digest}").body == b""
    assert registry.ask("HEAD", f"/v2/{repo}/blobs/{digest}").headers["content-length"] == "0"


@case("Pull manifests: HEAD request to nonexistent manifest should return 404")
def _(registry: Registry, repo: str) -> None:
    for reference in (".INVALID_MANIFEST_NAME", "missing", str(NOWHERE)):
        assert registry.ask("HEAD", f"/v2/{repo}/manifests/{reference}").status == 404


@case("Pull manifests: HEAD request to manifest path (digest) should yield 200 response")
def _(registry: Registry, repo: str) -> None:
    data = registry.push(repo, "v1", A)
    _check_head(registry.ask("HEAD", f"/v2/{repo}/manifests/{Digest.of(data)}"), data)


@case("Pull manifests: HEAD request to manifest path (tag) should yield 200 response")
def _(registry: Registry, repo: str) -> None:
    data = registry.push(repo, "v1", A)
    _check_head(registry.ask("HEAD", f"/v2/{repo}/manifests/v1"), data)


def _check_head(answer: Answer, data: bytes) -> None:
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["docker-content-digest"] == str(Digest.of(data))
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-type"] == OCI_MANIFEST


@case("Pull manifests: GET nonexistent manifest should return 404")
def _(registry: Registry, repo: str) -> None:
    for reference in (".INVALID_MANIFEST_NAME", "missing", str(NOWHERE)):
        answer = registry.ask("GET", f"/v2/{repo}/manifests/{reference}")
        assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


@case("Pull manifests: GET request to manifest path (digest) should yield 200 response")
def _(registry: Registry, repo: str) -> None:
    data = registry.push(repo, "v1", A)
    answer = registry.ask("GET", f"/v2/{repo}/manifests/{Digest.of(data)}", Accept=OCI_MANIFEST)
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["content-type"] == OCI_MANIFEST


@case("Pull manifests: GET request to manifest path (tag) should yield 200 response")
def _(registry: Registry, repo: str) -> None:
    data = registry.push(repo, "v1", A)
    answer = registry.ask("GET", f"/v2/{repo}/manifests/v1")
    assert (answer.status, answer.body) == (200, data)
    assert answer.headers["docker-content-digest"] == str(Digest.of(data))


@case("Error codes: 400 response body should contain OCI-conforming JSON message")
def _(registry: Registry, repo: str) -> None:
    answer = registry.put_manifest(repo, "sha256:totallywrong", b"blablabla")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


# Push: blobs


@case("Blob Upload Streamed: PATCH request with blob in body should yield 202 response")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("PATCH", registry.start(repo), A)
    assert answer.status == 202
    assert answer.headers["range"] == f"0-{len(A) - 1}"
    assert answer.headers["location"]


@case("Blob Upload Streamed: PUT request to session URL with digest should yield 201 response")
def _(registry: Registry, repo: str) -> None:
    location = registry.ask("PATCH", registry.start(repo), A).headers["location"]
    answer = registry.ask("PUT", f"{location}?digest={Digest.of(A)}", b"")
    assert answer.status == 201
    assert registry.ask("GET", answer.headers["location"]).body == A


@case("Blob Upload Monolithic: POST request with digest and blob should yield a 201 or 202")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("POST", f"/v2/{repo}/blobs/uploads/?digest={Digest.of(A)}", A)
    assert answer.status == 201
    assert registry.ask("GET", answer.headers["location"]).body == A


@case("Blob Upload Monolithic: POST request should yield a session ID")
def _(registry: Registry, repo: str) -> None:
    first, second = registry.start(repo), registry.start(repo)
    assert first != second
    # With or without the last slash; clients write both.
    assert registry.ask("POST", f"/v2/{repo}/blobs/uploads", b"").status == 202


@case("Blob Upload Monolithic: PUT upload of a blob should yield a 201 Response")
def _(registry: Registry, repo: str) -> None:
    digest = Digest.of(A)
    answer = registry.ask("PUT", f"{registry.start(repo)}?digest={digest}", A)
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == str(digest)
    assert registry.ask("GET", answer.headers["location"]).body == A


@case("Blob Upload: other bytes than the digest SHOULD be answered with 400")
def _(registry: Registry, repo: str) -> None:
    digest = Digest.of(b"never pushed")
    for method, url in (
        ("PUT", f"{registry.start(repo)}?digest={digest}"),
        ("POST", f"/v2/{repo}/blobs/uploads/?digest={digest}"),
    ):
        answer = registry.ask(method, url, B)
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert registry.ask("HEAD", f"/v2/{repo}/blobs/{digest}").status == 404


@case("Blob Upload: an invalid digest or algorithm SHOULD be answered with 400")
def _(registry: Registry, repo: str) -> None:
    location = registry.start(repo)
    for digest in ("", "sha256:abc", "md5:" + "0" * 32, "sha512:" + "0" * 128):
        answer = registry.ask("PUT", f"{location}?digest={digest}", A)
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    # The session is none the worse for it.
    assert registry.ask("PUT", f"{location}?digest={Digest.of(A)}", A).status == 201


@case("Blob Upload Chunked: Out-of-order blob upload should return 416")
def _(registry: Registry, repo: str) -> None:
    location = registry.start(repo)
    first = f"{len(A)}-{len(A) + len(B) - 1}"
    answer = registry.ask("PATCH", location, B, Content_Range=first)
    assert answer.status == 416
    assert answer.headers["location"]
    assert registry.ask("PATCH", location, A, Content_Range=f"0-{len(A) - 1}").status == 202
    last = registry.ask(
        "PUT", f"{location}?digest={Digest.of(A + B)}", B, Content_Range=f"0-{len(B) - 1}"
    )
    assert last.status == 416


@case("Blob Upload Chunked: PATCH request with first chunk should return 202")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("PATCH", registry.start(repo), A, Content_Range=f"0-{len(A) - 1}")
    assert answer.status == 202
    assert answer.headers["range"] == f"0-{len(A) - 1}"


@case("Blob Upload Chunked: Retry previous blob chunk should return 416")
def _(registry: Registry, repo: str) -> None:
    location = registry.start(repo)
    assert registry.ask("PATCH", location, A, Content_Range=f"0-{len(A) - 1}").status == 202
    answer = registry.ask("PATCH", location, A, Content_Range=f"0-{len(A) - 1}")
    assert answer.status == 416
    assert answer.headers["range"] == f"0-{len(A) - 1}"


@case("Blob Upload Chunked: Get on stale blob upload should return 204 with a range and location")
def _(registry: Registry, repo: str) -> None:
    location = registry.start(repo)
    registry.ask("PATCH", location, A, Content_Range=f"0-{len(A) - 1}")
    answer = registry.ask("GET", location)
    assert answer.status == 204
    assert answer.headers["range"] == f"0-{len(A) - 1}"
    assert answer.headers["location"]


@case("Blob Upload Chunked: PATCH request with second chunk should return 202")
def _(registry: Registry, repo: str) -> None:
    answer = _two_chunks(registry, repo)
    assert answer.status == 202
    assert answer.headers["range"] == f"0-{len(A + B) - 1}"


@case("Blob Upload Chunked: PUT request with digest should return 201")
def _(registry: Registry, repo: str) -> None:
    location = _two_chunks(registry, repo).headers["location"]
    answer = registry.ask("PUT", f"{location}?digest={Digest.of(A + B)}", b"")
    assert answer.status == 201
    assert registry.ask("GET", answer.headers["location"]).body == A + B


@case("Blob Upload Chunked: the final chunk MAY be uploaded in the closing PUT request")
def _(registry: Registry, repo: str) -> None:
    location = registry.start(repo)
    registry.ask("PATCH", location, A, Content_Range=f"0-{len(A) - 1}")
    answer = registry.ask(
        "PUT",
        f"{location}?digest={Digest.of(A + B)}",
        B,
        Content_Range=f"{len(A)}-{len(A + B) - 1}",
    )
    assert answer.status == 201
    assert registry.ask("GET", answer.headers["location"]).body == A + B


def _two_chunks(registry: Registry, repo: str) -> Answer:
    location = registry.start(repo)
    answer = registry.ask("PATCH", location, A, Content_Range=f"0-{len(A) - 1}")
    span = f"{len(A)}-{len(A + B) - 1}"
    return registry.ask("PATCH", answer.headers["location"], B, Content_Range=span)


@case("Blob Upload Cancel: DELETE SHOULD be answered with 204, and ends the session")
def _(registry: Registry, repo: str) -> None:
    location = registry.start(repo)
    assert registry.ask("DELETE", location).status == 204
    for method, body in (("GET", None), ("PATCH", A), ("DELETE", None)):
        answer = registry.ask(method, location, body)
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


@case("Cross-Repository Blob Mount: Cross-mounting of nonexistent blob should yield session id")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("POST", f"/v2/{repo}/blobs/uploads/?mount={NOWHERE}&from=a/b", b"")
    assert answer.status == 202
    assert registry.ask("GET", answer.headers["location"]).status == 204


@case(
    "Cross-Repository Blob Mount: "
    "POST request to mount another repository's blob should return 201 or 202"
)
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(f"{repo}-source", A)
    url = f"/v2/{repo}/blobs/uploads/?mount={digest}&from={repo}-source"
    answer = registry.ask("POST", url, b"")
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == str(digest)
    # GET request to test digest within cross-mount namespace should return 200
    assert registry.ask("GET", answer.headers["location"]).body == A


@case(
    "Cross-Repository Blob Mount: Cross-mounting without from, and automatic content discovery "
    "enabled should return a 201"
)
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(f"{repo}-source", A)
    assert registry.ask("POST", f"/v2/{repo}/blobs/uploads/?mount={digest}", b"").status == 201


# Push: manifests


@case("Manifest Upload: PUT should accept a manifest upload")
def _(registry: Registry, repo: str) -> None:
    manifest = registry.image(repo, A)
    data = json.dumps(manifest, indent=7).encode()
    for tag in ("test0", "test1", "test2", "test3"):
        answer = registry.put_manifest(repo, tag, data)
        assert answer.status == 201
        assert answer.headers["docker-content-digest"] == str(Digest.of(data))
        # The registry MUST store the manifest in the exact byte representation.
        assert registry.ask("GET", answer.headers["location"]).body == data


@case("Manifest Upload: PUT by digest, without a tag")
def _(registry: Registry, repo: str) -> None:
    data = json.dumps(registry.image(repo, b"untagged")).encode()
    answer = registry.put_manifest(repo, str(Digest.of(data)), data)
    assert answer.status == 201
    assert registry.ask("GET", answer.headers["location"]).body == data
    wrong = registry.put_manifest(repo, str(NOWHERE), data)
    assert (wrong.status, wrong.code) == (400, "DIGEST_INVALID")


@case("Manifest Upload: Registry should accept a manifest upload with no layers")
def _(registry: Registry, repo: str) -> None:
    assert registry.put_manifest(repo, "empty", registry.image(repo)).status == 201


@case("Manifest Upload: GET request to manifest URL (digest) should yield 200 response")
def _(registry: Registry, repo: str) -> None:
    data = registry.push(repo, "v1", A)
    assert registry.ask("GET", f"/v2/{repo}/manifests/{Digest.of(data)}").status == 200


@case("Manifest Upload: an index of manifests that are there")
def _(registry: Registry, repo: str) -> None:
    children = [json.dumps(registry.image(repo, layer)).encode() for layer in (A, B)]
    for data in children:
        assert registry.put_manifest(repo, str(Digest.of(data)), data).status == 201
    rows = [
        {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(data)), "size": len(data)}
        for data in children
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}
    assert registry.put_manifest(repo, "both", index).status == 201
    answer = registry.ask("GET", f"/v2/{repo}/manifests/both")
    assert answer.headers["content-type"] == OCI_INDEX
    assert answer.json == index


@case("Manifest Upload: a Docker manifest keeps its media type")
def _(registry: Registry, repo: str) -> None:
    manifest = {**registry.image(repo, A), "mediaType": DOCKER_MANIFEST}
    assert registry.put_manifest(repo, "docker", manifest).status == 201
    answer = registry.ask("GET", f"/v2/{repo}/manifests/docker")
    assert answer.headers["content-type"] == DOCKER_MANIFEST
    assert answer.json == manifest


@case("Manifest Upload: SHOULD ignore parameters on the Content-Type header")
def _(registry: Registry, repo: str) -> None:
    data = json.dumps(registry.image(repo, A)).encode()
    url = f"/v2/{repo}/manifests/v1"
    kind = f"{OCI_MANIFEST}; charset=utf-8"
    assert registry.ask("PUT", url, data, Content_Type=kind).status == 201
    assert registry.ask("GET", url).headers["content-type"] == OCI_MANIFEST


@case("Manifest Upload: a blob that is not there MUST result in MANIFEST_BLOB_UNKNOWN")
def _(registry: Registry, repo: str) -> None:
    manifest = registry.image(repo, A)
    row = {"mediaType": LAYER_TYPE, "digest": str(NOWHERE), "size": 3}
    for reference in ("v1", None):
        wrong = json.dumps({**manifest, "layers": [row]}).encode()
        answer = registry.put_manifest(repo, reference or str(Digest.of(wrong)), wrong)
        assert (answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN")


@case("Manifest Upload: over the limit SHOULD be answered with 413, and 4 megabytes are under it")
def _(registry: Registry, repo: str) -> None:
    notes = {f"note-{number}": "A" * 10_000 for number in range(390)}
    data = json.dumps(registry.image(repo, A, annotations=notes)).encode()
    assert 3_900_000 < len(data) < 4_000_000
    assert registry.put_manifest(repo, "large", data).status == 201
    answer = registry.put_manifest(repo, "larger", data + b" " * 1_000_000)
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")


# Content discovery


TAGS = ["test0", "test1", "test2", "test3", "testA", "testz"]


def _push_tags(registry: Registry, repo: str) -> None:
    data = json.dumps(registry.image(repo, A)).encode()
    for tag in reversed(TAGS):
        assert registry.put_manifest(repo, tag, data).status == 201


@case("Listing tags: GET request to list tags should yield 200 response")
def _(registry: Registry, repo: str) -> None:
    _push_tags(registry, repo)
    answer = registry.ask("GET", f"/v2/{repo}/tags/list")
    assert answer.status == 200
    assert answer.json == {"name": repo, "tags": TAGS}
    missing = registry.ask("GET", "/v2/no/such/tags/list")
    assert (missing.status, missing.code) == (404, "NAME_UNKNOWN")


@case("Listing tags: GET number of tags should be limitable by `n` query parameter")
def _(registry: Registry, repo: str) -> None:
    _push_tags(registry, repo)
    answer = registry.ask("GET", f"/v2/{repo}/tags/list?n=4")
    assert answer.json["tags"] == TAGS[:4]
    link = answer.headers["link"]
    assert link.endswith('; rel="next"')
    rest = registry.ask("GET", link[1 : link.index(">")])
    assert rest.json["tags"] == TAGS[4:]
    assert "link" not in rest.headers


@case("Listing tags: when `n` is zero, an empty list and no Link header")
def _(registry: Registry, repo: str) -> None:
    _push_tags(registry, repo)
    answer = registry.ask("GET", f"/v2/{repo}/tags/list?n=0")
    assert (answer.status, answer.json["tags"]) == (200, [])
    assert "link" not in answer.headers


@case("Listing tags: GET start of tag is set by `last` query parameter")
def _(registry: Registry, repo: str) -> None:
    _push_tags(registry, repo)
    answer = registry.ask("GET", f"/v2/{repo}/tags/list?n=2&last=test1")
    assert answer.json["tags"] == TAGS[2:4]
    # `last` need not be a tag that is there, and may come without `n`.
    answer = registry.ask("GET", f"/v2/{repo}/tags/list?last=test3a")
    assert answer.json["tags"] == TAGS[4:]


def _push_referrers(registry: Registry, repo: str) -> tuple[Digest, dict[str, str]]:
    """A subject, and the digests of who refers to it: two images and an index."""
    subject = registry.push(repo, "subject", A)
    row = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(subject)), "size": len(subject)}
    found = {}
    for kind in ("sbom", "signature"):
        data = json.dumps(
            registry.image(
                repo,
                kind.encode(),
                subject=row,
                artifactType=f"application/x-{kind}",
                annotations={"kind": kind},
            )
        ).encode()
        found[kind] = _push_referrer(registry, repo, data, OCI_MANIFEST, row["digest"])
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [row], "subject": row}
    found["index"] = _push_referrer(
        registry, repo, json.dumps(index).encode(), OCI_INDEX, row["digest"]
    )
    return Digest.of(subject), found


def _push_referrer(registry: Registry, repo: str, data: bytes, kind: str, subject: object) -> str:
    digest = str(Digest.of(data))
    answer = registry.ask("PUT", f"/v2/{repo}/manifests/{digest}", data, Content_Type=kind)
    assert answer.status == 201, answer.body
    assert answer.headers["oci-subject"] == subject
    return digest


@case("Listing references: GET request to nonexistent blob should result in empty 200 response")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("GET", f"/v2/{repo}/referrers/{NOWHERE}")
    assert answer.status == 200
    assert answer.headers["content-type"] == OCI_INDEX
    assert answer.json == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


@case("Listing references: GET request to existing blob should yield 200")
def _(registry: Registry, repo: str) -> None:
    subject, referrers = _push_referrers(registry, repo)
    answer = registry.ask("GET", f"/v2/{repo}/referrers/{subject}")
    assert answer.status == 200
    rows = {row["digest"]: row for row in answer.json["manifests"]}
    assert set(rows) == set(referrers.values())
    sbom = rows[referrers["sbom"]]
    assert sbom["mediaType"] == OCI_MANIFEST
    assert sbom["artifactType"] == "application/x-sbom"
    assert sbom["annotations"] == {"kind": "sbom"}
    pulled = registry.ask("GET", f"/v2/{repo}/manifests/{referrers['sbom']}")
    assert sbom["size"] == len(pulled.body)
    assert rows[referrers["index"]]["mediaType"] == OCI_INDEX
    assert "artifactType" not in rows[referrers["index"]]
    # They are no tags of the repository, nor models.
    assert registry.ask("GET", f"/v2/{repo}/tags/list").json["tags"] == ["subject"]
    models = registry.ask("GET", "/v1/models").json["data"]
    assert [row["id"] for row in models if "referrer" in row["id"]] == []


@case("Listing references: GET request to existing blob with filter should yield 200")
def _(registry: Registry, repo: str) -> None:
    subject, referrers = _push_referrers(registry, repo)
    url = f"/v2/{repo}/referrers/{subject}?artifactType=application%2Fx-sbom"
    answer = registry.ask("GET", url)
    assert [row["digest"] for row in answer.json["manifests"]] == [referrers["sbom"]]
    assert answer.headers["oci-filters-applied"] == "artifactType"


@case("Listing references: without an artifactType, the config's media type stands for it")
def _(registry: Registry, repo: str) -> None:
    manifest = registry.image(
        repo, subject={"mediaType": OCI_MANIFEST, "digest": str(NOWHERE), "size": 7}
    )
    assert registry.put_manifest(repo, "plain", manifest).status == 201
    (row,) = registry.ask("GET", f"/v2/{repo}/referrers/{NOWHERE}").json["manifests"]
    assert row["artifactType"] == manifest["config"]["mediaType"]


@case("Listing references: GET request to missing manifest should yield 200")
def _(registry: Registry, repo: str) -> None:
    """A registry MUST accept a manifest whose subject does not exist."""
    missing = Digest.of(f"missing in {repo}".encode())
    row = {"mediaType": OCI_MANIFEST, "digest": str(missing), "size": 7}
    data = json.dumps(registry.image(repo, A, subject=row)).encode()
    _push_referrer(registry, repo, data, OCI_MANIFEST, row["digest"])
    (found,) = registry.ask("GET", f"/v2/{repo}/referrers/{missing}").json["manifests"]
    assert found["digest"] == str(Digest.of(data))


@case("Listing references: a digest with an invalid syntax MUST be answered with 400")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("GET", f"/v2/{repo}/referrers/sha256:abc")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


# Content management


@case(
    "Manifest delete: "
    "DELETE request to manifest tag should return 202, unless tag deletion is disallowed (400/405)"
)
def _(registry: Registry, repo: str) -> None:
    registry.push(repo, "v1", A)
    url = f"/v2/{repo}/manifests/v1"
    assert registry.ask("DELETE", url).status == 202
    assert registry.ask("GET", url).status == 404
    again = registry.ask("DELETE", url)
    assert (again.status, again.code) == (404, "MANIFEST_UNKNOWN")


@case(
    "Manifest delete: "
    "DELETE request to manifest (digest) should yield 202 response unless already deleted"
)
def _(registry: Registry, repo: str) -> None:
    digest = Digest.of(registry.push(repo, "v1", b"to be deleted"))
    url = f"/v2/{repo}/manifests/{digest}"
    assert registry.ask("DELETE", url).status == 202
    assert registry.ask("DELETE", url).status == 404


@case(
    "Manifest delete: "
    "GET request to deleted manifest URL should yield 404 response, unless delete is disallowed"
)
def _(registry: Registry, repo: str) -> None:
    digest = Digest.of(registry.push(repo, "v1", b"to be deleted too"))
    assert registry.ask("DELETE", f"/v2/{repo}/manifests/{digest}").status == 202
    # … and any tag pointing to that digest will return a 404.
    for reference in (str(digest), "v1"):
        assert registry.ask("GET", f"/v2/{repo}/manifests/{reference}").status == 404


@case("Manifest delete: GET request to tags list should reflect manifest deletion")
def _(registry: Registry, repo: str) -> None:
    digest = Digest.of(registry.push(repo, "v1", b"one of two"))
    registry.push(repo, "v2", b"other of two")
    assert registry.ask("DELETE", f"/v2/{repo}/manifests/{digest}").status == 202
    assert registry.ask("GET", f"/v2/{repo}/tags/list").json["tags"] == ["v2"]


@case("Manifest delete: a referrer that is deleted is listed no more")
def _(registry: Registry, repo: str) -> None:
    subject, referrers = _push_referrers(registry, repo)
    answer = registry.ask("DELETE", f"/v2/{repo}/manifests/{referrers['sbom']}")
    assert answer.status == 202
    rows = registry.ask("GET", f"/v2/{repo}/referrers/{subject}").json["manifests"]
    assert {row["digest"] for row in rows} == {referrers["signature"], referrers["index"]}


@case("Manifest delete: the repository does not have it, the response MUST be 404")
def _(registry: Registry, repo: str) -> None:
    answer = registry.ask("DELETE", f"/v2/{repo}/manifests/{NOWHERE}")
    assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")


@case("Blob delete: DELETE request to blob URL should yield 202 response")
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(repo, b"nobody needs this")
    assert registry.ask("DELETE", f"/v2/{repo}/blobs/{digest}").status == 202
    answer = registry.ask("DELETE", f"/v2/{repo}/blobs/{digest}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")


@case("Blob delete: GET request to deleted blob URL should yield 404 response")
def _(registry: Registry, repo: str) -> None:
    digest = registry.put_blob(repo, b"nobody needs that")
    assert registry.ask("DELETE", f"/v2/{repo}/blobs/{digest}").status == 202
    assert registry.ask("GET", f"/v2/{repo}/blobs/{digest}").status == 404


@case("Blob delete: refused with 405 while a tag needs the blob, and says which")
def _(registry: Registry, repo: str) -> None:
    registry.push(repo, "v1", b"needed by v1")
    digest = Digest.of(b"needed by v1")
    answer = registry.ask("DELETE", f"/v2/{repo}/blobs/{digest}")
    assert (answer.status, answer.code) == (405, "DENIED")
    assert f"{repo}:v1" in answer.json["errors"][0]["message"]
    assert "GET" in answer.headers["allow"]
    assert registry.ask("GET", f"/v2/{repo}/blobs/{digest}").status == 200
    assert registry.ask("DELETE", f"/v2/{repo}/manifests/v1").status == 202
    assert registry.ask("DELETE", f"/v2/{repo}/blobs/{digest}").status == 202


@case("Manifest delete: refused with 405 while an index needs the manifest, and says which")
def _(registry: Registry, repo: str) -> None:
    data = json.dumps(registry.image(repo, b"child")).encode()
    digest = Digest.of(data)
    registry.put_manifest(repo, str(digest), data)
    row = {"mediaType": OCI_MANIFEST, "digest": str(digest), "size": len(data)}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [row]}
    assert registry.put_manifest(repo, "parent", index).status == 201
    answer = registry.ask("DELETE", f"/v2/{repo}/manifests/{digest}")
    assert (answer.status, answer.code) == (405, "DENIED")
    assert f"{repo}:parent" in answer.json["errors"][0]["message"]


# Determining support


@case("Determining support: GET /v2/ should yield 200")
def _(registry: Registry, repo: str) -> None:
    assert registry.ask("GET", "/v2/").status == 200


@pytest.mark.parametrize("title", CASES)
def test_conformance(registry: Registry, title: str) -> None:
    # A repository for each, so that any case runs alone.
    CASES[title](registry, f"conformance/repo{list(CASES).index(title)}")
