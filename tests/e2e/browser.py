"""A headless Chromium with WebGPU on the CPU, and plain file serving for its pages.

SwiftShader is the one WebGPU adapter that headless Chromium offers without a GPU. Knows nothing of
Transom.
"""

import http.server
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from playwright.sync_api import BrowserContext, Error, Page, Playwright, Worker, expect

from tests.waiting import SECONDS

WITHOUT_WEBGPU = (
    # Tests run as root on a machine of their own; Chromium's sandbox refuses root.
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)
"""A machine without a graphics adapter."""
FLAGS = (
    *WITHOUT_WEBGPU,
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    # A page whose GPU dies twice gets none for two minutes, in case it is the page's fault.
    "--disable-domain-blocking-for-3d-apis",
    # A browser whose GPU process has died a few times starts no other one.
    "--disable-gpu-process-crash-limit",
)
PAGE_TIMEOUT_SECONDS = 600
"""A CPU compiles shaders and answers: minutes where a GPU takes a moment."""

# Playwright's own five seconds are less than one prefill on a CPU.
expect.set_options(timeout=SECONDS * 1000)


@contextmanager
def open_chromium(
    playwright: Playwright, executable: str, profile: Path, flags: Sequence[str] = FLAGS
) -> Iterator[BrowserContext]:
    """A browser with an empty profile of its own; closed at the end.

    One `playwright` serves any number of browsers; a second one beside it does not start.
    """
    context = playwright.chromium.launch_persistent_context(
        str(profile), executable_path=executable, headless=True, args=list(flags)
    )
    context.set_default_timeout(PAGE_TIMEOUT_SECONDS * 1000)
    try:
        yield context
    finally:
        try:
            context.close()
        except Error as error:
            # Some tests kill it, and its end may not have been heard of yet.
            if "has been closed" not in str(error):
                raise


def watch(page: Page) -> list[str]:
    """Everything the page complains of from now on, as it comes."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: (
            complaints.append(f"{message.text} ({message.location['url']})")
            if message.type == "error"
            else None
        ),
    )
    return complaints


def wait_until(page: Page, is_so: str, arg: Any = None, seconds: float = SECONDS) -> None:
    """Until a function of the page answers with something true, or a promise of it.

    `Page.wait_for_function` takes a promise itself for something true.
    """
    deadline = time.monotonic() + seconds
    while not page.evaluate(is_so, arg):
        assert time.monotonic() < deadline, is_so
        page.wait_for_timeout(50)


def engine_worker(page: Page) -> Worker:
    """The page's worker that has the GPU; another one has the API."""

    def found() -> list[Worker]:
        return [each for each in page.workers if each.url.rpartition("/")[2].startswith("worker-")]

    # A page that has just been opened has none before its script has come.
    deadline = time.monotonic() + SECONDS
    while not found():
        assert time.monotonic() < deadline, "no engine worker"
        page.wait_for_timeout(50)
    [worker] = found()
    return worker


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *words: Any, headers: Mapping[str, str], **named: Any) -> None:
        self.headers_of_all = headers
        super().__init__(*words, **named)

    def end_headers(self) -> None:
        for name, value in self.headers_of_all.items():
            self.send_header(name, value)
        super().end_headers()

    def log_request(self, *_: object) -> None:
        """One line per shard is nothing that a test's output needs."""


@contextmanager
def serve_folder(
    folder: Path, port: int = 0, headers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """The folder as any plain static host would hand it out, with `headers` on every file; gives
    its address."""
    handler = partial(_Quiet, directory=str(folder), headers=headers)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
