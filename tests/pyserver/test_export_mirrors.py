"""pytest tests/pyserver/test_export_mirrors.py: other hosts that a site may ask for models."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from transom_cli.main import run
from transom_server.exchange.mirrors import (
    MAX_MIRRORS,
    InvalidMirror,
    read_mirrors,
    told_mirrors,
    with_origins,
)
from transom_server.exchange.page_export import PageMissing, PagePlan, plan_page
from transom_server.exchange.site_check import SiteCheck
from transom_server.exchange.site_export import export_site, plan_site
from transom_server.exchange.site_references import read_html, unsafe_sources
from transom_server.exchange.site_source import SiteFolder
from transom_server.store import Store
from transom_server.transfer.status import Status

POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; worker-src 'self'"
MIRRORS = ("https://a.example/models/", "http://localhost:8000/", "https://a.example/b/")
ORIGINS = "https://a.example http://localhost:8000"


def quiet(status: Status) -> None:
    del status


def integrity(data: bytes) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page as Vite leaves it, which escapes attributes, and a service worker."""
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "assets" / "index-1.js").write_text("navigator.serviceWorker.register('sw.js')")
    escaped = POLICY.replace("'", "&#39;")
    head = f'<html><head><meta http-equiv="Content-Security-Policy" content="{escaped}">'
    start = f'{head}<script type="module" src="./assets/index-1.js"></script>'
    (folder / "index.html").write_text(start)
    (folder / "embed.html").write_text(f"{head}<title>frame</title>")
    (folder / "outside.html").write_text(head.replace("&#39;self&#39;; worker", "https:; worker"))
    names = ("index.html", "embed.html", "assets/index-1.js")
    files = [[name, integrity((folder / name).read_bytes())] for name in names]
    policies = "[`connect-src 'self'`,`worker-src 'self'`],o={p:`connect-src https:`}"
    (folder / "sw.js").write_text(f"const files={json.dumps(files)},d={policies};")
    return folder


def text_of(plan: PagePlan, name: str) -> str:
    return plan.read(name).decode()


# The page


@pytest.mark.parametrize("name", ["index.html", "embed.html"])
def test_the_page_is_told_and_may_connect(page: Path, name: str) -> None:
    plan = plan_page(page, (), MIRRORS)
    document = read_html(text_of(plan, name))
    assert document.mirrors == list(MIRRORS)
    assert document.is_of_export
    assert document.policy == POLICY.replace("connect-src 'self'", f"connect-src 'self' {ORIGINS}")
    assert integrity(plan.read(name)) in text_of(plan, "sw.js")


def test_the_service_worker_sends_workers_the_same_policy(page: Path) -> None:
    worker = text_of(plan_page(page, (), MIRRORS), "sw.js")
    assert f"`connect-src 'self' {ORIGINS}`" in worker
    assert "`connect-src https:`" in worker


def test_other_pages_stay(page: Path) -> None:
    plan = plan_page(page, (), MIRRORS)
    assert plan.read("outside.html") == (page / "outside.html").read_bytes()


def test_without_mirrors_nothing_is_wider(page: Path) -> None:
    plan = plan_page(page)
    assert read_html(text_of(plan, "index.html")).policy == POLICY
    assert "transom-mirrors" not in text_of(plan, "index.html")


@pytest.mark.parametrize("name", ["index.html", "sw.js"])
@pytest.mark.parametrize("more", [b"", b"connect-src 'self'"])
def test_a_page_whose_policy_is_not_found_is_refused(page: Path, name: str, more: bytes) -> None:
    """None, or one too many: nobody knows which of them counts."""
    start = page / name
    old = start.read_bytes()
    changed = old + more if more else old.replace(b"connect-src", b"img-src")
    start.write_bytes(changed)
    if name != "sw.js":
        worker = (page / "sw.js").read_text()
        (page / "sw.js").write_text(worker.replace(integrity(old), integrity(changed)))
    with pytest.raises(PageMissing, match="has no policy that could"):
        plan_page(page, (), MIRRORS)
    plan_page(page)


def test_a_policy_is_found_once() -> None:
    assert with_origins(b"connect-src 'self'", ["https://a.example/x/"]) == (
        b"connect-src 'self' https://a.example"
    )
    assert with_origins(b"connect-src 'self&#39;", MIRRORS) is None
    assert with_origins(b"whatever", []) == b"whatever"


# Addresses


