"""Where answers come from, as the page says it: without WebGPU, without a server, with neither.

The figures are those of a person's visit; Chromium has no graphics adapter here, unless it says so.
"""

import os
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder
from tests.e2e.commands import Compiled, serve, transom

QUESTION = "What is the capital of France?"
LONG_QUESTION = "Write a very long story about a ship and all of its crew."

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


def ask_briefly(page: Page) -> tuple[str, str]:
    """The first words of the answer, and who gave it."""
    report = page.evaluate(
        "(text) => window.transom.ask(text, { temperature: 0, maxTokens: 4 })", QUESTION
    )
    return report["text"], report["servedBy"]["place"]


def said_place(page: Page, words: str) -> None:
    expect(page.locator("#place-text")).to_contain_text(words)


def test_the_server_answers_until_it_dies_and_then_this_browser(
    compiled: Compiled, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with (
        serve(compiled.store, tmp_path / "log.txt") as server,
        open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        page.goto(f"{server.address}/?model={compiled.name}")
        page.get_by_role("heading", name=f"{compiled.name} is ready on the server").wait_for()
        said_place(page, "The server at this address, because this browser has no")
        expect(page.locator("#door-text")).to_contain_text("What you write goes to 127.0.0.1")
        assert [line for line in server.log() if "/blobs/" in line] == []
        assert ask_briefly(page)[1] == "server"
        expect(page.locator(".message-note")).to_contain_text("from the server")

        # The server dies in mid-answer, and nothing of the model is in this browser.
        page.get_by_role("textbox", name="Message").fill(LONG_QUESTION)
        page.keyboard.press("Enter")
        expect(page.locator("li.answered > .message-text").last).not_to_be_empty()
        os.kill(server.pid, signal.SIGKILL)
        error = page.locator(".message-error")
        expect(error).to_contain_text("The answer broke off")
        page.get_by_role("button", name="Try again").click()
        expect(error).to_contain_text("The server is not reached.")
        expect(page.get_by_role("button", name="Try again")).to_have_count(1)


def test_the_visitor_chooses_this_browser(
    compiled: Compiled, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with (
        serve(compiled.store, tmp_path / "log.txt") as server,
        open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        page.goto(f"{server.address}/?model={compiled.name}")
        said_place(page, "The server at this address")
        choice = page.get_by_role("combobox", name="Answers from")
        choice.select_option("This browser")
        page.get_by_role("heading", name=f"{compiled.name} is ready", exact=True).wait_for()
        said_place(page, "This browser's processor, as chosen")
        assert ask_briefly(page) == ("The capital of France", "browser")
        # The choice is kept.
        page.reload()
        said_place(page, "This browser's processor, as chosen")
        expect(choice).to_have_value("browser")
        choice.select_option("Automatic")
        said_place(page, "The server at this address, because this browser has no")


def test_neither_webgpu_nor_a_server(
    compiled: Compiled, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    done = transom(
        "export", site, compiled.name, "--link",
        store=compiled.store, environment={"TRANSOM_WEB_DIR": str(web_build)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (
        serve_folder(site) as address,
        open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        page.goto(f"{address}/?model={compiled.name}")
        page.get_by_role("heading", name=f"{compiled.name} is ready", exact=True).wait_for()
        said_place(page, "This browser's processor: there is no")
        said_place(page, "and no server")
        expect(page.get_by_role("option", name="The server")).to_be_disabled()
        assert ask_briefly(page) == ("The capital of France", "browser")


def test_a_model_that_this_browser_cannot_run(
    compiled: Compiled, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    """There is an adapter, but not the memory; and then there is the server."""
    with (
        serve(compiled.store, tmp_path / "log.txt") as server,
        open_chromium(playwright, chromium, tmp_path / "profile") as context,
    ):
        page = context.new_page()
        page.goto(f"{server.address}/?model={compiled.name}&memory=100")
        page.get_by_role("heading", name=f"{compiled.name} is ready on the server").wait_for()
        said_place(page, "The server at this address, because this browser cannot")
        expect(page.get_by_role("link", name="Load it all the same")).to_be_visible()
        assert ask_briefly(page)[1] == "server"
