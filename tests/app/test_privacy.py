"""Nothing leaves the device unless somebody chose that: told by Chromium's own log of its network,
which has every request of every page, frame and worker, sockets, and names that were looked up.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.app.conftest import DESKTOP, ScriptedServer, answered, ask, open_chat
from tests.app.test_documents import attach
from tests.app.test_settings import SECTIONS, close, opened
from tests.app.test_tools import calls, turn_on
from tests.e2e.browser import WITHOUT_WEBGPU
from tests.fakes.tiny_gguf import tiny_llama

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

# Chromium asks these by itself, whatever page is open.
OWN_HOSTS: Final = {
    "accounts.google.com",
    "content-autofill.googleapis.com",
    "update.googleapis.com",
}
SCHEMES: Final = ("http", "https", "ws", "wss")
TYPED: Final = ("Zanzibar", "Kilimanjaro", "Serengeti")
"""Words that stand nowhere but in what is typed and attached."""


@dataclass
class Network:
    """What Chromium wrote down of one visit; to be read when it has closed."""

    file: Path
    addresses: set[str] = field(default_factory=set)
    looked_up: set[str] = field(default_factory=set)
    """Names that were asked for: a prefetch is no request, and tells a name all the same."""

    def read(self) -> None:
        log = json.loads(self.file.read_text())
        for event in log["events"]:
            told = event.get("params", {})
            url = told.get("url")
            if isinstance(url, str) and urlsplit(url).scheme in SCHEMES:
                self.addresses.add(url)
            host = told.get("host")
            if isinstance(host, str):
                self.looked_up.add(urlsplit(host if "//" in host else f"//{host}").hostname or "")

    def strangers(self, address: str) -> set[str]:
        """Who heard of the visit and is not the page's own origin."""
        own = urlsplit(address)
        asked = {urlsplit(each).netloc for each in self.addresses} - {own.netloc}
        names = self.looked_up - {own.hostname, ""}
        return {each for each in asked | names if each.partition(":")[0] not in OWN_HOSTS}


@contextmanager
def noted(playwright: Playwright, chromium: str, folder: Path) -> Iterator[tuple[Any, Network]]:
    """A fresh browser, and what its network did once it is closed."""
    network = Network(folder / "network.json")
    context = playwright.chromium.launch_persistent_context(
        str(folder / "profile"),
        executable_path=chromium,
        headless=True,
        args=[*WITHOUT_WEBGPU, f"--log-net-log={network.file}"],
        viewport=DESKTOP,  # type: ignore[arg-type]
        reduced_motion="reduce",
        locale="en-GB",
    )
    context.set_default_timeout(120_000)
    try:
        yield context, network
    finally:
        context.close()
    network.read()


