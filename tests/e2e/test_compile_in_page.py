"""A GGUF dropped onto the page: the server compiles it, this browser downloads what came and
answers.

Nothing stands in: the compiler is the one that `transom create` runs, the graphics adapter is
SwiftShader. The file is tiny and its weights are random: what takes time is making libraries, which
is no slower for large ones.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Playwright, expect

from tests.e2e.browser import open_chromium, watch
from tests.e2e.commands import Server, serve, transom
from tests.fakes.tiny_gguf import tiny_llama
from tests.processes import children
from tests.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1500)]

NAME = "me/dropped:latest"
# Every text that a row of the work shows.
RECORDER = """() => {
    window.rows = [];
    const look = () => {
        for (const row of document.querySelectorAll(".work-row .models-aside")) {
            if (window.rows.at(-1) !== row.textContent) {
                window.rows.push(row.textContent);
            }
        }
    };
    new MutationObserver(look).observe(document.body, {
        subtree: true, childList: true, characterData: true,
    });
}"""


@dataclass(frozen=True)
class Visit:
    """The room where models are added, of a server that has none."""

    page: Page
    complaints: list[str]
    server: Server
    store: Path
    file: Path


@pytest.fixture(scope="module")
def visit(
    runtime: Path,
    web_build: Path,
    playwright: Playwright,
    chromium: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Visit]:
    folder = tmp_path_factory.mktemp("dropped")
    file = folder / "dropped.gguf"
    file.write_bytes(tiny_llama(metadata={"llama.context_length": 512}, seed=8).to_bytes())
    # A cache of its own: what another run compiled would be found, and no compiler run.
    cache = folder / "cache"
    cache.mkdir()
    (cache / "runtime").symlink_to(runtime.parent)
    environment = {"TRANSOM_CACHE": str(cache), "TRANSOM_WEB_DIR": str(web_build)}
    store = folder / "models"
    with (
        serve(store, folder / "log.txt", environment=environment) as server,
        open_chromium(playwright, chromium, folder / "profile") as context,
    ):
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{server.address}/#models")
        page.evaluate(RECORDER)
        yield Visit(page, complaints, server, store, file)


def drop(page: Page, file: Path) -> None:
    """As from a file manager, and have the server make a model of it."""
    page.get_by_role("tab", name="Add a model").click()
    page.locator("#add-file").set_input_files(file)
    page.get_by_role("textbox", name="Its name on the server").fill(NAME)
    page.get_by_role("button", name="Send and make").click()


def work(page: Page) -> Locator:
    return page.get_by_role("list", name="Work in progress")


def card(page: Page) -> Locator:
    page.get_by_role("tab", name="All models").click()
    return page.locator(".model-card").filter(has=page.get_by_role("heading", name="me/dropped"))


def blobs(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "blobs").rglob("*") if path.is_file())


def test_what_is_stopped_half_way_leaves_nothing(visit: Visit) -> None:
    page, store = visit.page, visit.store
    before = children(visit.server.pid)
    drop(page, visit.file)
    expect(work(page)).to_contain_text(re.compile(r"compiling for browsers: \d of 6"))
    assert children(visit.server.pid) != before
    assert len(blobs(store)) == 1
    work(page).get_by_role("button", name="Stop: me/dropped").click()
    expect(work(page)).to_have_count(0)
    wait_for(lambda: children(visit.server.pid) == before)
    # Not even the file, which came for this.
    wait_for(lambda: blobs(store) == [])
    wait_for(lambda: not any(files for _, _, files in os.walk(store / "scratch")))
    assert json.loads(transom("list", "--json", store=store).stdout) == []


def test_the_server_compiles_and_this_browser_answers(visit: Visit) -> None:
    page, server = visit.page, visit.server
    drop(page, visit.file)
    expect(work(page).get_by_text("Here now")).to_be_visible(timeout=900_000)
    said = page.evaluate("window.rows")
    # What takes no time may never show.
    assert any(row.startswith("Sending the file to the server · ") for row in said)
    counts = {row for row in said if re.fullmatch(r"compiling for browsers: \d of 6", row)}
    assert len(counts) >= 3

    offered = card(page)
    expect(offered.get_by_text("This browser, graphics adapter")).to_be_visible()
    offered.get_by_role("button", name="Download me/dropped").click()
    expect(offered.get_by_text("In this browser", exact=True)).to_be_visible()
    assert any("method=GET" in line and "/blobs/<digest>" in line for line in server.log())
    offered.get_by_role("button", name="Chat with me/dropped").click()
    expect(page.locator("#place-text")).to_have_text("This browser's graphics adapter.")
    page.get_by_role("heading", name="me/dropped is ready", exact=True).wait_for()
    message = page.get_by_role("textbox", name="Message")
    message.fill("hello")
    with page.expect_response("**/v1/chat/completions") as answering:
        message.press("Enter")
    assert answering.value.headers["transom-served-by"].startswith("browser;")
    answer = page.locator("li.answered").last
    expect(answer.locator(".message-text").last).not_to_be_empty()
    # Random weights find no end. A rate takes two tokens, and there may be one.
    page.keyboard.press("Escape")
    expect(answer.locator(".message-note")).to_contain_text("first after")
    expect(answer.locator(".message-note")).not_to_contain_text("server")
    asked = [line for line in server.log() if "/chat/completions" in line or "/api/chat" in line]
    assert asked == []


def test_a_second_drop_sends_and_compiles_nothing(visit: Visit) -> None:
    page, server = visit.page, visit.server
    page.goto(f"{server.address}/#models")
    page.reload()
    before = len(server.log())
    drop(page, visit.file)
    expect(work(page).get_by_text("Here now")).to_be_visible()
    expect(work(page)).to_contain_text("compiled before: nothing had to be compiled")
    uploads = [line for line in server.log()[before:] if "/blobs/uploads/" in line]
    # It asks whether the file is there.
    assert len(uploads) == 1


def test_what_is_no_model_is_one_sentence(visit: Visit) -> None:
    page = visit.page
    broken = visit.file.with_name("broken.gguf")
    broken.write_bytes(visit.file.read_bytes()[:1000])
    drop(page, broken)
    error = work(page).locator(".work-error")
    expect(error).to_have_text(re.compile(r"^broken\.gguf: [^\n]*truncated[^\n]*\.$"))
    # The refusal itself is an error to the console; so is the 405 for whoever takes a file back
    # while the work that was stopped still holds it, and asks again.
    refused = re.compile(r"status of 40[05]\b")
    assert [words for words in visit.complaints if not refused.search(words)] == []
