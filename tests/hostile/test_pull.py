"""pytest tests/hostile/test_pull.py: registries that mean harm, each beside the honest one.

Classes of known holes: path tricks in digests and titles (CVE-2024-37032), foreign addresses in
descriptors (CVE-2020-15157), an index that is a manifest too (CVE-2021-41190), packed answers that
fill the memory (CVE-2024-12886), logins and requests led elsewhere.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import flaky_server as flaky
from tests.fakes.flaky_server import Answer, Asked, Fault, FlakyServer
from tests.pyserver.pulling import SIZES, Heard, options, put_model
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import MAX_MANIFEST_BYTES, Index, InvalidManifest
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config
from transom_server.store import Store, StoreError
from transom_server.transfer.http_client import TransferError
from transom_server.transfer.pull import pull
from transom_server.transfer.registry_client import NotInRegistry

HEX = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("origin") / "models")


@pytest.fixture(scope="module")
def index(origin: Store) -> Index:
    return put_model(origin, "many")


@pytest.fixture(scope="module")
def upstream(origin: Store, index: Index) -> Iterator[int]:
    config = Config.read({}, models=str(origin.root), port="0")
    with serving(create_app(config), config) as server:
        yield server.port


@pytest.fixture
def fake(upstream: int) -> Iterator[FlakyServer]:
    with flaky.flaky_server(upstream) as fake:
        yield fake


@pytest.fixture
def target(tmp_path: Path) -> Store:
    return Store(tmp_path / "outer" / "models")


def body(data: bytes, kind: str = media_types.OCI_MANIFEST, **headers: str) -> Fault:
    """Any answer to a question for a manifest."""

    def change(answer: Answer) -> None:
        answer.status, answer.body, answer.length = 200, data, None
        answer.headers = {"Content-Type": kind, **headers}

    return change


def manifest(**changes: Any) -> dict[str, Any]:
    """The smallest honest manifest, but for what a test changes."""
    data = b"x"
    row = {"mediaType": media_types.OLLAMA_MODEL, "digest": str(Digest.of(data)), "size": 1}
    value = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {**row, "mediaType": media_types.OLLAMA_CONFIG},
        "layers": [row],
    }
    return {**value, **changes}


def row(**changes: Any) -> dict[str, Any]:
    return {**manifest()["layers"][0], **changes}


def pull_of(
    fake: FlakyServer, target: Store, value: object, kind: str = media_types.OCI_MANIFEST
) -> Digest:
    """Pull from a registry that has this under every tag, and the one byte `x` as every blob."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()

    def plan(asked: Asked) -> Fault:
        return body(b"x", "application/octet-stream") if asked.is_blob else body(data, kind)

    fake.plan = plan
    name = ModelName.parse(f"{fake.place}/library/many")
    return pull(target, name, options(), Heard(), registry="")


def assert_nothing_kept(target: Store, tmp_path: Path) -> None:
    assert target.list_models() == []
    assert target.verify().problems == ()
    outside = [path for path in tmp_path.rglob("*") if not path.is_relative_to(target.root)]
    assert outside in ([], [target.root.parent])


def test_the_honest_one(fake: FlakyServer, target: Store) -> None:
    digest = pull_of(fake, target, manifest())
    assert target.list_models()[0].digest == digest
    assert target.verify().problems == ()


DIGESTS = {
    "up": "sha256:../../../../../../tmp/evil",
    "absolute": "/etc/passwd",
    "padded": f"sha256:{HEX[:61]}/..",
    "upper case": f"sha256:{HEX.upper()}",
    "no algorithm": HEX,
    "another algorithm": f"sha512:{HEX}{HEX}",
    "short": f"sha256:{HEX[:63]}",
    "long": f"sha256:{HEX}0",
    "NUL": f"sha256:{HEX[:63]}\0",
    "line": f"sha256:{HEX}\n",
    "Arabic digits": "sha256:" + "\u0660" * 64,
    "full width": "sha256:" + "\uff11" * 64,
    "dash": f"sha256-{HEX}",
    "number": 7,
    "nothing": None,
}


