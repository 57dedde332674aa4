"""pytest tests/api/test_python_apps.py: the example notebook in JupyterLite, the example page in
PyScript.

Both as they come from PyPI and npm, put beside a page by `web/examples/place.py`; Pyodide and all
wheels are on the page's own host. Service worker, house and API worker are those that are shipped;
the engine is scripted (`page_models.py`). Pyodide alone with a real model:
tests/e2e/test_python_in_browser.py.
"""

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.api.conftest import NPM, MissingTool
from tests.api.page_models import MODELS, contract
from tests.api.runner import Environment
from tests.contract.api.page_build import build_page, find_chromium
from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder, watch
from tests.e2e.commands import ROOT, run_checked
from tests.e2e.pyodide_wheels import download_wheels

EXAMPLES = ROOT / "web" / "examples"
START_MILLISECONDS = 300_000
"""Python starts, and its packages are unpacked."""
SAYS = "2 + 2 = 4."
"""What the scripted smollm2 says to everything."""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(
    environment: Environment, tmp_path_factory: pytest.TempPathFactory, missing_tool: MissingTool
) -> Iterator[str]:
    """Any host of files, with the page, the examples and JupyterLite on it; gives its address."""
    pyscript = NPM / "node_modules" / "@pyscript" / "core"
    if not pyscript.is_dir():
        missing_tool(f"no @pyscript/core in {NPM}; make it with: .ci/setup node tests/api/npm")
    folder, wheels, kernel = map(tmp_path_factory.mktemp, ("site", "wheels", "kernel"))
    build_page(folder, missing_tool)
    shutil.copy(ROOT / "web" / "public" / "fanlight.svg", folder)
    (folder / "contract.json").write_text(json.dumps(contract()))
    download_wheels(wheels, EXAMPLES / "openai-wheels.txt")
    download_wheels(kernel, EXAMPLES / "jupyterlite-wheels.txt")
    run_checked(
        *(environment("jupyterlite"), EXAMPLES / "place.py", folder),
        *("--pyodide", ROOT / "node_modules" / "pyodide", "--wheels", wheels),
        *("--pyscript", pyscript, "--jupyterlite", kernel),
        timeout=300,
    )
    # The contract page, in a tab of its own, answers instead of a frame of the real one.
    (folder / "embed.html").write_text("<!doctype html><title>Nobody</title>")
    with serve_folder(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser(
    site: str, tmp_path_factory: pytest.TempPathFactory, missing_tool: MissingTool
) -> Iterator[BrowserContext]:
    """With Transom open in a tab. No page of it asks another host."""
    chromium, profile = find_chromium(missing_tool), tmp_path_factory.mktemp("profile")
    own = (site, "blob:", "data:")
    asked: list[str] = []
    with (
        sync_playwright() as playwright,
        open_chromium(playwright, chromium, profile, WITHOUT_WEBGPU) as context,
    ):
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.goto(f"{site}/?where=browser")
        page.evaluate(
            """async () => {
                while (window.contract === undefined) {
                    await new Promise((resolve) => setTimeout(resolve, 20));
                }
                await window.contract.house.ready;
            }"""
        )
        yield context
    assert [url for url in asked if not url.startswith(own)] == []


def outputs(notebook: Page) -> list[str]:
    """What stands under each cell of code."""
    return [cell.inner_text() for cell in notebook.locator(".jp-CodeCell .jp-OutputArea").all()]


def test_the_notebook_runs_in_jupyterlite(browser: BrowserContext, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}/lab/lab/index.html?path=notebook.ipynb")
    expect(page.locator(".jp-CodeCell")).to_have_count(6, timeout=START_MILLISECONDS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell").last.locator(".jp-InputPrompt")
    expect(last).to_have_text("[6]:", timeout=START_MILLISECONDS)
    under_last = page.locator(".jp-CodeCell").last.locator(".jp-OutputArea")
    expect(under_last).to_contain_text(SAYS)
    installed, names, model, answer, word, fruit = outputs(page)
    assert installed == ""
    assert names.endswith(f"{sorted(MODELS)}")
    assert "Model(name='smollm2', capabilities=('completion'" in model
    assert answer == SAYS
    assert word.endswith(repr(SAYS))
    assert fruit.endswith(repr(SAYS))
    # JupyterLite's own would have put itself before ours, and unregistered it.
    registered = page.evaluate(
        "async () => (await navigator.serviceWorker.getRegistrations()).map(({ scope }) => scope)"
    )
    assert registered == [f"{site}/"]
    page.close()


def test_the_page_runs_in_pyscript(browser: BrowserContext, site: str) -> None:
    page = browser.new_page()
    complaints = watch(page)
    page.goto(f"{site}/examples/pyscript.html")
    expect(page.locator("#ask")).to_be_enabled(timeout=START_MILLISECONDS)
    page.locator("#ask").click()
    expect(page.locator("#answer")).to_have_text(SAYS)
    expect(page.locator("#ask")).to_be_enabled()
    # httpx2 warns that a browser's requests take no options of a network: an error to the console.
    warned = re.compile("UserWarning|AsyncHTTPTransport")
    assert [words for words in complaints if not warned.search(words)] == []
    page.close()
