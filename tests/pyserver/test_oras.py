"""pytest tests/pyserver/test_oras.py: `oras`, a client that is not ours, against our registry.

It pushes and pulls; we pull what it pushed, and it pulls what we pushed. Bytes decide.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import oras.client
import oras.oci
import pytest

from tests.pyserver.registry import Registry, running_registry
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Manifest
from transom_models.media_types import ANNOTATION_TITLE, CONFIG, OCI_MANIFEST, SHARD
from transom_models.name import ModelName
from transom_server.store import Store
from transom_server.transfer.pull import pull
from transom_server.transfer.push import push
from transom_server.transfer.status import TransferOptions

# Sizes around what a chunk is, below; the names are what people call files.
CHUNK = 100_000
FILES = {
    "weights.bin": os.urandom(3 * CHUNK + 7),
    "one chunk.bin": os.urandom(CHUNK),
    "note.txt": "Grüße\n".encode(),
    "config.json": b"{}",
}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with running_registry(tmp_path / "there") as registry:
        yield registry


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return Store(tmp_path / "there")


@pytest.fixture
def client() -> Iterator[oras.client.OrasClient]:
    client = oras.client.OrasClient(insecure=True)
    yield client
    client.session.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the files in it."""
    folder = tmp_path / "work"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    monkeypatch.chdir(folder)
    return folder


def read(paths: list[str]) -> dict[str, bytes]:
    return {Path(path).name: Path(path).read_bytes() for path in paths}


@pytest.mark.parametrize("chunked", [False, True], ids=["whole", "chunked"])
def test_it_pulls_what_it_pushed(
    client: oras.client.OrasClient, registry: Registry, folder: Path, tmp_path: Path, chunked: bool
) -> None:
    target = f"{registry.host}/me/files:v1"
    answer = client.push(target, files=list(FILES), do_chunked=chunked, chunk_size=CHUNK)
    assert answer.status_code == 201
    assert read(client.pull(target, outdir=str(tmp_path / "out"))) == FILES


def test_it_pushes_a_folder(
    client: oras.client.OrasClient, registry: Registry, folder: Path, tmp_path: Path
) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "shard.bin").write_bytes(b"shard")
    target = f"{registry.host}/me/folder"
    client.push(target, files=["model"])
    out = tmp_path / "out"
    out.mkdir()
    client.pull(target, outdir=str(out))
    assert (out / "model" / "shard.bin").read_bytes() == b"shard"


def test_we_pull_what_it_pushed(
    client: oras.client.OrasClient, registry: Registry, folder: Path, tmp_path: Path
) -> None:
    target = f"{registry.host}/me/files:v1"
    client.push(target, files=list(FILES), manifest_annotations={"by": "oras"})
    mine = Store(tmp_path / "mine")
    name = ModelName.parse(target)
    pull(mine, name, TransferOptions(), lambda status: None, registry="")
    model = mine.get_index(name)
    assert json.loads(model.data) == client.get_manifest(target)
    manifest = Manifest.from_bytes(model.data)
    assert manifest.annotations == {"by": "oras"}
    titles = {row.title: mine.blob_path(row.digest).read_bytes() for row in manifest.layers}
    assert titles == FILES
    assert mine.verify().problems == ()


def test_it_pulls_what_we_pushed(
    client: oras.client.OrasClient, registry: Registry, store: Store, tmp_path: Path
) -> None:
    rows = [
        Descriptor(SHARD, store.put_bytes(data), len(data), {ANNOTATION_TITLE: name})
        for name, data in FILES.items()
    ]
    config = Descriptor(CONFIG, store.put_bytes(b"{}"), 2)
    data = Manifest(config, tuple(rows)).to_bytes()
    store.put_index(ModelName.parse("files"), data)
    target = f"{registry.host}/me/files:v1"
    push(
        store,
        ModelName.parse("files"),
        TransferOptions(piece_bytes=CHUNK),
        lambda status: None,
        target=ModelName.parse(target),
        registry="",
    )
    assert read(client.pull(target, outdir=str(tmp_path / "out"))) == FILES
    assert client.get_manifest(target) == json.loads(data)


def test_it_pulls_one_platform_of_a_model_by_its_digest(
    client: oras.client.OrasClient, registry: Registry, filled: Store, tmp_path: Path
) -> None:
    """An index is more than oras pulls at once; each row of it is a manifest like any other."""
    target = f"{registry.host}/me/tiny"
    name = ModelName.parse("tiny")
    push(
        filled,
        name,
        TransferOptions(),
        lambda status: None,
        target=ModelName.parse(target),
        registry="",
    )
    index = client.get_manifest(target)
    row = next(row for row in index["manifests"] if row["platform"].get("variant") == "f32")
    pulled = read(client.pull(f"{target}@{row['digest']}", outdir=str(tmp_path / "out")))
    manifest = Manifest.from_bytes(filled.read_manifest_bytes(Digest.parse(row["digest"])))
    assert pulled == {
        layer.title: filled.blob_path(layer.digest).read_bytes() for layer in manifest.layers
    }


def test_it_lists_and_deletes_tags(
    client: oras.client.OrasClient, registry: Registry, there: Store, folder: Path
) -> None:
    for tag in ("v2", "v10", "v1"):
        (folder / "note.txt").write_text(tag)
        client.push(f"{registry.host}/me/files:{tag}", files=["note.txt"])
    assert client.get_tags(f"{registry.host}/me/files") == ["v1", "v10", "v2"]
    assert client.delete_tags(f"{registry.host}/me/files", "v10") == ["v10"]
    assert client.get_tags(f"{registry.host}/me/files") == ["v1", "v2"]
    assert there.verify().problems == ()


def test_it_attaches_to_a_manifest(
    client: oras.client.OrasClient, registry: Registry, folder: Path
) -> None:
    target = f"{registry.host}/me/files:v1"
    pushed = client.push(target, files=["weights.bin"])
    digest = pushed.headers["Docker-Content-Digest"]
    size = len(registry.ask("GET", f"/v2/me/files/manifests/{digest}").body)
    subject = oras.oci.Subject(OCI_MANIFEST, digest, size)
    answer = client.push(f"{registry.host}/me/files:note", files=["note.txt"], subject=subject)
    assert answer.headers["OCI-Subject"] == digest
    (row,) = registry.ask("GET", f"/v2/me/files/referrers/{digest}").json["manifests"]
    assert row["digest"] == answer.headers["Docker-Content-Digest"]
