"""A first visit, then neither network nor server: the page starts, opens its model, and chats."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Playwright, expect

from tests.e2e.browser import open_chromium
from tests.e2e.commands import Compiled, serve

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(600)]

QUERY = "?model=smollm2&pipelines=lazy"


def ready(page: Page) -> dict[str, Any]:
    page.wait_for_function("() => window.transom !== undefined")
    report: dict[str, Any] = page.evaluate("() => window.transom.ready")
    print(f"\n{json.dumps(report)}")
    return report


def test_the_page_chats_without_a_network_and_without_a_server(
    compiled: Compiled, web_build: Path, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    addresses: list[str] = []
    with open_chromium(playwright, chromium, tmp_path / "profile") as context:
        context.on("request", lambda request: addresses.append(request.url))
        page_of = {"TRANSOM_WEB_DIR": str(web_build)}
        with serve(compiled.store, tmp_path / "log.txt", environment=page_of) as server:
            page = context.new_page()
            page.goto(f"{server.address}/{QUERY}")
            first = ready(page)
            page.wait_for_function("() => navigator.serviceWorker.controller !== null")
        assert (first["isKept"], first["isOffline"]) == (True, False)

        context.set_offline(True)
        page.reload()
        again = ready(page)
        assert (again["isOffline"], again["bytesDownloaded"]) == (True, 0)
        expect(page.locator("#door-text")).to_contain_text("does not answer")
        answer = page.evaluate(
            """() => window.transom.ask(
                "What is the capital of France?", { temperature: 0, maxTokens: 8 }
            )"""
        )
        assert "Paris" in answer["text"]

        page.goto(f"{server.address}/")
        expect(page.locator("#choices").get_by_role("link", name="smollm2")).to_be_visible()
    # All that was asked for in this session, by pages, workers and the service worker.
    assert [each for each in addresses if not each.startswith(f"{server.address}/")] == []
