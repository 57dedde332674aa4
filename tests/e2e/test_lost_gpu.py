"""The GPU dies under answers, in a real browser: they go on, and are the same."""

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
            window.answer = window.transom.ask(text, {
                temperature, topP: 1, seed: 5, maxTokens, logprobs: true,
            });
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
    page.wait_for_function(f"() => window.transom.partial().pieces >= {BEFORE}")
    crash_gpu(page)
    again: dict[str, Any] = page.evaluate("() => window.answer")
    print(f"\n{json.dumps(again)}")
    assert again["tokenIds"] == whole["tokenIds"]
    assert again["text"] == whole["text"]
    assert again["completionTokens"] == whole["completionTokens"]
    assert "started again" in page.locator("#status").inner_text()


def start_company(page: Page) -> None:
    """The answer on the screen, and two that are not shown, of which one is drawn."""
    page.evaluate(
        """([shown, hidden, maxTokens]) => {
            const options = { temperature: 0, topP: 1, seed: 5, maxTokens };
            window.transom.newChat();
            window.company = Promise.all([
                window.transom.ask(shown, { ...options, logprobs: true }),
                ...hidden.map(([content, temperature]) => window.transom.models.generate({
                    messages: [{ role: "user", content }],
                    options: { ...options, temperature },
                })),
            ]);
        }""",
        [QUESTION, [["Tell me about the moon.", 0], ["Tell me about rain.", 0.8]], TOKENS],
    )


def test_several_answers_outlive_the_gpu(page: Page) -> None:
    start_company(page)
    whole: list[dict[str, Any]] = page.evaluate("() => window.company")
    assert len({answer["text"] for answer in whole}) == 3

    start_company(page)
    page.wait_for_function(f"() => window.transom.partial().pieces >= {BEFORE}")
    crash_gpu(page)
    again: list[dict[str, Any]] = page.evaluate("() => window.company")
    assert [one["tokenIds"] for one in again] == [one["tokenIds"] for one in whole]
    assert [one["text"] for one in again] == [one["text"] for one in whole]


def test_the_next_question_knows_the_conversation(page: Page) -> None:
    answer: dict[str, Any] = page.evaluate(
        "() => window.transom.ask('And then?', { temperature: 0, maxTokens: 4 })"
    )
    # The first question and its answer are in the prompt.
    assert answer["promptTokens"] > TOKENS
    assert answer["completionTokens"] == 4
