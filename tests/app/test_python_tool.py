"""A model that calls Python: its program runs in the page, and what it prints and draws shows."""

import json
from typing import Final

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.app.conftest import ScriptedServer, ask, open_chat

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

PROGRAM: Final = (
    "import plot\n"
    "plot.plot([1, 2, 3], [1, 4, 9])\n"
    "plot.title('Squares')\n"
    "plot.show()\n"
    # The last script that a prompt names counts: what the model reads tells it to go on.
    "print('sum', 1 + 4 + 9, '@seen')"
)


def _call(code: str) -> str:
    return f"<tool_call>{json.dumps({'name': 'python', 'arguments': {'code': code}})}</tool_call>"


def test_output_and_plots_show(
    chat: Page, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    server.scripts |= {"draw": _call(PROGRAM), "seen": "The sum is 14."}
    chat.get_by_role("button", name="Tools").click()
    chat.get_by_role("switch", name="Python").click()
    chat.keyboard.press("Escape")
    ask(chat, "Draw squares @draw")
    # 15 MB of Python start first.
    expect(chat.get_by_role("list").get_by_text("The sum is 14.")).to_be_visible(timeout=120_000)
    picture = chat.get_by_role("img", name="A picture from Python")
    expect(picture).to_be_visible()
    assert picture.evaluate("(image) => image.naturalWidth") == 640
    call = chat.locator("details.call")
    expect(call).to_contain_text("done")
    call.locator("summary").click()
    expect(call).to_contain_text("sum 14")
    expect(call).to_contain_text("plot.show()")
    # It is kept with the conversation.
    chat.reload()
    expect(chat.get_by_role("img", name="A picture from Python")).to_be_visible()


def test_it_runs_without_a_file_from_the_network(
    browser_context: BrowserContext, server: ScriptedServer
) -> None:
    """After a first visit that ran no Python, all that it needs is in this browser."""
    page = open_chat(browser_context, server)
    page.wait_for_function("() => navigator.serviceWorker.controller !== null")
    server.scripts |= {"draw": _call(PROGRAM), "seen": "The sum is 14."}
    server.is_without_files = True
    try:
        page.reload()
        page.get_by_role("button", name="Tools").click()
        page.get_by_role("switch", name="Python").click()
        page.keyboard.press("Escape")
        ask(page, "Draw squares @draw")
        said = page.get_by_role("list").get_by_text("The sum is 14.")
        expect(said).to_be_visible(timeout=120_000)
        expect(page.get_by_role("img", name="A picture from Python")).to_be_visible()
    finally:
        server.is_without_files = False
    [frame] = [frame for frame in page.frames if frame.url.endswith("/python.html")]
    assert frame.evaluate("crossOriginIsolated") is True
