"""pytest tests/pyserver/test_export_site.py: a static site, written over an older one, cut short,
in pieces for hosts that take small files only, and never at the cost of anybody's own files."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pyserver.bundles import write_bundle
from transom_cli.main import run
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest
from transom_models.media_types import OCI_MANIFEST, OLLAMA_CONFIG, OLLAMA_MODEL
from transom_models.name import ModelName
from transom_server.exchange import blob_pieces, export_record, page_export
from transom_server.exchange.blob_pieces import PIECE_BYTES, InvalidLimit, limit_of
from transom_server.exchange.bundle_import import import_bundle
from transom_server.exchange.export_record import RECORD_NAME, InvalidRecord, read_record
from transom_server.exchange.layout_export import Exported, Limit, export_layout
from transom_server.exchange.oci_layout import (
    InvalidLayout,
    import_layout,
    layout_at,
    names_of,
    read_index,
    read_layout,
)
from transom_server.exchange.page_export import LAYOUT_MARK, ForeignFile, PageMissing, plan_page
from transom_server.exchange.site_export import PageTooLarge, export_site, plan_site
from transom_server.store import Store
from transom_server.transfer.status import Cancelled, Status

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
BIG = ModelName.parse("big")
# Larger than three pieces, and no multiple of one.
BIG_BYTES = 3 * PIECE_BYTES + 17


def quiet(status: Status) -> None:
    del status


def integrity(data: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(data).digest()).decode()


def write_page(folder: Path, script: str = "1", extra: str = "") -> Path:
    """A page as Vite and the service worker's build leave it: names and digests that agree."""
    shutil.rmtree(folder, ignore_errors=True)
    name = f"assets/index-{hashlib.sha256(script.encode()).hexdigest()[:8]}.js"
    (folder / "assets").mkdir(parents=True)
    (folder / name).write_text(script)
    html = f'<html><head>\n<title>x</title><script type="module" src="./{name}"></script>{extra}'
    (folder / "index.html").write_text(html)
    (folder / "manifest.webmanifest").write_text("{}")
    files = [[path, integrity((folder / path).read_bytes())] for path in ("index.html", name)]
    (folder / "sw.js").write_text(f"const files={json.dumps(files)};")
    return folder


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_page(tmp_path / "page")


@pytest.fixture
def big(store: Store) -> Store:
    """A store with one model that has a large blob."""
    return store_big(store)


