"""pytest tests/pyserver/test_site_check.py: a sound site passes, each lie beside it is named."""

import base64
import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.static_hosts import amazon_s3
from tests.pyserver.test_export_site import large_digest, pieces_of, store_big
from transom_cli.main import run
from transom_models.media_types import ANNOTATION_MAX_FILE
from transom_server.exchange import site_check
from transom_server.exchange.blob_pieces import PIECE_BYTES
from transom_server.exchange.layout_export import Limit
from transom_server.exchange.site_check import SiteCheck, SiteReport
from transom_server.exchange.site_export import export_site, plan_site
from transom_server.exchange.site_references import (
    BadReference,
    read_css,
    read_html,
    read_kept,
    read_script,
    resolve,
    unsafe_sources,
)
from transom_server.exchange.site_source import SiteFolder
from transom_server.routes.web import OWN_POLICIES
from transom_server.store import Store
from transom_server.store.partial_file import PartialFile
from transom_server.transfer.status import Cancelled, Status

MIB = 1024 * 1024
POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:"
PYTHON = "assets/python-0f"


def quiet(status: Status) -> None:
    del status


def integrity(data: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(data).digest()).decode()


def write_page(folder: Path) -> Path:
    """A page with one of each: the smallest that has all that ours has."""
    wheel, wasm = b"wheel", b"\0asm"
    lock = {
        "client": "client.whl",
        "files": {
            "python.wasm": {"sha256": hashlib.sha256(wasm).hexdigest(), "bytes": 4},
            "client.whl": {"sha256": hashlib.sha256(wheel).hexdigest(), "bytes": 5},
        },
        "packages": {
            "x": {"file_name": "x.whl", "sha256": hashlib.sha256(wheel).hexdigest()},
        },
    }
    files = {
        "assets/index-1.js": b'import{a}from"./part-2.js";x.serviceWorker.register("sw.js");'
        b"new Worker(new URL(`worker-3.js`,import.meta.url))",
        "assets/part-2.js": b'export const a=()=>import(`./late-4.js`);import("transom.host")',
        "assets/late-4.js": b'const w=new URL("x-5.wasm",import.meta.url),n=()=>import("node:fs")',
        "assets/worker-3.js": b"importing",
        "assets/x-5.wasm": wasm,
        "assets/style-6.css": b'@import "more-7.css";a{background:url(../icon.svg)}',
        "assets/more-7.css": b"b{background:url('data:,x')}",
        f"{PYTHON}/pyodide-lock.json": json.dumps(lock).encode(),
        f"{PYTHON}/python.wasm": wasm,
        f"{PYTHON}/x.whl": wheel,
        "icon.svg": b"<svg/>",
        "manifest.webmanifest": b'{"start_url":"./","scope":"./","icons":[{"src":"icon.svg"}]}',
        "index.html": (
            f'<html><head><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            '<link rel="stylesheet" href="./assets/style-6.css"><link rel="icon" href="icon.svg">'
            '<link rel="manifest" href="manifest.webmanifest">'
            '<script type="module" src="./assets/index-1.js"></script>'
            '<body><a href="https://example.com/">elsewhere</a>'
        ).encode(),
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    write_kept(folder)
    return folder


def write_kept(folder: Path) -> None:
    """The service worker, with the digests of all that is there."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "sw.js"
    }
    kept = ",".join(f"[`{name}`,`{integrity(data)}`]" for name, data in files.items())
    (folder / "sw.js").write_text(f"var e={{first:[{kept}],later:[]}};")


@pytest.fixture
def site(filled: Store, tmp_path: Path) -> Path:
    page = write_page(tmp_path / "page")
    plan = plan_site(filled, filled.list_models(), tmp_path / "site", page)
    export_site(filled, plan, quiet)
    return tmp_path / "site"


def check(site: Path, limit: int | None = None) -> SiteReport:
    return SiteCheck(SiteFolder(site), quiet, limit=limit).run()


def faults(site: Path) -> list[str]:
    return [str(fault) for fault in check(site).faults]


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(change(data))


def test_a_sound_site(site: Path) -> None:
    report = check(site)
    assert report.faults == []
    on_disk = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    beside = {".nojekyll", ".transom-export.json", "index.json", "oci-layout"}
    assert report.page_files == len([n for n in on_disk - beside if not n.startswith("blobs/")])
    assert report.blobs == len([name for name in on_disk if name.startswith("blobs/")])
    assert report.models == ["tiny:latest"]
    assert report.largest_file_bytes == max(path.stat().st_size for path in site.rglob("*"))


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "sw.js",
        "manifest.webmanifest",
        "icon.svg",
        "assets/index-1.js",
        "assets/part-2.js",
        "assets/late-4.js",
        "assets/worker-3.js",
        "assets/x-5.wasm",
        "assets/style-6.css",
        "assets/more-7.css",
        f"{PYTHON}/pyodide-lock.json",
        f"{PYTHON}/python.wasm",
        f"{PYTHON}/x.whl",
        "index.json",
        "oci-layout",
    ],
)
def test_each_file_is_missed_and_each_change_is_seen(site: Path, name: str) -> None:
    data = (site / name).read_bytes()
    (site / name).unlink()
    assert any(fault.startswith(f"{name}: is missing") for fault in faults(site))
    if name in ("index.json", "oci-layout", "sw.js"):
        return  # they name the others
    (site / name).write_bytes(data + b" ")
    assert any(f"{name}: is not the file that sw.js means" in fault for fault in faults(site))


def test_each_blob_is_missed_and_each_change_is_seen(site: Path) -> None:
    for path in sorted((site / "blobs" / "sha256").iterdir()):
        name = f"blobs/sha256/{path.name}"
        data = path.read_bytes()
        path.unlink()
        assert any(fault.startswith(f"{name}: is missing") for fault in faults(site))
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert f"{name}: is damaged: its digest is another one" in faults(site)
        path.write_bytes(data[:-1])
        assert f"{name}: has {len(data) - 1} bytes, not {len(data)}" in faults(site)
        path.write_bytes(data + b"x")
        assert any(f.startswith(f"{name}: ") and "more" in f for f in faults(site))
        path.write_bytes(data)
    assert faults(site) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'self' 'wasm-unsafe-eval'", "'self' 'unsafe-eval'", "allows script-src 'unsafe-eval'"),
        ("img-src 'self' data:", "img-src *", "allows img-src *"),
        ("default-src 'none'; ", "", "no default-src"),
        ("Content-Security-Policy", "X", "has no Content-Security-Policy"),
        ("<body>", "<body><script>1</script>", "has <script> inside"),
        ("<body>", "<body onload='x()'>", "has onload of <body> inside"),
        ("<body>", "<body style='a'>", "has style of <body> inside"),
        ('href="icon.svg"', 'href="/icon.svg"', "begins at the host's root"),
        ('href="icon.svg"', 'href="https://a.example/i.svg"', "is of another origin"),
        ('href="icon.svg"', 'href="//a.example/i.svg"', "is of another origin"),
        ('href="icon.svg"', 'href="../icon.svg"', "leaves the site's folder"),
        ('href="icon.svg"', 'href="%2e%2e/icon.svg"', "leaves the site's folder"),
        ('content="layout"', 'content="server"', "does not say that models are files here"),
        ("</script>", '</script><script src="a.js"></script>', "a.js: is missing"),
    ],
)
def test_what_a_document_may_not_do(site: Path, old: str, new: str, message: str) -> None:
    rewrite(site / "index.html", lambda data: data.replace(old.encode(), new.encode(), 1))
    assert any(message in fault for fault in faults(site)), faults(site)


def test_a_script_of_another_origin(site: Path) -> None:
    rewrite(site / "assets/late-4.js", lambda data: data + b';import("https://a.example/x.js")')
    assert any("https://a.example/x.js is of another origin" in fault for fault in faults(site))


def test_a_script_that_some_hosts_take_for_none(site: Path) -> None:
    rewrite(site / "assets/late-4.js", lambda data: data + b';import("./y.mjs")')
    (site / "assets" / "y.mjs").write_text("1")
    assert "assets/y.mjs: is no script to nginx and others; .js is to all" in faults(site)


def test_a_lock_without_digests(site: Path) -> None:
    rewrite(site / f"{PYTHON}/pyodide-lock.json", lambda data: data.replace(b'"sha256"', b'"md5"'))
    assert any("has no sha256 of 'x.whl'" in fault for fault in faults(site))
    rewrite(site / f"{PYTHON}/pyodide-lock.json", lambda _: b"[]")
    assert any("is no JSON object" in fault for fault in faults(site))


# Hostile sites


def test_links_are_not_followed(site: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x-5.wasm").write_bytes(b"\0asm")
    (site / "assets" / "x-5.wasm").unlink()
    (site / "assets" / "x-5.wasm").symlink_to(secret / "x-5.wasm")
    assert any("is a symbolic link" in fault for fault in faults(site))
    (site / "assets" / "x-5.wasm").unlink()
    (site / PYTHON / "x.whl").unlink()
    (site / PYTHON / "python.wasm").unlink()
    (site / PYTHON / "pyodide-lock.json").rename(secret / "pyodide-lock.json")
    (site / PYTHON).rmdir()
    (site / PYTHON).symlink_to(secret)
    assert any("is behind a link" in fault for fault in faults(site))


def test_every_size_has_a_cap(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = max((site / n).stat().st_size for n in ("index.html", "sw.js"))
    monkeypatch.setattr(site_check, "MAX_TEXT_BYTES", text)
    assert faults(site) == []
    monkeypatch.setattr(site_check, "MAX_TEXT_BYTES", text - 1)
    assert any(f"it has more than {text - 1} bytes" in fault for fault in faults(site))
    monkeypatch.undo()
    count = check(site).page_files
    monkeypatch.setattr(site_check, "MAX_PAGE_FILES", count)
    assert faults(site) == []
    monkeypatch.setattr(site_check, "MAX_PAGE_FILES", count - 1)
    assert any("asks for more than" in fault for fault in faults(site))


def test_faults_end(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_check, "MAX_FAULTS", 3)
    for path in [*(site / "assets").glob("*.css"), *(site / PYTHON).iterdir()]:
        path.unlink()
    (site / "icon.svg").unlink()
    assert len(faults(site)) == 3


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"schemaVersion":2}'])
def test_indexes_that_are_none(site: Path, text: str) -> None:
    (site / "index.json").write_text(text)
    assert any(fault.startswith("index.json: ") for fault in faults(site))


def test_an_index_of_itself(site: Path) -> None:
    """An index that names an index that names … is not followed for ever."""
    rows: list[dict[str, Any]] = json.loads((site / "index.json").read_bytes())["manifests"]
    for _ in range(5):
        data = json.dumps({"schemaVersion": 2, "manifests": rows}).encode()
        hexadecimal = hashlib.sha256(data).hexdigest()
        (site / "blobs" / "sha256" / hexadecimal).write_bytes(data)
        rows = [{**rows[0], "digest": f"sha256:{hexadecimal}", "size": len(data)}]
    (site / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": rows}))
    assert any("too deep" in fault for fault in faults(site))


def test_stopping(site: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        SiteCheck(SiteFolder(site), quiet, cancelled=cancelled).run()


# Files that a host takes


def test_the_limit_is_kept_to(site: Path) -> None:
    largest = check(site).largest_file_bytes
    assert check(site, largest).faults == []
    (fault, *_) = check(site, largest - 1).faults
    assert f"has {largest} bytes, over the {largest - 1}" in fault.reason
    assert "--max-file" in fault.way_out


def test_pieces_are_checked_too(filled: Store, tmp_path: Path) -> None:
    store_big(filled)
    site = tmp_path / "site"
    page = write_page(tmp_path / "page")
    plan = plan_site(filled, filled.list_models(), site, page, Limit(5 * MIB))
    export_site(filled, plan, quiet)
    report = check(site)
    assert report.faults == []
    assert report.max_file_bytes == 5 * MIB
    second = pieces_of(site, large_digest(filled))[1]
    name = f"blobs/sha256/{second.name}"
    data = second.read_bytes()
    second.unlink()
    assert f"{name}: is missing; index.json asks for it" in faults(site)
    second.write_bytes(data[:-1])
    assert f"{name}: has {PIECE_BYTES - 1} bytes, not {PIECE_BYTES}" in faults(site)
    second.write_bytes(data)
    assert faults(site) == []
    for text in ("4194303", "-1", "x"):
        rewrite_limit(site, text)
        assert any(fault.startswith("index.json: ") for fault in faults(site))


def rewrite_limit(site: Path, text: str) -> None:
    index = json.loads((site / "index.json").read_bytes())
    index["annotations"][ANNOTATION_MAX_FILE] = text
    (site / "index.json").write_text(json.dumps(index))


# Exports that are cut short


def test_stopped_at_any_file_a_site_stays_one(
    filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new build, a new model and another limit, stopped at each file in turn."""
    old, site = tmp_path / "old", tmp_path / "site"
    page = write_page(tmp_path / "page")
    store_big(filled)
    models = {str(model.name): model for model in filled.list_models()}
    export_site(filled, plan_site(filled, [models["big"]], old, page), quiet)
    (page / "assets" / "part-2.js").rename(page / "assets" / "part-9.js")
    script = (page / "assets" / "index-1.js").read_bytes()
    (page / "assets" / "index-1.js").unlink()
    (page / "assets" / "index-8.js").write_bytes(script.replace(b"part-2", b"part-9"))
    rewrite(page / "index.html", lambda data: data.replace(b"index-1", b"index-8"))
    write_kept(page)
    publish = PartialFile.publish

    for stop_at in range(100):
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(old, site)
        left = stop_at

        def stop(self: PartialFile, target: Path) -> None:
            nonlocal left
            if left == 0:
                raise Cancelled
            left -= 1
            publish(self, target)

        plan = plan_site(filled, [models["tiny"]], site, page, Limit(5 * MIB))
        with monkeypatch.context() as patch:
            patch.setattr(PartialFile, "publish", stop)
            try:
                export_site(filled, plan, quiet)
                break
            except Cancelled:
                pass
        report = check(site)
        # The document and the service worker cannot change in one step: in between, a browser keeps
        # nothing for later, and asks again.
        assert [f for f in report.faults if "that sw.js means" not in f.reason] == [], stop_at
        assert report.models in (["big:latest"], ["big:latest", "tiny:latest"])
        export_site(filled, plan_site(filled, [models["tiny"]], site, page, Limit(5 * MIB)), quiet)
        assert faults(site) == [], stop_at
        assert not list(site.rglob("*.partial"))
    assert stop_at > 20
    assert faults(site) == []
    assert not (site / "assets" / "part-2.js").exists()


# A site on a host


class Host(http.server.SimpleHTTPRequestHandler):
    """A plain host, which may have strange ideas of types and addresses."""

    types: dict[str, str]
    moved: dict[str, str]

    def guess_type(self, path: Any) -> str:
        return self.types.get(Path(path).suffix, super().guess_type(path))

    def do_GET(self) -> None:
        target = self.moved.get(self.path.rpartition("/")[2])
        if target is None:
            super().do_GET()
            return
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hosted(
    folder: Path, types: dict[str, str] | None = None, moved: dict[str, str] | None = None
) -> Iterator[str]:
    kind = type("Strange", (Host,), {"types": types or {}, "moved": moved or {}})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(kind, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def on_command_line(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, dict[str, Any]]:
    code = run(["export", "--check", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_site_on_a_host(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hosted(site.parent) as host:
        for address in (f"{host}/site/", f"{host}/site/index.html"):
            code, report = on_command_line(capsys, address)
            assert (code, report["faults"]) == (0, [])
        assert report["site"] == f"{host}/site/"
        code, report = on_command_line(capsys, f"{host}/nothing/")
        assert code == 1
        assert report["faults"][0]["reason"].startswith("is missing")
    code, report = on_command_line(capsys, f"{host}/site/")
    assert code == 1
    assert "cannot reach" in report["faults"][0]["reason"]


def test_a_bucket_that_does_not_say_what_is_missing(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with amazon_s3(site.parent, []) as host:
        code, report = on_command_line(capsys, f"{host}/site/index.html")
        assert (code, report["faults"]) == (0, [])
        (site / "icon.svg").unlink()
        code, report = on_command_line(capsys, f"{host}/site/index.html")
    assert code == 1
    assert {fault["path"] for fault in report["faults"]} == {"icon.svg"}
    assert "missing or not public" in report["faults"][0]["reason"]


def test_types_that_browsers_refuse(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    octets = "application/octet-stream"
    with hosted(site.parent, {".wasm": octets, ".webmanifest": octets, ".whl": octets}) as host:
        assert on_command_line(capsys, f"{host}/site/")[0] == 0
    with hosted(site.parent, {".js": octets}) as host:
        code, report = on_command_line(capsys, f"{host}/site/")
    assert code == 1
    paths = {fault["path"] for fault in report["faults"]}
    assert {"sw.js", "assets/index-1.js", "assets/worker-3.js"} <= paths
    assert "js files are text/javascript" in report["faults"][0]["way_out"]


def test_redirects_out_of_the_origin(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with hosted(site.parent) as other:
        moved = {"icon.svg": f"{other}/site/icon.svg"}
        with hosted(site.parent, moved=moved) as host:
            code, report = on_command_line(capsys, f"{host}/site/")
    assert code == 1
    assert any("another origin" in fault["reason"] for fault in report["faults"])


def test_the_command_line(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--check", str(site)]) == 0
    assert "all as a browser needs it" in capsys.readouterr().out
    (site / "icon.svg").unlink()
    assert run(["export", "--check", str(site)]) == 1
    out = capsys.readouterr().out
    assert "bad: icon.svg: is missing" in out
    assert "1 fault\n" in out
    assert run(["export", "--check", str(site / "none")]) == 2
    assert run(["export", "--check", str(site), "--only"]) == 2


# What files name


@pytest.mark.parametrize(
    ("text", "base", "name"),
    [
        ("./a.js", "index.html", "a.js"),
        ("a.js", "assets/b.js", "assets/a.js"),
        ("../a.js?x#y", "assets/b.js", "a.js"),
        ("./", "index.html", "index.html"),
        (".", "index.html", "index.html"),
        ("a%20b.js", "index.html", "a b.js"),
        ("data:,x", "index.html", None),
        ("#x", "index.html", None),
        ("a/../../b.js", "c/d.js", "b.js"),
    ],
)
def test_paths(text: str, base: str, name: str | None) -> None:
    assert resolve(text, base) == name


@pytest.mark.parametrize(
    "text",
    ["/a", "//h/a", "http:a", "HTTPS://h/a", "../a", "a\\b", "a\0b", "..", "%2e%2e/a", " /a"],
)
def test_paths_that_lead_away(text: str) -> None:
    with pytest.raises(BadReference):
        resolve(text, "index.html")


def test_forms_of_bundlers() -> None:
    script = (
        'import"./a.js";import{b as c}from\'./b.js\';export*from"./c.js";import(`./d.js`);'
        "new URL(`e.wasm`,import.meta.url);new URL('.',import.meta.url);new URL(`x`,base);"
        'import(`./${f}.js`);import("node:fs");from transom import("pyodide.host")'
    )
    names = {one.text for one in read_script(script)}
    assert names == {"./a.js", "./b.js", "./c.js", "./d.js", "e.wasm"}
    css = {one.text for one in read_css("@import 'a.css';b{x:url( \"b.png\" ) url(c.png)url()}")}
    assert css == {"a.css", "b.png", "c.png"}
    digest = integrity(b"")
    kept = read_kept(f'[["a.js","{digest}"],[`b`,`{digest}`],["c","sha256-short"]]')
    assert [(one.text, one.integrity) for one in kept] == [("a.js", digest), ("b", digest)]
    assert read_html('<script src="a.js" integrity="sha256-x">').references[0].integrity


def test_policies() -> None:
    assert unsafe_sources(POLICY) == []
    assert unsafe_sources("default-src 'self'; script-src 'unsafe-inline' https://x") == [
        "script-src 'unsafe-inline'",
        "script-src https://x",
    ]
    assert unsafe_sources("default-src 'self'; script-src blob:") == ["script-src blob:"]


def test_frames_may_do_their_one_thing_and_nothing_else() -> None:
    for page, policy in OWN_POLICIES.items():
        assert unsafe_sources(policy, page) == []
        # The same in any other page, or under another path, is a hole.
        for other in {"index.html", "embed.html", f"sub/{page}", *OWN_POLICIES} - {page}:
            assert unsafe_sources(policy, other) != []
    outside = OWN_POLICIES["outside.html"]
    for lax in ("http:", "*", "ws:", "http://*", "https://*", "http://localhost.evil.example:*"):
        assert unsafe_sources(outside.replace("https:", lax), "outside.html")
    assert unsafe_sources(outside.replace("script-src 'self'", "script-src https:"), "outside.html")


def test_a_site_with_the_frame_to_other_hosts(site: Path) -> None:
    def write(name: str, policy: str) -> None:
        head = f'<head><meta http-equiv="Content-Security-Policy" content="{policy}">'
        (site / name).write_text(f'{head}<script type="module" src="./assets/part-2.js"></script>')
        write_kept(site)

    policy = OWN_POLICIES["outside.html"]
    write("outside.html", policy)
    assert faults(site) == []
    write("outside.html", policy.replace("https:", "*"))
    assert faults(site) == ["outside.html: its policy allows connect-src *"]
    write("outside.html", policy)
    write("another.html", policy)
    assert [fault.partition(":")[0] for fault in faults(site)] == ["another.html"] * 3
