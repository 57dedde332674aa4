"""Two tabs, three models, eight streams, for a while: nothing grows and nothing is garbled.

TRANSOM_ENDURANCE_SECONDS=600 for the whole of it; CI takes a short one, with tiny models of three
architectures, so that there are many answers in it.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, Worker

from tests.bench.static_host import serve
from tests.e2e import tiny_bundles
from tests.e2e.browser import FLAGS, engine_worker, open_chromium, watch
from tests.e2e.test_several_models import WATCH

SECONDS = float(os.environ.get("TRANSOM_ENDURANCE_SECONDS", "40"))
SAMPLES = 20
MODELS = ("llama", "qwen3", "gemma3")
TABS = (("llama", "qwen3", "gemma3", "llama"), ("qwen3", "gemma3", "llama", "qwen3"))
"""The models of each tab's streams."""
FLAT = 0.05
WARM_UP = 20
"""Answers of each stream, after which code is compiled and caches are full."""
TOKENS = 24

MEASURABLE = (*FLAGS, "--enable-blink-features=ForceEagerMeasureMemory")
"""A page's memory, its worker's with it, is told at once, without waiting for a collection."""

# Each stream asks the same again and again; half of them draw, by a seed. What it says alone is
# what it must say every time.
STREAMS = """async ([models, maxTokens]) => {
    const requests = models.map((model, number) => ({
        model,
        messages: [{ role: "user", content: "fox ".repeat(1 + 4 * number) }],
        options: { temperature: number % 2, topP: 1, seed: number, maxTokens },
    }));
    const ask = async (request) =>
        (await window.transom.models.generate(request)).tokenIds.join(" ");
    const alone = [];
    for (const request of requests) {
        alone.push(await ask(request));
    }
    window.run = { isOver: false, answers: models.map(() => 0), garbled: [], alone };
    window.streams = Promise.all(requests.map(async (request, number) => {
        while (!window.run.isOver) {
            const said = await ask(request);
            window.run.answers[number]++;
            if (said !== alone[number]) {
                window.run.garbled.push({ model: request.model, number, said });
            }
        }
    }));
}"""
GPU_BYTES = "() => [...self.buffers.values()].reduce((sum, { size }) => sum + size, 0)"
HEAP_BYTES = "async () => (await performance.measureUserAgentSpecificMemory()).bytes"

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1200 + SECONDS)]


@dataclass
class Tab:
    page: Page
    worker: Worker
    complaints: list[str]
    gpu: list[int] = field(default_factory=list)
    heap: list[int] = field(default_factory=list)

    def sample(self) -> None:
        self.gpu.append(self.worker.evaluate(GPU_BYTES))
        self.heap.append(self.page.evaluate(HEAP_BYTES))


@pytest.fixture(scope="module")
def site(runtime: Path, web_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, and beside it three tiny models with the one program that SwiftShader takes."""
    folder = tmp_path_factory.mktemp("endurance")
    for path in web_build.iterdir():
        (folder / path.name).symlink_to(path)
    for name in MODELS:
        tiny_bundles.compile_tiny(name, folder / name, tmp_path_factory.mktemp(name), runtime)
    with serve(folder) as address:
        yield address


def open_tab(page: Page, address: str) -> Tab:
    complaints = watch(page)
    page.goto(address)
    page.wait_for_function("() => window.transom !== undefined")
    worker = engine_worker(page)
    worker.evaluate(WATCH)
    for model in MODELS:
        page.evaluate("(address) => window.transom.models.load(address)", f"bundle={model}/")
    return Tab(page, worker, complaints)


def test_nothing_grows_and_nothing_is_garbled(
    site: str, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with open_chromium(playwright, chromium, tmp_path / "profile", MEASURABLE) as context:
        tabs = [open_tab(context.new_page(), site) for _ in TABS]
        for tab, models in zip(tabs, TABS, strict=True):
            tab.page.evaluate(STREAMS, [list(models), TOKENS])
        for tab in tabs:
            tab.page.wait_for_function(f"() => Math.min(...window.run.answers) >= {WARM_UP}")
        begun = time.monotonic()
        for sample in range(1, SAMPLES + 1):
            time.sleep(max(0.0, begun + SECONDS * sample / SAMPLES - time.monotonic()))
            for tab in tabs:
                tab.sample()
        runs: list[dict[str, Any]] = [
            tab.page.evaluate(
                """async () => {
                    window.run.isOver = true;
                    await window.streams;
                    return window.run;
                }"""
            )
            for tab in tabs
        ]
        seconds = time.monotonic() - begun
    for number, (tab, run) in enumerate(zip(tabs, runs, strict=True)):
        heap, gpu = growth(tab.heap), growth(tab.gpu)
        print(
            f"\ntab {number}: {seconds:.0f} s, answers {run['answers']}, "
            f"GPU buffers {tab.gpu[-1] / 1e6:.1f} MB ({gpu:+.1%}), "
            f"heap {tab.heap[-1] / 1e6:.1f} MB ({heap:+.1%})"
        )
        print("  heap, MB: " + " ".join(f"{bytes_ / 1e6:.1f}" for bytes_ in tab.heap))
        assert run["garbled"] == []
        assert min(run["answers"]) > 1
        assert all(len(said.split()) == TOKENS for said in run["alone"])
        assert tab.gpu[-1] > 0
        assert abs(gpu) < FLAT
        assert heap < FLAT
        # The page has no icon and no list of models here, and says so.
        assert [line for line in tab.complaints if "404" not in line] == []


def growth(samples: list[int]) -> float:
    """From the second to the last fifth: at first caches fill."""
    fifth = len(samples) // 5
    return median(samples[-fifth:]) / median(samples[fifth : 2 * fifth]) - 1
