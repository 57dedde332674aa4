"""What a browser keeps: shown, pinned, deleted, imported from a file; two tabs at once."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    BrowserContext,
    Error,
    FilePayload,
    Locator,
    Page,
    Playwright,
    expect,
)

from tests.e2e.bad_network import BadNetwork, between
from tests.e2e.browser import open_chromium, watch
from tests.e2e.commands import Compiled, Server, transom
from tests.e2e.test_cut_downloads import read_storage
from tests.waiting import wait_for

MODELFILE = "FROM smollm2\nSYSTEM You are a pirate.\n"
MODEL_BYTES = 90e6
"""A little less than SmolLM2's weights."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def with_pirate(
    compiled: Compiled, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Server:
    modelfile = tmp_path_factory.mktemp("pirate") / "Modelfile"
    modelfile.write_text(MODELFILE)
    done = transom("create", "pirate", "-f", modelfile, store=compiled.store)
    assert done.returncode == 0, done.stderr
    return server


@pytest.fixture
def context(playwright: Playwright, chromium: str, tmp_path: Path) -> Iterator[BrowserContext]:
    with open_chromium(playwright, chromium, tmp_path / "profile") as context:
        yield context


def visit(context: BrowserContext, address: str, query: str = "") -> Page:
    page = context.new_page()
    page.goto(f"{address}/{query}")
    page.wait_for_function("() => window.transom !== undefined")
    return page


def ready(page: Page) -> dict[str, Any]:
    report: dict[str, Any] = page.evaluate("() => window.transom.ready")
    return report


def stored(page: Page) -> dict[str, dict[str, Any]]:
    storage = page.evaluate("() => window.transom.storage.stored()")
    return {model["name"]: model for model in storage["models"]}


def remove(page: Page, model: str) -> int:
    freed: int = page.evaluate(
        "(id) => window.transom.storage.remove(id)", stored(page)[model]["id"]
    )
    return freed


def open_section(page: Page) -> Locator:
    """In the models' room."""
    page.locator("#model-name").click()
    page.get_by_role("tab", name="Storage").click()
    section = page.get_by_role("region", name="Storage of this browser")
    expect(section.locator("#storage-summary")).to_have_text(re.compile("kept in this browser"))
    return section


