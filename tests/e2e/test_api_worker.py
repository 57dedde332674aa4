"""The API worker in Chromium: Pyodide under the page's policy, with a scripted engine.

A page of its own (tests/web/api-worker-page) stands for service worker and engine. What requests
and answers look like in general is the business of tests/contract/api.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Page, Playwright

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder, watch
from tests.e2e.commands import BUILD_TIMEOUT_SECONDS, ROOT, TRANSOM, run_checked, serve

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHAT = {"model": "scripted", "messages": [{"role": "user", "content": "Hi"}]}
TEXT = "Hello wörld 🦊."
PIECES = {"pieces": ["Hel", "lo", " wörld ", "🦊", "."], "batch": 2}
FIRST_FRAME_MILLISECONDS = 15
TOKEN_MILLISECONDS = 0.3
# Each loop is as long as the sandbox lets it be.
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
HUNGRY = (
    "{% set all = namespace(x=[]) %}"
    "{% for a in range(200) %}{% set all.x = all.x + ['x' * 99999999 ~ a] %}{% endfor %}"
)
NEVER_ASKED_FOR = {"NOTICE.txt", "python_more.zip"}
"""People read the one; programs of models import from the other, in a sandbox of their own."""
HANG_MILLISECONDS = 20_000
BUSY = 4
"""A machine that also runs other tests: figures are printed, and held to so many times as much."""


@pytest.fixture(scope="module")
def page_build(
    tmp_path_factory: pytest.TempPathFactory, missing_tool: Callable[[str], NoReturn]
) -> Path:
    if shutil.which("npx") is None or not (ROOT / "node_modules").exists():
        missing_tool("no node_modules here: npm ci")
    run_checked(TRANSOM, "build", "pyodide", timeout=BUILD_TIMEOUT_SECONDS)
    output = tmp_path_factory.mktemp("api-worker") / "page"
    config = ROOT / "tests/web/api-worker-page/vite.config.ts"
    run_checked(
        "npx", "vite", "build", "--config", config, "--outDir", output,
        timeout=BUILD_TIMEOUT_SECONDS,
    )  # fmt: skip
    return output


@pytest.fixture(scope="module", params=["static host", "transom serve"])
def page(
    request: pytest.FixtureRequest,
    playwright: Playwright,
    chromium: str,
    page_build: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Page]:
    """A page whose API worker has started, under the policy of its meta tag or of the header."""
    folder = tmp_path_factory.mktemp("visit")
    with ExitStack() as stack:
        if request.param == "static host":
            address = stack.enter_context(serve_folder(page_build))
        else:
            variables = {"TRANSOM_WEB_DIR": str(page_build)}
            store, log = folder / "models", folder / "log.txt"
            address = stack.enter_context(serve(store, log, environment=variables)).address
        context = stack.enter_context(
            open_chromium(playwright, chromium, folder / "profile", WITHOUT_WEBGPU)
        )
        page = context.new_page()
        complaints = watch(page)
        asked: list[str] = []
        page.on("request", lambda sent: asked.append(sent.url))
        for visit in ("cold", "warm"):
            news = start(page, address)
            assert news["kind"] == "started", news
            print(f"\n{request.param}: started in {news['seconds']:.2f} s ({visit})")
            if visit == "cold":
                names = [path.name for path in page_build.glob("assets/python-*/*")]
                counts = Counter(url.rpartition("/")[2] for url in asked)
                assert {name: counts[name] for name in names} == {
                    name: 0 if name in NEVER_ASKED_FOR else 1 for name in names
                }
        yield page
        assert complaints == []
        assert [url for url in asked if not url.startswith(f"{address}/")] == []


def start(page: Page, address: str) -> dict[str, Any]:
    """What the worker says first."""
    page.goto(f"{address}/")
    page.wait_for_function("() => window.api !== undefined")
    news: dict[str, Any] = page.evaluate("() => window.api.start()")
    return news


def ask(page: Page, target: str, body: object = None, **how: float) -> dict[str, Any]:
    method = "GET" if body is None else "POST"
    heard: dict[str, Any] = page.evaluate(
        "([method, target, body, how]) => window.api.ask(method, target, body, how)",
        [method, target, body, how],
    )
    return heard


def deltas(text: str) -> str:
    frames = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert frames.pop() == "[DONE]"
    return "".join(
        choice["delta"].get("content") or ""
        for each in frames
        for choice in json.loads(each)["choices"]
    )


def test_a_chat_completion_in_one(page: Page) -> None:
    heard = ask(page, "/v1/chat/completions", CHAT)
    assert heard["status"] == 200
    assert heard["headers"]["Content-Type"] == "application/json"
    answer = json.loads(heard["text"])
    assert answer["choices"][0]["message"]["content"] == TEXT
    assert answer["usage"]["completion_tokens"] == 5
    assert page.evaluate("() => window.api.seen().prompt") == "<user>Hi<assistant>"


def test_a_chat_completion_in_pieces(page: Page) -> None:
    heard = ask(page, "/v1/chat/completions", {**CHAT, "stream": True})
    assert heard["status"] == 200
    assert heard["headers"]["Content-Type"].startswith("text/event-stream")
    assert deltas(heard["text"]) == TEXT


def test_other_dialects_are_answered(page: Page) -> None:
    assert json.loads(ask(page, "/v1/models")["text"])["data"][0]["id"] == "scripted"
    lines = ask(page, "/api/chat", CHAT)["text"].splitlines()
    assert "".join(json.loads(line)["message"]["content"] for line in lines) == TEXT
    vectors = json.loads(ask(page, "/api/embed", {"model": "scripted", "input": "x"})["text"])
    assert vectors["embeddings"] == [[pytest.approx(0.6), pytest.approx(-0.8)]]


def test_who_reads_slowly_gets_few_and_large_chunks(page: Page) -> None:
    quick = ask(page, "/v1/chat/completions", {**CHAT, "stream": True})
    slow = ask(page, "/v1/chat/completions", {**CHAT, "stream": True}, waitBetween=300)
    assert deltas(slow["text"]) == deltas(quick["text"])
    assert slow["chunks"] <= 2


def test_who_leaves_ends_the_work(page: Page) -> None:
    before = page.evaluate("() => window.api.seen().stopped")
    page.evaluate("() => window.api.script({ isEndless: true })")
    try:
        heard = ask(page, "/v1/chat/completions", {**CHAT, "stream": True}, stopAfter=3)
        assert heard["chunks"] == 3
        page.wait_for_function(
            "before => window.api.seen().stopped === before + 1", arg=before, timeout=30_000
        )
    finally:
        page.evaluate("() => window.api.script({ isEndless: false })")


def test_an_unknown_model_is_refused_for_a_server(page: Page) -> None:
    heard = ask(page, "/v1/chat/completions", {**CHAT, "model": "nobody"})
    assert heard["refused"] == "model-not-found"
    assert heard["status"] == 404
    assert json.loads(heard["text"])["error"]["code"] == "model_not_found"


def test_what_python_costs(page: Page) -> None:
    """A short answer for the first frame, then a thousand tokens, each alone."""
    stream = {**CHAT, "stream": True}
    short = [ask(page, "/v1/chat/completions", stream) for _ in range(10)]
    # A second in which all stand still hits ten requests in a row.
    while min(heard["firstAt"] for heard in short) >= FIRST_FRAME_MILLISECONDS * BUSY:
        assert len(short) < 60
        page.wait_for_timeout(200)
        short.append(ask(page, "/v1/chat/completions", stream))
    first = min(heard["firstAt"] for heard in short)
    page.evaluate("script => window.api.script(script)", {"pieces": [" word"] * 1000, "batch": 1})
    try:
        long = [ask(page, "/v1/chat/completions", stream) for _ in range(3)]
        while min(map(per_token, long)) >= TOKEN_MILLISECONDS * BUSY:
            assert len(long) < 20
            page.wait_for_timeout(200)
            long.append(ask(page, "/v1/chat/completions", stream))
    finally:
        page.evaluate("script => window.api.script(script)", PIECES)
    each = min(map(per_token, long))
    print(
        f"\nfirst frame after {first:.1f} ms (to the engine "
        f"{min(heard['askedEngineAt'] for heard in short):.1f} ms), then {each:.3f} ms a token "
        f"in {long[-1]['chunks']} chunks"
    )
    assert len(re.findall(" word", long[-1]["text"])) == 1000


def per_token(heard: dict[str, Any]) -> float:
    """Milliseconds, of an answer of a thousand."""
    return float(heard["endAt"] - heard["askedEngineAt"]) / 1000


def test_a_template_that_eats_memory_is_an_error(page: Page) -> None:
    page.evaluate("template => window.api.script({ template })", HUNGRY)
    try:
        heard = ask(page, "/v1/chat/completions", CHAT)
    finally:
        page.evaluate("() => window.api.script({ template: null })")
    error = json.loads(heard["text"])["error"]
    assert heard["status"] == 400
    assert "the model's chat template fails: MemoryError" in error["message"]
    assert json.loads(ask(page, "/v1/chat/completions", CHAT)["text"])["choices"]


def test_a_template_without_an_end_costs_a_worker(
    playwright: Playwright, chromium: str, page_build: Path, tmp_path: Path
) -> None:
    with (
        serve_folder(page_build) as address,
        open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        page.goto(f"{address}/")
        page.wait_for_function("() => window.api !== undefined")
        page.evaluate("() => window.api.watch()")
        assert ask(page, "/v1/chat/completions", CHAT)["status"] == 200
        for times in (1, 2):
            page.evaluate("template => window.api.script({ template })", ENDLESS)
            page.evaluate("body => void window.api.ask('POST', '/v1/chat/completions', body)", CHAT)
            page.wait_for_function(
                "times => window.api.hangs().length === times",
                arg=times,
                timeout=HANG_MILLISECONDS * BUSY,
            )
        first, second = page.evaluate("() => window.api.hangs()")
        assert "chat template of library/scripted:latest did not end" in first
        assert "2 times in a row" in second
        page.evaluate("() => window.api.script({ template: null })")
        heard = ask(page, "/v1/chat/completions", CHAT)
        assert json.loads(heard["text"])["choices"][0]["message"]["content"] == TEXT


def test_damaged_files_are_named_and_requests_refused(
    playwright: Playwright, chromium: str, page_build: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(page_build, tmp_path / "broken")
    wheel = next(broken.glob("assets/python-*/jinja2-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"!")
    with (
        serve_folder(broken) as address,
        open_chromium(playwright, chromium, tmp_path / "profile", WITHOUT_WEBGPU) as context,
    ):
        page = context.new_page()
        news = start(page, address)
        assert news["kind"] == "failed"
        assert "jinja2" in news["error"]["message"]
        heard = ask(page, "/v1/chat/completions", CHAT)
        assert (heard["refused"], heard["status"]) == (news["error"]["code"], 503)
