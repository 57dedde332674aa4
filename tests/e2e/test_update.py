"""A newer build of the page: it comes as a whole or not at all; no tab ever has parts of two."""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect

from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, serve_folder, wait_until
from tests.e2e.builds import copy_build, renew

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

CONTROLLED = "() => navigator.serviceWorker.controller !== null"
BUILD = "() => window.build ?? 'first'"
LOOK = """async () => {
    const registration = await navigator.serviceWorker.ready;
    await registration.update();
    const coming = registration.installing ?? registration.waiting;
    if (coming === null) {
        return "nothing new";
    }
    while (coming.state === "installing") {
        await new Promise((resolve) => {
            coming.addEventListener("statechange", resolve, { once: true });
        });
    }
    return coming.state;
}"""
"""Look for a newer build, as browsers do by themselves; gives the state of its service worker."""
KEPT = """async () => {
    const kept = [];
    for (const name of await caches.keys()) {
        for (const { url } of await (await caches.open(name)).keys()) {
            kept.push(url);
        }
    }
    return kept;
}"""


@pytest.fixture
def context(playwright: Playwright, chromium: str, tmp_path: Path) -> Iterator[BrowserContext]:
    profile = tmp_path / "profile"
    with open_chromium(playwright, chromium, profile, WITHOUT_WEBGPU) as context:
        # A browser may wait with a new service worker until the old one has nothing to do.
        context.set_default_timeout(200_000)
        yield context


@pytest.fixture
def site(web_build: Path, tmp_path: Path) -> Path:
    """A static host's folder, with the page in a folder of it."""
    copy_build(web_build, tmp_path / "site" / "chat")
    return tmp_path / "site"


def visit(context: BrowserContext, address: str) -> Page:
    page = context.new_page()
    page.goto(f"{address}/chat/?from=a-link")
    page.wait_for_function(CONTROLLED)
    return page


def test_a_newer_build_waits_until_it_is_called_and_then_takes_all_tabs(
    context: BrowserContext, site: Path
) -> None:
    with serve_folder(site) as address:
        tabs = [visit(context, address) for _ in range(2)]
        old = tabs[0].evaluate("() => document.querySelector('script[src]').src")
        renew(site / "chat", "second")
        assert tabs[0].evaluate(LOOK) == "installed"
        for tab in tabs:
            expect(tab.locator("#update")).to_contain_text("A new version is here")
        # Nothing changes before somebody says so: neither here, nor in a tab that comes now.
        tabs.append(visit(context, address))
        assert [tab.evaluate(BUILD) for tab in tabs] == ["first"] * 3
        expect(tabs[2].locator("#update")).to_be_visible()
        # Its host has forgotten that build.
        size = "async (url) => (await (await fetch(url)).blob()).size"
        assert tabs[1].evaluate(size, old) > 1000

        tabs[1].get_by_role("button", name="Use it in all tabs").click()
        for tab in tabs:
            tab.wait_for_function("() => window.build === 'second'")
            expect(tab.locator("#update")).to_be_hidden()
        tabs[0].reload()
        wait_until(tabs[0], f"async (url) => !(await ({KEPT})()).includes(url)", old)


def test_a_build_that_does_not_come_whole_changes_nothing(
    context: BrowserContext, site: Path
) -> None:
    with serve_folder(site) as address:
        page = visit(context, address)
        script = site / "chat" / renew(site / "chat", "second")
        good = script.read_bytes()
        # As from a host that was asked in the middle of an update; and one that has not all yet.
        script.write_bytes(good[:-20])
        assert page.evaluate(LOOK) == "redundant"
        script.unlink()
        assert page.evaluate(LOOK) == "redundant"
        assert reloaded(page) == "first"
        expect(page.locator("#update")).to_be_hidden()

        script.write_bytes(good)
        assert page.evaluate(LOOK) == "installed"
        # Without a click: it begins when nobody has the page open.
        page.close()
        deadline = time.monotonic() + 120
        # The former build's service worker may have something left to do for the page that went.
        time.sleep(1.5)
        while (page := visit(context, address)).evaluate(BUILD) != "second":
            page.close()
            assert time.monotonic() < deadline
            time.sleep(1.5)


def test_an_update_needs_no_network_once_it_is_here(context: BrowserContext, site: Path) -> None:
    with serve_folder(site) as address:
        page = visit(context, address)
    # The host is gone: looking for a newer build finds nothing and breaks nothing.
    context.set_offline(True)
    outcome = page.evaluate(f"({LOOK})().catch(() => 'nobody answers')")
    assert outcome == "nobody answers"
    assert reloaded(page) == "first"
    context.set_offline(False)
    port = int(re.findall(r":(\d+)", address)[0])
    renew(site / "chat", "second")
    with serve_folder(site, port):
        assert page.evaluate(LOOK) == "installed"
    shutil.rmtree(site)
    # The older one, as browsers do with it: stopped, and started by the next page.
    stop_service_workers(page)
    assert visit(context, address).evaluate(BUILD) == "first"
    page.get_by_role("button", name="Use it in all tabs").click()
    page.wait_for_function("() => window.build === 'second'")
    assert reloaded(page) == "second"


def test_an_update_takes_over_where_both_builds_sleep(context: BrowserContext, site: Path) -> None:
    with serve_folder(site) as address:
        page = visit(context, address)
        renew(site / "chat", "second")
        assert page.evaluate(LOOK) == "installed"
        # As half a minute after the page was used: the click wakes both.
        stop_service_workers(page)
        page.get_by_role("button", name="Use it in all tabs").click()
        page.wait_for_function("() => window.build === 'second'")


def stop_service_workers(page: Page) -> None:
    devtools = page.context.new_cdp_session(page)
    devtools.send("ServiceWorker.enable")
    devtools.send("ServiceWorker.stopAllWorkers")


def reloaded(page: Page) -> str:
    page.reload()
    found: str = page.evaluate(BUILD)
    return found