def test_a_model_is_pinned_and_deleted_by_keyboard(
    with_pirate: Server, context: BrowserContext
) -> None:
    page = visit(context, with_pirate.address, "?model=smollm2&pipelines=lazy")
    ready(page)
    page.evaluate("() => window.transom.models.load('model=pirate&pipelines=lazy')")
    section = open_section(page)
    rows = section.get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="pirate")).to_contain_text("of it shared")

    pin = section.get_by_role("button", name="Keep smollm2 when room is made")
    pin.focus()
    page.keyboard.press("Enter")
    expect(pin).to_have_attribute("aria-pressed", "true")
    assert stored(page)["smollm2"]["isPinned"] is True

    section.get_by_role("button", name="Delete pirate").focus()
    page.keyboard.press("Enter")
    expect(section.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(section.get_by_role("button", name="Delete pirate")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(section.locator("#storage-message")).to_contain_text("pirate is deleted")
    expect(rows).to_have_count(1)

    # What the other one needs is all here.
    smollm2 = stored(page)["smollm2"]
    assert smollm2["storedBytes"] == smollm2["totalBytes"] > MODEL_BYTES
    # Else the next tab would ask this one.
    page.close()
    again = visit(context, with_pirate.address, "?model=smollm2&pipelines=lazy")
    assert ready(again)["bytesDownloaded"] == 0


def test_what_a_tab_is_loading_no_tab_deletes(with_pirate: Server, context: BrowserContext) -> None:
    network = BadNetwork(with_pirate.address, seed=1)
    with between(network):
        pirate = visit(context, network.address, "?model=pirate&pipelines=lazy")
        ready(pirate)
        remove(pirate, "pirate")
        # Slow from here on: a minute for what the other tab does meanwhile.
        network.bytes_per_second = 0.3e6
        loading = visit(context, network.address, "?model=smollm2&pipelines=lazy")
        wait_for_bytes(loading, 2e6)
        other = visit(context, network.address)
        assert stored(other)["smollm2"]["isInUse"] is True
        with pytest.raises(Error, match="is being loaded, here or in another tab"):
            remove(other, "smollm2")
        network.bytes_per_second = 60e6
        report = ready(loading)
    assert report["isKept"] is True
    assert read_storage(loading)["wrong"] == []
    assert remove(other, "smollm2") > MODEL_BYTES
    assert stored(other) == {}
    # What is on the GPU stays there.
    answer = loading.evaluate("() => window.transom.ask('Hi', { temperature: 0, maxTokens: 2 })")
    assert answer["completionTokens"] == 2


def test_two_tabs_may_load_one_model_at_once(server: Server, context: BrowserContext) -> None:
    pages = [visit(context, server.address, "?model=smollm2&pipelines=lazy") for _ in range(2)]
    reports = [ready(page) for page in pages]
    assert [report["isKept"] for report in reports] == [True, True]
    model = stored(pages[0])["smollm2"]
    assert model["storedBytes"] == model["totalBytes"]
    found = read_storage(pages[0])
    assert (found["wrong"], found["pieces"]) == ([], [])


def test_a_model_survives_an_update_that_is_cut(
    compiled: Compiled, server: Server, context: BrowserContext, tmp_path: Path
) -> None:
    def create(text: str) -> None:
        modelfile = tmp_path / "Modelfile"
        modelfile.write_text(f'FROM smollm2\nLICENSE """{text}"""\n')
        done = transom("create", "moving", "-f", modelfile, store=compiled.store)
        assert done.returncode == 0, done.stderr

    query = "?model=moving&pipelines=lazy"
    network = BadNetwork(server.address, seed=1)
    with between(network):
        create("The first licence.")
        page = visit(context, network.address, query)
        assert ready(page)["isKept"] is True
        page.wait_for_function("() => navigator.serviceWorker.controller !== null")
        first = stored(page)["moving"]
        page.close()

        # Large enough for the proxy to hold it back.
        create("The second licence. " * 5000)
        network.faults, network.fault_share = ("stall",), 1.0
        page = visit(context, network.address, query)
        wait_for(lambda: stored(page)["moving"]["index"] != first["index"])
        page.close()

        # Held back until there is nobody left of that visit who would ask again.
        context.set_offline(True)
        page = visit(context, network.address, query)
        report = ready(page)
        assert (report["isOffline"], report["bytesDownloaded"]) == (True, 0)
        model = stored(page)["moving"]
        assert first["totalBytes"] <= model["storedBytes"] < model["totalBytes"]
        page.close()

        network.visit += 1
        network.faults = ()
        context.set_offline(False)
        page = visit(context, network.address, query)
        assert ready(page)["isOffline"] is False
        # The former version is gone: both have the same weights, and one licence is left.
        second = stored(page)["moving"]
        assert second["storedBytes"] == second["totalBytes"]
        assert second["totalBytes"] == pytest.approx(first["totalBytes"] + 100_000, abs=10_000)
        found = read_storage(page)
        assert (found["wrong"], found["pieces"]) == ([], [])
        assert found["bytes"] == second["storedBytes"]


def test_a_folder_is_imported_and_runs_without_a_network(
    bundle: Path, server: Server, context: BrowserContext
) -> None:
    page = visit(context, server.address)
    complaints = watch(page)
    section = open_section(page)
    section.get_by_label("Import a folder").set_input_files(bundle)
    expect(section.locator("#storage-message")).to_have_text(f"{bundle.name}: here now.")
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    section.get_by_role("link", name=bundle.name).click()
    page.wait_for_url(re.compile("imported="))
    page.wait_for_function("() => window.transom !== undefined")
    report = ready(page)
    assert report["bytesDownloaded"] == 0
    # Cards of the server's models read manifests, whenever they come to it.
    assert [url for url in requests if "/blobs/" in url or url.endswith(".bin")] == []
    answer = page.evaluate(
        """() => window.transom.ask(
            "What is the capital of France?", { temperature: 0, maxTokens: 8 }
        )"""
    )
    assert "Paris" in answer["text"]
    assert complaints == []


def test_a_gguf_file_is_imported(smollm2: Path, server: Server, context: BrowserContext) -> None:
    page = visit(context, server.address)
    section = open_section(page)
    file = section.get_by_label("Import a file")
    file.set_input_files(smollm2)
    expect(section.locator("#storage-message")).to_have_text(f"{smollm2.stem}: here now.")
    model = stored(page)[smollm2.stem]
    assert model["totalBytes"] == pytest.approx(smollm2.stat().st_size, abs=5000)
    assert read_storage(page)["wrong"] == []
    remove(page, smollm2.stem)
    # A card that is looked at late keeps the manifest of its model; whoever lists lets go of it.
    deadline = time.monotonic() + 30
    while (left := read_storage(page)["bytes"]) > 0:
        assert time.monotonic() < deadline, left
        assert stored(page) == {}


def test_a_file_that_is_no_model_is_named(server: Server, context: BrowserContext) -> None:
    page = visit(context, server.address)
    section = open_section(page)
    wrong: FilePayload = {"name": "notes.gguf", "mimeType": "text/plain", "buffer": b"Dear diary"}
    section.get_by_label("Import a file").set_input_files(wrong)
    expect(section.locator("#storage-message")).to_contain_text("notes.gguf is no GGUF file")
    assert stored(page) == {}


def wait_for_bytes(page: Page, count: float) -> None:
    while True:
        progress = page.evaluate("() => window.transom.progress()")
        if progress and progress["doneBytes"] >= count:
            return
        time.sleep(0.02)
