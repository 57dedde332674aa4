"""The models' room: what there is and where it runs, downloads that pause and go on, models from
registries and files, and what this browser keeps.
"""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from flask import Response, request
from playwright.sync_api import BrowserContext, Locator, Page, expect
from werkzeug.serving import make_server

from tests.app.conftest import DESKTOP, PHONE
from tests.fakes.scripted_engine import ScriptedLoader
from tests.fakes.tiny_gguf import TinyTensor, tiny_llama
from tests.pyserver.native_models import put_native
from tests.waiting import wait_for
from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.model import creation_child
from transom_server.settings.config import Config
from transom_server.store import Store

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

# Ten pieces of a download (web/src/store/pieces.ts), which comes over four connections.
LARGE_BYTES: Final = 40 * 1024 * 1024
SLOW: Final = 1e6
# Stands in for the compiler, which takes minutes: tells a phase, and makes the native platform.
COMMAND_WITHOUT_COMPILER: Final = """
import json, sys
print(json.dumps({"event": "phase", "phase": "libraries", "total_bytes": None}), flush=True)
path = sys.argv[sys.argv.index("--file") + 1]
with open(path, "a") as modelfile:
    modelfile.write("PLATFORM native\\n")
from transom_cli.main import main
main()
"""


@dataclass
class ModelsServer:
    """A server with models of its own, which tests may change."""

    address: str
    store: Store
    bytes_per_second: float | None = None
    """Of each connection that blobs go over."""
    sent_bytes: int = 0
    """Of blobs, so far."""
    is_ailing: bool = False
    """Blobs are 503."""


def gguf(name: str, seed: int, **metadata: Any) -> bytes:
    keys = {"general.name": name, "tokenizer.chat_template": None, **metadata}
    return tiny_llama(metadata=keys, seed=seed).to_bytes()


