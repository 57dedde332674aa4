"""How soon a phone sees the page: first paint, first contentful paint, and the app itself.

    python -m tests.bench.first_paint [--page DIR] [--visits N]

A phone of the middle: a processor four times slower than this one, 9 Mbit/s with 60 ms there and
back, and an empty cache each time. Our server sends the page, packed by gzip. Figures are medians
in milliseconds since the navigation; they are the machine's, and whoever else works on it is in
them. Needs `npm run build`.
"""

import argparse
import logging
import re
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Playwright, sync_playwright
from werkzeug.serving import make_server

from tests.bench.page_bytes import size_of
from tests.e2e.browser import WITHOUT_WEBGPU
from tests.e2e.commands import ROOT
from transom_server.app import create_app
from transom_server.settings.config import Config

SLOWER: Final = 4
BYTES_PER_SECOND: Final = 9e6 / 8
ROUND_TRIP_MILLISECONDS: Final = 60
SCREEN: Final = {"width": 390, "height": 844}
_ENTRY: Final = re.compile(
    r"""<(?:script[^>]+type="module"[^>]+src|link[^>]+rel="modulepreload"[^>]+href)="\./([^"]+)\""""
)
# A build has it without spaces: import{a}from"./b.js", import"./b.js", export*from"./b.js".
_STATIC_IMPORT: Final = re.compile(r"""(?:\bfrom|\bimport)\s*["']\./([^"']+\.js)["']""")
_PAINTS: Final = """() => Object.fromEntries(
    performance.getEntriesByType("paint").map(({name, startTime}) => [name, startTime]))"""
_APP: Final = """() => document.querySelector("#door-title") === null ? 0 : performance.now()"""


def start_scripts(page: Path) -> list[Path]:
    """The JavaScript that has to come before the app shows: the entry of `index.html` and all that
    it imports without waiting for anything."""
    found: list[Path] = []
    waiting = [page / name for name in _ENTRY.findall((page / "index.html").read_text())]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.append(path)
            waiting += [path.parent / name for name in _STATIC_IMPORT.findall(path.read_text())]
    return found


def start_bytes(page: Path) -> int:
    """By gzip -9, each file for itself."""
    return sum(size_of(path.read_bytes()).gzip for path in start_scripts(page))


@contextmanager
def served(page: Path, store: Path) -> Iterator[str]:
    """The page as our server sends it, without any model; gives its address."""
    app = create_app(Config.read({"TRANSOM_MODELS": str(store), "TRANSOM_WEB_DIR": str(page)}))
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        app.extensions["transom_close"]()


def visit(playwright: Playwright, executable: str, address: str) -> dict[str, float]:
    """Milliseconds since the navigation, of a first visit."""
    with tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=executable,
            headless=True,
            args=list(WITHOUT_WEBGPU),
            viewport=SCREEN,  # type: ignore[arg-type]
            is_mobile=True,
            has_touch=True,
        )
        try:
            page = context.new_page()
            phone = context.new_cdp_session(page)
            phone.send("Network.enable")
            conditions = {
                "offline": False,
                "latency": ROUND_TRIP_MILLISECONDS,
                "downloadThroughput": BYTES_PER_SECOND,
                "uploadThroughput": BYTES_PER_SECOND,
            }
            phone.send("Network.emulateNetworkConditions", conditions)
            phone.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
            page.goto(address, wait_until="commit")
            app = page.wait_for_function(_APP, polling="raf", timeout=60_000).json_value()
            page.wait_for_function(
                f"() => 'first-contentful-paint' in ({_PAINTS})()", timeout=60_000
            )
            return {**page.evaluate(_PAINTS), "the app shows": app}
        finally:
            context.close()


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--page", type=Path, default=ROOT / "web/dist", metavar="DIR")
    parser.add_argument("--visits", type=int, default=5, metavar="N")
    asked = parser.parse_args(words)
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None or not (asked.page / "index.html").exists():
        parser.error("needs Chromium, and a built page: npm run build")
    scripts = start_scripts(asked.page)
    print(
        f"JavaScript at start: {len(scripts)} files, {start_bytes(asked.page) / 1e3:.1f} kB packed"
    )
    with (
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as store,
        served(asked.page, Path(store)) as address,
    ):
        visits = [visit(playwright, executable, address) for _ in range(asked.visits)]
    for name in visits[0]:
        times = sorted(each[name] for each in visits)
        print(
            f"{name:<24}{statistics.median(times):>8.0f} ms   ({times[0]:.0f} to {times[-1]:.0f})"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
