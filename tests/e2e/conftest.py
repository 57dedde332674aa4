"""What the end-to-end tests share: one compiled bundle, one web build, one oracle for the session.

Everything is made by the commands a person types, in child processes, so that what is tested is
what is shipped. Steps that find their result already there (the runtime, the oracle's answers)
reuse it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.e2e import commands, node_engine, oracle
from tests.e2e.commands import (
    BUILD_TIMEOUT_SECONDS,
    COMPILE_TIMEOUT_SECONDS,
    ROOT,
    TOKENS,
    TRANSOM,
    Compiled,
    Prompt,
    run_checked,
    transom,
)

MissingTool = Callable[[str], NoReturn]


@pytest.fixture(scope="session")
def prompts() -> list[Prompt]:
    return commands.read_prompts()


@pytest.fixture(scope="session")
def oracle_answers(
    smollm2: Path, prompts: list[Prompt], pytestconfig: pytest.Config
) -> list[oracle.Answer]:
    """The oracle's greedy answers to all prompts; about a minute the first time, then cached."""
    cache = pytestconfig.cache
    assert cache is not None
    folder = Path(cache.mkdir("transom-oracle"))
    return oracle.ask(smollm2, [prompt.token_ids for prompt in prompts], TOKENS, folder)


@pytest.fixture(scope="session")
def gemma3_prompts(prompts: list[Prompt], pytestconfig: pytest.Config) -> list[Prompt]:
    """All of them with `--thorough`; a CPU takes its time over a quarter of a million tokens."""
    return prompts if pytestconfig.getoption("--thorough") else prompts[:3]


@pytest.fixture(scope="session")
def gemma3_answers(
    gemma3: Path, gemma3_prompts: list[Prompt], pytestconfig: pytest.Config
) -> list[oracle.Answer]:
    """The oracle's greedy continuations by Gemma 3 270M; minutes the first time, then cached."""
    cache = pytestconfig.cache
    assert cache is not None
    folder = Path(cache.mkdir("transom-oracle"))
    asked = [prompt.gemma3_token_ids for prompt in gemma3_prompts]
    return oracle.ask(gemma3, asked, TOKENS, folder)


@pytest.fixture(scope="session")
def runtime() -> Path:
    """Folder of the wasm runtime, built once per machine into the user's cache folder."""
    printed = run_checked(TRANSOM, "build", "runtime", timeout=BUILD_TIMEOUT_SECONDS)
    return Path(printed.splitlines()[-1].rpartition(": ")[2])


@pytest.fixture(scope="session")
def web_build(missing_tool: MissingTool) -> Path:
    """The page and the Node entry, built from this tree."""
    if shutil.which("npm") is None or not (ROOT / "node_modules").exists():
        missing_tool("no node_modules here: npm ci")
    run_checked(TRANSOM, "build", "pyodide", timeout=BUILD_TIMEOUT_SECONDS)
    run_checked("npm", "run", "build", timeout=BUILD_TIMEOUT_SECONDS)
    run_checked("npm", "run", "build:node", timeout=BUILD_TIMEOUT_SECONDS)
    return ROOT / "web" / "dist"


@pytest.fixture(scope="session")
def compiled(smollm2: Path, runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """SmolLM2 compiled once for the session, in a store of its own."""
    folder = tmp_path_factory.mktemp("compiled")
    bundle, store = folder / "smollm2", folder / "models"
    done = transom(
        "compile", smollm2, "--name", "smollm2", "--out", bundle, "--json",
        store=store, timeout=COMPILE_TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Compiled(bundle, store, "smollm2", json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="session")
def compiled_gemma3(
    gemma3: Path, runtime: Path, compiled: Compiled, tmp_path_factory: pytest.TempPathFactory
) -> Compiled:
    """Gemma 3 270M in the same store; it has no chat template, which takes `--force`."""
    bundle = tmp_path_factory.mktemp("gemma3") / "gemma3"
    done = transom(
        "compile", gemma3, "--name", "gemma3", "--out", bundle, "--force", "--json",
        store=compiled.store, timeout=COMPILE_TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return Compiled(bundle, compiled.store, "gemma3", json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="session")
def bundle(request: pytest.FixtureRequest) -> Path:
    """The bundle whose numbers are compared: the session's, or the one named with --bundle."""
    named: Path | None = request.config.getoption("--bundle")
    if named is not None:
        return named
    compiled: Compiled = request.getfixturevalue("compiled")
    return compiled.bundle


@pytest.fixture(scope="session")
def llvmpipe(missing_tool: MissingTool) -> dict[str, str]:
    """Variables that run Node's WebGPU on Mesa's llvmpipe, which has shader-f16."""
    driver = node_engine.mesa_environment()
    if driver is None:
        missing_tool("no Mesa 25 in the user's cache folder: run .ci/mesa")
    return driver


@pytest.fixture(scope="session")
def chromium(missing_tool: MissingTool) -> str:
    """Path of a Chromium or Chrome to drive."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    missing_tool("no Chromium here: apt-get install chromium")


@pytest.fixture(scope="session")
def server(
    compiled: Compiled, web_build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[commands.Server]:
    """`transom serve` over the session's store, with the page built from this tree."""
    log_path = tmp_path_factory.mktemp("server") / "log.txt"
    with commands.serve(compiled.store, log_path) as running:
        yield running


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """One for a file and no longer: while it runs, no other one in this process may start."""
    with sync_playwright() as running:
        yield running