def large(name: str, seed: int) -> bytes:
    """Weights that nobody reads make it a download of some seconds."""
    weights = np.random.default_rng(seed).bytes(LARGE_BYTES)
    extra = TinyTensor("unused", (LARGE_BYTES // 4,), data=weights)
    keys = {"general.name": name, "tokenizer.chat_template": None}
    return tiny_llama(metadata=keys, extra=[extra], seed=seed).to_bytes()


def start(store: Store, page: Path, **settings: str) -> Iterator[ModelsServer]:
    names = {"TRANSOM_MODELS": str(store.location), "TRANSOM_WEB_DIR": str(page), **settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transom_server.engines.choice.LlamaCpp", ScriptedLoader({}, {}))
        made = create_app(Config.read(names))
        found = ModelsServer("", store)

        def slowly(blocks: Iterable[bytes]) -> Iterator[bytes]:
            for block in blocks:
                found.sent_bytes += len(block)
                if found.bytes_per_second is not None:
                    time.sleep(len(block) / found.bytes_per_second)
                yield block

        def slow_down(response: Response) -> Response:
            if "/blobs/sha256:" in request.path and request.method == "GET":
                if found.is_ailing:
                    return Response(status=503)
                response.direct_passthrough = False
                response.response = slowly(response.iter_encoded())
            return response

        made.after_request(slow_down)
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


@pytest.fixture
def models(built_page: Path, tmp_path: Path) -> Iterator[ModelsServer]:
    """With three models: one to talk with, one for vectors, and a large one."""
    store = Store(tmp_path / "models")
    licence = {"general.license": "apache-2.0"}
    put_native(store, "talker", gguf("talker", 1, **licence), template="{{ messages }}{{ tools }}")
    vectors = {"llama.attention.causal": False, "llama.pooling_type": 1}
    put_native(store, "vectors", gguf("vectors", 2, **vectors))
    put_native(store, "large", large("large", 3))
    yield from start(store, built_page)


def open_room(context: BrowserContext, server: ModelsServer) -> Page:
    page = context.new_page()
    page.goto(f"{server.address}/#models")
    expect(page.get_by_role("tab", name="All models")).to_be_visible()
    return page


def card(page: Page, title: str) -> Locator:
    heading = page.get_by_role("heading", name=title, exact=True)
    return page.locator(".model-card").filter(has=heading)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_cards_say_what_models_are_and_where_they_run(
    browser_context: BrowserContext, models: ModelsServer, complaints: Any, size: Any
) -> None:
    page = open_room(browser_context, models)
    page.set_viewport_size(size)
    talker = card(page, "talker")
    # What nobody sees, nobody asks for.
    talker.scroll_into_view_if_needed()
    expect(talker.get_by_text("Chats", exact=True)).to_be_visible()
    expect(talker.get_by_text("Uses tools")).to_be_visible()
    expect(talker.get_by_role("button", name=re.compile("Read the licence"))).to_have_text(
        re.compile("apache-2.0", re.IGNORECASE)
    )
    expect(talker.get_by_text("Not measured yet")).to_be_visible()
    expect(talker.get_by_text("This browser, processor")).to_be_visible()
    expect(talker.get_by_text(re.compile("^The server, 127.0.0.1"))).to_be_visible()
    page.get_by_role("searchbox", name="Search models").fill("embedding")
    expect(page.locator(".model-card")).to_have_count(1)
    expect(page.get_by_text("1 model", exact=True)).to_be_visible()
    expect(card(page, "vectors").get_by_text("Embeds texts")).to_be_visible()
    expect(card(page, "vectors").get_by_role("button", name="Chat with")).to_have_count(0)
    page.get_by_role("searchbox", name="Search models").fill("no such words")
    expect(page.get_by_text("No model matches these words.")).to_be_visible()
    assert page.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def test_a_download_pauses_and_goes_on_after_a_reload(
    browser_context: BrowserContext, models: ModelsServer, complaints: Any
) -> None:
    models.bytes_per_second = SLOW
    page = open_room(browser_context, models)
    card(page, "large").get_by_role("button", name="Download large").click()
    work = page.get_by_role("list", name="Work in progress")
    expect(work).to_contain_text(re.compile(r"\d.MB of 42\.0.MB"))
    card(page, "talker").get_by_role("button", name="Download talker").click()
    expect(work.get_by_text("Waits for its turn")).to_be_visible()
    wait_for(lambda: models.sent_bytes > LARGE_BYTES / 2)
    work.get_by_role("button", name="Pause the download of large").click()
    expect(work.get_by_text(re.compile("^Paused"))).to_be_visible()
    # The next one comes meanwhile.
    expect(work.get_by_text("Here now")).to_be_visible()
    expect(card(page, "talker").get_by_text("In this browser")).to_be_visible()
    page.reload()
    partly = card(page, "large").get_by_text(re.compile("^Partly here: "))
    expect(partly).to_be_visible()
    (here,) = re.findall(r"here: ([\d.]+).MB", partly.inner_text())
    expect(work.get_by_text("Paused", exact=True)).to_be_visible()
    models.bytes_per_second, models.sent_bytes = None, 0
    work.get_by_role("button", name="Resume the download of large").click()
    expect(work.get_by_text("Here now")).to_be_visible()
    expect(card(page, "large").get_by_text("In this browser", exact=True)).to_be_visible()
    # What else there is stays known.
    expect(card(page, "vectors").get_by_text("This browser, processor")).to_be_visible()
    # What had come did not come again, nor anything twice; a little goes to connections that ended
    # a moment ago.
    here_bytes = float(here) * 1e6
    assert here_bytes > 1e6
    assert 0 < models.sent_bytes < LARGE_BYTES - here_bytes + 1.5e6
    assert stored(page)["large"]["isPinned"] is False


def test_downloads_go_on_when_there_is_a_network_again(
    browser_context: BrowserContext, models: ModelsServer
) -> None:
    models.is_ailing = True
    page = open_room(browser_context, models)
    work = page.get_by_role("list", name="Work in progress")
    card(page, "talker").get_by_role("button", name="Download talker").click()
    failed = work.locator(".is-failed")
    # A host that never sent anything is given up after a quarter of a minute.
    expect(failed.get_by_text("503")).to_be_visible()
    models.is_ailing = False
    browser_context.set_offline(True)
    browser_context.set_offline(False)
    expect(work.get_by_text("Here now")).to_be_visible()

    models.bytes_per_second = SLOW
    card(page, "large").get_by_role("button", name="Download large").click()
    wait_for(lambda: models.sent_bytes > LARGE_BYTES / 4)
    models.is_ailing = True
    browser_context.set_offline(True)
    # Every connection is cut, and asks again.
    wait_for(lambda: page.evaluate("() => !navigator.onLine"))
    models.bytes_per_second, models.is_ailing = None, False
    browser_context.set_offline(False)
    expect(work.get_by_text("Here now")).to_have_count(2)
    expect(failed).to_have_count(0)


def test_a_cancelled_download_leaves_nothing(
    browser_context: BrowserContext, models: ModelsServer, complaints: Any
) -> None:
    models.bytes_per_second = SLOW
    page = open_room(browser_context, models)
    card(page, "large").get_by_role("button", name="Download large").click()
    wait_for(lambda: models.sent_bytes > LARGE_BYTES / 2)
    card(page, "large").get_by_role("button", name="Cancel the download of large").click()
    expect(page.get_by_role("list", name="Work in progress")).to_have_count(0)
    expect(card(page, "large").get_by_role("button", name="Download large")).to_be_visible()
    wait_for(lambda: stored(page) == {})


def test_the_server_fetches_from_a_registry(
    browser_context: BrowserContext,
    models: ModelsServer,
    built_page: Path,
    tmp_path: Path,
    complaints: Any,
) -> None:
    there = Store(tmp_path / "registry")
    put_native(there, "me/far", gguf("far", 7))
    other = start(there, built_page)
    registry = next(other).address.removeprefix("http://")
    page = open_room(browser_context, models)
    page.get_by_role("tab", name="Add a model").click()
    name = page.get_by_role("textbox", name="Name or address of a model")
    name.fill("two words")
    page.get_by_role("button", name="Fetch").click()
    expect(page.get_by_text("This is no name of a model.")).to_be_visible()
    expect(name).to_be_focused()
    name.fill(f"ollama pull {registry}/me/far")
    expect(page.get_by_text(f"Asks {registry} for me/far.")).to_be_visible()
    name.press("Enter")
    expect(page.get_by_text("Here now")).to_be_visible()
    page.get_by_role("tab", name="All models").click()
    expect(card(page, "me/far")).to_be_visible()
    # What nobody has is an error in the registry's words.
    page.get_by_role("tab", name="Add a model").click()
    name.fill(f"{registry}/me/none")
    name.press("Enter")
    work = page.get_by_role("list", name="Work in progress")
    expect(work.locator(".work-error")).to_contain_text("me/none")
    next(other, None)


def test_a_file_becomes_a_model_of_the_server(
    browser_context: BrowserContext,
    models: ModelsServer,
    complaints: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(creation_child, "_COMMAND", COMMAND_WITHOUT_COMPILER)
    monkeypatch.setenv("TRANSOM_MODELS", str(models.store.location))
    page = open_room(browser_context, models)
    page.get_by_role("tab", name="Add a model").click()
    drop(page, "My Model (1).gguf", gguf("mine", 9))
    # Nothing leaves this device before somebody says so.
    expect(page.get_by_text("The file leaves this device.")).to_be_visible()
    assert [str(model.name) for model in models.store.list_models()] == [
        "large",
        "talker",
        "vectors",
    ]
    field_ = page.get_by_role("textbox", name="Its name on the server")
    expect(field_).to_have_value("my-model-1")
    field_.fill("me/mine:v1")
    page.get_by_role("button", name="Send and make").click()
    work = page.get_by_role("list", name="Work in progress")
    expect(work).to_contain_text("The server makes me/mine:v1")
    expect(work.get_by_text("Here now")).to_be_visible()
    page.get_by_role("tab", name="All models").click()
    expect(card(page, "me/mine:v1")).to_be_visible()
    layers = models.store.get_index(ModelName.parse("me/mine:v1")).index.manifests
    digest = models.store.get_manifest(layers[0]).layers[0].digest
    assert digest == Digest.of(gguf("mine", 9))


def test_a_server_that_may_not_be_changed_says_so(
    browser_context: BrowserContext, built_page: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "models")
    put_native(store, "talker", gguf("talker", 1))
    server = start(store, built_page, TRANSOM_WRITABLE="no")
    page = open_room(browser_context, next(server))
    page.get_by_role("tab", name="Add a model").click()
    page.get_by_role("textbox", name="Name or address of a model").fill("127.0.0.1:1/me/x")
    page.get_by_role("button", name="Fetch").click()
    work = page.get_by_role("list", name="Work in progress")
    expect(work).to_contain_text("This server lets nobody change its models from here.")
    next(server, None)


def test_what_this_browser_keeps_by_keyboard(
    browser_context: BrowserContext, models: ModelsServer, complaints: Any
) -> None:
    page = open_room(browser_context, models)
    page.get_by_role("tab", name="All models").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    section = page.locator("#storage")
    expect(section.locator("#storage-summary")).to_contain_text("No model is kept")
    file = {"name": "mine.gguf", "mimeType": "", "buffer": gguf("mine", 9)}
    section.get_by_label("Import a file").set_input_files(file)  # type: ignore[arg-type]
    expect(section.locator("#storage-message")).to_have_text("mine: here now.")
    rows = section.get_by_role("listitem")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("goes first when room is needed")
    pin = section.get_by_role("button", name="Keep mine when room is made")
    pin.focus()
    page.keyboard.press("Enter")
    expect(pin).to_have_attribute("aria-pressed", "true")
    expect(rows).to_contain_text("stays")
    section.get_by_role("button", name="Delete mine").focus()
    page.keyboard.press("Enter")
    expect(section.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(section.get_by_role("button", name="Delete mine")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(section.locator("#storage-message")).to_contain_text("mine is deleted")
    expect(rows).to_have_count(0)
    assert stored(page) == {}


def drop(page: Page, name: str, data: bytes) -> None:
    """Onto the place for it, as from a file manager."""
    page.evaluate(
        """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name));
            const target = document.querySelector(".drop-zone");
            for (const kind of ["dragover", "drop"]) {
                const options = { bubbles: true, cancelable: true, dataTransfer: data };
                target.dispatchEvent(new DragEvent(kind, options));
            }
        }""",
        [name, list(data)],
    )


def stored(page: Page) -> dict[str, dict[str, Any]]:
    storage = page.evaluate("() => window.transom.storage.stored()")
    return {model["name"]: model for model in storage["models"]}
