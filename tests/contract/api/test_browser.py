"""pytest tests/contract/api/test_browser.py: every case, asked of a page in Chromium.

Service worker, house and API worker with Pyodide are those that are shipped; the engine is scripted
(tests/web/fakes/scripted-api-engine.ts), the page one of its own (tests/web/contract-page). All
cases are asked in one page, many at once, before the first test; each test then compares its own
with what the server says.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.contract.api.answers import Answer
from tests.contract.api.asking import (
    Case,
    Request,
    endless,
    read_cases,
    read_models,
    requested,
    run,
    scripts,
)
from tests.contract.api.checking import check_same
from tests.contract.api.conftest import Ask
from tests.contract.api.page_build import MissingTool, build_page, find_chromium
from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder, watch

pytestmark = pytest.mark.browser

CASES: Final = [case for case in read_cases() if case.only != "server"]
AT_ONCE: Final = 40


@pytest.fixture(scope="module")
def page_build(tmp_path_factory: pytest.TempPathFactory, missing_tool: MissingTool) -> Path:
    folder = tmp_path_factory.mktemp("contract-page")
    build_page(folder, missing_tool)
    return folder


@pytest.fixture(scope="module")
def chromium_path(missing_tool: MissingTool) -> str:
    return find_chromium(missing_tool)


@pytest.fixture(scope="module")
def page(
    page_build: Path,
    chromium_path: str,
    catalogue: Sequence[Mapping[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Page]:
    contract = {"catalogue": catalogue, "models": read_models(), "scripts": scripts()}
    (page_build / "contract.json").write_text(json.dumps(contract))
    profile = tmp_path_factory.mktemp("profile")
    with (
        serve_folder(page_build) as address,
        sync_playwright() as playwright,
        open_chromium(playwright, chromium_path, profile, WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        complaints = watch(page)
        page.goto(f"{address}/?where=browser")
        page.wait_for_function("() => window.contract !== undefined")
        page.evaluate("() => window.contract.house.ready")
        yield page
        # An answer with an error status is a line in the console, too.
        assert [line for line in complaints if "Failed to load resource" not in line] == []


@pytest.fixture(scope="module")
def page_answers(page: Page) -> Mapping[str, list[Answer]]:
    """Of all cases, by their names."""
    started = time.monotonic()
    together = [case for case in CASES if not case.alone]
    found: dict[str, list[Answer]] = {case.name: [] for case in CASES}
    for number in range(max(len(case.steps) for case in together)):
        asked = [case for case in together if number < len(case.steps)]
        for first in range(0, len(asked), AT_ONCE):
            batch = asked[first : first + AT_ONCE]
            requests = [requested(case.steps[number], found[case.name]) for case in batch]
            for case, answer in zip(batch, ask_page(page, requests), strict=True):
                found[case.name].append(answer)
    for case in CASES:
        if case.alone:
            found[case.name] = run(case, lambda request: ask_page(page, [request])[0])
    count = sum(len(answers) for answers in found.values())
    print(f"\n{count} requests in {time.monotonic() - started:.1f} s")
    return found


def ask_page(page: Page, requests: Sequence[Request]) -> list[Answer]:
    """Side by side."""
    rows = page.evaluate("(asked) => window.contract.ask(asked)", [asdict(r) for r in requests])
    return [Answer(row["status"], row["headers"], row["text"]) for row in rows]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case, ask_server: Ask, page_answers: Mapping[str, list[Answer]]) -> None:
    answers, same = page_answers[case.name], run(case, ask_server)
    for number, (step, answer) in enumerate(zip(case.steps, answers, strict=True)):
        assert answer.headers["transom-served-by"].startswith("browser; "), answer.headers
        check_same(case, step, requested(step, answers[:number]), same[number], answer)


@pytest.mark.parametrize("request_", endless(stream=True), ids=lambda request: request.path)
def test_who_leaves_ends_the_work(request_: Request, page: Page) -> None:
    before = page.evaluate("() => window.contract.engine.aborted")
    read = page.evaluate("(asked) => window.contract.leave(asked, 1)", asdict(request_))
    assert read
    page.wait_for_function(
        "(before) => window.contract.engine.aborted === before + 1", arg=before, timeout=20_000
    )


@pytest.mark.parametrize("request_", endless(stream=False), ids=lambda request: request.path)
def test_who_gives_up_a_whole_answer_ends_the_work(request_: Request, page: Page) -> None:
    before = page.evaluate("() => window.contract.engine.aborted")
    # Its head comes ahead of it: until then no browser tells a service worker.
    page.evaluate("(asked) => window.contract.leave(asked, 0)", asdict(request_))
    page.wait_for_function(
        "(before) => window.contract.engine.aborted === before + 1", arg=before, timeout=20_000
    )
