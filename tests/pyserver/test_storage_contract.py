"""pytest tests/pyserver/test_storage_contract.py: one store, wherever its bytes are.

Each test runs over a folder, an object store in memory, and S3 as moto's server speaks it.
`Place.machine` is the same store as another machine sees it: other scratch, other connections.
"""

import io
import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from tests.pyserver.bundles import TinyBundle, write_bundle
from tests.pyserver.s3_server import S3Server, s3_server
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import (
    BlobNotFound,
    DigestMismatch,
    ModelNotFound,
    Store,
    StoreError,
    bucket,
    objects,
)
from transom_server.store.folder import FolderStorage
from transom_server.store.keys import BLOBS, blob_key
from transom_server.store.object_file import FIRST_BLOCK, LARGEST_BLOCK
from transom_server.store.objects import ObjectStorage

TINY = ModelName.parse("tiny")
# `:` in a key; every letter that a part may have.
FAR = ModelName.parse("localhost:5000/Some_ns-1/mo.del_-2:v1.0_x-y")
HOUR = 3600.0

_numbers = itertools.count()


@dataclass
class Place:
    """Where a store is, and the way to it."""

    kind: str
    location: str
    scratch: Path
    server: S3Server | None = None
    opened: list[ObjectStorage] = field(default_factory=list)

    def machine(self, name: str = "this") -> Store:
        if self.kind == "folder":
            return Store(FolderStorage(Path(self.location)))
        storage = ObjectStorage(self.location, self.scratch / name)
        self.opened.append(storage)
        return Store(storage)

    def put_raw(self, key: str, data: bytes) -> None:
        """Whatever bytes under a key, past all checks."""
        storage = self.machine("raw").storage
        with storage.incoming() as incoming:
            incoming.file.write(data)
            incoming.publish(key)


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(params=["folder", "memory", "s3"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    scratch = tmp_path / "machines"
    if request.param == "folder":
        found = Place("folder", str(tmp_path / "models"), scratch)
    elif request.param == "memory":
        found = Place("memory", f"memory://store-{next(_numbers)}/models", scratch)
    else:
        server: S3Server = request.getfixturevalue("moto")
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        found = Place("s3", f"{server.new_bucket()}/some/folder", scratch, server)
    yield found
    for storage in found.opened:
        storage.close()


@pytest.fixture
def store(place: Place) -> Store:
    return place.machine()


@pytest.fixture
def filled(store: Store, bundle: TinyBundle) -> Store:
    import_bundle(store, bundle.folder, TINY, bundle.files)
    return store


def keys(store: Store, prefix: str = BLOBS) -> set[str]:
    return {entry.key for entry in store.storage.entries(prefix)}


# Storage


def test_nothing_is_there_and_asking_makes_nothing(store: Store) -> None:
    key = blob_key(Digest.of(b"abc"))
    for ask in (store.storage.open, store.storage.entry, store.storage.local_path):
        with pytest.raises(FileNotFoundError):
            ask(key)
    with pytest.raises(FileNotFoundError):
        store.storage.refresh(key)
    store.storage.remove(key)
    assert keys(store) == keys(store, "manifests") == set()
    assert store.list_models() == []
    assert store.verify().blobs == 0
    assert not store.scratch.exists()


def test_what_is_published_is_there_and_what_is_not_is_gone(store: Store) -> None:
    with store.storage.incoming() as incoming:
        incoming.file.write(b"abc")
        incoming.publish("blobs/sha256/abc")
    with store.storage.incoming() as incoming:
        incoming.file.write(b"never")
    assert keys(store, "blobs") == {"blobs/sha256/abc"}
    assert store.storage.entry("blobs/sha256/abc").size == 3
    with store.storage.open("blobs/sha256/abc") as file:
        assert file.read() == b"abc"
    assert [path for path in store.scratch.rglob("*") if path.is_file()] == []


def test_a_key_is_overwritten_whole(store: Store, place: Place) -> None:
    with store.storage.incoming() as incoming:
        incoming.file.write(b"a longer text than the next")
        incoming.publish("manifests/h/n/m/t")
    with place.machine("other").storage.incoming() as incoming:
        incoming.file.write(b"short")
        incoming.publish("manifests/h/n/m/t")
    with store.storage.open("manifests/h/n/m/t") as file:
        assert file.read(1000) == b"short"
    assert store.storage.entry("manifests/h/n/m/t").size == 5


def test_an_adopted_file_moves_in(store: Store) -> None:
    path = store.scratch / "downloads" / "whole"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    store.take_file(path, Digest.of(b"abc"))
    assert not path.exists()
    assert store.verify().sound
    with store.open_blob(Digest.of(b"abc")) as file:
        assert file.read() == b"abc"


def test_entries_are_those_below_a_folder(store: Store) -> None:
    names = ["manifests/a/b/c/d", "manifests/a/b/c/e", "manifests/ab/b/c/d", f"{BLOBS}/x"]
    for key in names:
        with store.storage.incoming() as incoming:
            incoming.publish(key)
    assert keys(store, "manifests") == set(names[:3])
    assert keys(store, "manifests/a") == set(names[:2])
    assert keys(store, "manifests/a/b/c/d") == set()
    assert all(entry.size == 0 for entry in store.storage.entries("manifests"))
    with store.storage.open(names[0]) as file:
        assert file.read() == b""
    store.storage.remove(*names[:2], "manifests/a/b/c/none")
    assert keys(store, "manifests") == {names[2]}


def test_any_part_of_a_large_object_is_read_right(store: Store) -> None:
    data = random.Random(4).randbytes(3 * FIRST_BLOCK + 17)
    digest = store.put_blob(io.BytesIO(data))
    expected = io.BytesIO(data)
    rng = random.Random(5)
    with store.open_blob(digest) as file:
        for _ in range(40):
            match rng.randrange(4):
                case 0:
                    to = rng.randrange(len(data) + 9)
                    assert file.seek(to) == expected.seek(to)
                case 1:
                    back = -min(expected.tell(), rng.randrange(2 * FIRST_BLOCK))
                    assert file.seek(back, os.SEEK_CUR) == expected.seek(back, os.SEEK_CUR)
                case _:
                    count = rng.choice([1, 1000, FIRST_BLOCK, 2 * FIRST_BLOCK])
                    assert file.read(count) == expected.read(count)
            assert file.tell() == expected.tell()
        assert file.seek(-3, os.SEEK_END) == len(data) - 3
        assert file.read() == data[-3:]
        with pytest.raises((OSError, ValueError)):
            file.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_all_pages_are_listed_and_all_keys_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = bucket.S3Bucket._call

    def few(self: bucket.S3Bucket, method: str, **request: Any) -> dict[str, Any]:
        if method == "list_objects_v2":
            request["MaxKeys"] = 7
        return call(self, method, **request)

    monkeypatch.setattr(bucket.S3Bucket, "_call", few)
    for module in (bucket, objects):
        monkeypatch.setattr(module, "MAX_DELETED", 10)
    names = {f"{BLOBS}/{number:064x}" for number in range(25)}
    for key in names:
        with store.storage.incoming() as incoming:
            incoming.publish(key)
    assert keys(store) == names
    store.storage.remove(*names)
    assert keys(store) == set()


# Blobs


def test_a_mismatch_and_a_broken_stream_leave_nothing(store: Store) -> None:
    with pytest.raises(DigestMismatch):
        store.put_blob(io.BytesIO(b"abd"), Digest.of(b"abc"))
    assert keys(store, "blobs") == set()


def test_equal_blobs_are_one_and_putting_again_mends(store: Store, place: Place) -> None:
    digest = store.put_bytes(b"abc")
    place.put_raw(blob_key(digest), b"abd")
    assert not store.verify().sound
    assert store.put_bytes(b"abc") == digest
    assert store.verify().sound
    assert len(keys(store, "blobs")) == 1


def test_a_local_copy_is_the_blob(store: Store) -> None:
    data = bytes(range(256)) * 3000
    digest = store.put_blob(io.BytesIO(data))
    path = store.blob_path(digest)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o222 == 0
    assert store.blob_path(digest) == path
    store.remove_blob(digest)
    with pytest.raises(BlobNotFound):
        store.blob_path(digest)
    assert not path.exists()


# Models


def test_a_model_is_the_same_on_every_machine(filled: Store, place: Place) -> None:
    other = place.machine("other")
    assert [model.name for model in other.list_models()] == [TINY]
    assert other.get_index(TINY) == filled.get_index(TINY)
    assert other.resolve(ModelName.parse("TINY")) == TINY
    filled.copy_model(TINY, FAR)
    assert {model.name for model in other.list_models()} == {TINY, FAR}
    assert other.verify().sound
    other.remove_model(TINY)
    with pytest.raises(ModelNotFound):
        filled.get_index(TINY)
    assert filled.get_index(FAR).digest == other.get_index(FAR).digest
    other.remove_model(FAR)
    assert keys(filled, "blobs") == keys(filled, "manifests") == set()


def test_no_tag_before_its_blobs(store: Store, bundle: TinyBundle) -> None:
    with pytest.raises(BlobNotFound):
        store.put_index(TINY, bundle.index)
    assert keys(store, "manifests") == set()


def test_verification_finds_flipped_short_and_missing(filled: Store, place: Place) -> None:
    shard, config = b"\0" * 4096, filled.put_bytes(b"not needed")
    (digest,) = [
        row.digest for row in filled.descriptors(filled.get_index(TINY)) if row.size == len(shard)
    ][:1]
    place.put_raw(blob_key(digest), shard)
    (flipped,) = filled.verify().problems
    assert str(digest) in flipped.subject
    assert TINY in flipped.models
    place.put_raw(blob_key(digest), shard[1:])
    assert {problem.reason for problem in filled.verify().problems} >= {
        f"has {len(shard) - 1} bytes, not {len(shard)}"
    }
    filled.remove_blob(digest)
    (missing,) = filled.verify().problems
    assert missing.reason == "is missing"
    assert filled.has_blob(config)


def test_garbage_goes_the_young_and_the_needed_stay(filled: Store, place: Place) -> None:
    needed = keys(filled)
    filled.put_bytes(b"loose")
    other = place.machine("other")
    assert other.collect_garbage(HOUR).young.blobs == 1
    with filled.adding() as lease:
        lease.keep(Digest.of(b"loose"))
        assert filled.collect_garbage(0).removed.blobs == 0
    assert filled.collect_garbage(0, dry_run=True).removed.blobs == 1
    assert other.collect_garbage(0).removed.bytes == 5
    assert keys(other) == needed
    assert other.verify().sound


def test_refreshing_makes_young(store: Store, place: Place) -> None:
    digest = store.put_bytes(b"abc")
    (before,) = store.storage.entries(BLOBS)
    # The clock of S3 has seconds.
    threading.Event().wait(1.1 if place.kind == "s3" else 0.01)
    place.machine("other").put_bytes(b"abc")
    (after,) = store.storage.entries(BLOBS)
    assert before.modified < after.modified < before.modified + HOUR
    assert (after.key, after.size) == (before.key, before.size) == (blob_key(digest), 3)
    store.remove_blob(digest)
    assert keys(store, "touched") == set()


# Many at once


def add_small(store: Store, name: ModelName, data: bytes) -> Digest:
    """A model of one layer, put the way that everybody puts models: under a lease."""
    config, layer = (Descriptor(media_types.CONFIG, Digest.of(x), len(x)) for x in (b"{}", data))
    manifest = Manifest(config, (layer,)).to_bytes()
    with store.adding() as lease:
        lease.keep(config.digest, layer.digest, Digest.of(manifest))
        for part in (b"{}", data, manifest):
            store.put_bytes(part)
        return store.put_index(name, manifest)


@pytest.mark.parametrize("collector_first", [True, False])
def test_tags_and_collections_wait_for_each_other(place: Place, collector_first: bool) -> None:
    here, there = place.machine("here"), place.machine("there")
    add_small(there, TINY, b"before")
    work: Callable[[], object] = lambda: there.copy_model(TINY, FAR)  # noqa: E731
    if not collector_first:
        work = there.collect_garbage
    thread = threading.Thread(target=work)
    with here.storage.lock(exclusive=collector_first):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert here.resolve(FAR) is None
    thread.join()
    assert (here.resolve(FAR) is not None) == collector_first
    assert keys(here, "locks") == set()


def test_one_collects_while_many_add_and_remove(store: Store, place: Place) -> None:
    """No tag ever names what is gone, whoever wins."""
    errors: list[BaseException] = []
    stop = threading.Event()
    rounds, pause = (2, 0.1) if place.kind == "s3" else (8, 0.005)

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                errors.append(error)

        return threading.Thread(target=run)

    def add(machine: Store, number: int) -> Callable[[], None]:
        def work() -> None:
            for round_ in range(rounds):
                name = ModelName.parse(f"m{number}:r{round_}")
                assert add_small(machine, name, b"%d" % round_) == machine.get_index(name).digest
                if round_ % 2:
                    machine.remove_model(name)

        return work

    def collect() -> None:
        while not stop.wait(pause):
            store.collect_garbage(0)

    # All adders on the collector's machine: others have the grace, which is 0 here.
    adders = [guarded(add(store, number)) for number in range(2)]
    collector = guarded(collect)
    for thread in (*adders, collector):
        thread.start()
    for thread in adders:
        thread.join()
    stop.set()
    collector.join()
    assert errors == []
    assert len(store.list_models()) == rounds
    assert store.verify().sound


ADDER = textwrap.dedent(
    """
    import pathlib, sys
    from transom_models.name import ModelName
    from transom_server.exchange.bundle_import import import_bundle
    from transom_server.store import Store, StoreError
    from transom_server.store.objects import ObjectStorage
    from tests.pyserver.bundles import write_bundle
    location, scratch, name = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    store = Store(ObjectStorage(location, scratch))
    for number in range(2):
        bundle = write_bundle(scratch / f"bundle-{number}", seed=name.encode() + b"%d" % number)
        import_bundle(store, bundle.folder, ModelName.parse(f"{name}:{number}"), bundle.files)
        print("kept", number, flush=True)
        if number % 2:
            store.remove_model(ModelName.parse(f"{name}:{number}"))
        store.collect_garbage()
    """
)


def python(program: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_two_machines_add_remove_and_collect(place: Place) -> None:
    children = [python(ADDER, place.location, place.scratch / name, name) for name in ("a", "b")]
    for child in children:
        with child:
            assert child.stdout is not None
            assert child.stdout.read().count("kept") == 2
        assert child.returncode == 0
    store = place.machine()
    assert [str(model.name) for model in store.list_models()] == ["a:0", "b:0"]
    assert store.verify().sound
    assert keys(store, "locks") == set()


UPLOADER = textwrap.dedent(
    """
    import io, pathlib, sys
    from transom_models.name import ModelName
    from transom_server.exchange.bundle_import import import_bundle
    from transom_server.store import Store, bucket
    # Many parts, one after the other: S3 takes none smaller.
    bucket.PART_BYTES, bucket.PARTS_AT_ONCE = 5 * 1024 * 1024, 1
    from transom_server.store.objects import ObjectStorage
    from tests.pyserver.bundles import write_bundle
    store = Store(ObjectStorage(sys.argv[1], pathlib.Path(sys.argv[2])))
    bundle = write_bundle(pathlib.Path(sys.argv[2]) / "bundle")
    print("ready", flush=True)
    store.put_blob(io.BytesIO(bytes(40_000_000)))
    print("large", flush=True)
    import_bundle(store, bundle.folder, ModelName.parse("tiny"), bundle.files)
    print("done", flush=True)
    """
)


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_kill_at_any_request_leaves_a_valid_store(place: Place) -> None:
    """The child is killed once the server has seen so many of its requests: in the middle of a
    multipart upload, between blobs and tag, while it holds a lock."""
    assert place.server is not None
    cut_uploads = 0
    for count in (2, 5, 12, 30):
        store = place.machine()
        before = len(place.server.requests())
        with python(UPLOADER, place.location, place.scratch / f"child-{count}") as child:
            assert child.stdout is not None
            place.server.wait_for(before + count, lambda: child.poll() is not None)
            child.send_signal(signal.SIGKILL)
            done = "done" in child.stdout.read()
        verification = store.verify()
        assert verification.sound
        # The tag may be there, and its word not yet.
        assert int(done) <= verification.models <= 1
        assert all("/" not in key.removeprefix(f"{BLOBS}/") for key in keys(store, "blobs"))
        storage = store.storage
        assert isinstance(storage, ObjectStorage)
        # To moto every upload began in 2010.
        cut_uploads += storage.sweep_uploads(dry_run=True)
        storage.sweep_uploads(dry_run=False)
        assert storage.sweep_uploads(dry_run=False) == 0
        store.remove_blob(Digest.of(bytes(40_000_000)))
    # Else no kill came in the middle of an upload, and the test shows nothing.
    assert cut_uploads > 0
    with python(UPLOADER, place.location, place.scratch / "last") as child:
        assert child.stdout is not None
        assert "done" in child.stdout.read()
    assert store.verify().sound
    assert [model.name for model in store.list_models()] == [TINY]


# What only an object store has


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_ctrl_c_and_a_failure_give_up_their_upload(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place.server is not None
    storage = place.machine().storage
    assert isinstance(storage, ObjectStorage)
    before = len(place.server.requests())
    with python(UPLOADER, place.location, place.scratch / "child") as child:
        place.server.wait_for(before + 4, lambda: child.poll() is not None)
        child.send_signal(signal.SIGINT)
        child.communicate()
    assert storage.sweep_uploads(dry_run=True) == 0
    parts, call = [], S3FileSystem._call_s3

    async def failing(self: Any, method: str, *words: Any, **request: Any) -> Any:
        if method == "upload_part":
            parts.append(request["PartNumber"])
            if len(parts) == 3:
                raise PermissionError("no more of this")
        return await call(self, method, *words, **request)

    monkeypatch.setattr(S3FileSystem, "_call_s3", failing)
    monkeypatch.setattr(bucket, "PART_BYTES", 5 * 1024 * 1024)
    monkeypatch.setattr(bucket, "PARTS_AT_ONCE", 1)
    with pytest.raises(StoreError, match="no more of this"):
        Store(storage).put_blob(io.BytesIO(bytes(40_000_000)))
    assert parts == [1, 2, 3]
    assert storage.sweep_uploads(dry_run=True) == 0
    assert keys(Store(storage)) == set()


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_requests_are_few(place: Place, tmp_path: Path) -> None:
    assert place.server is not None
    store = place.machine()
    bundle = write_bundle(tmp_path / "b")
    import_bundle(store, bundle.folder, TINY, bundle.files)
    blobs = len({row.digest for row in store.descriptors(store.get_index(TINY))})

    def requests(work: Callable[[], object]) -> list[str]:
        assert place.server is not None
        before = len(place.server.requests())
        work()
        return place.server.requests()[before:]

    assert len(requests(lambda: store.has_blob(Digest.of(b"none")))) == 1
    assert len(requests(lambda: store.put_bytes(b"new"))) == 2
    # The tag's time, its bytes; resolving it.
    assert len(requests(lambda: store.get_index(TINY))) == 3
    # Of a large object, what is asked for and no more.
    large = store.put_blob(io.BytesIO(bytes(LARGEST_BLOCK)))

    def read_middle() -> None:
        with store.open_blob(large) as file:
            assert isinstance(file, io.RawIOBase)
            file.will_read(1000, 1_000_000)  # type: ignore[attr-defined]
            while file.tell() < 1_001_000:
                file.read(64_000 if file.tell() + 64_000 < 1_001_000 else 1_001_000 - file.tell())

    heads_and_gets = requests(read_middle)
    assert len(heads_and_gets) <= 4
    again = requests(lambda: store.put_index(TINY, bundle.index))
    # A lock (put, list, remove), the index and its mark, the manifests, one HEAD a blob, the tag.
    assert len(again) <= 3 + 4 + 2 * len(bundle.index.manifests) + blobs + 2


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_model_of_many_blobs_is_found_by_listing(place: Place) -> None:
    assert place.server is not None
    store = place.machine()
    rows = [
        Descriptor(media_types.SHARD, store.put_bytes(b"%d" % number), len(b"%d" % number))
        for number in range(40)
    ]
    manifest = Manifest(rows[0], tuple(rows[1:])).to_bytes()
    row = Descriptor(media_types.OCI_MANIFEST, store.put_bytes(manifest), len(manifest))
    before = len(place.server.requests())
    store.put_index(TINY, Index((row,)))
    assert len(place.server.requests()) - before < 20
    assert len(list(store.descriptors(store.get_index(TINY)))) == 41
    store.remove_blob(rows[30].digest)
    with pytest.raises(BlobNotFound, match=rows[30].digest.hex):
        store.put_index(ModelName.parse("second"), Index((row,)))
    place.put_raw(blob_key(rows[30].digest), b"3")
    with pytest.raises(StoreError, match="has 1 bytes, not 2"):
        store.put_index(ModelName.parse("second"), Index((row,)))
