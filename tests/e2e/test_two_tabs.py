"""Two tabs of the real page share one engine; the second one goes on when the first is closed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, Playwright

from tests.e2e.browser import open_chromium, serve_folder
from tests.e2e.commands import Compiled, transom

QUESTION = "What is the capital of France?"
ASK = "(text) => window.transom.ask(text, { temperature: 0, maxTokens: 8 })"
NOTHING_LOADED = "[Nn]o model is loaded"
LIST = "async () => (await fetch('v1/models')).status"

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def address(
    compiled: Compiled, web_build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A static host, so that nobody else can answer."""
    folder = tmp_path_factory.mktemp("tabs") / "site"
    done = transom("export", folder, compiled.name, "--link", store=compiled.store)
    assert done.returncode == 0, done.stdout + done.stderr
    with serve_folder(folder) as hosted:
        yield f"{hosted}/?model={compiled.name}"


def is_leading(page: Page) -> bool:
    leads: bool = page.evaluate("() => window.transom.house.isLeading")
    return leads


def test_the_second_tab_asks_the_first_and_takes_over(
    address: str, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with open_chromium(playwright, chromium, tmp_path) as context:
        first, second = context.new_page(), context.new_page()
        first.goto(address)
        first.evaluate("() => window.transom.ready")
        second.goto(address)
        second.evaluate("() => window.transom.ready")
        assert (is_leading(first), is_leading(second)) == (True, False)
        # One engine: the tab that follows has loaded nothing into its own.
        with pytest.raises(Error, match=NOTHING_LOADED):
            second.evaluate("() => window.transom.models.generate({ messages: [], options: {} })")
        assert "Paris" in second.evaluate(ASK, QUESTION)["text"]

        first.close()
        started = time.monotonic()
        assert second.evaluate(LIST) == 200
        seconds = time.monotonic() - started
        print(f"\nfrom the end of the leader's tab to the next answer: {seconds:.2f} s")
        assert is_leading(second)
        # The conversation goes on; the model comes from this browser's storage.
        assert "Paris" in second.evaluate(ASK, f"{QUESTION} One word.")["text"]
