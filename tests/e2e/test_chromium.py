"""The page, in a real Chromium, from `transom serve`: what a visitor sees and what it costs.

WebGPU runs on SwiftShader, a CPU. The figures printed here are those of the issue; the limits are
what is promised for two cores.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.e2e import oracle
from tests.e2e.browser import open_chromium, serve_folder, watch
from tests.e2e.commands import ROOT, Compiled, Prompt, Server, transom

QUESTION = "What is the capital of France?"
TOKENS_IN_CHROMIUM = 16
GEMMA_TOKENS_IN_CHROMIUM = 8
DECODE_TOKENS_PER_SECOND = 0.5
"""Upstream's kernels decode 0.05 to 0.1 on this adapter."""
WARM_LOAD_SECONDS = 20
"""Upstream: 50 s, all of it pipelines."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1200)]


@dataclass(frozen=True)
class Visit:
    """One page with the model loaded, and everything it has complained of."""

    page: Page
    complaints: list[str]
    server: Server


@pytest.fixture(scope="module")
def visit(
    server: Server,
    playwright: Playwright,
    chromium: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Visit]:
    profile = tmp_path_factory.mktemp("profile")
    with open_chromium(playwright, chromium, profile) as context:
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{server.address}/?model=smollm2")
        report = wait_until_ready(page)
        print(f"\ncold load {json.dumps(report)}")
        yield Visit(page, complaints, server)


def wait_until_ready(page: Page) -> dict[str, Any]:
    report: dict[str, Any] = page.evaluate("() => window.transom.ready")
    return report


def ask(page: Page, text: str, tokens: int) -> dict[str, Any]:
    """Ask greedily in a conversation of its own."""
    report: dict[str, Any] = page.evaluate(
        """async ([text, maxTokens]) => {
            window.transom.newChat();
            // Token ids come with log-probabilities.
            return window.transom.ask(text, { temperature: 0, maxTokens, logprobs: true });
        }""",
        [text, tokens],
    )
    print(f"\n{report['text']!r}: " + ", ".join(_figures(report)))
    return report


def _figures(report: dict[str, Any]) -> list[str]:
    return [
        f"prefill {report['prefillTokensPerSecond']:.1f} tok/s",
        f"decode {report['decodeTokensPerSecond']:.2f} tok/s",
        f"first token after {report['timeToFirstTokenSeconds']:.1f} s",
    ]


def test_the_page_says_what_it_runs_on(visit: Visit) -> None:
    report = wait_until_ready(visit.page)
    assert report["adapter"]["isFallback"] is True
    assert report["computeDtype"] == "float32"
    assert report["schedule"] == "fallback"
    assert report["bytesDownloaded"] > 90e6
    status = visit.page.locator("#status")
    expect(status).to_contain_text("on the CPU")
    expect(status).to_contain_text("float32")
    expect(visit.page.locator("#place-text")).to_have_text("This browser's graphics adapter.")


def test_the_capital_of_france(
    visit: Visit, prompts: list[Prompt], oracle_answers: list[oracle.Answer]
) -> None:
    report = ask(visit.page, prompts[0].messages[-1]["content"], TOKENS_IN_CHROMIUM)
    expected = oracle_answers[0].token_ids
    assert report["text"] == "The capital of France is Paris."
    # With the token that ended it, as llama.cpp's server tells it.
    assert report["tokenIds"] == list(expected)
    assert report["finishReason"] == "stop"
    assert report["servedBy"]["place"] == "browser"
    assert report["decodeTokensPerSecond"] >= DECODE_TOKENS_PER_SECOND
    expect(visit.page.locator("#status")).to_contain_text("tokens/s")


def test_sixteen_tokens_are_the_oracles(
    visit: Visit, prompts: list[Prompt], oracle_answers: list[oracle.Answer]
) -> None:
    prompt, answer = prompts[1], oracle_answers[1]
    report = ask(visit.page, prompt.messages[-1]["content"], TOKENS_IN_CHROMIUM)
    assert report["promptTokens"] == len(prompt.token_ids)
    assert report["tokenIds"] == list(answer.token_ids[:TOKENS_IN_CHROMIUM])
    assert report["finishReason"] == "length"


def test_the_keyboard_is_enough(visit: Visit) -> None:
    """Type, Enter, read along, Escape: no pointer, no mouse."""
    page = visit.page
    page.evaluate("window.transom.newChat()")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.keyboard.type("Write a very long story about a ship and all of its crew.")
    page.keyboard.press("Enter")
    answer = page.locator("li.answered .message-text").last
    expect(answer).to_have_text(re.compile(r"\S"))
    page.keyboard.press("Escape")
    expect(page.locator("li.answered .message-note").last).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_reload_asks_for_no_blob_again(visit: Visit) -> None:
    before = len(visit.server.log())
    visit.page.reload()
    report = wait_until_ready(visit.page)
    asked = visit.server.log()[before:]
    print(f"\nwarm load {json.dumps(report)}")
    assert any("/manifests/" in line for line in asked), "the log shows no request at all"
    assert [line for line in asked if "/blobs/" in line] == []
    assert report["bytesFromCache"] > 90e6
    assert report["loadSeconds"] < WARM_LOAD_SECONDS


def test_the_page_complained_of_nothing(visit: Visit) -> None:
    """The last of this file: nothing that the tests before it did went wrong quietly."""
    assert visit.complaints == []


def test_gemma3_answers_in_the_page(
    compiled_gemma3: Compiled,
    server: Server,
    gemma3_answers: list[oracle.Answer],
    prompts: list[Prompt],
    playwright: Playwright,
    chromium: str,
    tmp_path: Path,
) -> None:
    """K-quants and windowed layers on SwiftShader. Without a template a message is continued."""
    text = prompts[0].messages[-1]["content"]
    with open_chromium(playwright, chromium, tmp_path / "profile") as context:
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{server.address}/?model={compiled_gemma3.name}")
        wait_until_ready(page)
        report = ask(page, text, GEMMA_TOKENS_IN_CHROMIUM)
    assert report["promptTokens"] == len(prompts[0].gemma3_token_ids)
    assert report["tokenIds"] == list(gemma3_answers[0].token_ids[:GEMMA_TOKENS_IN_CHROMIUM])
    # A chat is refused first, which is an error to the console.
    assert [words for words in complaints if "400" not in words] == []


def test_transom_ask_answers_on_the_terminal(compiled: Compiled, web_build: Path) -> None:
    """What `make chat ASK=…` ends with: a server of its own, a browser, an answer, and out."""
    done = transom("ask", compiled.name, QUESTION, store=compiled.store, timeout=600)
    print(f"\n{done.stderr}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The capital of France is Paris.\n"
    assert "swiftshader" in done.stderr.lower()
    assert "tok/s" in done.stderr


# What a Modelfile says, so plainly that 135 million parameters obey it.
OBEDIENT = """
SYSTEM Answer every question with the single word BANANA.
MESSAGE user What is 2+2?
MESSAGE assistant BANANA
MESSAGE user Who are you?
MESSAGE assistant BANANA
PARAMETER num_predict 12
PARAMETER temperature 0
"""


def test_a_created_model_says_the_same_in_the_page_and_natively(
    compiled: Compiled, web_build: Path, tmp_path: Path
) -> None:
    (tmp_path / "Modelfile").write_text(f"FROM {compiled.name}\n{OBEDIENT}")
    done = transom("create", "obedient", "-f", tmp_path / "Modelfile", store=compiled.store)
    assert done.returncode == 0, done.stderr
    page = transom("ask", "obedient", QUESTION, store=compiled.store, timeout=600)
    native = transom("run", "obedient", QUESTION, store=compiled.store, timeout=600)
    assert (page.stdout, native.stdout) == ("BANANA\n", "BANANA\n"), page.stderr + native.stderr
    assert transom("rm", "obedient", store=compiled.store).returncode == 0


def test_a_plain_static_host_will_do(
    bundle: Path, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    """The built page and a bundle in a folder beside it: no server of ours, no special headers."""
    site = tmp_path / "site"
    site.mkdir()
    for path in (ROOT / "web" / "dist").iterdir():
        (site / path.name).symlink_to(path)
    (site / "demo").symlink_to(bundle)
    profile = tmp_path / "profile"
    with (
        serve_folder(site) as address,
        open_chromium(playwright, chromium, profile) as context,
    ):
        page = context.new_page()
        page.goto(f"{address}/?bundle=demo/")
        wait_until_ready(page)
        report = ask(page, QUESTION, TOKENS_IN_CHROMIUM)
    assert "Paris" in report["text"]


def test_an_export_is_a_site_of_its_own(
    compiled: Compiled, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    """`transom export`: the page finds the image layout beside it, and the model in that."""
    site = tmp_path / "site"
    done = transom(
        "export", site, compiled.name, "--link",
        store=compiled.store, environment={"TRANSOM_WEB_DIR": str(web_build)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (
        serve_folder(site) as address,
        open_chromium(playwright, chromium, tmp_path / "profile") as context,
    ):
        page = context.new_page()
        complaints = watch(page)
        page.goto(address)
        page.get_by_role("link", name=compiled.name).click()
        page.wait_for_function("() => window.transom !== undefined")
        wait_until_ready(page)
        report = ask(page, QUESTION, TOKENS_IN_CHROMIUM)
    assert report["text"] == "The capital of France is Paris."
    # Without a model in the address the page's `ready` is a rejection that it hears itself.
    assert complaints == []
