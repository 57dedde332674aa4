"""What the journeys share: the built page, and a server of it whose models say what scripts tell
them to.

The server is the real one but for its engine (`tests/fakes/scripted_engine.py`, a fake for its
determinism): routes, store and page are as they are shipped. Chromium has no graphics adapter here,
so that answers come from the server, at once. What a real model does in the page is for tests/e2e.
"""

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import pytest
from flask import abort, request
from playwright.sync_api import BrowserContext, Page, Playwright, expect, sync_playwright
from werkzeug.serving import make_server

from tests.contract.api.asking import read_models
from tests.contract.api.page_build import find_chromium
from tests.e2e.browser import WITHOUT_WEBGPU, watch
from tests.e2e.commands import BUILD_TIMEOUT_SECONDS, ROOT, TRANSOM, run_checked
from tests.fakes.scripted_engine import ScriptedLoader
from tests.fakes.tiny_gguf import tiny_llama
from tests.fakes.tiny_projector import tiny_projector
from tests.pyserver.native_models import put_native
from transom_models.digest import Digest
from transom_server.app import create_app
from transom_server.settings.config import Config
from transom_server.store import Store

MissingTool = Callable[[str], NoReturn]

TALKER: Final = "talker"
"""Says what it is told to, calls tools, and thinks where its script does."""
SMALL: Final = "small"
"""Its context window has 256 tokens, which are bytes."""
THINKER: Final = "thinker"
"""It thinks until its script says `</think>`."""
VECTORS: Final = "vectors"
"""An embedding model."""
SEER: Final = "seer"
"""As the talker, and it sees images."""
DESKTOP: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 844}


@dataclass
class ScriptedServer:
    address: str
    scripts: dict[str, Any]
    """What models say, by name: a question has `@name` in it, the last one counts. Written in
    tests/contract/api/README.md."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each, as they come."""
    is_without_files: bool = False
    """Whether it has models to answer, and no file of the page's."""


def _models() -> Mapping[str, Mapping[str, Any]]:
    known = read_models()
    hermes = known["fake/hermes"]
    return {
        TALKER: {**hermes, "context": 2**16},
        SMALL: {**hermes, "context": 256},
        SEER: {**hermes, "context": 2**16, "image_marker": "<image>"},
        VECTORS: {"task": "embed", "template": None, "context": 2**12},
        THINKER: {**known["fake/thinker"], "context": 2**16},
    }


@pytest.fixture(scope="session")
def built_page(missing_tool: MissingTool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as it is shipped, in a folder of its own: e2e builds at the same time."""
    if shutil.which("npx") is None or not (ROOT / "node_modules").exists():
        missing_tool("no node_modules here: npm ci")
    run_checked(TRANSOM, "build", "pyodide", timeout=BUILD_TIMEOUT_SECONDS)
    folder = tmp_path_factory.mktemp("page") / "dist"
    for words in ([], ["--config", str(ROOT / "web/vite.sw.config.ts")]):
        command = ["npx", "vite", "build", str(ROOT / "web"), *words, "--outDir", str(folder)]
        run_checked(*command, timeout=BUILD_TIMEOUT_SECONDS)
    return folder


@pytest.fixture(scope="session")
def scripted_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, Any]]:
    """A folder with the models, and their rows by their weights' digests."""
    folder = tmp_path_factory.mktemp("app") / "models"
    store, rows = Store(folder), {}
    for number, (name, row) in enumerate(_models().items()):
        metadata: dict[str, Any] = {
            "general.name": name,
            "llama.context_length": row["context"],
            "tokenizer.chat_template": None,
        }
        if row.get("task") == "embed":
            metadata |= {"llama.attention.causal": False, "llama.pooling_type": 1}
        gguf = tiny_llama(metadata=metadata, seed=number).to_bytes()
        rows[Digest.of(gguf).hex] = row
        projector = tiny_projector().to_bytes() if "image_marker" in row else None
        put_native(store, name, gguf, template=row.get("template"), projector=projector)
    return folder, rows


@pytest.fixture(scope="module")
def server(
    scripted_models: tuple[Path, Mapping[str, Any]], built_page: Path
) -> Iterator[ScriptedServer]:
    """The whole server on a port of its own, with the built page."""
    folder, rows = scripted_models
    scripts: dict[str, Any] = {"hello": "Hello, you there!"}
    settings = {"TRANSOM_MODELS": str(folder), "TRANSOM_WEB_DIR": str(built_page)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transom_server.engines.choice.LlamaCpp", ScriptedLoader(rows, scripts))
        made = create_app(Config.read(settings))
        found = ScriptedServer("", scripts)

        def note() -> None:
            found.requests.append((request.method, request.full_path.rstrip("?")))
            is_of_api = request.path.startswith(("/v1/", "/v2/", "/api/", "/healthz"))
            if found.is_without_files and not is_of_api:
                abort(503)

        made.before_request(note)
        listening = make_server("127.0.0.1", 0, made, threaded=True)
        found.address = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            listening.shutdown()
            thread.join()
            made.extensions["transom_close"]()


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(missing_tool: MissingTool) -> str:
    return find_chromium(missing_tool)


@pytest.fixture
def browser_context(
    playwright: Playwright, chromium: str, tmp_path: Path
) -> Iterator[BrowserContext]:
    """A fresh profile on a desktop's screen; nothing is animated."""
    context = playwright.chromium.launch_persistent_context(
        str(tmp_path / "profile"),
        executable_path=chromium,
        headless=True,
        args=list(WITHOUT_WEBGPU),
        viewport=DESKTOP,  # type: ignore[arg-type]
        reduced_motion="reduce",
        locale="en-GB",
    )
    context.set_default_timeout(120_000)
    try:
        yield context
    finally:
        context.close()


@pytest.fixture
def complaints(browser_context: BrowserContext) -> Iterator[list[list[str]]]:
    """What each page complains of; nothing, at the end of a test."""
    pages: list[list[str]] = []
    browser_context.on("page", lambda page: pages.append(watch(page)))
    yield pages
    assert [complaint for page in pages for complaint in page] == []


@pytest.fixture
def chat(browser_context: BrowserContext, server: ScriptedServer) -> Page:
    """The chat with the talking model, ready."""
    return open_chat(browser_context, server)


def open_chat(context: BrowserContext, server: ScriptedServer, model: str = TALKER) -> Page:
    page = context.new_page()
    page.goto(f"{server.address}/?model={model}")
    page.get_by_role("heading", name=f"{model} is ready on the server").wait_for()
    return page


def ask(page: Page, text: str) -> None:
    """Type a question and send it."""
    message = page.get_by_role("textbox", name="Message")
    message.fill(text)
    message.press("Enter")


def answered(page: Page, text: str | re.Pattern[str]) -> None:
    """The last answer is this, and whole."""
    last = page.locator("li.answered").last
    expect(last.locator(".message-note")).to_be_visible()
    expect(last.locator(".message-text").last).to_have_text(text)
