"""Where an engine can run, and one measurement of one engine there.

Every measurement is a process of its own; what stays between a cold one and a warm one is in a
folder: WebLLM's cache, the browser's profile, the driver's compiled shaders. What is measured, and
how, is web/src/node/measure.ts; the figures here are its JSON. Knows no statistics and no tables.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Playwright

from tests.bench import static_host
from tests.bench.page_visits import WITHOUT_SERVICE_WORKERS
from tests.e2e import node_engine
from tests.e2e.browser import open_chromium
from tests.e2e.commands import ROOT

HELPERS = Path(__file__).with_name("engines")
NODE_BUILD = ROOT / "web" / "dist-node"
TIMEOUT_SECONDS = 3600
"""A software GPU takes half an hour for what is long."""


@dataclass(frozen=True)
class Plan:
    """Options of measure.ts."""

    salt: int
    first_answer: bool = True
    prompt_tokens: tuple[int, ...] = ()
    tokens: int = 0
    sequences: tuple[int, ...] = (1,)
    host_tokens: int = 0

    def alone(self) -> dict[str, object]:
        """In measure.ts's words, for who holds one conversation at a time."""
        return {
            "salt": self.salt,
            "firstAnswer": self.first_answer,
            "promptTokens": self.prompt_tokens,
            "tokens": self.tokens,
            "sequences": [1],
            "hostTokens": self.host_tokens,
        }


Figures = dict[str, Any]
"""What measure.ts returns, with `engine` and `loadSeconds`."""
Measure = Callable[[Plan, Path], Figures]
"""One process. The folder is empty for a cold start and kept for a warm one."""


@dataclass(frozen=True)
class Driver:
    """A Vulkan driver for Node, and which of a bundle's files run well on it."""

    name: str
    environment: dict[str, str]
    kind: str

    @property
    def program(self) -> str:
        """What our engine runs."""
        return f"program-{self.kind}.json"

    @property
    def library(self) -> str:
        """What WebLLM runs."""
        return f"library-{self.kind}.wasm"


def drivers() -> list[Driver]:
    """The software ones that are here, and whatever Vulkan finds by itself."""
    found = [Driver("GPU", {}, "f16")]
    mesa = node_engine.mesa_environment()
    swiftshader = node_engine.swiftshader_environment()
    if mesa is not None:
        found.append(Driver("llvmpipe", mesa, "f32-fallback"))
    if swiftshader is not None:
        found.append(Driver("SwiftShader", swiftshader, "f32-fallback"))
    return found


def transom_in_node(bundle: Path, driver: Driver) -> Measure:
    def measure(plan: Plan, state: Path) -> Figures:
        arguments = [
            "--bundle", str(bundle),
            "--library", driver.program,
            "--prompts", ",".join(map(str, plan.prompt_tokens)),
            "--tokens", str(plan.tokens),
            "--sequences", ",".join(map(str, plan.sequences)),
            "--host-tokens", str(plan.host_tokens),
            "--salt", str(plan.salt),
            *([] if plan.first_answer else ["--no-first-answer"]),
        ]  # fmt: skip
        return _node(NODE_BUILD / "bench.mjs", arguments, driver, state)

    return measure


def webllm_in_node(address: str, model: str, library: str, driver: Driver) -> Measure:
    """`model` is a folder below the served address, `library` a file in it."""

    def measure(plan: Plan, state: Path) -> Figures:
        request = {
            "model": f"{address}/{model}",
            "modelLib": f"{address}/{model}/resolve/main/{library}",
            "cacheFolder": str(state / "caches"),
            "plan": plan.alone(),
        }
        return _node(HELPERS / "webllm_node.mjs", [json.dumps(request)], driver, state)

    return measure


def _node(script: Path, arguments: list[str], driver: Driver, state: Path) -> Figures:
    done = subprocess.run(
        ["node", str(script), *arguments],
        env={**os.environ, **driver.environment, "MESA_SHADER_CACHE_DIR": str(state / "shaders")},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=ROOT,
    )
    if done.returncode != 0:
        words = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"{script.name} on {driver.name} ended with {done.returncode}\n{words}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def transom_in_chromium(playwright: Playwright, executable: str, address: str) -> Measure:
    """The engine alone, as the others are: no service worker starts, and so no Python does."""

    def run(page: Page, plan: Plan) -> Figures:
        page.add_init_script(WITHOUT_SERVICE_WORKERS)
        page.goto(f"{address}/page/")
        figures: Figures = page.evaluate(
            "async ([model, plan]) => (await import('/transom_page.mjs')).run(model, plan)",
            ["bundle=demo/", plan.alone()],
        )
        return figures

    return _in_chromium(playwright, executable, run)


def other_in_chromium(
    playwright: Playwright, executable: str, address: str, request: dict[str, str]
) -> Measure:
    """`request`: the engine's name and its addresses, relative to the site's."""

    def run(page: Page, plan: Plan) -> Figures:
        page.goto(f"{address}/other_engines.html")
        page.wait_for_function("() => window.bench !== undefined")
        addresses = {name: f"{address}/{path}" for name, path in request.items()}
        figures: Figures = page.evaluate(
            "request => window.bench(request)",
            {**addresses, "engine": request["engine"], "plan": plan.alone()},
        )
        return figures

    return _in_chromium(playwright, executable, run)


def _in_chromium(
    playwright: Playwright, executable: str, run: Callable[[Page, Plan], Figures]
) -> Measure:
    def measure(plan: Plan, state: Path) -> Figures:
        with open_chromium(playwright, executable, state / "profile") as context:
            context.set_default_timeout(TIMEOUT_SECONDS * 1000)
            return run(context.new_page(), plan)

    return measure


@contextmanager
def serve_models(folder: Path, models: dict[str, Path]) -> Iterator[str]:
    """Folders by name, as WebLLM wants them by path; and for Chromium all pages and scripts."""
    for name, model in models.items():
        (folder / name / "resolve").mkdir(parents=True)
        (folder / name / "resolve" / "main").symlink_to(model.resolve())
    with static_host.serve(folder) as address:
        yield address


def add_pages(folder: Path, bundle: Path, gguf: Path | None) -> None:
    """Into a served folder: our page with a worker that counts, and the page of the others."""
    for helper in (*HELPERS.iterdir(), *NODE_BUILD.glob("*.mjs")):
        (folder / helper.name).symlink_to(helper)
    packages = ROOT / "node_modules"
    (folder / "web-llm.js").symlink_to(packages / "@mlc-ai" / "web-llm" / "lib" / "index.js")
    (folder / "wllama").symlink_to(packages / "@wllama" / "wllama" / "esm")
    if gguf is not None:
        (folder / "model.gguf").symlink_to(gguf.resolve())
    shutil.copytree(ROOT / "web" / "dist", folder / "page")
    (folder / "page" / "demo").symlink_to(bundle.resolve())
    [worker] = [
        path
        for path in (folder / "page" / "assets").glob("worker-*.js")
        if "postMessage" in path.read_text()
    ]
    worker.write_text(f'import "/worker_counters.mjs";\n{worker.read_text()}')