@pytest.mark.parametrize("kind", DIGESTS)
@pytest.mark.parametrize("where", ["config", "layers", "manifests"])
def test_tricks_in_digests(
    kind: str, where: str, fake: FlakyServer, target: Store, tmp_path: Path
) -> None:
    bad = row(digest=DIGESTS[kind])
    if where == "manifests":
        value: dict[str, Any] = {"schemaVersion": 2, "manifests": [bad]}
    else:
        value = manifest(**{where: bad if where == "config" else [bad]})
    media_type = media_types.OCI_INDEX if where == "manifests" else media_types.OCI_MANIFEST
    with pytest.raises(InvalidManifest, match=f"field {where}"):
        pull_of(fake, target, {**value, "mediaType": media_type}, media_type)
    assert_nothing_kept(target, tmp_path)
    assert fake.blob_bytes() == 0


TITLES = ("../evil", "/etc/passwd", "a/../../b", "a\\b", "a\0b", "a\nb", "", ".", "x" * 300)


@pytest.mark.parametrize("title", TITLES)
def test_tricks_in_titles(title: str, fake: FlakyServer, target: Store, tmp_path: Path) -> None:
    bad = row(annotations={media_types.ANNOTATION_TITLE: title})
    with pytest.raises(InvalidManifest, match="title"):
        pull_of(fake, target, manifest(layers=[bad]))
    assert_nothing_kept(target, tmp_path)


@pytest.mark.parametrize("kind", ["../../x", "a b", "x" * 300, "text/html\n", "é", 3])
def test_tricks_in_media_types(kind: object, fake: FlakyServer, target: Store) -> None:
    with pytest.raises(InvalidManifest, match="mediaType"):
        pull_of(fake, target, manifest(layers=[row(mediaType=kind)]))


JSONS: dict[str, tuple[bytes, str]] = {
    "deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deep"),
    "deep in an annotation": (
        b'{"schemaVersion":2,"annotations":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
        "too deep",
    ),
    "a page": (b"<!doctype html><title>Log in to the hotel's network</title>", "not JSON"),
    "nothing": (b"", "not JSON"),
    "a list": (b"[]", "must be a JSON object"),
    "a number of digits": (b'{"schemaVersion":' + b"9" * 100_000 + b"}", "not JSON"),
    "not a number": (b'{"schemaVersion":NaN}', "not JSON"),
    "half a character": (b'{"schemaVersion":2,"x":"\xc3"}', "not JSON"),
    "twice": (b'{"schemaVersion":2,"schemaVersion":2}', "twice"),
}


@pytest.mark.parametrize("kind", JSONS)
def test_json_that_is_none(kind: str, fake: FlakyServer, target: Store, tmp_path: Path) -> None:
    data, reason = JSONS[kind]
    with pytest.raises(InvalidManifest, match=reason) as caught:
        pull_of(fake, target, data)
    assert len(str(caught.value)) < 300
    assert_nothing_kept(target, tmp_path)


def test_a_manifest_may_have_its_full_size(fake: FlakyServer, target: Store) -> None:
    text = json.dumps(manifest())
    full = text + " " * (MAX_MANIFEST_BYTES - len(text))
    pull_of(fake, target, full.encode())
    assert len(target.list_models()) == 1


@pytest.mark.parametrize("told", [True, False])
def test_a_manifest_without_end(told: bool, fake: FlakyServer, target: Store) -> None:
    data = json.dumps(manifest()).encode()
    size = MAX_MANIFEST_BYTES + 1

    def endless(answer: Answer) -> None:
        head = b"HTTP/1.1 200 OK\r\n"
        if told:
            head += b"Content-Length: %d\r\n" % size
        answer.raw = head + b"\r\n" + data + b" " * (size - len(data))

    fake.plan = lambda asked: endless
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(TransferError, match=f"larger than {MAX_MANIFEST_BYTES} bytes"):
        pull(target, name, options(), Heard(), registry="")


def test_an_index_that_is_a_manifest_too(fake: FlakyServer, target: Store) -> None:
    both = manifest(manifests=[row()])
    for kind in (media_types.OCI_INDEX, media_types.OCI_MANIFEST):
        with pytest.raises(InvalidManifest):
            pull_of(fake, target, {**both, "mediaType": kind}, kind)
    del both["mediaType"]
    for kind in (media_types.OCI_INDEX, media_types.OCI_MANIFEST):
        with pytest.raises(InvalidManifest):
            pull_of(fake, target, both, kind)
    assert target.list_models() == []


