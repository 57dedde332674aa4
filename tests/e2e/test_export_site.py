"""`transom export site`, served by `python -m http.server` under a subpath, in a fresh Chromium.

The host's own request log is the witness: what was asked for, how often, and what was sent again.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright

from tests.e2e.browser import open_chromium, watch
from tests.e2e.commands import Compiled, transom

QUESTION = "What is the capital of France?"
SUBPATH = "some/where"
MAX_FILE = 25 * 1024 * 1024
# Whether these are still the same is asked again, and answered with 304: by browsers themselves of
# the service worker and, beside its answer, of the document (Chromium's auto-preload); by us of
# what the host offers.
REVALIDATED = {"", "sw.js", "index.json"}
# The browser has loaded these by the time the service worker keeps them. All others are kept from
# what has come, for their names have digests.
KEPT_APART = {"fanlight.svg", "manifest.webmanifest"}

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Host:
    """`python -m http.server`, which knows no ranges and sends no header of ours."""

    address: str
    log_path: Path

    def requests(self, since: int = 0) -> list[tuple[str, int]]:
        """Path below the site, and status, of each request after the first `since`."""
        lines = re.findall(r'"GET /(\S*) HTTP/1\.\d" (\d+)', self.log_path.read_text())
        below = [
            (path.removeprefix(f"{SUBPATH}/").partition("?")[0], int(status))
            for path, status in lines
            if path.startswith(SUBPATH)
        ]
        return below[since:]


@contextmanager
def host(root: Path, log_path: Path) -> Iterator[Host]:
    """The folder by a real `python -m http.server`."""
    with log_path.open("wb") as log:
        command = [
            sys.executable,
            "-u",
            "-m",
            "http.server",
            "-b",
            "127.0.0.1",
            "-d",
            str(root),
            "0",
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 30
            while not (port := re.search(r"port (\d+)", log_path.read_text())):
                assert time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.05)
            yield Host(f"http://127.0.0.1:{port[1]}/{SUBPATH}/", log_path)
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(scope="module")
def site(
    compiled: Compiled, web_build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """The session's model and page, exported for a host that takes small files, and hosted."""
    root = tmp_path_factory.mktemp("root")
    folder = root / SUBPATH
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = transom("export", folder, "smollm2", "--max-file", str(MAX_FILE), store=compiled.store)
    assert done.returncode == 0, done.stderr
    # Uploaded yesterday: such a host says no more of a file than when it was written, and browsers
    # take it for unchanged for a tenth of the time since.
    yesterday = time.time() - 24 * 3600
    for path in folder.rglob("*"):
        os.utime(path, (yesterday, yesterday))
    assert max(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= MAX_FILE
    checked = transom("export", "--check", folder, "--json", store=compiled.store)
    assert checked.returncode == 0, checked.stdout
    with host(root, root.with_suffix(".log")) as hosted:
        checked = transom("export", "--check", hosted.address, "--json", store=compiled.store)
        assert checked.returncode == 0, checked.stdout
        yield hosted


def chat(playwright: Playwright, chromium: str, profile: Path, address: str) -> bool:
    """One visit of a browser that starts and ends with it; gives whether the page was here."""
    with open_chromium(playwright, chromium, profile) as context:
        foreign: list[str] = []
        context.on(
            "request",
            lambda asked: None if asked.url.startswith(address) else foreign.append(asked.url),
        )
        page = context.new_page()
        complaints = watch(page)
        started = time.monotonic()
        document = page.goto(f"{address}?model=smollm2")
        report: dict[str, Any] = page.evaluate("() => window.transom.ready")
        loaded = time.monotonic() - started
        answer = page.evaluate(
            "(text) => window.transom.ask(text, { temperature: 0, maxTokens: 8 })", QUESTION
        )
        page.evaluate("async () => { await navigator.serviceWorker.ready; }")
        served = page.evaluate(
            "async () => (await fetch('v1/models')).headers.get('Transom-Served-By')"
        )
        assert str(served).startswith("browser"), served
        print(f"\nloaded in {loaded:.1f} s: {json.dumps(report)}\n{answer['text']!r}")
        assert "Paris" in answer["text"]
        assert complaints == []
        assert [url for url in foreign if not url.startswith(("blob:", "data:"))] == []
        return document is not None and document.from_service_worker


def test_a_plain_host_is_asked_for_each_file_once_and_then_for_none(
    site: Host, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    before = len(site.requests())
    assert not chat(playwright, chromium, tmp_path / "profile", site.address)
    first = site.requests(before)
    sent = Counter(path for path, status in first if status == 200)
    print(f"\nfirst visit: {len(first)} requests, {sum(sent.values())} files sent")
    assert {status for _, status in first} <= {200, 304}
    again = {path: count for path, count in sent.items() if count > 1}
    print(f"sent more than once: {again}")
    assert again.keys() <= KEPT_APART
    blobs = {path for path in sent if path.startswith("blobs/")}
    assert len(blobs) > 10
    assert all(sent[path] == 1 for path in blobs)

    before = len(site.requests())
    assert chat(playwright, chromium, tmp_path / "profile", site.address)
    second = site.requests(before)
    print(f"second visit: {second}")
    assert {path for path, _ in second} <= REVALIDATED
    assert [path for path, status in second if status == 200] == []


def test_no_file_of_the_site_needs_anything_of_its_host(site: Host) -> None:
    with urllib.request.urlopen(site.address, timeout=30) as answer:
        assert "Content-Security-Policy" not in answer.headers
        assert "Accept-Ranges" not in answer.headers
