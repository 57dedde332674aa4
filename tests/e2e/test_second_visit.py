"""A second visit to the same model in a real Chromium: what conversations used is built with the
load and nothing after it, and a seed says what it said before.

The model is a tiny random one, so what it says is noise, and noise shows every difference.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from tests.bench.static_host import serve
from tests.e2e import tiny_bundles
from tests.e2e.browser import engine_worker, open_chromium, wait_until, watch
from tests.e2e.test_kept_prefixes import KEPT

MODEL = "llama"
PROMPT = "fox " * 18
"""More than four pages of the KV cache, so that the next visit finds its beginning on the disk."""
LEAST_KEPT = 4
TOKENS = 20
LEAST_SAID = 8
"""Of TOKENS; a stop token may be drawn as any other."""
ASKS: dict[str, dict[str, Any]] = {
    "draw_all": {"options": {"temperature": 1, "topP": 1, "seed": 5}},
    "draw_top": {"options": {"temperature": 1, "topP": 0.9, "topK": 20, "seed": 6}},
    "draw_sorted": {"options": {"temperature": 0.8, "topP": 0.9, "presencePenalty": 1, "seed": 7}},
    "greedy": {"options": {"temperature": 0}},
}
"""By the function that chooses."""
LOGPROBS = {"logprobs": True, "top_logprobs": 3}
"""Of the one that the API is asked for, which makes it all that conversations use."""
USED = {"prefill", "decode", "batch", "adjust", "rank", "rank_chosen", *ASKS}
"""Functions of a program (docs/formats/program.md)."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]

COUNT = """() => {
    self.pipelines = 0;
    for (const name of ["createComputePipeline", "createComputePipelineAsync"]) {
        const create = GPUDevice.prototype[name];
        GPUDevice.prototype[name] = function (...given) {
            self.pipelines++;
            return create.apply(this, given);
        };
    }
}"""
# Each alone, then all at once: kernels for one row and for several.
SAY = """async ([asks, content, maxTokens]) => {
    const messages = [{ role: "user", content }];
    const ask = ({ options, ...more }) => window.transom.models.generate({
        messages, options: { ...options, maxTokens }, ...more,
    });
    const alone = [];
    for (const each of asks) {
        alone.push(await ask(each));
    }
    const together = await Promise.all(asks.map(ask));
    return [alone, together];
}"""
REQUEST = """async (body) => {
    const headers = { "Content-Type": "application/json", "Transom-Where": "browser" };
    const request = { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await fetch("v1/chat/completions", request);
    return [answer.headers.get("Transom-Served-By"), await answer.json()];
}"""
# What a visit leaves for the next one.
HINTED = """async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("transom");
    const folder = await root.getDirectoryHandle("functions");
    for await (const file of folder.values()) {
        // It may be replaced meanwhile.
        const text = await file.getFile().then((found) => found.text()).catch(() => "");
        return JSON.parse(text || "[]");
    }
    return [];
}"""


@dataclass(frozen=True)
class Visit:
    said: list[list[int]]
    """Token ids of each of ASKS."""
    text: str
    """What the API says by a seed."""
    cached: int
    """Tokens of the prompt that were here before this visit asked anything."""
    pipelines: int
    """Made between the end of the load and that of the last answer."""


@pytest.fixture(scope="module")
def site(runtime: Path, web_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("second-visit")
    for path in web_build.iterdir():
        (folder / path.name).symlink_to(path)
    tiny_bundles.compile_tiny(MODEL, folder / MODEL, tmp_path_factory.mktemp(MODEL), runtime)
    with serve(folder) as address:
        yield f"{address}/?bundle={MODEL}/&where=browser"


def visit(page: Page) -> Visit:
    """Ask all that is asked of a page that is open."""
    report = page.evaluate("() => window.transom.ready")
    worker = engine_worker(page)
    worker.evaluate(COUNT)
    alone, together = page.evaluate(SAY, [list(ASKS.values()), PROMPT, TOKENS])
    said = [answer["tokenIds"] for answer in alone]
    # Nor does company change it.
    assert [answer["tokenIds"] for answer in together] == said
    assert min(map(len, said)) >= LEAST_SAID
    assert len(set(map(tuple, said))) == len(ASKS), "chance changes nothing"
    options = {"temperature": 1, "top_p": 1, "seed": 5, "max_tokens": TOKENS, **LOGPROBS}
    messages = [{"role": "user", "content": PROMPT}]
    served, answer = page.evaluate(REQUEST, {"model": MODEL, "messages": messages, **options})
    assert str(served).startswith("browser"), (served, answer)
    found = Visit(
        said,
        answer["choices"][0]["message"]["content"],
        alone[0]["cachedTokens"],
        worker.evaluate("() => self.pipelines"),
    )
    print(f"\n{json.dumps(report)}\n{found}")
    return found


def leave(page: Page) -> None:
    """Whatever is written for the next visit is written while nobody waits for it."""
    wait_until(
        page,
        f"async (used) => {{ const names = await ({HINTED})(); return used.every((name) => "
        "names.includes(name)); }",
        sorted(USED),
    )
    wait_until(page, f"async () => await ({KEPT})() >= {LEAST_KEPT}")


def opened(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(address)
    return page


def test_the_same_again_and_nothing_is_compiled_for_it(
    site: str, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    with open_chromium(playwright, chromium, profile) as context:
        page = opened(context, site)
        first = visit(page)
        # What is not used by everybody is built when it is first asked for.
        assert first.pipelines > 0
        assert first.cached == 0
        leave(page)
        complaints = watch(page)
        page.reload()
        reloaded = visit(page)
        # The page has no list of models here, and says so.
        assert [words for words in complaints if "404" not in words] == []
    with open_chromium(playwright, chromium, profile) as context:
        again = visit(opened(context, site))
    for later in (reloaded, again):
        assert later.pipelines == 0
        assert (later.said, later.text) == (first.said, first.text)
        # … with pages of the KV cache that the first visit has left.
        assert later.cached > 0