def test_an_index_of_indexes(fake: FlakyServer, target: Store) -> None:
    """Each level could hold thousands of the next."""
    inner = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []})
    data = inner.encode()
    outer_row = row(mediaType=media_types.OCI_INDEX, digest=str(Digest.of(data)), size=len(data))
    outer = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [outer_row]}

    def plan(asked: Asked) -> Fault:
        by_digest = "sha256:" in asked.path
        return body(data if by_digest else json.dumps(outer).encode(), media_types.OCI_INDEX)

    fake.plan = plan
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(InvalidManifest):
        pull(target, name, options(), Heard(), registry="")
    assert target.list_models() == []


def test_manifests_too_large_together(fake: FlakyServer, target: Store) -> None:
    rows = [row(digest=f"sha256:{number:064x}", size=MAX_MANIFEST_BYTES) for number in range(5)]
    value = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": rows}
    with pytest.raises(InvalidManifest, match="larger together"):
        pull_of(fake, target, value, media_types.OCI_INDEX)
    assert len(fake.requests) == 1


def test_a_manifest_of_another_digest(fake: FlakyServer, target: Store) -> None:
    """A row of the index names one manifest, the registry gives another."""
    value = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [row(mediaType=media_types.OCI_MANIFEST, digest=f"sha256:{HEX}", size=50)],
    }
    with pytest.raises(TransferError, match="bytes of another digest"):
        pull_of(fake, target, value, media_types.OCI_INDEX)
    assert target.list_models() == []


def test_a_pinned_name_gets_nothing_else(fake: FlakyServer, target: Store) -> None:
    data = json.dumps(manifest()).encode()
    fake.plan = lambda asked: body(data, Docker_Content_Digest=f"sha256:{HEX}")
    name = ModelName.parse(f"{fake.place}/library/many@sha256:{HEX}")
    with pytest.raises(TransferError, match="bytes of another digest"):
        pull(target, name, options(), Heard(), registry="")


def test_addresses_in_descriptors_are_not_asked(
    fake: FlakyServer, upstream: int, target: Store
) -> None:
    with flaky.flaky_server(upstream) as elsewhere:
        address = f"http://{elsewhere.place}/v2/library/many/blobs/sha256:{HEX}"
        value = manifest(layers=[row(digest=f"sha256:{HEX}", urls=[address])])
        data = json.dumps(value).encode()
        fake.plan = lambda asked: flaky.status(404) if asked.is_blob else body(data)
        name = ModelName.parse(f"{fake.place}/library/many")
        with pytest.raises(NotInRegistry):
            pull(target, name, options(), Heard(), registry="")
        assert elsewhere.requests == []


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_a_bomb_in_gzip(path: str, fake: FlakyServer, target: Store) -> None:
    def bomb(answer: Answer) -> None:
        answer.body = bytes(50_000_000)
        flaky.packed(answer)

    fake.plan = lambda asked: bomb if path in asked.path else None
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(TransferError, match="packed its answer"):
        pull(target, name, options(), Heard(), registry="")
    # And nobody was invited to.
    assert {headers["accept-encoding"] for headers in fake.requests} == {"identity"}


SIZE_LIES: dict[str, tuple[object, type[TransomError], str]] = {
    "more than there is": (2, TransferError, "wants to send 1 bytes"),
    "less than there is": (0, TransferError, "other bytes than its digest"),
    "more than any disk": (2**53 - 1, StoreError, "free some space"),
    "more than a number": (2**53, InvalidManifest, "size"),
    "negative": (-1, InvalidManifest, "size"),
    "half": (0.5, InvalidManifest, "size"),
    "truth": (True, InvalidManifest, "size"),
    "text": ("1", InvalidManifest, "size"),
}


