"""The service worker and the pages' leader in a real Chromium: who answers, what is streamed, and
what is left when tabs close, workers are stopped and servers die.

The page is one of its own (`tests/web/house-page`): house and service worker are those that are
shipped, engine and API worker are fakes. The server is a fake, too. So it takes seconds.
"""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, CDPSession, Page, Playwright

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium
from tests.e2e.commands import BUILD_TIMEOUT_SECONDS, ROOT, run_checked
from tests.e2e.conftest import MissingTool

HAND_OVER_SECONDS = 60
"""Promised are 2; machines that test are busy."""
TOKENS = 200
"""Eight seconds of an answer: longer than a thread stands still."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]


@dataclass
class Host:
    """A host of the page: its files, and a server for the API while `is_up`."""

    address: str = ""
    is_up: bool = True
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Method, path and body of the API's requests that reached it."""


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, host: Host, **options: Any) -> None:
        self._host = host
        super().__init__(*arguments, **options)

    def log_message(self, *_: object) -> None:
        """A test has its own words."""

    def do_GET(self) -> None:
        if "/healthz" in self.path or "/v1/" in self.path or "/api/" in self.path:
            self._answer()
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._host.is_up:
            self.close_connection = True
            self.connection.close()
            return
        if "/healthz" not in self.path:
            self._host.asked.append((self.command, self.path, body))
        data = json.dumps({"status": "ok", "by": "server"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def hosting(folder: Path) -> Iterator[Host]:
    host = Host()
    handler = partial(_Handler, host=host, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        # In a folder, as on many static hosts.
        host.address = f"http://127.0.0.1:{server.server_address[1]}/app/"
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, missing_tool: MissingTool) -> Path:
    if not (ROOT / "node_modules").exists():
        missing_tool("no node_modules here: npm ci")
    folder = tmp_path_factory.mktemp("site")
    config = ["--config", "web/vite.sw.config.ts"]
    for what in (["tests/web/house-page"], ["web", *config]):
        command = ["npx", "vite", "build", *what, "--outDir", str(folder / "app")]
        run_checked(*command, timeout=BUILD_TIMEOUT_SECONDS)
    return folder


@pytest.fixture(scope="module")
def context(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    """One browser for all tests; each has an origin of its own, where nothing is left of others."""
    profile = tmp_path_factory.mktemp("profile")
    with open_chromium(playwright, chromium, profile, WITHOUT_WEBGPU) as context:
        yield context


@pytest.fixture
def host(site: Path) -> Iterator[Host]:
    with hosting(site) as host:
        yield host


@pytest.fixture
def open_page(context: BrowserContext, host: Host) -> Iterator[Any]:
    pages: list[Page] = []

    def open_(query: str = "?where=browser") -> Page:
        page = context.new_page()
        pages.append(page)
        page.goto(host.address + query)
        page.evaluate("async () => { await window.house.ready; }")
        return page

    yield open_
    for page in pages:
        page.close()


ASK = """async ([path, body, method]) => {
    const response = await fetch(path, body === null ? { method } : { method: "POST", body });
    const text = await response.text();
    return {
        status: response.status,
        by: response.headers.get("transom-served-by"),
        json: text === "" ? null : JSON.parse(text),
    };
}"""


def ask(page: Page, path: str, body: str | None = None, method: str = "GET") -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate(ASK, [path, body, method])
    return answer


READ = """async ([tokens, most]) => {
    const body = JSON.stringify({ tokens });
    const response = await fetch("v1/chat/completions", { method: "POST", body });
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const pieces = [];
    try {
        while (pieces.length < most) {
            const { done, value } = await reader.read();
            if (done) return { pieces, end: "done" };
            pieces.push(decoder.decode(value));
            window.pieces = pieces.length;
        }
        await reader.cancel();
        return { pieces, end: "cancelled" };
    } catch (error) {
        return { pieces, end: error.name };
    }
}"""


def start_reading(page: Page, tokens: int) -> None:
    """A stream that goes on while the test does other things; `window.reading` is its end."""
    page.evaluate(
        f"() => {{ window.pieces = 0; window.reading = ({READ})([{tokens}, Infinity]); }}"
    )
    # Until there is an answer, another service worker would ask again.
    page.wait_for_function("() => window.pieces > 0 && window.seen.tokens > 2")


def seen(page: Page) -> dict[str, int]:
    counts: dict[str, int] = page.evaluate("() => window.seen")
    return counts


def stop_service_workers(session: CDPSession) -> None:
    session.send("ServiceWorker.enable")
    session.send("ServiceWorker.stopAllWorkers")


def test_frames_come_one_by_one(open_page: Any) -> None:
    page = open_page()
    answer = page.evaluate(READ, [TOKENS, 1000])
    assert "".join(answer["pieces"]) == (
        "".join(f"data: t{index} \n\n" for index in range(TOKENS)) + "data: [DONE]\n\n"
    )
    assert answer["end"] == "done"
    # Several may come together on a busy machine, all of them never.
    assert len(answer["pieces"]) > 6
    assert seen(page) == {"completions": 1, "tokens": TOKENS, "aborts": 0}


def test_paths_and_bodies_arrive_as_they_were(open_page: Any, host: Host) -> None:
    page = open_page()
    for path in ("v1/echo", "/v1/echo", host.address + "v1/echo"):
        answer = ask(page, path, "x" * 70_000)
        assert (answer["status"], answer["by"]) == (200, "browser; as chosen")
        assert answer["json"]["target"] == "/v1/echo"
        assert (answer["json"]["method"], answer["json"]["bytes"]) == ("POST", 70_000)
    assert ask(page, "v1/models", method="HEAD") == {
        "status": 200, "by": "browser; as chosen", "json": None,
    }  # fmt: skip
    # Whoever wants no server gets none, whatever it is.
    assert ask(page, "api/pull", "{}")["status"] == 501
    assert host.asked == []


def test_who_does_not_read_is_sent_no_more(open_page: Any) -> None:
    page = open_page()
    before, after = page.evaluate(
        """async () => {
            const flooded = async () => (await (await fetch("v1/flooded")).json()).chunks;
            const reader = (await fetch("v1/flood")).body.getReader();
            await reader.read();
            let chunks = 0;
            for (let last = -1; last !== chunks && chunks < 1000; ) {
                last = chunks;
                await new Promise((resolve) => setTimeout(resolve, 700));
                chunks = await flooded();
            }
            for (let bytes = 0; bytes < 80_000_000; ) {
                bytes += (await reader.read()).value.length;
            }
            const after = await flooded();
            await reader.cancel();
            return [chunks, after];
        }"""
    )
    # Chunks of a megabyte. Chromium takes in some sixty ahead of the page; what matters is that it
    # ends there, and goes on when the page does.
    assert before < 200
    assert after > before


def test_an_abort_reaches_the_engine(open_page: Any) -> None:
    page = open_page()
    assert page.evaluate(READ, [100_000, 3])["end"] == "cancelled"
    page.wait_for_function("() => window.seen.aborts === 1")
    tokens = seen(page)["tokens"]
    page.wait_for_timeout(300)
    assert seen(page)["tokens"] <= tokens + 1
    assert ask(page, "v1/models")["status"] == 200


def test_a_tab_closed_in_the_middle_stops_the_work(open_page: Any) -> None:
    leader, other = open_page(), open_page()
    assert leader.evaluate("() => window.house.isLeading") is True
    other.evaluate(f"() => {{ window.reading = ({READ})([100000, Infinity]); }}")
    leader.wait_for_function("() => window.seen.tokens > 2")
    assert seen(other)["tokens"] == 0
    other.close()
    leader.wait_for_function("() => window.seen.aborts === 1")
    # Before its answer has begun, too: the service worker looks who is still there.
    other = open_page()
    other.evaluate("() => { fetch('v1/silent', { method: 'POST' }).catch(() => undefined); }")
    leader.wait_for_function("() => window.seen.completions === 2")
    other.close()
    leader.wait_for_function("() => window.seen.aborts === 2")


def test_a_stopped_service_worker_finds_the_leader_again(
    open_page: Any, context: BrowserContext
) -> None:
    page = open_page()
    session = context.new_cdp_session(page)
    assert ask(page, "v1/models")["status"] == 200
    for _ in range(2):
        stop_service_workers(session)
        answer = ask(page, "v1/models")
        assert (answer["status"], answer["by"]) == (200, "browser; as chosen")
    # In the middle of a stream: the reader hears it, the engine stops, the next one is answered.
    start_reading(page, 100_000)
    stop_service_workers(session)
    assert page.evaluate("() => window.reading")["end"] != "done"
    page.wait_for_function("() => window.seen.aborts === 1")
    assert ask(page, "v1/models")["status"] == 200
    # While a request waits: Chromium asks the next service worker.
    page.evaluate("() => { window.waiting = fetch('v1/never').catch((error) => error.name); }")
    page.wait_for_timeout(300)
    stop_service_workers(session)
    assert ask(page, "v1/models")["status"] == 200


def test_many_requests_wake_a_service_worker(open_page: Any, context: BrowserContext) -> None:
    """Each is worked on once, however many ask for the leader."""
    page = open_page()
    stop_service_workers(context.new_cdp_session(page))
    ends = page.evaluate(
        f"() => Promise.all(Array.from({{ length: 30 }}, () => ({READ})([2, 99])))"
    )
    assert {answer["end"] for answer in ends} == {"done"}
    assert seen(page) == {"completions": 30, "tokens": 60, "aborts": 0}


def test_the_next_tab_takes_over(open_page: Any) -> None:
    leader, next_one = open_page(), open_page()
    assert leader.evaluate("() => window.house.isLeading") is True
    assert next_one.evaluate("() => window.house.isLeading") is False
    next_one.wait_for_function("() => window.house.apiStartSeconds !== null")
    # A stream breaks, and never looks whole; a request without an answer goes to the next leader.
    next_one.evaluate(
        f"""() => {{
            window.pieces = 0;
            window.reading = ({READ})([100000, Infinity]);
            window.waiting = fetch("v1/never").then(() => "answered", (error) => error.name);
        }}"""
    )
    leader.wait_for_function("() => window.seen.tokens > 2")
    next_one.wait_for_function("() => window.pieces > 0")
    leader.close()
    began = time.monotonic()
    assert ask(next_one, "v1/models")["json"] == {"data": [{"name": "library/fake:latest"}]}
    seconds = time.monotonic() - began
    print(f"\nhand-over: {seconds:.2f} s from the closing of the leader's tab to the next answer")
    assert seconds < HAND_OVER_SECONDS
    assert next_one.evaluate("() => window.house.isLeading") is True
    assert next_one.evaluate("() => window.reading")["end"] == "TypeError"
    third = open_page()
    third.wait_for_function("() => window.news.some(({ kind }) => kind === 'leads')")


def test_the_server_answers_what_the_browser_cannot(open_page: Any, host: Host) -> None:
    page = open_page("?where=auto")
    assert ask(page, "v1/models")["by"] == (
        "server; this browser has no graphics adapter for models"
    )
    page.evaluate("() => { window.house.want('server'); }")
    assert page.evaluate("() => window.house.place.hasServer") is True
    answer = ask(page, "/v1/anything?limit=2", "body")
    assert answer["by"] == "server; as chosen"
    assert host.asked[-1] == ("POST", "/v1/anything?limit=2", b"body")
    host.is_up = False
    answer = ask(page, "v1/models")
    assert (answer["status"], answer["by"]) == (200, "browser; the server is not reached")
    answer = ask(page, "v1/unknown")
    assert answer["status"] == 404
    assert answer["by"] == "browser; No model is called unknown; the server is not reached"


def test_without_adapter_and_server_the_processor_answers(open_page: Any, host: Host) -> None:
    host.is_up = False
    page = open_page("")
    assert ask(page, "v1/models")["by"] == (
        "browser; on the processor, with neither a graphics adapter nor a server"
    )
    # The server comes back: a look at the page is enough.
    host.is_up = True
    page.evaluate("() => { window.dispatchEvent(new Event('online')); }")
    page.wait_for_function("() => window.house.place.hasServer")
    assert ask(page, "v1/models")["by"].startswith("server; ")


def test_a_page_of_files_asks_no_server(open_page: Any, host: Host) -> None:
    page = open_page("?static")
    assert page.evaluate("async () => (await window.house.placed).hasServer") is False
    assert ask(page, "v1/unknown")["status"] == 404
    assert host.asked == []


def test_an_api_worker_that_does_not_start_is_told(open_page: Any, host: Host) -> None:
    page = open_page("?api=broken&where=browser")
    answer = ask(page, "v1/models")
    assert answer["status"] == 503
    assert answer["json"]["error"]["message"] == "Python does not start."
    assert answer["by"] == "browser; Python does not start; as chosen"
    assert host.asked == []


def test_a_reload_past_the_service_worker(open_page: Any, context: BrowserContext) -> None:
    page = open_page()
    session = context.new_cdp_session(page)
    with page.expect_navigation():
        session.send("Page.reload", {"ignoreCache": True})
    assert page.evaluate("() => window.cameControlled") is False
    page.evaluate("async () => { await window.house.ready; }")
    assert ask(page, "v1/models")["by"] == "browser; as chosen"


def test_nobody_is_there(open_page: Any, host: Host) -> None:
    """A page of the same origin without a house, after all others have been closed."""
    page = open_page()
    page.evaluate("() => { window.house.close(); }")
    assert ask(page, "v1/models")["by"] == "server; no page of Transom is open in this browser"
    host.is_up = False
    answer = ask(page, "api/tags")
    assert (answer["status"], answer["json"]) == (
        503,
        {"error": "No page of Transom is open in this browser, and the server is not reached."},
    )
