"""pytest tests/pyserver/test_adopt.py: an Ollama store's models become ours, bytes and names."""

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from transom_cli.main import run
from transom_models.digest import Digest
from transom_models.manifest import Platform
from transom_models.name import ModelName
from transom_server.exchange.adoption import Adoption, NotAnOllamaStore, adopt
from transom_server.exchange.layout_export import export_layout
from transom_server.exchange.oci_layout import import_layout, layout_at, names_of, read_layout
from transom_server.store import Store
from transom_server.store.objects import ObjectStorage
from transom_server.transfer.status import Cancelled, Status

RunCli = Callable[..., tuple[int, str, str]]
HOST = "models.example.com"


@dataclass
class OllamaStore:
    """A store as Ollama lays it out, written from its public description."""

    folder: Path

    def blob(self, data: bytes) -> Path:
        path = self.folder / "blobs" / f"sha256-{Digest.of(data).hex}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
            path.chmod(0o644)
        return path

    def add(self, name: str, weights: bytes, *more: tuple[str, bytes]) -> bytes:
        """A model, `host/namespace/model/tag`; gives its manifest's exact bytes."""

        def row(kind: str, data: bytes) -> dict[str, Any]:
            self.blob(data)
            # Ollama notes where a layer came from; nobody else has such a key.
            return {
                "mediaType": kind,
                "digest": str(Digest.of(data)),
                "size": len(data),
                "from": "/somewhere/else",
            }

        layer = "application/vnd.ollama.image."
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": row(
                    "application/vnd.docker.container.image.v1+json",
                    b'{"model_format":"gguf","model_family":"llama"}',
                ),
                "layers": [
                    row(layer + "model", weights),
                    *(row(layer + kind, data) for kind, data in more),
                ],
            }
        ).encode()
        path = self.folder / "manifests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(manifest)
        return manifest


@pytest.fixture
def ollama(tmp_path: Path) -> OllamaStore:
    made = OllamaStore(tmp_path / "ollama")
    made.add(f"{HOST}/library/llama/latest", b"GGUF one", ("template", b"{{ .Prompt }}"))
    made.add(f"{HOST}/library/llama/8b", b"GGUF two", ("template", b"{{ .Prompt }}"))
    made.add(f"{HOST}/me/tuned/v1", b"GGUF one", ("system", b"Be kind."))
    (made.folder / "blobs" / "sha256-1234-partial").write_bytes(b"half")
    (made.folder / "manifests" / ".DS_Store").write_bytes(b"\0")
    return made


def take(store: Store, folder: Path, **options: Any) -> Adoption:
    def quiet(status: Status) -> None:
        del status

    return adopt(store, folder, quiet, **options)


def names(adoption: Adoption) -> list[str]:
    return sorted(str(model.name) for model in adoption.models)


def test_all_models_are_adopted_without_a_copy(store: Store, ollama: OllamaStore) -> None:
    adoption = take(store, ollama.folder)
    assert names(adoption) == ["llama", "llama:8b", "me/tuned:v1"]
    assert adoption.skipped == []
    assert adoption.copied == 0
    blobs = [path for path in (ollama.folder / "blobs").iterdir() if len(path.name) == 71]
    assert adoption.linked == sum(path.stat().st_size for path in blobs)
    for path in blobs:
        assert path.samefile(store.blob_path(Digest(path.name.removeprefix("sha256-"))))
    assert store.verify().sound
    assert list(store.scratch.glob("*.partial")) == []


def test_manifests_are_kept_byte_for_byte(store: Store, ollama: OllamaStore) -> None:
    take(store, ollama.folder)
    data = (ollama.folder / "manifests" / HOST / "me" / "tuned" / "v1").read_bytes()
    model = store.get_index(ModelName.parse("me/tuned:v1"))
    assert model.data == data
    assert [row.platform for row in model.index.manifests] == [Platform("native", "gguf")]


def test_either_store_may_drop_a_model(store: Store, ollama: OllamaStore) -> None:
    take(store, ollama.folder)
    one = Digest.of(b"GGUF one")
    for path in (ollama.folder / "blobs").iterdir():
        path.unlink()
    assert store.verify().sound
    ollama.blob(b"GGUF one")
    store.remove_model(ModelName.parse("llama"))
    store.remove_model(ModelName.parse("me/tuned:v1"))
    assert not store.has_blob(one)
    assert ollama.blob(b"GGUF one").read_bytes() == b"GGUF one"


