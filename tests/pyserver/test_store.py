"""pytest tests/pyserver/test_store.py: blobs by digest, names last, no side effects."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.pyserver.bundles import SOURCE, TinyBundle, write_bundle
from transom_models.digest import Digest
from transom_models.manifest import Index, InvalidManifest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import BlobNotFound, DigestMismatch, ModelNotFound, Store, StoreError
from transom_server.store.partial_file import partial_file

ABC = Digest.of(b"abc")
TINY = ModelName.parse("tiny")


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_a_blob_comes_back(store: Store) -> None:
    assert store.put_blob(io.BytesIO(b"abc")) == ABC
    assert store.has_blob(ABC)
    assert store.blob_size(ABC) == 3
    with store.open_blob(ABC) as file:
        assert file.read() == b"abc"
    assert files_in(store.root) == {f"blobs/sha256/{ABC.hex}"}


def test_a_blob_is_read_only(store: Store) -> None:
    store.put_bytes(b"abc")
    assert store.blob_path(ABC).stat().st_mode & 0o222 == 0


def test_asking_makes_nothing(store: Store) -> None:
    assert store.list_models() == []
    assert store.resolve(TINY) is None
    assert not store.has_blob(ABC)
    assert store.verify().problems == ()
    assert store.remove_stale_partials() == 0
    with pytest.raises(BlobNotFound, match=str(ABC)):
        store.open_blob(ABC)
    with pytest.raises(BlobNotFound, match=str(ABC)):
        store.blob_size(ABC)
    with pytest.raises(ModelNotFound, match="no model tiny"):
        store.get_index(TINY)
    assert not store.root.exists()


def test_a_mismatch_leaves_nothing(store: Store) -> None:
    with pytest.raises(DigestMismatch, match="changed or cut short") as caught:
        store.put_blob(io.BytesIO(b"abd"), ABC)
    assert caught.value.expected == ABC
    assert caught.value.actual == Digest.of(b"abd")
    assert files_in(store.root) == set()


def test_a_broken_stream_leaves_nothing(store: Store) -> None:
    class Broken(io.RawIOBase):
        def __init__(self) -> None:
            self.rest = [b"ab"]

        def read(self, size: int = -1) -> bytes:
            if self.rest:
                return self.rest.pop()
            raise ConnectionResetError(104, "reset")

    with pytest.raises(StoreError, match="reset"):
        store.put_blob(Broken())  # type: ignore[arg-type]
    assert files_in(store.root) == set()


def test_putting_again_reads_nothing_and_mends_damage(store: Store) -> None:
    store.put_bytes(b"abc")
    assert store.put_blob(io.BytesIO(b"never read"), ABC) == ABC
    path = store.blob_path(ABC)
    path.chmod(0o644)
    path.write_bytes(b"ab")
    (problem,) = store.verify().problems
    assert str(problem) == f"blob {ABC} holds {Digest.of(b'ab')}"
    store.put_blob(io.BytesIO(b"abc"), ABC)
    assert store.verify().problems == ()


def test_a_put_file_is_a_copy(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert store.put_file(path) == ABC
    path.write_bytes(b"xyz")
    assert store.verify().problems == ()


def test_put_tells_what_it_copied(store: Store) -> None:
    counts: list[int] = []
    store.put_blob(io.BytesIO(bytes(3_000_000)), advance=counts.append)
    assert sum(counts) == 3_000_000


def test_many_threads_put_the_same_blob(store: Store) -> None:
    data = os.urandom(2_000_000)
    expected = Digest.of(data)
    failures: list[BaseException] = []

    def put() -> None:
        try:
            for _ in range(5):
                assert store.put_blob(io.BytesIO(data)) == expected
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert files_in(store.root) == {f"blobs/sha256/{expected.hex}"}
    assert store.verify().problems == ()


def test_stale_partials_go_and_living_ones_stay(store: Store) -> None:
    partials = store.root / ".tmp"
    with partial_file(partials) as living:
        living.file.write(b"half")
        (partials / "0123456789abcdef.partial").write_bytes(b"left by the dead")
        assert store.remove_stale_partials() == 1
        assert living.path.exists()
        living.publish(Digest.of(b"half").path_under(store.root))
    assert store.verify().problems == ()
    assert store.remove_stale_partials() == 0


def test_another_process_leaves_a_living_partial_alone(store: Store) -> None:
    with partial_file(store.root / ".tmp") as living:
        program = (
            "import sys, pathlib; from transom_server.store import Store;"
            "print(Store(pathlib.Path(sys.argv[1])).remove_stale_partials())"
        )
        command = [sys.executable, "-c", program, str(store.root)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert printed == "0\n"
        assert living.path.exists()


# Models


def test_a_bundle_goes_in_and_comes_out(store: Store, bundle: TinyBundle) -> None:
    counts: list[int] = []
    digest = import_bundle(store, bundle.folder, TINY, bundle.files, counts.append)
    model = store.get_index(TINY)
    assert model.digest == digest
    assert model.index == bundle.index
    assert model.data == (bundle.folder / "index.json").read_bytes()
    assert store.verify().problems == ()
    for row in store.descriptors(model):
        assert store.blob_size(row.digest) == row.size
    assert sum(counts) == sum(map(len, bundle.contents.values())) + len(SOURCE)
    assert [str(listed.name) for listed in store.list_models()] == ["tiny"]


def test_importing_twice_adds_nothing(filled: Store, bundle: TinyBundle) -> None:
    before = files_in(filled.root)
    import_bundle(filled, bundle.folder, TINY, bundle.files)
    assert files_in(filled.root) == before
    import_bundle(filled, bundle.folder, ModelName.parse("tiny:v2"), bundle.files)
    assert files_in(filled.root) == before | {"manifests/localhost/library/tiny/v2"}


def test_a_name_moves_but_its_old_digest_can_be_pinned(filled: Store, tmp_path: Path) -> None:
    old = filled.get_index(TINY)
    other = write_bundle(tmp_path / "other", seed=b"2")
    import_bundle(filled, other.folder, TINY, other.files)
    assert filled.get_index(TINY).index == other.index
    pinned = filled.get_index(ModelName.parse(f"tiny@{old.digest}"))
    assert pinned.data == old.data
    with pytest.raises(ModelNotFound):
        filled.get_index(ModelName.parse(f"tiny@{ABC}"))


def test_case_does_not_make_a_second_model(filled: Store, bundle: TinyBundle) -> None:
    upper = ModelName.parse("TINY:Latest")
    assert filled.resolve(upper) == TINY
    assert filled.get_index(upper).name == TINY
    import_bundle(filled, bundle.folder, upper, bundle.files)
    assert [str(model.name) for model in filled.list_models()] == ["tiny"]


@pytest.mark.parametrize("title", ["params_shard_0.bin", "library-f16.wasm", "tokenizer.json"])
def test_a_damaged_bundle_gets_no_name(store: Store, bundle: TinyBundle, title: str) -> None:
    (bundle.folder / title).write_bytes(b"something else")
    with pytest.raises(DigestMismatch):
        import_bundle(store, bundle.folder, TINY, bundle.files)
    assert store.resolve(TINY) is None
    assert store.verify().problems == ()


def test_what_a_bundle_lacks_is_named(store: Store, bundle: TinyBundle, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"lacks the GGUF .*sha256:.*--source"):
        import_bundle(store, bundle.folder, TINY)  # the checkpoint is not in the folder
    (bundle.folder / "tokenizer.json").unlink()
    with pytest.raises(StoreError, match=r"lacks tokenizer\.json"):
        import_bundle(store, bundle.folder, TINY, bundle.files)
    (bundle.folder / "manifests" / "native.json").unlink()
    with pytest.raises(StoreError, match="lacks the manifest"):
        import_bundle(store, bundle.folder, TINY, bundle.files)
    with pytest.raises(StoreError, match=r"cannot read .*is it a bundle folder"):
        import_bundle(store, tmp_path / "nothing", TINY)
    assert not store.root.exists()


def test_no_index_before_its_blobs(store: Store, bundle: TinyBundle) -> None:
    with pytest.raises(BlobNotFound):
        store.put_index(TINY, bundle.index)
    for row in bundle.index.manifests:
        manifest = "native" if row.platform is None else row.platform.variant or "native"
        store.put_file(bundle.folder / "manifests" / f"{manifest}.json", row.digest)
    with pytest.raises(BlobNotFound):
        store.put_index(TINY, bundle.index)
    assert store.list_models() == []
    assert store.put_index(TINY, Index(())) == Digest.of(Index(()).to_bytes())


def test_a_size_that_lies_is_refused(filled: Store) -> None:
    data = filled.get_index(TINY).data
    first = filled.get_index(TINY).index.manifests[0]
    lie = data.replace(f'"size":{first.size}'.encode(), b'"size":7', 1)
    with pytest.raises(StoreError, match="not 7"):
        filled.put_index(TINY, lie)
    assert filled.get_index(TINY).data == data


def test_a_pin_must_be_the_index_it_names(filled: Store) -> None:
    with pytest.raises(StoreError, match="pins another index"):
        filled.put_index(ModelName.parse(f"x@{ABC}"), filled.get_index(TINY).data)


def test_strays_and_a_damaged_tag_do_not_hide_the_others(
    filled: Store, caplog: pytest.LogCaptureFixture
) -> None:
    folder = filled.root / "manifests" / "localhost" / "library" / "tiny"
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "broken").write_bytes(b"{")
    assert [str(model.name) for model in filled.list_models()] == ["tiny"]
    assert "tiny:broken" in caplog.text
    with pytest.raises(InvalidManifest):
        filled.get_index(ModelName.parse("tiny:broken"))
    assert str(filled.verify().problems[0]).startswith("model tiny:broken cannot be read: ")


def test_a_shard_is_not_read_as_a_manifest(store: Store) -> None:
    digest = store.put_bytes(bytes(5_000_000))
    with pytest.raises(InvalidManifest, match="too large"):
        store.read_manifest_bytes(digest)
