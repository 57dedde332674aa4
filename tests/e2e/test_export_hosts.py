"""`transom export` on Amazon S3 and on GitHub Pages, which are fakes here (`static_hosts.py`).

A fresh Chromium without a graphics adapter opens the site, loads a tiny random llama, asks it, and
comes again. The host's log is the witness, as in `test_export_site.py`, where a real
`python -m http.server` and a real model are.
"""

import json
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Playwright

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, watch
from tests.e2e.commands import transom
from tests.fakes import static_hosts
from tests.fakes.static_hosts import Asked
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import put_native
from transom_server.store import Store

MIB = 1024 * 1024
SUBPATH = "some/where"
START = "index.html"
# Whether these are still the same is asked again, and answered with 304.
REVALIDATED = {"", START, "sw.js", "index.json"}
# The browser has loaded these by the time the service worker keeps them; all others have digests
# in their names, and are kept from what has come.
KEPT_APART = {START, "fanlight.svg", "manifest.webmanifest"}

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Site:
    """An export on a host."""

    folder: str
    start: str
    """What people open in it: empty where the host has an index for folders."""
    log: list[Asked]

    def requests(self, since: int = 0) -> list[Asked]:
        """Each request after the first `since`, its path below the site."""
        root = urlsplit(self.folder).path
        below = [asked for asked in self.log if asked.path.startswith(root)]
        return [replace(asked, path=asked.path.removeprefix(root)) for asked in below[since:]]


@pytest.fixture(scope="module")
def exported(web_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a host that has the export below `SUBPATH`."""
    del web_build
    folder = tmp_path_factory.mktemp("export")
    # What follows a GGUF's last tensor is nobody's; a file over 4 MiB is fetched in parts.
    gguf = tiny_llama().to_bytes() + bytes(9 * MIB)
    put_native(Store(folder / "models"), "tiny", gguf)
    root = folder / "root"
    (root / SUBPATH).parent.mkdir(parents=True)
    done = transom("export", root / SUBPATH, "tiny", store=folder / "models")
    assert done.returncode == 0, done.stderr
    # Uploaded yesterday: without `Cache-Control`, as from S3, browsers take a file for unchanged
    # for a tenth of its age, and would ask after one of this minute.
    yesterday = time.time() - 24 * 3600
    for file in (root / SUBPATH).rglob("*"):
        os.utime(file, (yesterday, yesterday))
    return root


@pytest.fixture(scope="module", params=["S3", "GitHub Pages"])
def site(request: pytest.FixtureRequest, exported: Path) -> Iterator[Site]:
    """The export on one host after the other, and checked there."""
    log: list[Asked] = []
    above, _, repository = SUBPATH.rpartition("/")
    if request.param == "S3":
        host, folder, start = static_hosts.amazon_s3(exported, log), SUBPATH, START
    else:
        host, folder, start = static_hosts.github_pages(exported / above, log), repository, ""
    with host as origin:
        found = Site(f"{origin}/{folder}/", start, log)
        checked = transom(
            "export", "--check", found.folder + start, "--json", store=exported / "no-store"
        )
        assert checked.returncode == 0, checked.stdout
        yield found


def chat(
    playwright: Playwright, chromium: str, profile: Path, site: Site, start: str
) -> dict[str, Any]:
    """One visit of a browser that starts and ends with it; gives what loading the model took."""
    with open_chromium(playwright, chromium, profile, WITHOUT_WEBGPU) as context:
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{site.folder}{start}?model=tiny")
        report: dict[str, Any] = page.evaluate("() => window.transom.ready")
        answer = page.evaluate(
            "(text) => window.transom.ask(text, { temperature: 0, maxTokens: 8 })", "Hello"
        )
        page.evaluate("async () => { await navigator.serviceWorker.ready; }")
        served = page.evaluate(
            "async () => (await fetch('v1/models')).headers.get('Transom-Served-By')"
        )
        print(f"\n{json.dumps(report)}\n{answer['text']!r}")
        assert str(served).startswith("browser"), served
        assert answer["text"] != ""
        assert complaints == []
        return report


def test_a_model_comes_once_and_is_there_from_then_on(
    site: Site, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    before = len(site.requests())
    report = chat(playwright, chromium, tmp_path / "profile", site, site.start)
    assert report["bytesDownloaded"] > 9 * MIB
    first = site.requests(before)
    assert {asked.status for asked in first} <= {200, 206, 304}
    sent = Counter((asked.path, asked.range) for asked in first if asked.status != 304)
    assert {path for (path, _), count in sent.items() if count > 1} <= KEPT_APART
    parts = {path: part for path, part in sent if part is not None}
    assert len(parts) == 1, "the GGUF comes in parts, and all else whole"

    # Its folder alone is an address from now on: the service worker answers, whatever the host
    # says to Chromium, which asks it beside that.
    for start in (site.start, ""):
        before = len(site.requests())
        report = chat(playwright, chromium, tmp_path / "profile", site, start)
        assert report["bytesDownloaded"] == 0
        again = site.requests(before)
        print(f"asked again: {again}")
        assert {asked.path for asked in again} <= REVALIDATED
        assert {asked.status for asked in again if asked.path != ""} <= {304}


def test_what_is_not_there_is_refused_as_the_host_does(site: Site) -> None:
    """The fakes differ from a plain host where the real ones do."""
    with pytest.raises(urllib.error.HTTPError) as missing:
        urllib.request.urlopen(f"{site.folder}Index.html", timeout=30)
    missing.value.close()
    is_s3 = site.start == START
    assert missing.value.code == (403 if is_s3 else 404)
    several = urllib.request.Request(site.folder + START, headers={"Range": "bytes=0-1,4-5"})
    with urllib.request.urlopen(several, timeout=30) as answer:
        assert answer.status == 200
        assert "Content-Security-Policy" not in answer.headers
        assert answer.headers["Cache-Control"] == (None if is_s3 else "max-age=600")
