"""Unmodified WebLLM runs our bundle: from `transom serve`, and from a folder on a plain static
host."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Playwright

from tests.e2e.browser import open_chromium, serve_folder, watch
from tests.e2e.commands import ROOT, Prompt, Server

MAX_TOKENS = 9
LIBRARY = "library-f32-fallback.wasm"
"""WebLLM takes one library and does not choose by adapter; SwiftShader wants this one."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1200)]


Browser = tuple[Playwright, str]


@pytest.fixture
def browser(playwright: Playwright, chromium: str) -> Browser:
    return playwright, chromium


@pytest.fixture(scope="module")
def static_host(
    bundle: Path, web_build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A page with WebLLM as npm has it, and beside it the bundle as WebLLM wants it by path."""
    folder = tmp_path_factory.mktemp("static")
    package = ROOT / "node_modules" / "@mlc-ai" / "web-llm"
    assert json.loads((package / "package.json").read_text())["version"] == "0.2.86"
    shutil.copy(package / "lib" / "index.js", folder / "web-llm.js")
    shutil.copy(Path(__file__).with_name("webllm_page.html"), folder / "index.html")
    files = folder / "smollm2" / "resolve" / "main"
    # Links, not copies: a hundred megabytes are no business of this test's.
    shutil.copytree(bundle, files, copy_function=os.link)
    with serve_folder(folder) as address:
        yield address


def _answer(
    browser: Browser, profile: Path, host: str, model: str, prompt: Prompt
) -> dict[str, Any]:
    with open_chromium(*browser, profile) as context:
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{host}/index.html")
        page.wait_for_function("() => window.loaded === true")
        request = {
            "model": model,
            "modelLib": f"{model}/resolve/main/{LIBRARY}",
            "messages": list(prompt.messages),
            "maxTokens": MAX_TOKENS,
        }
        reply: dict[str, Any] = page.evaluate("request => window.answer(request)", request)
        assert complaints == []
    return reply


def _check(title: str, reply: dict[str, Any], prompt: Prompt) -> None:
    extra = reply["usage"]["extra"]
    print(
        f"\nWebLLM 0.2.86 from {title}: {reply['text']!r}, "
        f"decode {extra['decode_tokens_per_s']:.2f} tok/s, "
        f"first token after {extra['time_to_first_token_s']:.1f} s"
    )
    assert reply["text"] == "The capital of France is Paris."
    assert reply["usage"]["prompt_tokens"] == len(prompt.token_ids)


def test_webllm_from_a_plain_static_host(
    static_host: str, browser: Browser, prompts: list[Prompt], tmp_path: Path
) -> None:
    model = f"{static_host}/smollm2"
    reply = _answer(browser, tmp_path, static_host, model, prompts[0])
    _check("a static host", reply, prompts[0])


def test_webllm_from_transom_serve(
    static_host: str, server: Server, browser: Browser, prompts: list[Prompt], tmp_path: Path
) -> None:
    model = f"{server.address}/webllm/smollm2/latest"
    reply = _answer(browser, tmp_path, static_host, model, prompts[0])
    _check("transom serve", reply, prompts[0])
