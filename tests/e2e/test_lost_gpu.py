"""The GPU dies under an answer, in a real browser: the answer goes on, and is the same."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright

from tests.e2e.browser import open_chromium
from tests.e2e.commands import Server

QUESTION = "Tell me about the sea."
TOKENS = 24
# Words said before the GPU dies.
BEFORE = 6

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def page(
    server: Server,
    playwright: Playwright,
    chromium: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Page]:
    with open_chromium(playwright, chromium, tmp_path_factory.mktemp("profile")) as context:
        page = context.new_page()
        page.goto(f"{server.address}/?model=smollm2")
        page.evaluate("() => window.transom.ready")
        yield page


def start_answer(page: Page, temperature: float) -> None:
    page.evaluate(
        """([text, maxTokens, temperature]) => {
            window.transom.newChat();
            window.answer = window.transom.ask(text, { temperature, topP: 1, seed: 5, maxTokens });
        }""",
        [QUESTION, TOKENS, temperature],
    )


def crash_gpu(page: Page) -> None:
    """The GPU process of this browser ends as by a driver's fault; Chromium starts another."""
    browser = page.context.browser
    session = browser.new_browser_cdp_session() if browser else page.context.new_cdp_session(page)
    session.send("Browser.crashGpuProcess")


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_an_answer_outlives_the_gpu(page: Page, temperature: float) -> None:
    start_answer(page, temperature)
    whole: dict[str, Any] = page.evaluate("() => window.answer")

    start_answer(page, temperature)
    page.wait_for_function(f"() => window.transom.partial().tokenIds.length >= {BEFORE}")
    crash_gpu(page)
    again: dict[str, Any] = page.evaluate("() => window.answer")
    print(f"\n{json.dumps(again)}")
    assert again["tokenIds"] == whole["tokenIds"]
    assert again["text"] == whole["text"]
    assert again["completionTokens"] == whole["completionTokens"]
    assert "started again" in page.locator("#status").inner_text()


def test_the_next_question_knows_the_conversation(page: Page) -> None:
    answer: dict[str, Any] = page.evaluate(
        "() => window.transom.ask('And then?', { temperature: 0, maxTokens: 4 })"
    )
    # The first question and its answer are in the prompt.
    assert answer["promptTokens"] > TOKENS
    assert answer["completionTokens"] == 4
