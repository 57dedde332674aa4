"""pytest tests/pyserver/test_uploads.py: blobs on their way in, below HTTP and at its edges."""

import errno
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pyserver.registry import Registry, running_registry
from transom_models.digest import Digest
from transom_models.media_types import OCI_MANIFEST
from transom_models.name import ModelName
from transom_server.registry.uploads import (
    Span,
    UploadFailed,
    UploadInvalid,
    UploadNotFound,
    UploadOutOfOrder,
    Uploads,
)
from transom_server.store import DigestMismatch, Store


@pytest.fixture
def uploads(store: Store) -> Uploads:
    return Uploads(store)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with running_registry(tmp_path / "models") as registry:
        yield registry


def sessions(store: Store) -> list[Path]:
    return sorted((store.scratch / "uploads").iterdir())


def append(uploads: Uploads, upload: str, data: bytes, span: Span | None = None) -> int:
    return uploads.append(upload, io.BytesIO(data), span)


def test_asking_makes_no_folder(store: Store, uploads: Uploads) -> None:
    with pytest.raises(UploadNotFound):
        uploads.size("0" * 32)
    assert not store.scratch.exists()


def test_a_session_outlives_the_server(store: Store, uploads: Uploads) -> None:
    upload = uploads.start()
    append(uploads, upload, b"first, ")
    again = Uploads(store)
    assert again.size(upload) == 7
    assert append(again, upload, b"second", Span(7, 6)) == 13
    digest = Digest.of(b"first, second")
    again.finish(upload, digest, io.BytesIO())
    assert store.blob_path(digest).read_bytes() == b"first, second"
    assert sessions(store) == []
    # The first server, whose memory of it is out of date, finds it gone.
    with pytest.raises(UploadNotFound):
        append(uploads, upload, b"third")


def test_two_servers_may_write_in_turn(store: Store, uploads: Uploads) -> None:
    """What a server remembers of the digest is believed only where it has written it all."""
    other = Uploads(store)
    upload = uploads.start()
    append(uploads, upload, b"ab")
    append(other, upload, b"cd")
    append(uploads, upload, b"ef")
    uploads.finish(upload, Digest.of(b"abcdef"), io.BytesIO(b""))
    assert store.has_blob(Digest.of(b"abcdef"))


def test_a_body_comes_whole_or_not_at_all(store: Store, uploads: Uploads) -> None:
    upload = uploads.start()
    append(uploads, upload, b"kept")
    with pytest.raises(UploadInvalid, match="has 9 bytes, the body 5"):
        append(uploads, upload, b"short", Span(4, 9))
    with pytest.raises(UploadOutOfOrder, match="has 4 bytes, so the next is 4, not 5") as caught:
        append(uploads, upload, b"x", Span(5, 1))
    assert caught.value.size == uploads.size(upload) == 4

    class Broken(io.RawIOBase):
        reads = 0

        def read(self, size: int = -1, /) -> bytes:
            self.reads += 1
            if self.reads > 1:
                raise OSError(errno.EIO, "Input/output error")
            return b"half"

    with pytest.raises(UploadFailed, match="Input/output error"):
        uploads.append(upload, Broken())  # type: ignore[arg-type]
    assert uploads.size(upload) == 4
    uploads.finish(upload, Digest.of(b"kept on"), io.BytesIO(b" on"))


def test_a_full_disk_is_said_and_costs_nothing_else(
    store: Store, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = uploads.start()
    append(uploads, upload, b"kept")

    class FullFile(io.FileIO):
        def write(self, data: object, /) -> int:
            super().write(b"par")
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda path, mode, buffering: FullFile(path, "r+"))
        with pytest.raises(UploadFailed, match="free some space on the server"):
            append(uploads, upload, b"more")
    assert uploads.size(upload) == 4
    uploads.finish(upload, Digest.of(b"kept more"), io.BytesIO(b" more"))


def test_other_bytes_end_the_session(store: Store, uploads: Uploads) -> None:
    upload = uploads.start()
    with pytest.raises(DigestMismatch):
        uploads.finish(upload, Digest.of(b"promised"), io.BytesIO(b"sent"))
    assert sessions(store) == []
    assert not store.has_blob(Digest.of(b"sent"))


def test_nothing_is_left_of_a_whole_blob_that_fails(store: Store, registry: Registry) -> None:
    digest = Digest.of(b"blob")
    url = f"/v2/a/b/blobs/uploads/?digest={digest}"
    assert registry.ask("POST", url, b"blub").status == 400
    assert registry.ask("POST", url, b"blob", Content_Range="1-4").code == "BLOB_UPLOAD_INVALID"
    assert sessions(store) == []
    assert registry.ask("POST", url, b"blob", Content_Range="0-3").status == 201