@pytest.mark.parametrize(
    ("text", "mirror"),
    [
        ("https://a.example", "https://a.example/"),
        ("https://a.example/models", "https://a.example/models/"),
        ("HTTPS://A.Example/Models/", "https://a.example/Models/"),
        ("https://a.example:8443/x/y.z/~me/", "https://a.example:8443/x/y.z/~me/"),
        ("http://localhost:8000", "http://localhost:8000/"),
        ("http://127.0.0.1:9/%20/", "http://127.0.0.1:9/%20/"),
    ],
)
def test_addresses(text: str, mirror: str) -> None:
    assert read_mirrors([text, text]) == (mirror,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.example",
        "http://a.example/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
        "ftp://a.example/",
        "https://",
        "https://*.example/",
        "https://a.example:443/",
        "https://a.example:99999999/",
        "http://localhost:80/",
        "https://me:secret@a.example/",
        "https://a.example/?x",
        "https://a.example/#x",
        "https://a.example/../x/",
        "https://a.example/./x/",
        "https://a.example//x/",
        "https://a.example/x y/",
        'https://a.example/"><script>/',
        "https://a.example/;script-src/",
        "https://a.example/`${x}`/",
        "https://a.example/\\x/",
        "https://a.example/\nx/",
        "https://bücher.example/",
        "https://a.example/" + "x" * 2000,
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidMirror, match="is no address as https"):
        read_mirrors([text])


def test_there_are_eight_at_most() -> None:
    texts = [f"https://m{number}.example/" for number in range(MAX_MIRRORS)]
    assert len(read_mirrors(texts)) == MAX_MIRRORS
    with pytest.raises(InvalidMirror, match="9 mirrors; a page takes 8"):
        read_mirrors([*texts, "https://one.more.example/"])


# The check


def faults(site: Path) -> list[str]:
    return [str(fault) for fault in SiteCheck(SiteFolder(site), quiet).run().faults]


def export(store: Store, page: Path, site: Path, mirrors: Sequence[str]) -> None:
    plan = plan_site(store, store.list_models(), site, page, mirrors=mirrors)
    export_site(store, plan, quiet)


def test_the_check_knows_mirrors(filled: Store, page: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (page / "outside.html").unlink()
    export(filled, page, site, MIRRORS)
    assert faults(site) == []
    start = (site / "index.html").read_bytes()
    for old, new, message in (
        (b" https://a.example http://", b" http://", "its policy blocks its mirror https://a.ex"),
        (b"self&#39; https://a", b"self&#39; https://b", "its policy allows connect-src https://b"),
        (
            b"script-src &#39;",
            b"script-src https://a.example &#39;",
            "its policy allows script-src",
        ),
        (b'content="https://a.example/models/', b'content="ftp://x/', "is no address as https"),
    ):
        (site / "index.html").write_bytes(start.replace(old, new, 1))
        found = faults(site)
        assert any(f"index.html: {message}" in fault or message in fault for fault in found), found
    # Without them the site is the strict one again.
    export(filled, page, site, ())
    assert faults(site) == []
    assert b"a.example" not in (site / "index.html").read_bytes() + (site / "sw.js").read_bytes()


def test_only_pages_that_open_models_have_mirrors() -> None:
    policy = f"default-src 'none'; connect-src 'self' {ORIGINS}"
    origins, wrong = told_mirrors(MIRRORS, policy)
    assert (list(origins), wrong) == (ORIGINS.split(), [])
    assert unsafe_sources(policy, "index.html", origins) == []
    assert unsafe_sources(policy, "python.html", origins) != []
    assert unsafe_sources(policy, "index.html") != []


# The command line


def test_mirrors_on_the_command_line(
    filled: Store,
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TRANSOM_MODELS", str(filled.root))
    monkeypatch.setenv("TRANSOM_WEB_DIR", str(page))
    site = tmp_path / "site"
    given = ["--mirror", "https://a.example/models", "--mirror", "http://localhost:8000"]
    assert run(["export", str(site), *given, "--json"]) == 0
    assert read_html((site / "index.html").read_text()).mirrors == list(MIRRORS[:2])
    capsys.readouterr()
    assert run(["export", str(site), "--mirror", "http://a.example/"]) == 2
    assert "plain http is for localhost" in capsys.readouterr().err
    assert run(["export", str(site), "--layout-only", *given]) == 2
    assert "--layout-only leaves out" in capsys.readouterr().err
    assert run(["export", "--check", str(site), *given]) == 2
    assert read_html((site / "index.html").read_text()).mirrors == list(MIRRORS[:2])