def test_again_is_harmless(store: Store, ollama: OllamaStore) -> None:
    first = take(store, ollama.folder)
    kept = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    again = take(store, ollama.folder)
    assert names(again) == names(first)
    assert not any(model.is_new for model in again.models)
    assert (again.linked, again.copied, again.there) == (0, 0, first.linked)
    after = {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}
    assert after == kept
    ollama.add(f"{HOST}/library/new/latest", b"GGUF three")
    assert [str(m.name) for m in take(store, ollama.folder).models if m.is_new] == ["new"]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"GGUF oNe"), "is damaged"),
        (lambda path: path.write_bytes(b"GGUF"), "has 4 bytes, not 8"),
    ],
    ids=["missing", "damaged", "short"],
)
def test_a_bad_blob_costs_the_models_that_need_it(
    store: Store, ollama: OllamaStore, harm: Callable[[Path], object], reason: str
) -> None:
    harm(ollama.blob(b"GGUF one"))
    adoption = take(store, ollama.folder)
    assert names(adoption) == ["llama:8b"]
    bad = f"blob {Digest.of(b'GGUF one')} {reason}"
    assert sorted(adoption.skipped) == [
        (f"{HOST}/library/llama", bad),
        (f"{HOST}/me/tuned:v1", bad),
    ]
    assert store.verify().sound
    assert not store.has_blob(Digest.of(b"GGUF one"))


def test_a_bad_copy_of_ours_is_mended(store: Store, ollama: OllamaStore) -> None:
    digest = store.put_bytes(b"GGUF one")
    store.blob_path(digest).chmod(0o644)
    store.blob_path(digest).write_bytes(b"GGUF oNe")
    take(store, ollama.folder)
    assert store.verify().sound


def test_manifests_that_cannot_be_read_are_skipped_by_name(
    store: Store, ollama: OllamaStore
) -> None:
    for name, data in {
        f"{HOST}/library/bad/latest": b"{",
        f"{HOST}/library/bad/deep/latest": b"{}",
        f"{HOST}/library/bad name/latest": b"{}",
    }.items():
        path = ollama.folder / "manifests" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_bytes(data)
    os.mkfifo(ollama.folder / "manifests" / HOST / "library" / "bad" / "fifo")
    adoption = take(store, ollama.folder)
    assert len(adoption.models) == 3
    reasons = {name.removeprefix(f"{HOST}/library/"): text for name, text in adoption.skipped}
    assert set(reasons) == {"bad/latest", "bad/deep/latest", "bad name/latest", "bad/fifo"}
    assert "not JSON" in reasons["bad/latest"]
    assert "HOST/NAMESPACE/MODEL/TAG" in reasons["bad/deep/latest"]
    assert "cannot be the model" in reasons["bad name/latest"]
    assert "not a regular file" in reasons["bad/fifo"]


# Names


def test_two_hosts_with_one_name_keep_their_hosts(store: Store, ollama: OllamaStore) -> None:
    ollama.add("other.example.com/library/llama/latest", b"GGUF other")
    adoption = take(store, ollama.folder)
    assert names(adoption) == [
        "llama:8b",
        "me/tuned:v1",
        f"{HOST}/library/llama",
        "other.example.com/library/llama",
    ]
    assert names(take(store, ollama.folder)) == names(adoption)


def test_a_name_that_is_taken_here_is_left_alone(store: Store, ollama: OllamaStore) -> None:
    other = OllamaStore(ollama.folder.with_name("other"))
    other.add("here.example.com/library/llama/latest", b"GGUF of mine")
    take(store, other.folder)
    mine = store.get_index(ModelName.parse("llama")).digest
    adoption = take(store, ollama.folder)
    assert names(adoption) == ["llama:8b", "me/tuned:v1", f"{HOST}/library/llama"]
    assert store.get_index(ModelName.parse("llama")).digest == mine
    ollama.add(f"{HOST}/library/llama/latest", b"GGUF newer")
    adoption = take(store, ollama.folder)
    ((name, reason),) = adoption.skipped
    assert name == f"{HOST}/library/llama"
    assert f"`transom rm {HOST}/library/llama` makes room" in reason


