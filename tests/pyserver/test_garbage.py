"""pytest tests/pyserver/test_garbage.py: what is collected, what is not, and who waits for whom."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.pyserver.bundles import SOURCE, TinyBundle, write_bundle
from transom_models.digest import Digest
from transom_models.manifest import InvalidManifest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import ModelNotFound, Store, StoreError
from transom_server.store.scratch import DOWNLOADS, KEPT_SECONDS

TINY = ModelName.parse("tiny")
TWIN = ModelName.parse("twin")
HOUR = 3600.0


def age(store: Store, digest: Digest, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(store.blob_path(digest), (then, then))


def blobs(store: Store) -> set[str]:
    return {path.name for path in (store.root / "blobs" / "sha256").iterdir()}


def damage(store: Store, digest: Digest) -> None:
    path = store.blob_path(digest)
    path.chmod(0o644)
    path.write_bytes(b"?" * path.stat().st_size)


def test_old_and_unused_goes_the_rest_stays(filled: Store) -> None:
    needed = blobs(filled)
    old, young = filled.put_bytes(b"old"), filled.put_bytes(b"young!")
    age(filled, old, HOUR + 60)
    age(filled, young, HOUR - 60)
    for hex_digits in needed:
        age(filled, Digest(hex_digits), 1000 * HOUR)
    planned = filled.collect_garbage(HOUR, dry_run=True)
    assert blobs(filled) == needed | {old.hex, young.hex}
    done = filled.collect_garbage(HOUR)
    assert planned == done
    assert (done.removed.blobs, done.removed.bytes) == (1, 3)
    assert (done.young.blobs, done.young.bytes) == (1, 6)
    assert blobs(filled) == needed | {young.hex}
    assert filled.collect_garbage(0).removed.bytes == 6
    assert blobs(filled) == needed
    assert filled.verify().sound


def test_putting_a_blob_again_makes_it_young(store: Store) -> None:
    digest = store.put_bytes(b"abc")
    age(store, digest, 1000 * HOUR)
    store.put_bytes(b"abc")
    assert store.collect_garbage(HOUR).removed.blobs == 0
    assert store.has_blob(digest)


def test_nothing_to_collect_in_a_store_that_is_not_there(store: Store) -> None:
    assert store.collect_garbage(0).removed.blobs == 0
    assert store.usage().models == ()


def test_a_lease_keeps_what_is_not_named_yet(store: Store) -> None:
    held, loose = store.put_bytes(b"held"), store.put_bytes(b"loose")
    with store.adding() as lease:
        lease.keep(held)
        store.collect_garbage(0)
        assert store.has_blob(held)
        assert not store.has_blob(loose)
        later = Digest.of(b"later")
        lease.keep(later)
        store.put_bytes(b"later")
        store.collect_garbage(0)
        assert store.has_blob(later)
    store.collect_garbage(0)
    assert blobs(store) == set()


HOLDER = textwrap.dedent(
    """
    import pathlib, sys, time
    from transom_server.store import Store
    store = Store(pathlib.Path(sys.argv[1]))
    with store.adding() as lease:
        lease.keep(store.put_bytes(b"held"))
        print("held", flush=True)
        time.sleep(600)
    """
)


@contextmanager
def child(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_lease_ends_with_its_process(store: Store) -> None:
    with child(HOLDER, store.root) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        store.collect_garbage(0)
        assert blobs(store) == {Digest.of(b"held").hex}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert store.collect_garbage(0).removed.blobs == 1
    assert list((store.scratch / "leases").iterdir()) == []


def test_removing_a_model_frees_what_only_it_needs(filled: Store, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", seed=b"other")
    import_bundle(filled, other.folder, TWIN, other.files)
    before = blobs(filled)
    usage = {model.name: model for model in filled.usage().models}
    removed = filled.remove_model(TWIN)
    assert removed.bytes == usage[TWIN].own
    assert 0 < usage[TWIN].own < usage[TWIN].total
    assert Digest.of(SOURCE + b"other").hex in before - blobs(filled)
    assert filled.verify().sound
    assert filled.usage().unused == 0
    with pytest.raises(ModelNotFound, match="transom list"):
        filled.remove_model(TWIN)


def test_a_second_name_keeps_everything(filled: Store) -> None:
    before = blobs(filled)
    assert filled.copy_model(TINY, TWIN) == filled.get_index(TINY).digest
    (tiny, twin) = filled.usage().models
    assert tiny.own == twin.own == 0
    assert tiny.shared == twin.total == filled.usage().stored
    assert filled.remove_model(TINY).bytes == 0
    assert blobs(filled) == before
    assert filled.remove_model(TWIN).blobs == len(before)
    assert blobs(filled) == set()


def test_usage_counts_each_stored_byte_once(filled: Store, tmp_path: Path) -> None:
    other = write_bundle(tmp_path / "other", seed=b"other")
    import_bundle(filled, other.folder, TWIN, other.files)
    filled.put_bytes(b"nobody's")
    usage = filled.usage()
    on_disk = sum(path.stat().st_size for path in (filled.root / "blobs").rglob("*/*"))
    assert usage.stored == on_disk
    assert usage.unused == len(b"nobody's")
    tiny, twin = usage.models
    # With two models, what one shares is what the other shares.
    assert tiny.shared == twin.shared
    assert tiny.own + twin.own + tiny.shared + usage.unused == usage.stored


def test_a_model_that_cannot_be_read_stops_the_collection(
    filled: Store, bundle: TinyBundle
) -> None:
    """It might need anything: what looks unused may be what mending it needs."""
    loose = filled.put_bytes(b"loose")
    damage(filled, bundle.index.manifests[0].digest)
    with pytest.raises(StoreError, match=r"tiny.*transom rm tiny"):
        filled.collect_garbage(0)
    assert filled.has_blob(loose)
    assert filled.usage().unreadable
    # The way out works.
    assert filled.remove_model(TINY).blobs == 0
    filled.collect_garbage(0)
    assert blobs(filled) == set()


def test_a_damaged_tag_can_be_removed(filled: Store) -> None:
    TINY.manifest_path(filled.root).chmod(0o644)
    TINY.manifest_path(filled.root).write_bytes(b"{")
    with pytest.raises(InvalidManifest):
        filled.get_index(TINY)
    filled.remove_model(TINY)
    assert list(filled.names()) == []


def test_downloads_wait_a_week_for_whoever_comes_back(store: Store) -> None:
    folder = store.scratch / DOWNLOADS
    folder.mkdir(parents=True)
    now = time.time()
    for name, days in (("old", 8), ("young", 6), ("busy", 8)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (now - days * 86400, now - days * 86400))
    assert KEPT_SECONDS[DOWNLOADS] == 7 * 86400
    busy = "import fcntl, sys, time; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX);"
    with child(busy + "print(1, flush=True); time.sleep(600)", folder / "busy") as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert store.collect_garbage(HOUR, dry_run=True).unfinished == 1
        assert store.collect_garbage(HOUR).unfinished == 1
        assert {path.name for path in folder.iterdir()} == {"young", "busy"}
        store.collect_garbage(0)
        assert {path.name for path in folder.iterdir()} == {"busy"}


def test_verification_names_every_model_that_needs_a_bad_blob(
    filled: Store, bundle: TinyBundle
) -> None:
    filled.copy_model(TINY, TWIN)
    shard = Digest.of(bundle.contents["params_shard_0.bin"])
    library = Digest.of(bundle.contents["library-f16.wasm"])
    damage(filled, shard)
    filled.remove_blob(library)
    (filled.root / "blobs" / "sha256" / "stray").write_bytes(b"")
    reports: list[tuple[int, int]] = []
    found = filled.verify(report=lambda done, total: reports.append((done, total)))
    texts = {problem.subject: problem for problem in found.problems}
    assert set(texts) == {f"blob {shard}", f"blob {library}", "file blobs/sha256/stray"}
    assert texts[f"blob {shard}"].models == (TINY, TWIN)
    assert "missing" in texts[f"blob {library}"].reason
    assert reports[-1] == (found.bytes, found.bytes)
    assert not found.sound
    # Of one model alone: no strays, and what it does not need is not read.
    filled.put_bytes(b"not tiny's")
    assert filled.verify([TINY]).blobs == filled.verify().blobs - 1
    with pytest.raises(ModelNotFound):
        filled.verify([ModelName.parse("nothing")])


# Puts and removes models for ever, each process its own, all of them sharing blobs; the collector
# leaves no grace. Whoever says "kept" has a model that must be whole.
CHURN = textwrap.dedent(
    """
    import itertools, pathlib, sys
    from tests.pyserver.bundles import write_bundle
    from transom_models.errors import TransomError
    from transom_models.name import ModelName
    from transom_server.exchange.bundle_import import import_bundle
    from transom_server.store import Store
    root, scratch, who = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    store = Store(root)
    for number in range(int(sys.argv[4])):
        if who == "collector":
            store.collect_garbage(0)
            continue
        bundle = write_bundle(scratch / who / str(number), seed=str(number % 3).encode())
        name = ModelName.parse(f"{who}:{number % 2}")
        import_bundle(store, bundle.folder, name, bundle.files)
        store.copy_model(name, ModelName.parse(f"{who}:copy"))
        if number % 3 == 0:
            store.remove_model(name)
    print("done", store.verify([ModelName.parse(f"{who}:copy")] if who != "collector" else []))
    """
)


def test_collecting_beside_those_who_add_and_remove(store: Store, tmp_path: Path) -> None:
    rounds = {"a": 20, "b": 20, "collector": 60}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CHURN, store.root, tmp_path, who, str(count)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for who, count in rounds.items()
    ]
    for process in processes:
        out, _ = process.communicate()
        assert process.returncode == 0
        assert out.startswith("done")
        assert "problems=()" in out
    store.collect_garbage(0)
    assert store.verify().sound
    assert store.usage().unused == 0