@pytest.mark.parametrize("kind", SIZE_LIES)
def test_lies_about_size(kind: str, fake: FlakyServer, target: Store, tmp_path: Path) -> None:
    size, error, reason = SIZE_LIES[kind]
    with pytest.raises(error, match=reason):
        pull_of(fake, target, manifest(layers=[], config=row(size=size)))
    assert_nothing_kept(target, tmp_path)


def test_one_blob_of_two_sizes(fake: FlakyServer, target: Store) -> None:
    with pytest.raises(InvalidManifest, match="two different sizes"):
        pull_of(fake, target, manifest(layers=[row(size=1), row(size=2)]))


def test_a_blob_that_never_ends(fake: FlakyServer, target: Store) -> None:
    """No more than was promised is ever written, however much comes."""
    data = json.dumps(manifest()).encode()

    def flood(answer: Answer) -> None:
        answer.raw = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(3_000_000)

    fake.plan = lambda asked: flood if asked.is_blob else body(data)
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(TransferError, match="more bytes than were asked for"):
        pull(target, name, options(), Heard(), registry="")
    kept = [path.stat().st_size for path in target.root.rglob("*") if path.is_file()]
    assert max(kept) < 1000


HEADERS: dict[str, bytes] = {
    "one without end": b"X: " + b"y" * 70_000 + b"\r\n",
    "thousands": b"X: y\r\n" * 5_000,
    "two lengths": b"Content-Length: 1\r\nContent-Length: 2\r\n",
    "a length that is none": b"Content-Length: -5\r\n",
    "chunks that are none": b"Transfer-Encoding: chunked\r\n",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_gone_wrong(kind: str, fake: FlakyServer, target: Store) -> None:
    def change(answer: Answer) -> None:
        answer.raw = b"HTTP/1.1 200 OK\r\n" + HEADERS[kind] + b"\r\n" + b"not a chunk, not JSON"

    fake.plan = lambda asked: change
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(TransomError) as caught:
        pull(target, name, options(), Heard(), registry="")
    assert len(str(caught.value)) < 300
    assert target.list_models() == []


def test_a_redirect_of_a_page_s_length(fake: FlakyServer, target: Store) -> None:
    fake.plan = lambda asked: flaky.redirect("http://127.0.0.1/" + "x" * 20_000)
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(TransomError, match="longer than an address can be") as caught:
        pull(target, name, options(), Heard(), registry="")
    assert len(str(caught.value)) < 300


def test_what_an_error_says_cannot_steer_a_terminal(fake: FlakyServer, target: Store) -> None:
    text = "\x1b[2Jgone\r\nerror: \u202epay" + "x" * 10_000
    said = json.dumps({"errors": [{"code": "UNKNOWN", "message": text}]}).encode()

    def change(answer: Answer) -> None:
        answer.status, answer.body = 404, said

    fake.plan = lambda asked: change
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(NotInRegistry) as caught:
        pull(target, name, options(), Heard(), registry="")
    assert str(caught.value).isprintable()
    assert "gone" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"errors":[]}', '{"errors":{}}', '{"errors":[{"message":7}]}', '{"error":{}}'],
)
def test_errors_that_say_nothing(text: str, fake: FlakyServer, target: Store) -> None:
    def change(answer: Answer) -> None:
        answer.status, answer.body = 404, text.encode()

    fake.plan = lambda asked: change
    name = ModelName.parse(f"{fake.place}/library/many")
    with pytest.raises(NotInRegistry, match=r"has no manifest latest of library/many$"):
        pull(target, name, options(), Heard(), registry="")


def test_a_store_under_attack_still_pulls(
    fake: FlakyServer, target: Store, index: Index, tmp_path: Path
) -> None:
    """What a hostile registry left behind hinders no honest pull of the same digests."""
    wrong: Callable[[Answer], None] = flaky.flip(3)
    fake.plan = lambda asked: wrong if asked.is_blob else None
    name = ModelName.parse(f"{fake.place}/library/many")
    fake.digests = False
    with pytest.raises(TransferError):
        pull(target, name, options(), Heard(), registry="")
    fake.plan = lambda asked: None
    pull(target, name, options(), Heard(), registry="")
    assert target.verify().problems == ()
    assert target.list_models()[0].index == index
    assert sum(SIZES) > 0