# Disks and people


def test_another_disk_is_copied_from(
    store: Store, ollama: OllamaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    adoption = take(store, ollama.folder)
    assert adoption.linked == 0
    assert adoption.copied > 0
    assert store.verify().sound
    assert not store.blob_path(Digest.of(b"GGUF one")).samefile(ollama.blob(b"GGUF one"))


def test_another_person_s_file_is_copied(
    store: Store, ollama: OllamaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    adoption = take(store, ollama.folder)
    assert (adoption.linked, len(adoption.models)) == (0, 3)
    assert list(store.scratch.glob("*.partial")) == []


def test_a_blob_behind_a_link_is_copied(store: Store, ollama: OllamaStore) -> None:
    path = ollama.blob(b"GGUF one")
    path.rename(ollama.folder / "elsewhere")
    path.symlink_to(ollama.folder / "elsewhere")
    adoption = take(store, ollama.folder)
    assert adoption.copied == len(b"GGUF one")
    (ollama.folder / "elsewhere").unlink()
    assert store.verify().sound


def test_an_object_store_gets_copies(ollama: OllamaStore, tmp_path: Path) -> None:
    far = Store(ObjectStorage(f"memory://{tmp_path}", tmp_path / "scratch"))
    adoption = take(far, ollama.folder)
    assert (adoption.linked, adoption.copied) == (0, 83)
    assert far.verify().sound
    again = take(far, ollama.folder)
    assert (again.copied, again.there) == (0, 83)
    exported = export_layout(far, far.list_models(), tmp_path / "out", lambda _: None, link=True)
    near = Store(tmp_path / "near")
    with layout_at(tmp_path / "out") as source:
        models = read_layout(source)
        names = names_of(models, None, source.where)
        import_layout(near, source, list(zip(names, models, strict=True)), lambda _: None)
    assert (
        sorted(map(str, names)) == sorted(exported.models) == ["llama", "llama:8b", "me/tuned:v1"]
    )
    assert near.verify().sound


def test_what_is_no_ollama_store_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "x" / "blobs").mkdir(parents=True)
    with pytest.raises(NotAnOllamaStore, match="no folders `manifests` and `blobs`"):
        take(store, tmp_path / "x")


def test_whoever_gives_up_leaves_a_sound_store(store: Store, ollama: OllamaStore) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        take(store, ollama.folder, cancelled=cancelled)
    assert store.list_models() == []
    assert store.verify().sound


# The verb


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> RunCli:
    def run_cli(*arguments: str | Path) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_cli


def test_a_dry_run_writes_nothing(cli: RunCli, ollama: OllamaStore, tmp_path: Path) -> None:
    ollama.blob(b"GGUF two").write_bytes(b"GGUF tWo")
    code, out, err = cli("adopt", ollama.folder, "--dry-run")
    assert code == 0
    assert out.splitlines()[-1].startswith("would adopt 2 models: ")
    assert f"skipped {HOST}/library/llama:8b: blob " in err
    assert not (tmp_path / "models").exists()


def test_adopt_on_the_command_line(cli: RunCli, ollama: OllamaStore) -> None:
    code, out, err = cli("adopt", ollama.folder)
    assert (code, err) == (0, "hashing (83 B)\n")
    assert out.splitlines() == [
        "llama:8b (67 B)",
        "llama (67 B)",
        "me/tuned:v1 (62 B)",
        "adopted 3 models: 83 B linked",
    ]
    report = json.loads(cli("adopt", ollama.folder, "--json")[1].splitlines()[-1])
    assert report["event"] == "report"
    assert (report["linked_bytes"], report["there_bytes"]) == (0, 83)
    assert [model["new"] for model in report["models"]] == [False] * 3
    assert report["models"][1] | {"digest": ""} == {
        "name": "llama",
        "source": f"{HOST}/library/llama",
        "digest": "",
        "bytes": 67,
        "new": False,
    }
    assert cli("verify")[0] == 0


def test_ctrl_c_is_130(
    cli: RunCli, ollama: OllamaStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("transom_server.exchange.adoption._take", interrupt)
    code, _, err = cli("adopt", ollama.folder)
    assert code == 130
    assert err.endswith("error: interrupted\n")
    assert Store(tmp_path / "models").verify().sound
