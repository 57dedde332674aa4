"""Every screen for everybody: what axe-core finds, and the whole way by keyboard alone."""

import json
import re
from typing import Final

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.app.conftest import PHONE, TALKER, ScriptedServer, answered, ask, open_chat
from tests.e2e.commands import ROOT

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

RICH: Final = """### Doors

Text with `code`, a [link](https://example.org) and $e^{i\\pi} + 1 = 0$.

```python
def opened(door: str) -> bool:  # a comment
    return door == "open" and 1 < 2
```

| part | made of |
|------|---------|
| pane | glass   |

> A quotation.
"""
CALL: Final = json.dumps({"name": "calculator", "arguments": {"expression": "6 * 7"}})
# Who has the focus: its tag and name; null: nobody, and the next key goes nowhere.
FOCUSED: Final = """() => {
    const element = document.activeElement;
    return element === document.body || element === null ? null : element.outerHTML.slice(0, 120);
}"""
# The focus shows: an outline, or a shadow instead, on it or what holds it.
IS_SEEN: Final = """() => {
    let element = document.activeElement;
    for (let step = 0; step < 4 && element !== null; step++, element = element.parentElement) {
        const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(element);
        if ((outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none") {
            return true;
        }
    }
    return false;
}"""


def serious(page: Page) -> list[str]:
    """What axe finds that keeps people out."""
    page.evaluate((ROOT / "node_modules/axe-core/axe.min.js").read_text())
    found = page.evaluate("() => axe.run({resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def rich_chat(page: Page, server: ScriptedServer, tools: str, switch: str) -> None:
    """A conversation with code, a table, a formula and a tool's call."""
    server.scripts |= {"rich": RICH, "counts": f"(@rich)<tool_call>{CALL}</tool_call>"}
    page.get_by_role("button", name=tools).click()
    page.get_by_role("dialog").get_by_role("switch", name=switch).check()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.locator("#question").fill("@counts")
    page.keyboard.press("Enter")
    expect(page.locator("li.answered .message-note").last).to_be_visible()
    expect(page.locator("li.called")).to_have_count(1)
    expect(page.locator("li.answered math")).not_to_have_count(0)
    expect(page.locator("li.answered table")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_screen_is_for_everybody(
    browser_context: BrowserContext, server: ScriptedServer, complaints: object, theme: str
) -> None:
    page = browser_context.new_page()
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
    found: dict[str, list[str]] = {}

    def look(screen: str) -> None:
        if problems := serious(page):
            found[screen] = problems

    page.goto(server.address)
    expect(page.get_by_role("heading", name="Choose a model")).to_be_visible()
    look("choice")
    page.get_by_role("link", name=TALKER).click()
    expect(page.get_by_role("heading", name=f"{TALKER} is ready")).to_be_visible()
    # One of each, for those who jump from landmark to landmark.
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("banner")).to_have_count(1)
    look("door")
    rich_chat(page, server, "Tools", "Calculator")
    look("chat")
    page.locator("li.called summary").first.click()
    look("tool call")
    page.get_by_role("button", name="Where it runs").click()
    look("place")
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^More about")).first.click()
    look("menu of a conversation")
    page.keyboard.press("Escape")
    page.get_by_role("searchbox", name="Search conversations").fill("quotation")
    expect(page.locator(".is-found")).to_have_count(1)
    look("search")
    page.get_by_role("button", name="Clear the search").click()
    for panel in ("Settings", "Prompt and parameters", "Presets", "Tools, 1 on"):
        page.get_by_role("button", name=panel, exact=True).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        look(panel)
        if panel == "Settings":
            for tab in ("Chat", "Answers", "Privacy", "About"):
                dialog.get_by_role("tab", name=tab).click()
                look(f"{panel}, {tab}")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
    page.get_by_title("Choose a model").click()
    for tab in ("All models", "Add a model", "Storage"):
        page.get_by_role("tab", name=tab).click()
        look(tab)
    page.go_back()
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    look("chat on a phone")
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("dialog", name="Conversations")).to_be_visible()
    look("drawer")
    assert found == {}


def test_arabic_is_for_everybody(chat: Page, server: ScriptedServer, complaints: object) -> None:
    chat.get_by_role("button", name="Settings", exact=True).click()
    chat.get_by_role("dialog").get_by_label("Language").select_option("العربية")
    expect(chat.locator("html")).to_have_attribute("dir", "rtl")
    assert serious(chat) == []
    chat.keyboard.press("Escape")
    expect(chat.get_by_role("dialog")).to_have_count(0)
    ask_here = chat.locator("#question")
    server.scripts["rich"] = RICH
    ask_here.fill("@rich")
    ask_here.press("Enter")
    expect(chat.locator("li.answered .message-note")).to_be_visible()
    expect(chat.locator("li.answered math")).not_to_have_count(0)
    assert serious(chat) == []


