"""Several models in one engine: side by side within a budget, and nothing left of one that went."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, Worker, expect

from tests.e2e.browser import engine_worker, open_chromium
from tests.e2e.commands import Compiled, Server, transom
from tests.e2e.test_downloads import blobs_of

QUESTION = "What is the capital of France?"
TOKENS = 6
SMALL_BYTES = 5e6
"""Config, list of tensors and program; one shard has six times as much."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]

# Counts what lives on the GPU, and sees whether a library's memory is let go of.
WATCH = """() => {
    self.buffers = new Map();
    self.devices = new Set();
    self.instances = [];
    const wrap = (prototype, name, around) => {
        const before = prototype[name];
        prototype[name] = function (...args) {
            return around(this, () => before.apply(this, args), ...args);
        };
    };
    wrap(GPUDevice.prototype, "createBuffer", (device, make, { size }) => {
        const buffer = make();
        self.devices.add(device);
        self.buffers.set(buffer, { device, size });
        return buffer;
    });
    wrap(GPUBuffer.prototype, "destroy", (buffer, destroy) => {
        self.buffers.delete(buffer);
        return destroy();
    });
    wrap(GPUDevice.prototype, "destroy", (device, destroy) => {
        self.devices.delete(device);
        for (const [buffer, row] of self.buffers) {
            if (row.device === device) {
                self.buffers.delete(buffer);
            }
        }
        return destroy();
    });
    wrap(WebAssembly, "instantiate", async (_, instantiate) => {
        const made = await instantiate();
        self.instances.push(new WeakRef(made.instance ?? made));
        return made;
    });
}"""
# Memory that is asked for makes the engine of JavaScript look for memory that nobody needs.
COUNT = """async () => {
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    for (let round = 0; round < 40; round++) {
        self.garbage = new Uint8Array(64e6).fill(1);
        await pause(20);
    }
    for (let round = 0; round < 30; round++) {
        self.garbage = Array.from({ length: 2e5 }, (_, index) => ({ index }));
        await pause(5);
    }
    self.garbage = null;
    const rows = [...self.buffers.values()];
    return {
        buffers: rows.length,
        bytes: rows.reduce((sum, { size }) => sum + size, 0),
        devices: self.devices.size,
        instances: self.instances.filter((each) => each.deref() !== undefined).length,
    };
}"""


@pytest.fixture(scope="module")
def both(compiled: Compiled, server: Server) -> Iterator[Server]:
    """SmolLM2 under two more names; the weights are the same files."""
    for name in ("twin", "other"):
        done = transom("cp", compiled.name, name, store=compiled.store)
        assert done.returncode == 0, done.stderr
    yield server
    for name in ("twin", "other"):
        assert transom("rm", name, store=compiled.store).returncode == 0


@pytest.fixture
def page(
    both: Server, playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """A page without a model of its own."""
    with open_chromium(playwright, chromium, tmp_path_factory.mktemp("profile")) as context:
        page = context.new_page()
        page.goto(both.address)
        page.wait_for_function("() => window.transom !== undefined")
        yield page


def load(page: Page, model: str, more: str = "") -> dict[str, Any]:
    report: dict[str, Any] = page.evaluate(
        "(address) => window.transom.models.load(address)", f"model={model}&pipelines=lazy{more}"
    )
    print(f"\n{json.dumps(report)}")
    return report


def ask(page: Page, *models: str | None) -> list[str]:
    """Ask each the same, all at once; None is whoever was loaded last."""
    texts: list[str] = page.evaluate(
        """([models, content, maxTokens]) => Promise.all(models.map(async (model) => {
            const messages = [{ role: "user", content }];
            const options = { temperature: 0, maxTokens };
            const request = { messages, options, ...(model && { model }) };
            return (await window.transom.models.generate(request)).text;
        }))""",
        [list(models), QUESTION, TOKENS],
    )
    return texts


def engine(page: Page) -> Worker:
    worker = engine_worker(page)
    worker.evaluate(WATCH)
    return worker


def test_two_models_answer_at_once(page: Page) -> None:
    alone = load(page, "smollm2")
    assert load(page, "twin")["unloaded"] == []
    again = load(page, "smollm2")
    assert again["loadSeconds"] == alone["loadSeconds"], "it was loaded a second time"
    one, other, last = *ask(page, "smollm2", "twin"), *ask(page, None)
    assert one == other == last
    assert one.startswith("The capital of France")


def test_a_model_that_leaves_leaves_nothing(page: Page) -> None:
    worker = engine(page)
    report = load(page, "smollm2")
    ask(page, "smollm2")
    full = worker.evaluate(COUNT)
    print(full)
    # The estimate that its place was made by was right.
    assert abs(full["bytes"] - report["gpuBytes"]) < 0.1 * report["gpuBytes"]
    page.evaluate("() => window.transom.models.unload('smollm2')")
    empty = {"buffers": 0, "bytes": 0, "devices": 0, "instances": 0}
    assert worker.evaluate(COUNT) == empty
    with pytest.raises(Exception, match="smollm2 is not loaded"):
        ask(page, "smollm2")


def test_the_budget_lets_the_least_recently_used_go(page: Page) -> None:
    worker = engine(page)
    need = load(page, "smollm2")["gpuBytes"]
    budget = f"&memory={int(2.5 * need / 1e6)}"
    assert load(page, "twin", budget)["unloaded"] == []
    ask(page, "smollm2")
    assert load(page, "other", budget)["unloaded"] == ["twin"]
    count = worker.evaluate(COUNT)
    assert count["devices"] == 2
    assert count["bytes"] < 2.5 * need
    assert ask(page, "smollm2") == ask(page, "other")


def test_a_model_that_does_not_fit_is_refused_before_its_weights(page: Page, both: Server) -> None:
    addresses: list[str] = []
    page.context.on("request", lambda request: addresses.append(request.url))
    fit = page.evaluate("() => window.transom.models.fit('model=smollm2&memory=100')")
    assert [problem["code"] for problem in fit["problems"]] == ["out-of-memory"]
    assert fit["downloadBytes"] > 90e6
    with pytest.raises(Exception, match=r"about \d+ MB of graphics memory.*choose a smaller"):
        load(page, "smollm2", "&memory=100")
    asked = set(re.findall(r"/blobs/(sha256:[0-9a-f]{64})", "\n".join(addresses)))
    sizes = [size for digest, size in blobs_of(both, "smollm2").items() if digest in asked]
    assert 0 < sum(sizes) < SMALL_BYTES
    assert load(page, "smollm2", "&memory=100&force=1")["model"] == "smollm2"


def test_the_page_says_what_does_not_fit_and_how_to_go_on(page: Page, both: Server) -> None:
    page.goto(f"{both.address}/?model=smollm2&pipelines=lazy&memory=100")
    # The server answers instead, and says why.
    page.get_by_role("heading", name="smollm2 is ready on the server").wait_for()
    expect(page.locator("#place-text")).to_contain_text("MB of graphics memory")
    page.get_by_role("link", name="Load it all the same").click()
    page.get_by_role("heading", name="smollm2 is ready", exact=True).wait_for()