def test_the_log_has_who_else_is_asked(
    playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with noted(playwright, chromium, tmp_path) as (context, network):
        page = context.new_page()
        page.set_content("<img src='http://image.invalid/a.png'>")
        page.evaluate(
            """() => {
                new WebSocket("ws://socket.invalid/");
                navigator.sendBeacon("http://beacon.invalid/", "said");
                const worker = "fetch('http://worker.invalid/').catch(() => postMessage(0))";
                const asking = new Worker(URL.createObjectURL(new Blob([worker])));
                const hint = Object.assign(document.createElement("link"), {
                    rel: "dns-prefetch", href: "http://hint.invalid/",
                });
                document.head.append(hint);
                return new Promise((resolve) => {
                    asking.onmessage = () => setTimeout(resolve, 3000);
                });
            }"""
        )
    wanted = {f"{name}.invalid" for name in ("image", "socket", "beacon", "worker", "hint")}
    assert network.strangers("http://127.0.0.1:1") == wanted


def no_hints(page: Page) -> None:
    """Links by which a browser prepares for other hosts, and what would not be a request."""
    hints = "link[rel~=preconnect], link[rel~=dns-prefetch], link[rel~=prefetch], a[ping]"
    expect(page.locator(hints)).to_have_count(0)


def through_all_settings(page: Page) -> None:
    dialog = opened(page, "Settings")
    for section in SECTIONS:
        dialog.get_by_role("tab", name=section).click()
    close(dialog)
    for label in ("Presets", "Prompt and parameters"):
        close(opened(page, label))


def test_a_whole_visit_asks_nobody_but_its_server(
    playwright: Playwright, chromium: str, server: ScriptedServer, tmp_path: Path
) -> None:
    server.scripts["sum"] = calls("calculator", {"expression": "6*7"}, "said")
    server.scripts["said"] = "It is 42, see https://example.com and ![a](https://example.com/a.png)"
    with noted(playwright, chromium, tmp_path) as (context, network):
        page = open_chat(context, server)
        ask(page, "@hello")
        answered(page, "Hello, you there!")
        attach(page, ("notes.md", b"The door is blue."))
        turn_on(page, "Calculator", "Clock")
        ask(page, "What is 6 times 7? @sum")
        expect(page.locator("li.answered").last).to_contain_text("It is 42")
        expect(page.locator("li.answered .message-note").last).to_be_visible()
        through_all_settings(page)
        page.locator("#model-name").click()
        for part in ("All models", "Add a model", "Storage"):
            page.get_by_role("tab", name=part).click()
        expect(page.get_by_role("tabpanel")).to_be_visible()
        no_hints(page)
        page.reload()
        expect(page.get_by_role("tab", name="All models")).to_be_visible()
    assert network.addresses
    assert network.strangers(server.address) == set()


@dataclass
class StaticHost:
    address: str
    asked: list[str] = field(default_factory=list)
    """Each request as it came: its line, its head, and its body."""


@contextmanager
def static_host(folder: Path) -> Iterator[StaticHost]:
    """A host that can do nothing but hand out files, and writes down all that it is sent."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def parse_request(self) -> bool:
            is_sound = super().parse_request()
            if is_sound:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                found.asked.append(f"{self.requestline}\n{self.headers}{body!r}")
            return is_sound

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        found = StaticHost(f"http://127.0.0.1:{listening.server_port}")
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield found
        finally:
            listening.shutdown()


def imported(page: Page, model: bytes) -> None:
    """A model of this device, opened."""
    page.get_by_role("tab", name="Storage").click()
    content: Any = {"name": "mine.gguf", "mimeType": "", "buffer": model}
    page.get_by_label("Import a file").set_input_files([content])
    expect(page.locator("#storage-message")).to_have_text("mine: here now.")
    address = page.get_by_role("link", name="mine").get_attribute("href") or ""
    page.goto(f"{page.url.partition('?')[0].partition('#')[0]}{address}&where=browser")
    expect(page.locator("#door.is-ready")).to_be_visible()


def test_what_is_typed_stays_in_this_browser(
    playwright: Playwright, chromium: str, built_page: Path, tmp_path: Path
) -> None:
    model = tiny_llama(metadata={"general.name": "mine", "llama.context_length": 4096}).to_bytes()
    with (
        static_host(built_page) as host,
        noted(playwright, chromium, tmp_path) as (context, network),
    ):
        page: Page = context.new_page()
        page.goto(f"{host.address}/?where=browser#models")
        imported(page, model)
        attach(page, (f"{TYPED[0]}.md", f"The road to {TYPED[1]}.".encode()))
        ask(page, f"How far is it to {TYPED[2]}?")
        # Its weights are random: whatever it says, it says here.
        expect(page.locator("li.answered .message-note")).to_be_visible()
        expect(page.locator("#place-text")).to_contain_text("browser")
        no_hints(page)
    assert len(host.asked) > 5
    assert [each for each in host.asked if not each.startswith(("GET ", "HEAD "))] == []
    everything = "\n".join([*host.asked, *network.addresses])
    assert [word for word in TYPED if word in everything] == []
    assert network.strangers(host.address) == set()
