"""The page on a machine without a graphics adapter: llama.cpp in wasm, on the model's own GGUF.

Chromium is started without the flags that give it WebGPU on a CPU. What the model answers is what
it answers anywhere else.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, Page, Playwright, expect

from tests.e2e import oracle
from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder, watch
from tests.e2e.commands import Prompt, Server

QUESTION = "What is the capital of France?"
TOKENS = 16

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the whole file: what a visit brought the next one finds."""
    return tmp_path_factory.mktemp("profile")


@pytest.fixture
def page(playwright: Playwright, chromium: str, profile: Path) -> Iterator[Page]:
    with open_chromium(playwright, chromium, profile, WITHOUT_WEBGPU) as context:
        page = context.new_page()
        complaints = watch(page)
        yield page
        assert complaints == []


def load(page: Page, address: str) -> dict[str, Any]:
    """In this browser, although the server could answer, too."""
    page.goto(f"{address}&where=browser")
    report: dict[str, Any] = page.evaluate("() => window.transom.ready")
    print(f"\n{json.dumps(report)}")
    return report


def ask(page: Page, text: str, **options: float) -> dict[str, Any]:
    report: dict[str, Any] = page.evaluate(
        """([text, options]) => {
            window.transom.newChat();
            return window.transom.ask(text, { ...options, logprobs: true });
        }""",
        [text, options],
    )
    print(
        f"\n{report['text']!r}: prefill {report['prefillTokensPerSecond']:.1f} tok/s, "
        f"decode {report['decodeTokensPerSecond']:.1f} tok/s"
    )
    return report


def test_the_processor_answers(
    server: Server, page: Page, prompts: list[Prompt], oracle_answers: list[oracle.Answer]
) -> None:
    """The first visit downloads the GGUF and what the browser platform says of prompts."""
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    report = load(page, f"{server.address}/?model=smollm2")
    assert (report["engine"], report["adapter"]) == ("cpu", None)
    assert report["processor"]["reason"] == "No WebGPU here"
    assert report["processor"]["threads"] >= 1
    assert report["bytesDownloaded"] > 90e6
    assert report["isKept"] is True
    status = page.locator("#status")
    expect(status).to_contain_text("No WebGPU here: running on the processor")
    expect(page.locator("#place-text")).to_contain_text("This browser's processor, as chosen")
    # Shards and libraries are for graphics adapters.
    sizes = {match[1] for match in map(_blob, addresses) if match}
    assert len(sizes) < 8, sizes

    prompt = prompts[0]
    answer = ask(page, prompt.messages[-1]["content"], temperature=0, maxTokens=TOKENS)
    assert answer["text"] == "The capital of France is Paris."
    assert answer["tokenIds"] == list(oracle_answers[0].token_ids)
    assert answer["promptTokens"] == len(prompt.token_ids)
    assert answer["finishReason"] == "stop"


def _blob(address: str) -> re.Match[str] | None:
    return re.search(r"/blobs/(sha256:[0-9a-f]{64})", address)


def test_the_second_visit_asks_for_no_blob(server: Server, page: Page) -> None:
    before = len(server.log())
    report = load(page, f"{server.address}/?model=smollm2")
    asked = server.log()[before:]
    assert any("/manifests/" in line for line in asked), "the log shows no request at all"
    assert [line for line in asked if "/blobs/" in line] == []
    assert report["bytesDownloaded"] == 0
    assert report["bytesFromCache"] > 90e6


def test_the_same_seed_says_the_same(server: Server, page: Page) -> None:
    load(page, f"{server.address}/?model=smollm2")
    options = {"temperature": 1.0, "topP": 0.9, "seed": 7, "maxTokens": 8}
    first, second = (ask(page, "Tell me a story.", **options) for _ in range(2))
    assert first["tokenIds"] == second["tokenIds"]
    assert second["cachedTokens"] == second["promptTokens"] - 1


def test_an_answer_stops_where_it_is(server: Server, page: Page) -> None:
    load(page, f"{server.address}/?model=smollm2")
    answer = page.evaluate(
        """async () => {
            const answer = window.transom.ask("Tell a long story of a ship.", { maxTokens: 200 });
            while (window.transom.partial().pieces < 2) {
                await new Promise((resolve) => setTimeout(resolve, 10));
            }
            window.transom.stop();
            return answer;
        }"""
    )
    assert answer["finishReason"] == "abort"
    # What was written while a thread stood still comes in one piece.
    assert 2 <= answer["completionTokens"] < 200


def test_several_threads_where_the_page_is_isolated(server: Server, page: Page) -> None:
    report = load(page, f"{server.address}/?model=smollm2&threads=2")
    assert page.evaluate("crossOriginIsolated") is True
    assert report["processor"]["threads"] == 2
    assert ask(page, QUESTION, temperature=0, maxTokens=4)["text"] == "The capital of France"


def test_a_gguf_of_this_device_runs_on_its_own(server: Server, page: Page, smollm2: Path) -> None:
    """What a file picker brings was never compiled: llama.cpp knows its tokens and its template."""
    page.goto(f"{server.address}/#models")
    page.get_by_role("tab", name="Storage").click()
    page.get_by_label("Import a file").set_input_files(smollm2)
    link = page.get_by_role("link", name=smollm2.stem)
    expect(link).to_have_attribute("href", re.compile("imported="))
    report = load(page, f"{server.address}/{link.get_attribute('href')}")
    assert (report["engine"], report["bytesDownloaded"]) == ("cpu", 0)
    answer = ask(page, QUESTION, temperature=0, maxTokens=TOKENS)
    assert answer["text"] == "The capital of France is Paris."


def test_an_address_may_want_the_processor(
    server: Server, playwright: Playwright, chromium: str, profile: Path
) -> None:
    """Although there is an adapter; and what nobody needs is not loaded."""
    with open_chromium(playwright, chromium, profile) as context:
        page = context.new_page()
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        report = load(page, f"{server.address}/?model=smollm2&engine=cpu")
        threads = report["processor"]["threads"]
        assert report["processor"] == {"threads": threads, "reason": None, "code": None}
        assert ask(page, QUESTION, temperature=0, maxTokens=4)["text"] == "The capital of France"
        assert any("wllama" in address for address in addresses)

        addresses.clear()
        report = load(page, f"{server.address}/?model=smollm2")
        assert report["engine"] == "webgpu"
        assert [address for address in addresses if "llama" in address.partition("?")[0]] == []


def test_an_address_may_want_webgpu_or_nothing(server: Server, page: Page) -> None:
    page.goto(f"{server.address}/?model=smollm2&engine=webgpu")
    with pytest.raises(Error, match="no graphics adapter is available"):
        page.evaluate("() => window.transom.ready")


def test_a_bundle_without_its_gguf_says_so(
    bundle: Path, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    """`transom compile --out` writes what WebGPU needs, and leaves the GGUF where it is."""
    site = tmp_path / "site"
    site.mkdir()
    for path in web_build.iterdir():
        (site / path.name).symlink_to(path)
    (site / "demo").symlink_to(bundle)
    with (
        serve_folder(site) as address,
        open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        page.goto(f"{address}/?bundle=demo/")
        with pytest.raises(Error, match=r"no graphics adapter.*There is no GGUF of demo here"):
            page.evaluate("() => window.transom.ready")
