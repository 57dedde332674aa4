"""What Lighthouse would ask of the page, on a host that sends no headers and on our server."""

import gzip
import html
import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder
from tests.e2e.builds import copy_build
from tests.e2e.commands import serve

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

CONTROLLED = "() => navigator.serviceWorker.controller !== null"
FIRST_VISIT_BYTES = 20_000_000
"""What a first visit keeps at most; the smallest model has five times as many."""
START_SCRIPT_BYTES = 250_000
"""Packed, all that the page needs before it can be used."""
OWN = {
    # Programs of models, and no way out.
    "python.html": {
        "script-src": ["'self'", "data:", "blob:", "'wasm-unsafe-eval'"],
        "worker-src": ["blob:"],
    },
    # The one way out, and no programs but its own.
    "outside.html": {
        "script-src": ["'self'"],
        "connect-src": ["https:", "http://localhost:*", "http://127.0.0.1:*"],
    },
}


@pytest.fixture
def context(playwright: Playwright, chromium: str, tmp_path: Path) -> Iterator[BrowserContext]:
    profile = tmp_path / "profile"
    with open_chromium(playwright, chromium, profile, WITHOUT_WEBGPU) as context:
        yield context


def policy_of(text: str) -> dict[str, list[str]]:
    """Sources by directive."""
    rows = [row.split() for row in text.split(";")]
    return {name: sources for name, *sources in rows}


def require_strict(policy: dict[str, list[str]]) -> None:
    assert policy["default-src"] == ["'none'"]
    assert policy["worker-src"] == policy["manifest-src"] == ["'self'"]
    assert policy["connect-src"] == policy["frame-src"] == ["'self'"]
    assert set(policy["script-src"]) == {"'self'", "'wasm-unsafe-eval'"}
    # A person's own images, and plots of programs.
    assert set(policy["img-src"]) == {"'self'", "data:", "blob:"}
    others = {name: sources for name, sources in policy.items() if name != "img-src"}
    allowed = {source for sources in others.values() for source in sources}
    assert allowed <= {"'self'", "'none'", "'wasm-unsafe-eval'"}


def require_own(name: str, policy: dict[str, list[str]]) -> None:
    """Of a frame that does one thing: what it may is all here."""
    nothing = {"default-src": ["'none'"], "base-uri": ["'none'"], "form-action": ["'none'"]}
    assert policy == nothing | OWN[name]


def require_installable(context: BrowserContext, page: Page) -> None:
    devtools = context.new_cdp_session(page)
    found: dict[str, Any] = devtools.send("Page.getAppManifest")
    assert found["errors"] == []
    manifest = json.loads(found["data"])
    assert manifest["display"] == "standalone"
    assert manifest["name"]
    # Wherever the page's folder is.
    assert manifest["start_url"] == manifest["scope"] == "./"
    errors = devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]
    assert errors == []
    drawn = {row["src"]: row["sizes"] for row in manifest["icons"] if row["type"] == "image/png"}
    sizes = page.evaluate(
        """(names) => Promise.all(names.map(async (name) => {
            const icon = await createImageBitmap(await (await fetch(name)).blob());
            return `${icon.width}x${icon.height}`;
        }))""",
        list(drawn),
    )
    assert sizes == list(drawn.values())
    assert {"192x192", "512x512"} <= set(sizes)
    assert any(row.get("purpose") == "maskable" for row in manifest["icons"])


def require_small_start(page: Page, site: Path) -> None:
    """Workers' scripts are not the page's, and what it loads at first need is not here yet."""
    loaded: list[str] = page.evaluate(
        "() => performance.getEntriesByType('resource').map(({ name }) => name)"
    )
    others = {worker.url for worker in page.workers}
    paths = [urlsplit(url).path for url in loaded if url.endswith(".js") and url not in others]
    sizes = {path: len(gzip.compress((site / path.lstrip("/")).read_bytes())) for path in paths}
    print(f"\nscripts of the start, packed: {sum(sizes.values())} bytes in {len(sizes)} files")
    assert 0 < sum(sizes.values()) <= START_SCRIPT_BYTES, sizes


def test_on_a_host_without_headers(
    context: BrowserContext, web_build: Path, tmp_path: Path
) -> None:
    addresses: list[str] = []
    context.on("request", lambda request: addresses.append(request.url))
    copy_build(web_build, tmp_path / "site" / "deep" / "chat")
    with serve_folder(tmp_path / "site") as origin:
        address = f"{origin}/deep/chat/"
        page = context.new_page()
        page.goto(address)
        page.wait_for_function(CONTROLLED)
        require_installable(context, page)
        meta = page.locator("meta[http-equiv='Content-Security-Policy']")
        require_strict(policy_of(meta.get_attribute("content") or ""))
        require_small_start(page, tmp_path / "site")
    # Its start address, with nobody there.
    context.set_offline(True)
    response = page.goto(address)
    assert response is not None
    assert response.from_service_worker
    require_strict(policy_of(response.headers["content-security-policy"]))
    # So that threads may share memory although the host cannot say so.
    assert page.evaluate("() => crossOriginIsolated") is True
    for name in OWN:
        frame = context.new_page().goto(f"{address}{name}")
        assert frame is not None
        require_own(name, policy_of(frame.headers["content-security-policy"]))
    kept = page.evaluate(
        """async () => {
            let bytes = 0;
            for (const name of await caches.keys()) {
                const cache = await caches.open(name);
                for (const key of await cache.keys()) {
                    bytes += (await (await cache.match(key)).blob()).size;
                }
            }
            return bytes;
        }"""
    )
    print(f"\nkept from a first visit: {kept} bytes")
    assert 1_000_000 < kept < FIRST_VISIT_BYTES
    assert [each for each in addresses if not each.startswith((address, f"blob:{origin}"))] == []


def test_our_server_says_the_same_in_headers(web_build: Path, tmp_path: Path) -> None:
    page_of = {"TRANSOM_WEB_DIR": str(web_build)}
    with serve(tmp_path / "models", tmp_path / "log.txt", environment=page_of) as server:
        start, text = get(f"{server.address}/?model=any")
        in_page = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
        assert in_page is not None
        policy = policy_of(start["content-security-policy"])
        assert policy.pop("frame-ancestors") == ["'none'"]
        require_strict(policy)
        assert policy == policy_of(html.unescape(in_page[1]))
        for name in OWN:
            headers, _ = get(f"{server.address}/{name}")
            policy = policy_of(headers["content-security-policy"])
            # In our own page and nowhere else.
            assert policy.pop("frame-ancestors") == ["'self'"]
            require_own(name, policy)
        for path, kind in (
            ("sw.js", "text/javascript; charset=utf-8"),
            ("manifest.webmanifest", "application/manifest+json"),
            ("icons/192.png", "image/png"),
        ):
            headers, _ = get(f"{server.address}/{path}")
            # Browsers ask whether there is a newer one.
            assert (headers["content-type"], headers["cache-control"]) == (kind, "no-cache")
            assert headers["content-security-policy"] == start["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"


def get(address: str) -> tuple[dict[str, str], str]:
    with urllib.request.urlopen(address, timeout=60) as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return headers, answer.read().decode(errors="replace")
