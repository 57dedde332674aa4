"""Python in the browser asks the models of the same browser: the example notebook, cell by cell,
and the example page, with npm's Pyodide, our `transom` wheel and PyPI's `openai` unmodified.

The host hands out files and no more, so whatever is answered is answered in the browser.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.e2e.browser import open_chromium, serve_folder, watch
from tests.e2e.commands import ROOT, Compiled, run_checked, transom
from tests.e2e.pyodide_wheels import download_wheels

EXAMPLES = ROOT / "web" / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]

IN_A_CELL = """
from pyodide.code import eval_code_async
print(await eval_code_async({cell!r}, globals()))
"""
"""A cell shows the value of its last line, where that is one."""


@pytest.fixture(scope="module")
def site(
    compiled: Compiled,
    web_build: Path,
    tmp_path_factory: pytest.TempPathFactory,
    missing_tool: Callable[[str], NoReturn],
) -> Iterator[str]:
    """An export with the examples beside it; gives its address."""
    pyodide = ROOT / "node_modules" / "pyodide"
    if not pyodide.is_dir():
        missing_tool("no npm package pyodide here: npm ci")
    folder = tmp_path_factory.mktemp("python") / "site"
    done = transom("export", folder, compiled.name, store=compiled.store)
    assert done.returncode == 0, done.stdout + done.stderr
    wheels = tmp_path_factory.mktemp("wheels")
    download_wheels(wheels, EXAMPLES / "openai-wheels.txt")
    run_checked(
        *(sys.executable, EXAMPLES / "place.py", folder, "--pyodide", pyodide, "--wheels", wheels),
        timeout=120,
    )
    with serve_folder(folder) as address:
        yield address


@pytest.fixture(scope="module")
def page(
    site: str, playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """The example page, whose frame of ours answers; no other page of Transom is open."""
    with open_chromium(playwright, chromium, tmp_path_factory.mktemp("profile")) as context:
        opened = context.new_page()
        complaints = watch(opened)
        opened.goto(f"{site}/examples/python.html")
        frame = opened.frame_locator("iframe")
        expect(frame.locator("#line")).to_have_text(
            "Models of this browser answer here.", timeout=600_000
        )
        expect(opened.locator("#run")).to_be_enabled(timeout=600_000)
        yield opened
        # What is refused is an error to the console, too.
        assert [words for words in complaints if "status of 404" not in words] == []


def run(page: Page, program: str) -> str:
    """What a program prints."""
    page.locator("#program").fill(program)
    page.locator("#run").click()
    expect(page.locator("#run")).to_be_enabled(timeout=600_000)
    return page.locator("#output").inner_text()


def test_the_example_page_runs_its_program(page: Page) -> None:
    printed = run(page, page.locator("#program").input_value())
    assert printed == "smollm2 is here.\nThe capital of France is Paris."


def test_the_notebook_runs_from_its_first_cell_to_its_last(page: Page) -> None:
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # Its first one is for notebooks: tests/api/test_python_apps.py.
    assert cells.pop(0).startswith("%pip ")
    printed = [run(page, IN_A_CELL.format(cell=cell)) for cell in cells]
    names, model, answer, word, fruit = printed
    assert names == "['smollm2']\n"
    assert model.startswith("Model(name='smollm2', capabilities=('completion',")
    assert answer == "The capital of France is Paris.None\n"
    assert word.strip() != ""
    # Before it, httpx2 warns that a browser's requests take no options of a network.
    assert json.loads(fruit[fruit.index("{") :])["fruit"] in ("apple", "pear", "plum")


def test_openai_streams_and_hears_errors(page: Page) -> None:
    program = """
import openai, transom
client = openai.AsyncOpenAI(base_url=transom.base_url(), api_key="-")
question = [{"role": "user", "content": "What is the capital of France?"}]
stream = await client.chat.completions.create(
    model="smollm2", messages=question, temperature=0, stream=True
)
pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
print("".join(pieces), len(pieces) > 2)
try:
    await client.chat.completions.create(model="nobody/has-this", messages=question)
except openai.NotFoundError as error:
    print(error.status_code, "nobody/has-this" in str(error))
"""
    assert run(page, program) == "The capital of France is Paris. True\n404 True\n"