class Keys:
    """Somebody who has a keyboard and nothing else."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self._page.keyboard.press(key)

    def to(self, wanted: Locator, key: str = "Tab", most: int = 40) -> None:
        """Until it has the focus, which shows at each stop."""
        for _ in range(most):
            if wanted.count() == 1 and wanted.evaluate("each => each === document.activeElement"):
                self.is_seen()
                return
            self._page.keyboard.press(key)
            if self._page.evaluate(FOCUSED) is not None:
                self.is_seen()
        raise AssertionError(f"{most} times {key} do not lead to {wanted}")

    def is_seen(self) -> None:
        assert self._page.evaluate(IS_SEEN), self._page.evaluate(FOCUSED)

    def choose(self, wanted: Locator) -> None:
        self.to(wanted)
        self._page.keyboard.press("Enter")


def test_all_of_it_by_keyboard(
    browser_context: BrowserContext, server: ScriptedServer, complaints: object
) -> None:
    server.scripts["walks"] = {"tokens": ["on ", "and "], "again": True}
    page = browser_context.new_page()
    page.goto(server.address)
    keys = Keys(page)
    expect(page.get_by_role("link", name=TALKER)).to_be_visible()
    keys.choose(page.get_by_role("link", name=TALKER))
    message = page.get_by_role("textbox", name="Message")
    expect(message).to_be_focused()

    page.keyboard.type("Go @walks")
    keys.press("Enter")
    expect(page.locator("li.answered")).to_contain_text("on and on")
    expect(message).to_be_focused()
    keys.press("Escape")
    expect(page.locator("li.answered .message-note")).to_contain_text("stopped")
    expect(message).to_be_focused()

    # The list of conversations: its menu, and a new name.
    row = page.locator(".conversation").first
    keys.to(row, "Shift+Tab")
    keys.press("Tab")
    more = page.get_by_role("button", name="More about “Go @walks”")
    expect(more).to_be_focused()
    keys.is_seen()
    keys.press("Enter")
    expect(page.get_by_role("menuitem", name="Rename")).to_be_focused()
    keys.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Pin")).to_be_focused()
    keys.is_seen()
    keys.press("Escape")
    expect(page.get_by_role("menu")).to_have_count(0)
    expect(more).to_be_focused()
    # The browser hides it first, and tells the page in its next task.
    expect(more).to_have_attribute("aria-expanded", "false")
    keys.press("Enter", "Home", "Enter")
    expect(page.get_by_role("textbox", name="Title of the conversation")).to_be_focused()
    page.keyboard.type("A walk")
    keys.press("Enter")
    expect(row).to_have_text("A walk")
    expect(row).to_be_focused()
    keys.press("Enter")
    expect(page.locator("li.asked")).to_be_visible()

    # Settings, by arrows; and back to where one was.
    settings = page.get_by_role("button", name="Settings", exact=True)
    keys.choose(settings)
    dialog = page.get_by_role("dialog", name="Settings")
    expect(dialog).to_be_visible()
    assert page.evaluate(FOCUSED) is not None
    keys.to(dialog.get_by_role("radio", name="System").first)
    keys.press("ArrowRight", "ArrowRight")
    expect(dialog.get_by_role("radio", name="Dark", exact=True)).to_be_focused()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    keys.is_seen()
    keys.to(dialog.get_by_role("tab", name="Look"), "Shift+Tab")
    keys.press("ArrowRight")
    expect(dialog.get_by_role("tab", name="Chat")).to_be_focused()
    expect(dialog.get_by_role("tab", name="Chat")).to_have_attribute("aria-selected", "true")
    keys.press("Escape")
    expect(dialog).to_have_count(0)
    expect(settings).to_be_focused()

    # The other panels give the focus back, too.
    for name in ("Presets", "Prompt and parameters"):
        button = page.get_by_role("button", name=name, exact=True)
        keys.to(button, "Shift+Tab")
        keys.press("Enter")
        expect(page.get_by_role("dialog", name=name)).to_be_visible()
        keys.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(button).to_be_focused()
        keys.press("Tab", "Tab")

    # Editing gives it back; so does what is asked again.
    edit = page.locator("li.asked").get_by_role("button", name="Edit")
    keys.to(edit)
    keys.press("Enter")
    expect(page.locator("form.editor textarea")).to_be_focused()
    keys.press("Escape")
    expect(edit).to_be_focused()
    keys.to(message)
    page.keyboard.type("@hello")
    keys.press("Enter")
    answered(page, "Hello, you there!")
    again = page.get_by_role("button", name="Answer again")
    keys.to(again, "Shift+Tab")
    keys.press("Enter")
    expect(page.locator(".branches")).to_contain_text("2 of 2")
    answered(page, "Hello, you there!")
    assert page.evaluate(FOCUSED) is not None


def test_a_phone_with_a_keyboard(
    browser_context: BrowserContext, server: ScriptedServer, complaints: object
) -> None:
    page = open_chat(browser_context, server)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    ask(page, "@hello")
    answered(page, "Hello, you there!")
    keys = Keys(page)
    drawer = page.get_by_role("button", name="Conversations")
    keys.to(drawer, "Shift+Tab")
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Conversations")).to_be_visible()
    keys.press("Escape")
    expect(drawer).to_be_focused()
    keys.to(page.get_by_role("button", name="More", exact=True))
    keys.press("Enter", "End", "Enter")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="More", exact=True)).to_be_focused()
