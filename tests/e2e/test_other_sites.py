"""A page of another site uses the visitor's models through our frame: listed, asked, answered here.

Two origins of two sites: ours is 127.0.0.1, the other one localhost. Ours hands out files and no
more.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error, FrameLocator, Page, Playwright, expect

from tests.e2e.browser import open_chromium, serve_folder
from tests.e2e.commands import Compiled, transom

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
LONG = "Write a very long story about a ship and all of its crew."
PAGE = """<!doctype html><title>A site</title><script type="module">
  import { connect } from "./connect.js";
  window.begin = (base) => {
    window.state = "waiting";
    connect({ base }).then(
      (connection) => { window.transom = connection; window.state = "open"; },
      (error) => { window.state = String(error.message); },
    );
  };
  window.ask = async (path, body) => {
    const response = await window.transom.fetch(window.transom.baseUrl + path, body === null
      ? {} : { method: "POST", body: JSON.stringify(body) });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const pieces = [];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
    }
    const { status, headers } = response;
    return { status, servedBy: headers.get("transom-served-by"), pieces };
  };
</script>"""

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Sites:
    ours: str
    listed: str
    unlisted: str


@pytest.fixture(scope="module")
def sites(
    compiled: Compiled, web_build: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    other = tmp_path_factory.mktemp("other")
    (other / "index.html").write_text(PAGE)
    shutil.copy(web_build / "connect.js", other)
    ours = tmp_path_factory.mktemp("ours") / "site"
    with serve_folder(other) as address:
        listed = address.replace("127.0.0.1", "localhost")
        done = transom("export", ours, compiled.name, "--embed", listed, store=compiled.store)
        assert done.returncode == 0, done.stdout + done.stderr
        with serve_folder(ours) as own:
            yield Sites(own, listed, address)


@pytest.fixture(scope="module")
def context(
    playwright: Playwright, chromium: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BrowserContext]:
    profile = tmp_path_factory.mktemp("profile")
    # As Chromium is outside of tests: frames of other sites may keep things.
    (profile / "Default").mkdir()
    kept = {"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}
    (profile / "Default" / "Preferences").write_text(json.dumps(kept))
    with open_chromium(playwright, chromium, profile) as opened:
        yield opened


def test_a_browser_that_keeps_nothing_for_other_sites_is_told_so(
    sites: Sites, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with open_chromium(playwright, chromium, tmp_path) as strict:
        page, _ = begin(strict, sites.listed, sites.ours)
        page.wait_for_function("() => window.state !== 'waiting'")
        assert "third-party storage is blocked" in page.evaluate("() => window.state")


def begin(context: BrowserContext, site: str, ours: str) -> tuple[Page, FrameLocator]:
    page = context.new_page()
    page.goto(f"{site}/index.html")
    page.wait_for_function("() => window.begin !== undefined")
    page.evaluate("(base) => window.begin(base)", f"{ours}/")
    return page, page.frame_locator("iframe")


def wait_until_open(page: Page) -> None:
    page.wait_for_function("() => window.state !== 'waiting'")
    assert page.evaluate("() => window.state") == "open"


def ask(page: Page, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate("([path, body]) => window.ask(path, body)", [path, body])
    return answer


def answer_in_window(context: BrowserContext, frame: FrameLocator, button: str, site: str) -> None:
    with context.expect_page() as opened:
        frame.locator("#review").click()
    window = opened.value
    expect(window.locator("#site")).to_have_text(site)
    # The click closes the window, sometimes before Playwright has heard that it was made.
    with suppress(Error):
        window.locator(button).click()


def test_a_site_that_is_not_listed_hears_why(context: BrowserContext, sites: Sites) -> None:
    page, _ = begin(context, sites.unlisted, sites.ours)
    page.wait_for_function("() => window.state !== 'waiting'")
    assert "is not among the sites that" in page.evaluate("() => window.state")
    assert page.locator("iframe").count() == 0
    page.close()


def test_the_visitor_is_asked_and_answers_are_made_here(
    context: BrowserContext, sites: Sites
) -> None:
    page, frame = begin(context, sites.listed, sites.ours)
    expect(frame.locator("#line")).to_contain_text(f"{sites.listed} would like to use")
    answer_in_window(context, frame, "#decline", sites.listed)
    expect(frame.locator("#line")).to_contain_text("was not allowed")
    assert page.evaluate("() => window.state") == "waiting"
    answer_in_window(context, frame, "#once", sites.listed)
    wait_until_open(page)

    listed = ask(page, "/models", None)
    assert listed["status"] == 200
    assert "smollm2" in "".join(listed["pieces"])
    chat = {"model": "smollm2", "messages": [{"role": "user", "content": QUESTION}]}
    answer = ask(page, "/chat/completions", {**chat, "temperature": 0, "stream": True})
    assert answer["servedBy"] == "browser; as chosen"
    assert '"content":"Paris"' in "".join(answer["pieces"]).replace(" Paris", "Paris")
    # What has come by the time that it is asked for is one piece: of these tokens, never all.
    story = {**chat, "messages": [{"role": "user", "content": LONG}], "max_tokens": 64}
    answer = ask(page, "/chat/completions", {**story, "temperature": 0, "stream": True})
    assert len(answer["pieces"]) > 1
    with pytest.raises(Exception, match="is not offered to other sites"):
        ask(page, "/responses", chat)
    with pytest.raises(Exception, match="is not below"):
        page.evaluate("() => window.transom.fetch('/v1/models')")

    frame.locator("#stop").click()
    with pytest.raises(Exception, match="The visitor has ended it"):
        ask(page, "/models", None)
    page.close()


def test_once_is_once_and_always_is_always(context: BrowserContext, sites: Sites) -> None:
    page, frame = begin(context, sites.listed, sites.ours)
    # Asked again: the last time was for that time only.
    answer_in_window(context, frame, "#always", sites.listed)
    wait_until_open(page)
    page.close()
    page, frame = begin(context, sites.listed, sites.ours)
    wait_until_open(page)
    expect(frame.locator("#review")).to_be_hidden()
    page.close()


def test_the_window_by_itself_agrees_to_nothing(context: BrowserContext, sites: Sites) -> None:
    page = context.new_page()
    page.goto(f"{sites.ours}/consent.html?origin={sites.unlisted}")
    expect(page.locator("#nobody")).to_be_visible()
    expect(page.locator("#always")).to_be_hidden()
    page.close()
