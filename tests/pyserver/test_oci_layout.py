"""pytest tests/pyserver/test_oci_layout.py: models out as an OCI image layout, and back, as told by
the image specification and not by our own reader."""

import hashlib
import json
import os
import re
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import oras.client
import oras.layout
import pytest

from tests.pyserver.bundles import TinyBundle, write_bundle
from tests.pyserver.registry import running_registry
from transom_cli.main import run
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.exchange.layout_export import export_layout, reference_of
from transom_server.exchange.oci_layout import (
    InvalidLayout,
    import_layout,
    layout_at,
    names_of,
    read_layout,
)
from transom_server.exchange.page_export import LAYOUT_MARK
from transom_server.store import Store, StoreError
from transom_server.transfer.status import Cancelled, Status

ROOT = Path(__file__).resolve().parents[2]
RunCli = Callable[..., tuple[int, str, str]]
TINY = ModelName.parse("tiny")


@pytest.fixture
def cli(
    filled: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunCli:
    def run_cli(*arguments: str | Path) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    monkeypatch.setenv("TRANSOM_MODELS", str(filled.root))
    return run_cli


def quiet(status: Status) -> None:
    del status


def export(store: Store, folder: Path, *names: str, link: bool = False) -> Any:
    models = [store.get_index(ModelName.parse(name)) for name in names]
    return export_layout(store, models, folder, quiet, link=link)


def bring(store: Store, path: Path, name: str | None = None) -> list[ModelName]:
    with layout_at(path) as source:
        models = read_layout(source)
        names = names_of(models, name, source.where)
        import_layout(store, source, list(zip(names, models, strict=True)), quiet)
    return names


def check_by_the_specification(folder: Path) -> dict[str, str]:
    """The rules of image-layout.md and descriptor.md v1.1; gives ref -> digest."""
    layout = json.loads((folder / "oci-layout").read_bytes())
    assert layout == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    reached: set[str] = set()

    def follow(row: dict[str, Any]) -> None:
        algorithm, _, hex_digits = row["digest"].partition(":")
        path = folder / "blobs" / algorithm / hex_digits
        data = path.read_bytes()
        assert hashlib.sha256(data).hexdigest() == hex_digits
        assert len(data) == row["size"]
        reached.add(hex_digits)
        if row["mediaType"].endswith((".index.v1+json", ".manifest.v1+json", ".manifest.v2+json")):
            document = json.loads(data)
            assert document["mediaType"] == row["mediaType"]
            for part in document.get("manifests", []):
                follow(part)
            for part in [*document.get("layers", []), document.get("config")]:
                if part is not None:
                    follow(part)

    for row in index["manifests"]:
        follow(row)
    assert {path.name for path in (folder / "blobs" / "sha256").iterdir()} == reached
    return {
        row["annotations"]["org.opencontainers.image.ref.name"]: row["digest"]
        for row in index["manifests"]
    }


def test_what_is_written_is_an_image_layout(filled: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exported = export(filled, out, "tiny")
    assert check_by_the_specification(out) == {
        "tiny:latest": str(filled.get_index(TINY).digest),
    }
    assert sorted(path.name for path in out.iterdir()) == [
        ".transom-export.json",
        "blobs",
        "index.json",
        "oci-layout",
    ]
    assert exported.linked == exported.there == 0
    sizes = [path.stat().st_size for path in (out / "blobs" / "sha256").iterdir()]
    assert (exported.blobs, exported.copied) == (len(sizes), sum(sizes))


def test_out_and_back_has_equal_digests(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "out", "tiny")
    other = Store(tmp_path / "other")
    assert bring(other, tmp_path / "out") == [TINY]
    assert other.get_index(TINY).data == filled.get_index(TINY).data
    assert other.verify().sound
    assert bring(other, tmp_path / "out", "me/mine:v2") == [ModelName.parse("me/mine:v2")]


def test_through_a_tar_too(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "out", "tiny")
    for number, form in enumerate((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)):
        path = tmp_path / "out.tar"
        with tarfile.open(path, "w", format=form) as tar:
            # As `tar -c -C out .` names them.
            tar.add(tmp_path / "out", arcname=".")
        other = Store(tmp_path / f"other{number}")
        assert bring(other, path) == [TINY]
        assert other.get_index(TINY).data == filled.get_index(TINY).data
        assert other.verify().sound


def test_a_docker_manifest_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    """A model that came from Ollama's world has one manifest, and its bytes are its name."""
    config, weights = store.put_bytes(b"{}"), store.put_bytes(b"GGUF")
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.DOCKER_MANIFEST,
            "config": {
                "mediaType": media_types.OLLAMA_CONFIG,
                "digest": str(config),
                "size": 2,
            },
            "layers": [{"mediaType": media_types.OLLAMA_MODEL, "digest": str(weights), "size": 4}],
        },
        indent=1,
    ).encode()
    store.put_index(TINY, data)
    export(store, tmp_path / "out", "tiny")
    assert check_by_the_specification(tmp_path / "out") == {"tiny:latest": str(Digest.of(data))}
    other = Store(tmp_path / "other")
    bring(other, tmp_path / "out")
    assert other.get_index(TINY).data == data


