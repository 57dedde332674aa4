"""Another app of the page's origin, with npm's `openai` unmodified: the page's model answers it.

The host hands out files and no more, so whatever is answered is answered in the browser. The app is
`tests/web/openai-page`.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.e2e.browser import open_chromium, serve_folder, watch
from tests.e2e.commands import BUILD_TIMEOUT_SECONDS, ROOT, run_checked

MODEL = "demo"
QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(
    bundle: Path,
    web_build: Path,
    tmp_path_factory: pytest.TempPathFactory,
    missing_tool: Callable[[str], NoReturn],
) -> Iterator[str]:
    """Page, bundle and app in one folder; gives its address."""
    if shutil.which("npx") is None:
        missing_tool("no npx here: install Node")
    folder = tmp_path_factory.mktemp("site")
    for path in web_build.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / MODEL).symlink_to(bundle)
    run_checked(
        "npx", "vite", "build", ROOT / "tests/web/openai-page", "--outDir", folder / "app",
        timeout=BUILD_TIMEOUT_SECONDS,
    )  # fmt: skip
    (folder / "app" / "frame.html").write_text("<!doctype html><title>Frame</title>")
    with serve_folder(folder) as address:
        yield address


@pytest.fixture(scope="module")
def app(
    site: str, playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """The app's tab, beside one with the page, which leads."""
    with open_chromium(playwright, chromium, tmp_path_factory.mktemp("profile")) as context:
        leader = context.new_page()
        leader.goto(f"{site}/?bundle={MODEL}/")
        report = leader.evaluate("() => window.transom.ready")
        assert report["engine"] == "webgpu"
        expect(leader.locator("#place-text")).to_contain_text("This browser's graphics adapter")
        opened = context.new_page()
        complaints = watch(opened)
        opened.goto(f"{site}/app/index.html")
        opened.wait_for_function("() => window.app !== undefined")
        yield opened
        # What is refused is an error to the console, too.
        assert [words for words in complaints if "404" not in words] == []


def call(app: Page, name: str, *arguments: str) -> Any:
    return app.evaluate("([name, asked]) => window.app[name](...asked)", [name, list(arguments)])


def test_an_answer_as_a_whole_and_in_pieces(app: Page) -> None:
    whole = call(app, "whole", MODEL, QUESTION)
    assert (whole["text"], whole["finish"]) == (ANSWER, "stop")
    assert whole["usage"]["prompt_tokens"] == 37
    assert whole["servedBy"].startswith("browser; ")
    streamed = call(app, "streamed", MODEL, QUESTION)
    assert streamed["text"] == ANSWER
    assert streamed["tokens"] == whole["usage"]["completion_tokens"]
    assert streamed["pieces"] > 2


def test_a_tool_is_called_with_what_its_schema_allows(app: Page) -> None:
    called = call(app, "called", MODEL, "Look up Paris.")
    assert called["name"] == "look_up"
    check_town(called["arguments"])


def test_an_answer_has_its_schema(app: Page) -> None:
    check_town(call(app, "shaped", MODEL, "Is Paris a capital? Answer in JSON."))


def check_town(town: Any) -> None:
    assert set(town) == {"city", "isCapital"}
    assert isinstance(town["city"], str)
    assert isinstance(town["isCapital"], bool)


def test_a_model_that_nobody_has(app: Page) -> None:
    refused = call(app, "refused", "nobody/has-it")
    assert (refused["status"], refused["code"]) == (404, "model_not_found")


def test_models_from_a_frame(app: Page) -> None:
    assert any(MODEL in name for name in call(app, "models"))
    framed = call(app, "framed")
    assert framed["servedBy"].startswith("browser; ")
    assert any(MODEL in row["id"] for row in framed["body"]["data"])
