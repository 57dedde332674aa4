"""One conversation: asking, reading, stopping, going on, other versions, and what goes wrong."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.app.conftest import (
    DESKTOP,
    PHONE,
    SMALL,
    THINKER,
    ScriptedServer,
    answered,
    ask,
    open_chat,
)
from tests.e2e.browser import wait_until

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

MARKDOWN: Final = """## Doors

A **transom** is a window *above* a door:

1. light
2. air

```python
print("open")
```

| part | made of |
|------|---------|
| pane | glass   |
"""
ENDLESS: Final = {"tokens": ["on ", "and "], "again": True}
TOO_LONG: Final = "w" * 110
"""Two questions like it are more than the small model's context window."""


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def sized(
    request: pytest.FixtureRequest, chat: Page, complaints: list[list[str]]
) -> Iterator[Page]:
    chat.set_viewport_size(request.param)
    yield chat
    assert chat.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


@contextmanager
def asked(page: Page) -> Iterator[list[list[dict[str, Any]]]]:
    """The messages of each request meanwhile."""
    conversations: list[list[dict[str, Any]]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/v1/chat/completions"):
            conversations.append(json.loads(request.post_data or "{}")["messages"])

    page.on("request", note)
    yield conversations
    page.remove_listener("request", note)


def last(page: Page) -> Locator:
    return page.locator("li.answered").last


def press(where: Page | Locator, name: str) -> None:
    where.get_by_role("button", name=name, exact=True).click()


def test_a_question_and_an_answer_in_markdown(sized: Page, server: ScriptedServer) -> None:
    server.scripts["markdown"] = MARKDOWN
    ask(sized, "What is a transom? @markdown")
    expect(sized.locator("li.asked")).to_contain_text("What is a transom? @markdown")
    answer = last(sized)
    expect(answer.locator(".message-note")).to_contain_text("tokens")
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(answer.get_by_role("heading", name="Doors")).to_be_visible()
    expect(answer.locator("strong")).to_have_text("transom")
    expect(answer.get_by_role("listitem")).to_have_text(["light", "air"])
    expect(answer.locator("pre")).to_contain_text('print("open")')
    expect(answer.get_by_role("cell", name="glass")).to_be_visible()
    # Whoever cannot see it hears it once, whole.
    expect(sized.locator("#announcer")).to_have_text(re.compile(r"^## Doors.*glass", re.DOTALL))
    expect(sized.get_by_role("textbox", name="Message")).to_be_focused()


def test_a_suggestion_is_a_question(chat: Page, complaints: list[list[str]]) -> None:
    press(chat, "Write a haiku about a window.")
    expect(chat.locator("li.asked")).to_contain_text("Write a haiku about a window.")
    answered(chat, "ok")


def test_stop_keeps_what_came_and_continue_goes_on_from_there(
    sized: Page, server: ScriptedServer
) -> None:
    server.scripts["walks"] = ENDLESS
    ask(sized, "@walks")
    expect(last(sized)).to_contain_text("on and on and on")
    expect(last(sized)).to_have_attribute("aria-busy", "true")
    rate = sized.locator(".place-rate.is-live")
    expect(rate).to_have_text(re.compile(r"^[\d.,]+ tokens/s$"))
    press(sized, "Stop")
    expect(last(sized).locator(".message-note")).to_contain_text("stopped")
    expect(rate).to_have_count(0)
    expect(sized.get_by_role("button", name="Send")).to_be_visible()
    said = last(sized).locator(".message-text").inner_text().strip()

    server.scripts["walks"] = "to the end."
    with asked(sized) as requests:
        press(sized, "Continue")
        answered(sized, re.compile(rf"^{said} ?to the end\.$"))
    [messages] = requests
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert messages[-1]["content"].strip() == said
    expect(last(sized).get_by_role("button", name="Continue")).to_have_count(0)
    expect(sized.locator("li.answered")).to_have_count(1)
    # It is one answer on the next visit, too.
    sized.reload()
    expect(last(sized)).to_contain_text(re.compile(rf"{said} ?to the end\."))


def test_escape_stops(chat: Page, server: ScriptedServer, complaints: list[list[str]]) -> None:
    server.scripts["walks"] = ENDLESS
    ask(chat, "@walks")
    expect(last(chat)).to_contain_text("on and on")
    chat.keyboard.press("Escape")
    expect(last(chat).locator(".message-note")).to_contain_text("stopped")
    expect(chat.get_by_role("textbox", name="Message")).to_be_focused()


def test_versions_of_an_answer(sized: Page, server: ScriptedServer) -> None:
    for number, text in enumerate(("First.", "Second.", "Third.")):
        server.scripts["version"] = text
        if number == 0:
            ask(sized, "@version")
        else:
            press(last(sized), "Answer again")
        answered(sized, text)
    branches = last(sized).locator(".branches")
    expect(branches).to_contain_text("3 of 3")
    expect(last(sized).get_by_role("button", name="Later version")).to_be_disabled()
    press(last(sized), "Earlier version")
    answered(sized, "Second.")
    expect(branches).to_contain_text("2 of 3")
    press(last(sized), "Earlier version")
    answered(sized, "First.")
    expect(last(sized).get_by_role("button", name="Earlier version")).to_be_disabled()

    # What is asked now follows the version that shows, and that one shows on the next visit.
    with asked(sized) as requests:
        ask(sized, "And? @hello")
        answered(sized, "Hello, you there!")
    assert [message["content"] for message in requests[0]] == ["@version", "First.", "And? @hello"]
    sized.reload()
    expect(sized.locator("li.answered .message-text").first).to_have_text("First.")
    expect(sized.locator("li.answered")).to_have_count(2)


def test_stepping_between_versions_keeps_the_focus(
    chat: Page, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    server.scripts["version"] = "First."
    ask(chat, "@version")
    answered(chat, "First.")
    for text in ("Second.", "Third."):
        server.scripts["version"] = text
        press(last(chat), "Answer again")
        answered(chat, text)
    earlier = last(chat).get_by_role("button", name="Earlier version")
    later = last(chat).get_by_role("button", name="Later version")
    earlier.focus()
    chat.keyboard.press("Enter")
    answered(chat, "Second.")
    expect(earlier).to_be_focused()
    chat.keyboard.press("Enter")
    answered(chat, "First.")
    # There is no earlier one.
    expect(later).to_be_focused()
    chat.keyboard.press("Enter")
    answered(chat, "Second.")
    expect(later).to_be_focused()


def test_an_edited_question_is_a_branch(sized: Page, server: ScriptedServer) -> None:
    server.scripts |= {"cats": "Cats purr.", "dogs": "Dogs bark."}
    ask(sized, "@cats")
    answered(sized, "Cats purr.")
    ask(sized, "More. @hello")
    answered(sized, "Hello, you there!")
    first = sized.locator("li.asked").first
    press(first, "Edit")
    editor = sized.locator("form.editor")
    field = editor.get_by_role("textbox", name="Message")
    expect(field).to_be_focused()
    expect(field).to_have_value("@cats")
    # Escape changes nothing.
    field.fill("nothing")
    field.press("Escape")
    expect(editor).to_have_count(0)
    expect(first).to_contain_text("@cats")

    press(first, "Edit")
    field.fill("@dogs")
    with asked(sized) as requests:
        press(editor, "Ask this")
        answered(sized, "Dogs bark.")
    assert requests == [[{"role": "user", "content": "@dogs"}]]
    expect(sized.locator("li.asked")).to_have_count(1)
    expect(first.locator(".branches")).to_contain_text("2 of 2")
    press(first, "Earlier version")
    expect(sized.locator("li.asked")).to_have_count(2)
    answered(sized, "Hello, you there!")
    press(first, "Later version")
    answered(sized, "Dogs bark.")


def copied(page: Page, text: str) -> None:
    """Wait for the clipboard: that it was copied is said for two seconds only."""
    wait_until(page, "async (text) => (await navigator.clipboard.readText()).trim() === text", text)


def test_what_was_said_is_copied_as_it_was_written(
    chat: Page, browser_context: BrowserContext, server: ScriptedServer, complaints: object
) -> None:
    browser_context.grant_permissions(["clipboard-read", "clipboard-write"])
    server.scripts["markdown"] = MARKDOWN
    ask(chat, "Doors @markdown")
    expect(last(chat).locator(".message-note")).to_be_visible()
    # The first button is the one of the code.
    last(chat).locator(".turn-actions").get_by_role("button", name="Copy").click()
    copied(chat, MARKDOWN.strip())
    press(chat.locator("li.asked"), "Copy")
    copied(chat, "Doors @markdown")
    last(chat).locator("pre, .code").first.locator("xpath=ancestor-or-self::*").get_by_role(
        "button", name=re.compile("^Copy")
    ).first.click()
    copied(chat, 'print("open")')


def test_a_failed_answer_says_why_and_can_be_tried_again(
    sized: Page, server: ScriptedServer
) -> None:
    broken = {"code": "engine-failed", "message": "the graphics card is on fire"}
    server.scripts["fails"] = {"tokens": ["Half ", "of ", "it"], "fails": broken, "after": 2}
    ask(sized, "@fails")
    expect(last(sized).locator(".message-error")).to_contain_text("graphics card is on fire")
    expect(last(sized)).to_contain_text("Half of")
    expect(sized.locator("#announcer")).to_contain_text("on fire")
    expect(last(sized).get_by_role("button", name="Begin a new chat")).to_have_count(0)
    server.scripts["fails"] = "Whole."
    press(sized, "Try again")
    answered(sized, "Whole.")
    expect(sized.locator("li.asked")).to_have_count(1)
    expect(sized.locator(".message-error")).to_have_count(0)


def test_a_question_typed_meanwhile_waits_in_its_field(sized: Page, server: ScriptedServer) -> None:
    server.scripts["walks"] = ENDLESS
    ask(sized, "@walks")
    expect(last(sized)).to_contain_text("on and on")
    message = sized.get_by_role("textbox", name="Message")
    with asked(sized) as requests:
        message.fill("Next. @hello")
        message.press("Enter")
        press(sized, "Stop")
        expect(last(sized).locator(".message-note")).to_contain_text("stopped")
        expect(message).to_have_value("Next. @hello")
        expect(sized.locator("li.asked")).to_have_count(1)
        assert requests == []
        message.press("Enter")
        answered(sized, "Hello, you there!")
    assert requests[0][-1]["content"] == "Next. @hello"
    expect(message).to_have_value("")


def overflowing(context: BrowserContext, server: ScriptedServer) -> Page:
    """Two questions have been asked, and the second was too much."""
    page = open_chat(context, server, SMALL)
    ask(page, f"@hello {TOO_LONG}")
    answered(page, "Hello, you there!")
    with asked(page) as requests:
        ask(page, f"@hello again {TOO_LONG}")
        expect(last(page).get_by_role("button", name="Try again")).to_be_visible()
    # All of it was sent: nothing was left out without a word.
    assert [len(messages) for messages in requests] == [3]
    expect(last(page).locator(".message-error")).to_contain_text("context window")
    return page


def test_a_conversation_that_is_too_long_goes_on_without_its_oldest_messages(
    browser_context: BrowserContext, server: ScriptedServer
) -> None:
    page = overflowing(browser_context, server)
    with asked(page) as requests:
        press(last(page), "Leave out the oldest messages")
        answered(page, "Hello, you there!")
    assert [len(messages) for messages in requests] == [3, 1]
    assert requests[-1][0]["content"].startswith("@hello again")
    expect(last(page)).to_contain_text(
        "The oldest 2 messages do not fit into the model's context and were left out"
    )
    # They are still there to read.
    expect(page.locator("li.asked")).to_have_count(2)
    # From now on it needs no other word, and says so each time.
    ask(page, f"@hello thrice {TOO_LONG}")
    answered(page, "Hello, you there!")
    expect(last(page)).to_contain_text("were left out of this answer")
    page.reload()
    expect(last(page)).to_contain_text("were left out of this answer")


def test_a_conversation_that_is_too_long_is_left_for_a_new_one(
    browser_context: BrowserContext, server: ScriptedServer
) -> None:
    page = overflowing(browser_context, server)
    press(last(page), "Begin a new chat")
    expect(page.get_by_role("heading", name=f"{SMALL} is ready on the server")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    ask(page, "@hello")
    answered(page, "Hello, you there!")
    # The long one is still there.
    expect(page.locator(".conversation")).to_have_count(2)


def test_one_question_that_is_too_long_alone_is_not_cut(
    browser_context: BrowserContext, server: ScriptedServer
) -> None:
    page = open_chat(browser_context, server, SMALL)
    with asked(page) as requests:
        ask(page, f"@hello {TOO_LONG * 3}")
        expect(last(page).locator(".message-error")).to_contain_text("context window")
        press(last(page), "Leave out the oldest messages")
        expect(last(page).locator(".message-error")).to_contain_text("context window")
    assert [len(messages) for messages in requests] == [1, 1]


def test_the_meter_tells_how_full_the_context_is(
    browser_context: BrowserContext, server: ScriptedServer, complaints: object
) -> None:
    page = open_chat(browser_context, server, SMALL)
    meter = page.get_by_role("meter", name="Context used")
    expect(meter).to_have_count(0)
    ask(page, "@hello")
    answered(page, "Hello, you there!")
    # "<user>@hello\n<assistant>" and the tokens of the answer.
    expect(meter).to_have_attribute("aria-valuetext", re.compile(r"^\d+ of 256 tokens .* \d+ %$"))
    before = int(meter.get_attribute("aria-valuenow") or 0)
    assert 24 < before < 60
    expect(page.get_by_text("nearly full")).to_have_count(0)
    ask(page, f"@hello {'w' * 150}")
    answered(page, "Hello, you there!")
    expect(page.get_by_text("The context window is nearly full.")).to_be_visible()
    expect(page.get_by_text("Nothing is left out unless you say so.")).to_be_visible()
    assert int(meter.get_attribute("aria-valuenow") or 0) > before + 150


def test_thoughts_are_folded(
    browser_context: BrowserContext, server: ScriptedServer, complaints: object
) -> None:
    server.scripts["ponders"] = "Six times seven.</think>It is **42**."
    page = open_chat(browser_context, server, THINKER)
    ask(page, "@ponders")
    answered(page, "It is 42.")
    thoughts = page.locator("details.reasoning")
    expect(thoughts).not_to_have_attribute("open", "")
    expect(page.get_by_text("Six times seven.")).to_have_count(0)
    summary = thoughts.locator("summary")
    expect(summary).to_contain_text("Thought")
    summary.press("Enter")
    expect(page.get_by_text("Six times seven.")).to_be_visible()
    summary.press("Enter")
    expect(page.get_by_text("Six times seven.")).to_have_count(0)

    server.scripts["ponders"] = {"tokens": ["Well, ", "well, "], "again": True}
    press(last(page), "Answer again")
    expect(summary).to_contain_text("Thinking…")
    # From a second on its length is said.
    page.wait_for_function("() => window.transom.partial().reasoningSeconds > 1.1")
    press(page, "Stop")
    expect(summary).to_contain_text(re.compile(r"Thought for \d"))
    length = summary.inner_text()
    expect(last(page).locator(".message-note")).to_contain_text("stopped")
    # There is nothing to go on from; but another answer can be had.
    expect(last(page).get_by_role("button", name="Answer again")).to_be_visible()
    page.reload()
    expect(summary).to_have_text(length)


def test_the_end_is_followed_until_somebody_reads_further_up(
    sized: Page, server: ScriptedServer
) -> None:
    server.scripts["walks"] = {"tokens": ["A line of it.\n\n"], "again": True}
    ask(sized, "@walks")
    scroller = sized.locator(".chat-screen > main")
    reading = "() => document.querySelector('.chat-screen > main')"
    sized.wait_for_function(f"() => ({reading})().scrollHeight > 1500")
    away = "each => each.scrollHeight - each.clientHeight - each.scrollTop"
    to_end = sized.get_by_role("button", name="To the end")
    expect(to_end).to_have_count(0)
    scroller.hover()
    sized.mouse.wheel(0, -10_000)
    expect(to_end).to_be_visible()
    # Until the wheel has come to rest.
    sized.wait_for_function(
        f"""() => {{
            const top = ({reading})().scrollTop;
            const rests = window.topBefore === top;
            window.topBefore = top;
            return rests;
        }}""",
        polling=200,
    )
    at = scroller.evaluate("each => each.scrollTop")
    height = scroller.evaluate("each => each.scrollHeight")
    sized.wait_for_function(f"() => ({reading})().scrollHeight > {height} + 100")
    assert scroller.evaluate("each => each.scrollTop") == at
    to_end.click()
    expect(to_end).to_have_count(0)
    press(sized, "Stop")
    expect(last(sized).locator(".message-note")).to_contain_text("stopped")
    # The page follows in its next frame.
    sized.wait_for_function(f"() => ({away})(({reading})()) < 80")