def test_again_adds_what_is_new_and_touches_nothing_else(filled: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(filled, out, "tiny")
    before = {path: path.stat().st_mtime_ns for path in (out / "blobs" / "sha256").iterdir()}
    again = export(filled, out, "tiny")
    assert (again.copied, again.there) == (0, sum(path.stat().st_size for path in before))
    other = write_bundle(tmp_path / "b2", seed=b"2")
    import_bundle(filled, other.folder, ModelName.parse("me/other:v2"), other.files)
    export(filled, out, "me/other:v2")
    assert set(check_by_the_specification(out)) == {"tiny:latest", "me/other:v2"}
    assert (
        before.items()
        <= {path: path.stat().st_mtime_ns for path in (out / "blobs" / "sha256").iterdir()}.items()
    )


def test_what_was_cut_short_goes_on(filled: Store, tmp_path: Path) -> None:
    out, stop_at = tmp_path / "out", 2
    cancelled, seen = threading.Event(), []

    def stop(status: Status) -> None:
        seen.append(status.completed)
        if len(seen) > stop_at:
            cancelled.set()

    models = filled.list_models()
    with pytest.raises(Cancelled):
        export_layout(filled, models, out, stop, cancelled=cancelled)
    assert not (out / "index.json").exists(), "an index names only what is there"
    assert list(out.rglob("*.partial")) == []
    kept = sum(path.stat().st_size for path in (out / "blobs" / "sha256").iterdir())
    assert kept > 0
    assert export(filled, out, "tiny").there == kept
    check_by_the_specification(out)


def test_half_a_blob_that_lies_there_is_written_anew(filled: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(filled, out, "tiny")
    path = max((out / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-1])
    assert export(filled, out, "tiny").copied == len(data)
    check_by_the_specification(out)


@pytest.mark.parametrize("link", [False, True])
def test_a_damaged_store_exports_nothing_false(filled: Store, tmp_path: Path, link: bool) -> None:
    row = next(filled.descriptors(filled.get_index(TINY)))
    part = filled.get_manifest(row).layers[-1]
    path = filled.blob_path(part.digest)
    path.chmod(0o644)
    path.write_bytes(bytes(part.size))
    with pytest.raises(StoreError, match=f"blob {part.digest} of the store is damaged"):
        export(filled, tmp_path / "out", "tiny", link=link)
    assert not (tmp_path / "out" / "blobs" / "sha256" / part.digest.hex).exists()
    assert not (tmp_path / "out" / "index.json").exists()


def test_links_take_no_room(filled: Store, tmp_path: Path) -> None:
    exported = export(filled, tmp_path / "out", "tiny", link=True)
    assert exported.copied == 0
    assert exported.linked > 0
    for path in (tmp_path / "out" / "blobs" / "sha256").iterdir():
        assert path.samefile(filled.root / "blobs" / "sha256" / path.name)


def test_another_disk_gets_copies(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    exported = export(filled, tmp_path / "out", "tiny", link=True)
    assert exported.linked == 0
    assert exported.copied > 0
    check_by_the_specification(tmp_path / "out")


def test_a_bundle_s_folder_is_not_overwritten(
    filled: Store, bundle: TinyBundle, tmp_path: Path
) -> None:
    before = (bundle.folder / "index.json").read_bytes()
    with pytest.raises(InvalidLayout, match="of something else"):
        export(filled, bundle.folder, "tiny")
    assert (bundle.folder / "index.json").read_bytes() == before


def test_equal_models_make_equal_layouts(filled: Store, tmp_path: Path) -> None:
    filled.copy_model(TINY, ModelName.parse("me/again"))
    export(filled, tmp_path / "a", "tiny", "me/again")
    export(filled, tmp_path / "b", "me/again")
    export(filled, tmp_path / "b", "tiny")
    for name in ("index.json", "oci-layout"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("tiny", "tiny:latest"),
        ("me/tiny:v2", "me/tiny:v2"),
        ("127.0.0.1:5000/me/tiny", "127.0.0.1:5000/me/tiny:latest"),
        ("latest:latest", "latest:latest"),
    ],
)
def test_a_reference_is_a_name_with_its_tag(name: str, reference: str) -> None:
    assert reference_of(ModelName.parse(name)) == reference
    assert ModelName.parse(reference) == ModelName.parse(name)


def test_an_import_that_is_given_up_names_nothing(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "out", "tiny")
    other, cancelled = Store(tmp_path / "other"), threading.Event()
    with layout_at(tmp_path / "out") as source:
        pairs = [(TINY, model) for model in read_layout(source)]
        cancelled.set()
        with pytest.raises(Cancelled):
            import_layout(other, source, pairs, quiet, cancelled)
    assert other.list_models() == []
    assert list(other.scratch.rglob("*.partial")) == []
    assert other.verify().sound


# Somebody else's reader and writer


def test_oras_takes_our_layout_for_one(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "out", "tiny")
    layout = oras.layout.NewLayout(str(tmp_path / "out"))
    blobs = {path.name for path in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    ordered = layout.get_ordered_blobs("tiny:latest")
    assert sorted(ordered) == sorted(f"sha256:{name}" for name in blobs)
    assert ordered[-1] == str(filled.get_index(TINY).digest), "parts before what names them"


def test_a_layout_that_oras_pulled_comes_back(filled: Store, tmp_path: Path) -> None:
    client = oras.client.OrasClient(insecure=True)
    with running_registry(filled.root) as registry, closing(client.session):
        target = f"{registry.host}/library/tiny:latest"
        oras.layout.NewLayoutFromRegistry(str(tmp_path / "out"), client, target, tag="v7")
    other = Store(tmp_path / "other")
    assert bring(other, tmp_path / "out", "theirs") == [ModelName.parse("theirs:v7")]
    model = other.get_index(ModelName.parse("theirs:v7"))
    assert model.data == filled.get_index(TINY).data
    assert other.verify().sound


# Names of layouts that other tools wrote


def write_layout(folder: Path, *references: str | None) -> None:
    """A layout whose models differ by a byte, called as said."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(media_type: str, data: bytes, **annotations: str) -> Descriptor:
        digest = Digest.of(data)
        (blobs / digest.hex).write_bytes(data)
        keys = {media_types.ANNOTATION_REF_NAME: annotations["ref"]} if annotations else {}
        return Descriptor(media_type, digest, len(data), keys)

    rows = []
    for number, reference in enumerate(references):
        layer = put(media_types.OLLAMA_MODEL, b"GGUF%d" % number)
        config = put(media_types.OLLAMA_CONFIG, b"{}")
        manifest = Manifest(config, (layer,)).to_bytes()
        ref = {} if reference is None else {"ref": reference}
        rows.append(put(media_types.OCI_MANIFEST, manifest, **ref))
    (folder / "index.json").write_bytes(Index(tuple(rows)).to_bytes())
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def named(folder: Path, name: str | None) -> list[str]:
    with layout_at(folder) as source:
        return [str(one) for one in names_of(read_layout(source), name, "x")]


@pytest.mark.parametrize(
    ("references", "name", "names"),
    [
        (["me/a:v1", "b:v2"], None, ["me/a:v1", "b:v2"]),
        (["v1"], "mine", ["mine:v1"]),
        (["v1"], "mine:other", ["mine:other"]),
        (["v1", "v2"], "mine", ["mine:v1", "mine:v2"]),
        ([None], "mine", ["mine"]),
        (["a:v1"], "mine", ["mine"]),
    ],
)
def test_names_of_a_layout(
    tmp_path: Path, references: list[str | None], name: str | None, names: list[str]
) -> None:
    write_layout(tmp_path / "x", *references)
    assert named(tmp_path / "x", name) == names


@pytest.mark.parametrize(
    ("references", "name", "message"),
    [
        (["v1"], None, "which is a tag alone; say what it is a tag of with --name"),
        ([None], None, "calls its model nothing; give it a name with --name"),
        (["v1", None], "mine", "one of them has no name"),
        (["a:1", "b:1"], "mine", "names of their own; leave --name"),
        (["a:1", "A:1"], None, "two models named A:1"),
        (["../etc/passwd:1"], None, "cannot be the"),
        (["a:1\x1b[2J"], None, "cannot be the tag"),
    ],
)
def test_names_that_are_none(
    tmp_path: Path, references: list[str | None], name: str | None, message: str
) -> None:
    write_layout(tmp_path / "x", *references)
    with pytest.raises(InvalidLayout, match=message):
        named(tmp_path / "x", name)


# The verbs


def test_export_and_import_on_the_command_line(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: Store
) -> None:
    page = tmp_path / "page"
    (page / "assets").mkdir(parents=True)
    (page / "assets" / "a.js").write_text("1")
    (page / "index.html").write_text("<html><head><title>x</title>")
    monkeypatch.setenv("TRANSOM_WEB_DIR", str(page))
    site = tmp_path / "site"
    code, out, _ = cli("export", site)
    assert (code, out.splitlines()[0]) == (0, f"tiny in {site}")
    assert (site / "index.html").read_text() == (
        '<html><head>\n    <meta name="transom-models" content="layout"><title>x</title>'
    )
    assert (site / "assets" / "a.js").read_text() == "1"
    assert os.stat(site / "index.html").st_mode & 0o777 == 0o644, "a web server may read it"
    check_by_the_specification(site)
    code, out, _ = cli("export", site, "tiny", "--json")
    *events, report = map(json.loads, out.splitlines())
    assert code == 0
    assert {event["event"] for event in events} == {"phase", "progress"}
    assert report == {
        "event": "report",
        "folder": str(site),
        "models": ["tiny"],
        "blobs": len(list((site / "blobs" / "sha256").iterdir())),
        "copied_bytes": 0,
        "linked_bytes": 0,
        "there_bytes": sum(path.stat().st_size for path in (site / "blobs" / "sha256").iterdir()),
        "page_files": 3,
        "page_bytes": 79,
        "page_copied_bytes": 0,
        "max_file_bytes": None,
        "largest_file_bytes": 4096,
        "blobs_in_pieces": 0,
        "removed_files": 0,
    }
    monkeypatch.setenv("TRANSOM_MODELS", str(tmp_path / "other"))
    digest = filled.get_index(TINY).digest
    code, out, _ = cli("import", site)
    assert (code, out) == (0, f"tiny is in the store\nindex {digest}\n")
    report = json.loads(cli("import", site, "--name", "b", "--json")[1].splitlines()[-1])
    assert report == {"event": "report", "name": "b", "index": str(digest), "notes": []}
    assert Store(tmp_path / "other").verify().sound


def test_the_page_knows_the_mark_that_export_writes() -> None:
    address = (ROOT / "web" / "src" / "page" / "address.ts").read_text()
    name, content = re.findall(r'"([^"]+)"', LAYOUT_MARK.decode())
    assert f'meta[name="{name}"]' in address
    assert f'content === "{content}"' in address
    assert "<head>" in (ROOT / "web" / "index.html").read_text()


def test_export_says_what_is_missing(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSOM_WEB_DIR", str(tmp_path / "none"))
    code, _, err = cli("export", tmp_path / "out")
    assert code == 2
    assert "--layout-only" in err
    assert not (tmp_path / "out").exists()
    assert cli("export", tmp_path / "out", "--layout-only")[0] == 0
    assert "no model x in the store" in cli("export", tmp_path / "out", "x", "--layout-only")[2]
    monkeypatch.setenv("TRANSOM_MODELS", str(tmp_path / "empty"))
    assert "to export" in cli("export", tmp_path / "out", "--layout-only")[2]
