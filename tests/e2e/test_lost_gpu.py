"""The GPU dies under answers, in a real browser: they go on, and are the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.e2e.bad_network import BadNetwork, between
from tests.e2e.browser import open_chromium
from tests.e2e.commands import Compiled, Server, serve, transom
from tests.fakes.tiny_gguf import TinyTensor, tiny_llama
from tests.pyserver.native_models import put_native
from tests.waiting import wait_for
from transom_server.store import Store

QUESTION = "Tell me about the sea."
TOKENS = 24
# Words said before the GPU dies.
BEFORE = 6
# Eight pieces of a download, two of each connection: it takes 80 seconds, longer than an answer
# until the GPU dies, on a busy machine, too.
LARGE_BYTES = 32 * 1024 * 1024
SLOW = 0.1e6

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
    # Where the answer had ended before, the loss is heard of later.
    expect(page.locator("#status")).to_contain_text("started again")


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


@pytest.fixture
def with_large(compiled: Compiled, web_build: Path, tmp_path: Path) -> Iterator[Server]:
    """The session's models, and one whose weights nobody reads."""
    weights = np.random.default_rng(1).bytes(LARGE_BYTES)
    extra = TinyTensor("unused", (LARGE_BYTES // 4,), data=weights)
    put_native(Store(compiled.store), "large", tiny_llama(extra=[extra]).to_bytes())
    try:
        with serve(compiled.store, tmp_path / "log") as server:
            yield server
    finally:
        assert transom("rm", "large", store=compiled.store).returncode == 0


def test_a_download_beside_an_answer_outlives_the_gpu(
    with_large: Server, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    network = BadNetwork(with_large.address, seed=1)
    profile = tmp_path / "profile"
    with between(network), open_chromium(playwright, chromium, profile) as context:
        page = context.new_page()
        page.goto(f"{network.address}/?model=smollm2")
        page.evaluate("() => window.transom.ready")
        start_answer(page, 0.0)
        whole: dict[str, Any] = page.evaluate("() => window.answer")

        network.bytes_per_second, network.visit = SLOW, 1
        page.evaluate("() => { location.hash = 'models'; }")
        page.get_by_role("button", name="Download large").click()
        work = page.get_by_role("list", name="Work in progress")
        expect(work).to_contain_text(re.compile(r"\d.MB of"))
        start_answer(page, 0.0)
        page.wait_for_function(f"() => window.transom.partial().pieces >= {BEFORE}")
        crash_gpu(page)
        again: dict[str, Any] = page.evaluate("() => window.answer")
        assert again["tokenIds"] == whole["tokenIds"]
        # Connections were cut in the middle of a piece: the worker has died with the GPU. The proxy
        # notices when it sends the next bytes.
        wait_for(lambda: any(sent.visit == 1 and not sent.is_whole for sent in network.sent))

        network.bytes_per_second = 60e6
        page.evaluate("() => { location.hash = 'models'; }")
        expect(work.get_by_text("Here now")).to_be_visible(timeout=120_000)
        stored = page.evaluate("() => window.transom.storage.stored()")
    (large,) = [model for model in stored["models"] if model["name"] == "large"]
    assert large["storedBytes"] == large["totalBytes"] > LARGE_BYTES
