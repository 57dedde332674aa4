"""A relay of the tests: HTTP on loopback on one side, `fetch` of a page in Chromium on the other.

Clients outside of the browser ask it as they would ask a server; the page's service worker answers.
Bodies stream back piece by piece; a client that hangs up aborts the page's fetch.

Playwright runs in one thread, in an event loop of its own. Each request has a thread that hands it
over there, and a queue that the page's pieces come back by. Knows nothing of what is asked.
"""

import asyncio
import base64
import http.server
import itertools
import queue
import select
import socket
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page, Playwright, async_playwright

START_SECONDS: Final = 180
LOOK_SECONDS: Final = 0.05
"""How often a waiting thread looks whether its client is still there."""
OWN_HEADERS: Final = frozenset({"content-length", "content-encoding", "transfer-encoding"})
"""Of a body as it was on its way to the page."""

SCRIPT: Final = """() => {
    const going = new Map();
    async function ask({ id, method, target, headers, body }) {
        const controller = new AbortController();
        going.set(id, controller);
        try {
            const response = await fetch(target.slice(1), {
                method,
                headers,
                body: body === null ? null : Uint8Array.from(atob(body), (c) => c.charCodeAt(0)),
                signal: controller.signal,
            });
            const { status } = response;
            await window.relayed({ id, kind: "head", status, headers: [...response.headers] });
            const reader = response.body?.getReader();
            for (;;) {
                const { done, value } = (await reader?.read()) ?? { done: true };
                if (done) break;
                const text = Array.from(value, (byte) => String.fromCharCode(byte)).join("");
                await window.relayed({ id, kind: "piece", bytes: btoa(text) });
            }
            await window.relayed({ id, kind: "end" });
        } catch (error) {
            await window.relayed({ id, kind: "failed", why: String(error) });
        } finally {
            going.delete(id);
        }
    }
    window.relay = {
        ask: (asked) => { void ask(asked); },
        abort: (id) => { going.get(id)?.abort(); },
    };
}"""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that has begun; `by` is its header `Transom-Served-By`."""

    method: str
    target: str
    status: int
    by: str


class Relay:
    """A page that clients outside of the browser ask. Threads may share it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.address = ""
        self.answered: list[Answered] = []
        self.complaints: list[str] = []
        """Errors of the page's scripts."""
        self._loop = loop
        self._page: Page | None = None
        self._numbers = itertools.count()
        self._going: dict[int, queue.Queue[dict[str, Any]]] = {}

    def evaluate(self, script: str, given: object = None) -> Any:
        """As `Page.evaluate`, from any thread but Playwright's."""
        assert self._page is not None
        return self._wait(self._page.evaluate(script, given))

    def ask(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        is_waiting: Callable[[], bool],
    ) -> Generator[dict[str, Any], None, None]:
        """What the page says, as it comes: "head", "piece"s, "end", or "failed". It ends early, and
        the page's fetch with it, when nobody is waiting or the iterator is closed."""
        number = next(self._numbers)
        pieces = self._going[number] = queue.Queue()
        asked = {
            "id": number,
            "method": method,
            "target": target,
            "headers": headers,
            "body": None if body is None else base64.b64encode(body).decode(),
        }
        is_over = False
        try:
            self.evaluate("(asked) => window.relay.ask(asked)", asked)
            while not is_over:
                try:
                    said = pieces.get(timeout=LOOK_SECONDS)
                except queue.Empty:
                    if not is_waiting():
                        return
                    continue
                if said["kind"] == "head":
                    by = dict(said["headers"]).get("transom-served-by", "nobody")
                    self.answered.append(Answered(method, target, said["status"], by))
                is_over = said["kind"] in ("end", "failed")
                yield said
        finally:
            del self._going[number]
            if not is_over:
                self.evaluate("(number) => window.relay.abort(number)", number)

    async def open(self, playwright: Playwright, executable: str, profile: Path, url: str,
                   flags: Sequence[str]) -> Callable[[], Coroutine[Any, Any, None]]:  # fmt: skip
        """Open the page, in Playwright's thread; gives what closes it."""
        context = await playwright.chromium.launch_persistent_context(
            str(profile), executable_path=executable, headless=True, args=list(flags)
        )
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        await page.expose_binding("relayed", lambda _, said: self._take(said))
        await page.goto(url)
        await page.evaluate(SCRIPT)
        self._page = page
        return context.close

    def _take(self, said: dict[str, Any]) -> None:
        # Of one that was aborted nobody wants to hear.
        if said["id"] in self._going:
            self._going[said["id"]].put(said)

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *given: Any, relay: Relay) -> None:
        self._relay = relay
        super().__init__(*given)

    def log_message(self, *_: object) -> None:
        """A test has its own words."""

    def _pass_on(self) -> None:
        length = self.headers.get("Content-Length")
        body = None if length is None else self.rfile.read(int(length))
        # A browser has no body for these, not even an empty one.
        if self.command in ("GET", "HEAD"):
            body = None
        headers = list(self.headers.items())
        answer = self._relay.ask(self.command, self.path, headers, body, self._is_waiting)
        is_whole = False
        try:
            for said in answer:
                is_whole = self._say(said) or is_whole
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            answer.close()
            # Half an answer must not look like a whole one.
            self.close_connection = self.close_connection or not is_whole

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = do_OPTIONS = _pass_on

    def _say(self, said: dict[str, Any]) -> bool:
        """Whether that was the end."""
        has_body = self.command != "HEAD"
        match said["kind"]:
            case "head":
                self.send_response(said["status"])
                for name, value in said["headers"]:
                    if name not in OWN_HEADERS:
                        self.send_header(name, value)
                if has_body:
                    self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
            case "piece" if has_body:
                data = base64.b64decode(said["bytes"])
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            case "end":
                self.wfile.write(b"0\r\n\r\n" if has_body else b"")
                return True
        return False

    def _is_waiting(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        try:
            return not readable or self.connection.recv(1, socket.MSG_PEEK) != b""
        except ConnectionResetError:
            return False


@contextmanager
def relaying(
    executable: str, profile: Path, url: str, flags: Sequence[str] = ()
) -> Iterator[Relay]:
    """A page in a Chromium of its own, and the relay before it, until the block ends."""
    loop = asyncio.new_event_loop()
    relay = Relay(loop)
    is_open, is_done = threading.Event(), asyncio.Event()
    failed: list[Exception] = []

    async def drive() -> None:
        try:
            async with async_playwright() as playwright:
                close = await relay.open(playwright, executable, profile, url, flags)
                is_open.set()
                await is_done.wait()
                await close()
        except Exception as error:
            failed.append(error)
        finally:
            is_open.set()

    driver = threading.Thread(target=loop.run_until_complete, args=[drive()], daemon=True)
    driver.start()
    assert is_open.wait(START_SECONDS)
    if failed:
        raise failed[0]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, relay=relay))
    server.daemon_threads = True
    # Of connections that clients keep.
    server.block_on_close = False
    relay.address = f"http://127.0.0.1:{server.server_address[1]}"
    listener = threading.Thread(target=server.serve_forever, daemon=True)
    listener.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
        loop.call_soon_threadsafe(is_done.set)
        driver.join(timeout=START_SECONDS)
        loop.close()
    if failed:
        raise failed[0]