def store_big(store: Store) -> Store:
    """Add that model."""
    data = bytes(range(251)) * (BIG_BYTES // 251 + 1)
    layer, config = store.put_bytes(data[:BIG_BYTES]), store.put_bytes(b"{}")
    manifest = Manifest(
        Descriptor(OLLAMA_CONFIG, config, 2), (Descriptor(OLLAMA_MODEL, layer, BIG_BYTES),)
    )
    row = store.put_bytes(manifest.to_bytes())
    store.put_index(BIG, Index((Descriptor(OCI_MANIFEST, row, len(manifest.to_bytes())),)))
    return store


def export(store: Store, folder: Path, page: Path | None, *names: str, **more: Any) -> Exported:
    models = [store.get_index(ModelName.parse(name)) for name in names] or store.list_models()
    only = more.pop("only", False)
    limit = more.pop("limit", None)
    plan = plan_site(store, models, folder, page, limit, only=only)
    return export_site(store, plan, more.pop("report", quiet), **more).layout


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# The page


def test_all_of_the_build_goes_along(filled: Store, page: Path, tmp_path: Path) -> None:
    (page / "assets" / "python-0f").mkdir()
    (page / "assets" / "python-0f" / "pyodide-lock.json").write_text("{}")
    (page / ".well-known").mkdir()
    (page / ".well-known" / "x").write_text("y")
    export(filled, tmp_path / "site", page)
    built, site = tree(page), tree(tmp_path / "site")
    same = built.keys() - {"index.html", "sw.js"}
    assert {name: site[name] for name in same} == {name: built[name] for name in same}
    assert site[".nojekyll"] == b""
    assert not list((tmp_path / "site").rglob("*.partial"))


def test_the_service_worker_is_told_the_new_digest_of_the_page(
    filled: Store, page: Path, tmp_path: Path
) -> None:
    export(filled, tmp_path / "site", page)
    start = (tmp_path / "site" / "index.html").read_bytes()
    worker = (tmp_path / "site" / "sw.js").read_text()
    assert LAYOUT_MARK in start
    assert integrity(start) in worker
    assert integrity((page / "index.html").read_bytes()) not in worker
    assert len(worker) == (page / "sw.js").stat().st_size


def test_the_frame_is_marked_too_and_has_its_list_of_sites(
    filled: Store, page: Path, tmp_path: Path
) -> None:
    (page / "embed.html").write_text("<html><head>\n<title>frame</title>")
    worker = (page / "sw.js").read_text()
    (page / "sw.js").write_text(worker + integrity((page / "embed.html").read_bytes()))
    site = tmp_path / "site"
    for sites in (["https://blog.example"], []):
        plan = plan_site(filled, filled.list_models(), site, page, embed_origins=sites)
        export_site(filled, plan, quiet)
        frame = (site / "embed.html").read_bytes()
        assert LAYOUT_MARK in frame
        assert integrity(frame) in (site / "sw.js").read_text()
        assert json.loads((site / "embed.json").read_text()) == {"origins": sites}


def test_a_service_worker_of_another_build_is_refused(page: Path) -> None:
    (page / "index.html").write_bytes((page / "index.html").read_bytes() + b"<!-- later -->")
    with pytest.raises(PageMissing, match="of another build"):
        plan_page(page)


def test_an_export_is_no_page_to_export(filled: Store, page: Path, tmp_path: Path) -> None:
    export(filled, tmp_path / "site", page)
    with pytest.raises(PageMissing, match="an export itself"):
        plan_page(tmp_path / "site")
    with pytest.raises(ForeignFile, match="in the built page"):
        export(filled, page / "site", page)
    with pytest.raises(ForeignFile, match="is not of an export"):
        export(filled, write_page(tmp_path / "other", "2"), page)


# Again into the same folder


def test_again_copies_nothing_and_touches_nothing(
    filled: Store, page: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    export(filled, site, page)
    times = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    again = plan_site(filled, filled.list_models(), site, page)
    done = export_site(filled, again, quiet)
    assert (done.layout.copied, done.page_copied, done.layout.removed) == (0, 0, 0)
    kept = {"index.json", "oci-layout", RECORD_NAME}
    changed = {p.name for p, at in times.items() if p.stat().st_mtime_ns != at}
    assert changed <= kept


def test_a_new_build_takes_the_old_one_s_files_away_and_no_others(
    filled: Store, page: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    export(filled, site, page)
    (site / "CNAME").write_text("models.example.com")
    (site / "assets" / "mine.txt").write_text("mine")
    old = next((page / "assets").iterdir()).name
    new = write_page(tmp_path / "page", "2")
    assert export(filled, site, new).removed == 1
    assert not (site / "assets" / old).exists()
    assert (site / "CNAME").read_text() == "models.example.com"
    assert (site / "assets" / "mine.txt").read_text() == "mine"
    export(filled, site, write_page(tmp_path / "page", "3"), only=True)
    assert (site / "assets" / "mine.txt").exists()


def test_a_file_of_somebody_s_own_is_not_replaced(
    filled: Store, page: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sw.js").write_text("// mine")
    with pytest.raises(ForeignFile, match=r"sw\.js is not of an export"):
        export(filled, site, page)
    assert tree(site) == {"sw.js": b"// mine"}
    (site / "sw.js").unlink()
    export(filled, site, page)


def test_models_stay_or_leave(filled: Store, page: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    other = write_bundle(tmp_path / "b2", seed=b"2")
    import_bundle(filled, other.folder, ModelName.parse("second"), other.files)
    export(filled, site, page)
    blobs = len(list((site / "blobs" / "sha256").iterdir()))
    export(filled, site, page, "second")
    assert names_in(site) == ["second", "tiny"]
    assert len(list((site / "blobs" / "sha256").iterdir())) == blobs
    (site / "blobs" / "sha256" / "note.txt").write_text("mine")
    removed = export(filled, site, page, "second", only=True).removed
    assert names_in(site) == ["second"]
    assert removed > 0
    assert (site / "blobs" / "sha256" / "note.txt").exists()
    assert len(list((site / "blobs" / "sha256").iterdir())) == blobs - removed + 1


def names_in(site: Path) -> list[str]:
    with layout_at(site) as source:
        return sorted(str(name) for name in names_of(read_layout(source), None, "x"))


def test_what_lay_there_before_the_first_export_is_never_removed(
    filled: Store, page: Path, tmp_path: Path
) -> None:
    """Somebody's layout got the page beside it; its models may leave the index, not the disk."""
    site = tmp_path / "site"
    export(filled, site, None)
    (site / RECORD_NAME).unlink()
    before = {name for name in tree(site) if name.startswith("blobs/")}
    other = write_bundle(tmp_path / "b2", seed=b"2")
    import_bundle(filled, other.folder, ModelName.parse("second"), other.files)
    export(filled, site, page, "second", only=True)
    assert before <= tree(site).keys()


def test_a_layout_alone_leaves_the_page(filled: Store, page: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    export(filled, site, page)
    before = tree(site)
    export(filled, site, None)
    assert tree(site) == before


def test_stopped_anywhere_it_is_the_old_site_or_the_new_one(
    filled: Store, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    export(filled, site, page)
    whole = tree(site)
    other = write_bundle(tmp_path / "b2", seed=b"2")
    import_bundle(filled, other.folder, ModelName.parse("second"), other.files)

    def fail(*_: object) -> None:
        raise Cancelled

    new = write_page(tmp_path / "page", "2")
    with monkeypatch.context() as patch:
        patch.setattr("transom_server.exchange.site_export.publish_layout", fail)
        with pytest.raises(Cancelled):
            export(filled, site, new)
    assert names_in(site) == ["tiny"]
    missing = {name for name in whole if name not in tree(site)}
    assert missing == set(), "what the old index and the old page name is there"
    export(filled, site, new)
    assert names_in(site) == ["second", "tiny"]
    # What the old page had goes, although the export that replaced it never ended.
    assert set(tree(site)) == read_record(site) | {RECORD_NAME}


# The record


def test_a_record_leads_nowhere_else(filled: Store, page: Path, tmp_path: Path) -> None:
    site, outside = tmp_path / "site", tmp_path / "outside"
    export(filled, site, page)
    outside.mkdir()
    (outside / "precious").write_text("x")
    for name in ("../outside/precious", str(outside / "precious"), "a/../../outside/precious", ""):
        (site / RECORD_NAME).write_text(json.dumps({"version": 1, "files": [name]}))
        with pytest.raises(InvalidRecord, match="outside of the export"):
            export(filled, site, page)
    (site / "link").symlink_to(outside)
    record = {"version": 1, "files": ["link/precious", "link"]}
    (site / RECORD_NAME).write_text(json.dumps(record))
    export(filled, site, page)
    assert (outside / "precious").exists()
    assert (site / "link").is_symlink()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "no record"),
        ("[]", "no record"),
        ('{"version":2,"files":[]}', "version 2"),
        ('{"version":1,"files":{}}', "outside"),
        ('{"version":1,"files":[1]}', "outside"),
        ("[" * 100_000, "no record"),
    ],
)
def test_records_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / RECORD_NAME).write_text(text)
    with pytest.raises(InvalidRecord, match=message):
        read_record(tmp_path)


def test_the_smallest_record_and_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '{"version":1,"files":["a"]}'
    (tmp_path / RECORD_NAME).write_text(text)
    monkeypatch.setattr(export_record, "MAX_RECORD_BYTES", len(text))
    assert read_record(tmp_path) == {"a"}
    monkeypatch.setattr(export_record, "MAX_RECORD_BYTES", len(text) - 1)
    with pytest.raises(InvalidRecord, match="is over"):
        read_record(tmp_path)


# Hosts that take small files only


def pieces_of(site: Path, digest: Digest) -> list[Path]:
    return sorted((site / "blobs" / "sha256").glob(f"{digest.hex}.*"))


def large_digest(store: Store) -> Digest:
    (row,) = store.get_index(BIG).index.manifests
    return store.get_manifest(row).layers[0].digest


def test_large_blobs_lie_in_pieces(big: Store, tmp_path: Path) -> None:
    site, digest = tmp_path / "site", large_digest(big)
    done = export(big, site, None, limit=Limit(5 * MIB))
    pieces = pieces_of(site, digest)
    assert [path.name[64:] for path in pieces] == [".000", ".001", ".002", ".003"]
    assert [path.stat().st_size for path in pieces] == [PIECE_BYTES] * 3 + [17]
    assert Digest.of(b"".join(path.read_bytes() for path in pieces)) == digest
    assert not (site / "blobs" / "sha256" / digest.hex).exists()
    assert done.in_pieces == 1
    assert max(len(data) for data in tree(site).values()) <= 5 * MIB
    with layout_at(site) as source:
        assert limit_of(read_index(source)) == 5 * MIB


def test_a_blob_of_just_the_limit_is_whole(big: Store, tmp_path: Path) -> None:
    digest = large_digest(big)
    done = export(big, tmp_path / "site", None, limit=Limit(BIG_BYTES))
    assert done.in_pieces == 0
    assert pieces_of(tmp_path / "site", digest) == []
    done = export(big, tmp_path / "other", None, limit=Limit(BIG_BYTES - 1))
    assert done.in_pieces == 1


def test_pieces_come_back(big: Store, tmp_path: Path) -> None:
    export(big, tmp_path / "site", None, limit=Limit(4 * MIB))
    other = Store(tmp_path / "other")
    with layout_at(tmp_path / "site") as source:
        (model,) = read_layout(source)
        import_layout(other, source, [(BIG, model)], quiet)
    assert other.get_index(BIG).data == big.get_index(BIG).data
    assert other.verify().sound


def test_pieces_again(big: Store, tmp_path: Path) -> None:
    site = tmp_path / "site"
    export(big, site, None, limit=Limit(4 * MIB))
    pieces = pieces_of(site, large_digest(big))
    times = [path.stat().st_mtime_ns for path in pieces]
    pieces[1].unlink()
    pieces[1].write_bytes(b"half")
    # No limit said: the folder's own stays.
    assert export(big, site, None).copied == PIECE_BYTES
    again = [path.stat().st_mtime_ns for path in pieces_of(site, large_digest(big))]
    assert [a == b for a, b in zip(times, again, strict=True)] == [True, False, True, True]


def test_another_limit_changes_the_form_of_all_models(
    big: Store, filled: Store, tmp_path: Path
) -> None:
    """`big` and `filled` are one store: the model that is not named changes too, from its files."""
    site, digest = tmp_path / "site", large_digest(big)
    export(big, site, None)
    export(filled, site, None, "tiny", limit=Limit(4 * MIB))
    assert len(pieces_of(site, digest)) == 4
    assert not (site / "blobs" / "sha256" / digest.hex).exists()
    export(filled, site, None, "tiny", limit=Limit(None))
    assert pieces_of(site, digest) == []
    assert Digest.of_file(site / "blobs" / "sha256" / digest.hex) == digest
    assert names_in(site) == ["big", "tiny"]


def test_damaged_pieces_do_not_become_a_blob(big: Store, filled: Store, tmp_path: Path) -> None:
    site, digest = tmp_path / "site", large_digest(big)
    export(big, site, None, limit=Limit(4 * MIB))
    path = pieces_of(site, digest)[2]
    path.chmod(0o644)
    path.write_bytes(bytes(PIECE_BYTES))
    with pytest.raises(InvalidLayout, match="is damaged"):
        export(filled, site, None, "tiny", limit=Limit(None))
    assert not (site / "blobs" / "sha256" / digest.hex).exists()


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_a_missing_piece_is_a_missing_blob(big: Store, tmp_path: Path, missing: int) -> None:
    export(big, tmp_path / "site", None, limit=Limit(4 * MIB))
    pieces_of(tmp_path / "site", large_digest(big))[missing].unlink()
    with layout_at(tmp_path / "site") as source, pytest.raises(InvalidLayout, match=r"lacks|has"):
        read_layout(source)


def test_pieces_without_end_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob_pieces, "MAX_PIECES", 3)
    asked = []

    def size_of(name: str) -> int:
        asked.append(name)
        return 1

    assert blob_pieces.size_of_pieces(size_of, "x") == 3
    assert asked == ["x.000", "x.001", "x.002"]


def test_limits_that_are_none(tmp_path: Path) -> None:
    Limit(4 * MIB)
    with pytest.raises(InvalidLimit, match="too small"):
        Limit(4 * MIB - 1)


def test_limits_on_the_command_line(
    big: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRANSOM_MODELS", str(big.root))

    def limit(text: str) -> object:
        site = tmp_path / "site"
        code = run(["export", str(site), "--layout-only", "--json", "--max-file", text])
        lines = capsys.readouterr().out.splitlines()
        return json.loads(lines[-1])["max_file_bytes"] if code == 0 else code

    assert [limit(text) for text in ("25MiB", "32 mib", "8MB", "5000000", "none")] == [
        25 * MIB,
        32 * MIB,
        8_000_000,
        5_000_000,
        None,
    ]
    assert [limit(text) for text in ("4MB", "0", "25 apples", "-5MiB", "")] == [2] * 5


def test_a_page_that_is_too_large_for_its_host(filled: Store, page: Path, tmp_path: Path) -> None:
    (page / "assets" / "python.wasm").write_bytes(bytes(4 * MIB))
    export(filled, tmp_path / "a", page, limit=Limit(4 * MIB))
    (page / "assets" / "python.wasm").write_bytes(bytes(4 * MIB + 1))
    with pytest.raises(PageTooLarge, match=r"assets/python\.wasm of the page has 4194305 bytes"):
        export(filled, tmp_path / "b", page, limit=Limit(4 * MIB))
    assert not (tmp_path / "b").exists()


def test_both_sides_cut_alike() -> None:
    pieces = (ROOT / "web" / "src" / "store" / "pieces.ts").read_text()
    assert "export const PIECE_BYTES = 4 * 1024 * 1024;" in pieces
    assert PIECE_BYTES == 4 * 1024 * 1024
    assert page_export.SERVICE_WORKER == "sw.js"


def test_equal_sites_whatever_was_there_before(filled: Store, page: Path, tmp_path: Path) -> None:
    export(filled, tmp_path / "a", write_page(tmp_path / "old", "0"))
    export(filled, tmp_path / "a", page)
    export(filled, tmp_path / "b", page)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_the_layout_alone_has_the_same_bytes(filled: Store, tmp_path: Path) -> None:
    export(filled, tmp_path / "a", None)
    export_layout(filled, filled.list_models(), tmp_path / "b", quiet)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