def test_one_of_many_wins_each_place(store: Store, uploads: Uploads) -> None:
    """A client that gave up on an answer sends the chunk again while the first is written."""
    upload = uploads.start()
    for first in range(0, 40, 10):
        outcomes: list[str] = []

        def send(first: int = first, outcomes: list[str] = outcomes) -> None:
            try:
                append(uploads, upload, b"0123456789", Span(first, 10))
                outcomes.append("took")
            except UploadOutOfOrder:
                outcomes.append("refused")

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["refused"] * 7 + ["took"]
    uploads.finish(upload, Digest.of(b"0123456789" * 4), io.BytesIO())


def test_old_sessions_are_swept_and_young_ones_kept(store: Store, uploads: Uploads) -> None:
    old, young = uploads.start(), uploads.start()
    append(uploads, old, b"old")
    append(uploads, young, b"young")
    yesterday = time.time() - 25 * 3600
    os.utime(store.scratch / "uploads" / old, (yesterday, yesterday))
    store.collect_garbage()
    assert [path.name for path in sessions(store)] == [young]
    with pytest.raises(UploadNotFound):
        append(uploads, old, b"x")


def test_a_blob_is_read_only_and_the_session_nobody_elses(store: Store, uploads: Uploads) -> None:
    upload = uploads.start()
    (path,) = sessions(store)
    assert path.stat().st_mode & 0o777 == 0o600
    uploads.finish(upload, Digest.of(b"x"), io.BytesIO(b"x"))
    assert store.blob_path(Digest.of(b"x")).stat().st_mode & 0o777 == 0o444


def test_a_blob_that_is_mounted_is_young_again(store: Store, registry: Registry) -> None:
    """Whoever mounts it is about to name it; a collection meanwhile must leave it alone."""
    digest = registry.put_blob("a/b", b"old")
    path = store.blob_path(digest)
    os.utime(path, (0, 0))
    answer = registry.ask("POST", f"/v2/c/d/blobs/uploads/?mount={digest}&from=a/b", b"")
    assert answer.status == 201
    assert store.collect_garbage().removed.blobs == 0
    assert store.has_blob(digest)


def test_an_upload_as_ollamas_client_does_it(registry: Registry) -> None:
    """It reads whole addresses only, and says more than the spec has words for."""
    data = os.urandom(300_000)
    digest = Digest.of(data)
    assert registry.ask("HEAD", f"/v2/me/m/blobs/{digest}").status == 404
    answer = registry.ask("POST", "/v2/me/m/blobs/uploads/", b"")
    for first in range(0, len(data), 100_000):
        location = answer.headers["docker-upload-location"]
        assert location.startswith(f"http://{registry.host}/v2/me/m/blobs/uploads/")
        answer = registry.ask(
            "PATCH",
            location,
            data[first : first + 100_000],
            Content_Type="application/octet-stream",
            Content_Range=f"{first}-{first + 99_999}",
            X_Redirect_Uploads="1",
        )
        assert answer.status == 202
    location = answer.headers["docker-upload-location"]
    etag = "d41d8cd98f00b204e9800998ecf8427e-3"
    answer = registry.ask("PUT", f"{location}?digest={digest}&etag={etag}", b"")
    assert answer.status == 201
    assert registry.ask("GET", f"/v2/me/m/blobs/{digest}").body == data


def test_a_body_of_unknown_length(registry: Registry) -> None:
    """Transfer-Encoding: chunked, as clients send that read from a pipe."""
    digest = Digest.of(b"0123456789" * 100_000)
    pieces = (b"0123456789" * 1000 for _ in range(100))
    url = f"/v2/me/m/blobs/uploads/?digest={digest}"
    connection = registry._connection
    connection.request(
        "POST", url, pieces, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    response = connection.getresponse()
    response.read()
    assert response.status == 201
    assert registry.ask("HEAD", f"/v2/me/m/blobs/{digest}").headers["content-length"] == "1000000"


def test_a_referrer_lives_as_long_as_its_subject(store: Store, registry: Registry) -> None:
    subject = registry.push("a/b", "v1", b"subject")
    row = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(subject)), "size": len(subject)}
    data = json.dumps(registry.image("a/b", b"signature", subject=row)).encode()
    assert registry.put_manifest("a/b", str(Digest.of(data)), data).status == 201
    signature = Digest.of(b"signature")
    store.collect_garbage(grace_seconds=0)
    assert store.has_blob(signature)
    store.remove_model(ModelName.parse("a/b:v1"))
    store.collect_garbage()
    assert store.has_blob(signature)  # a subject may come after its referrers
    store.collect_garbage(grace_seconds=0)
    assert not store.has_blob(signature)
    assert list(store.names()) == []
