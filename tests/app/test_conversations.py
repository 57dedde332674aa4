"""Conversations side by side, and what is left of them when a tab, a browser or all of it goes."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import BrowserContext, Download, Error, Locator, Page, Playwright, expect

from tests.app.conftest import (
    PHONE,
    TALKER,
    THINKER,
    ScriptedServer,
    answered,
    ask,
    open_chat,
)
from tests.e2e.browser import WITHOUT_WEBGPU, open_chromium, wait_until

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

ENDLESS: Final = {"tokens": ["on ", "and "], "again": True}
# Everything that a file of conversations holds, as JSON: a blob by its bytes.
KEPT: Final = """async () => {
    const opening = indexedDB.open("transom");
    const database = await new Promise((resolve, reject) => {
        opening.onsuccess = () => resolve(opening.result);
        opening.onerror = () => reject(opening.error);
    });
    const kept = {};
    for (const name of ["conversations", "turns", "files", "presets"]) {
        const asking = database.transaction(name).objectStore(name).getAll();
        const rows = await new Promise((resolve) => {
            asking.onsuccess = () => resolve(asking.result);
        });
        kept[name] = await Promise.all(rows.map(async ({blob, ...row}) => ({
            ...row,
            ...(blob && {blob: [...new Uint8Array(await blob.arrayBuffer())]}),
        })));
    }
    database.close();
    return kept;
}"""


def side(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Conversations")


def row(page: Page, title: str) -> Locator:
    return side(page).locator(".conversation").filter(has_text=title)


def keep_undo(page: Page) -> None:
    """What can be taken back shows for eight seconds, or for as long as the mouse is over it."""
    side(page).get_by_role("button", name="Undo").hover()


def titles(page: Page, *expected: str) -> None:
    """The conversations that are listed, from the top."""
    expect(side(page).locator(".conversation-title")).to_have_text(list(expected))


def menu(page: Page, title: str, item: str) -> None:
    side(page).get_by_role("button", name=f"More about “{title}”").click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def begin(page: Page, text: str) -> None:
    """A conversation of its own."""
    page.get_by_role("button", name="New chat").first.click()
    expect(page.locator("li.asked")).to_have_count(0)
    ask(page, f"{text} @hello")
    answered(page, "Hello, you there!")


def last(page: Page) -> Locator:
    return page.locator("li.answered").last


@pytest.fixture
def three(chat: Page, complaints: list[list[str]]) -> Page:
    """The third one shows."""
    ask(chat, "Apples @hello")
    answered(chat, "Hello, you there!")
    begin(chat, "Bears")
    begin(chat, "Clouds")
    return chat


def test_several_conversations_and_their_addresses(three: Page, server: ScriptedServer) -> None:
    titles(three, "Clouds @hello", "Bears @hello", "Apples @hello")
    expect(row(three, "Clouds")).to_have_attribute("aria-current", "page")
    third = three.url
    assert re.search(r"#c=[0-9a-f]{32}$", third)
    row(three, "Apples").click()
    expect(three.locator("li.asked")).to_have_text([re.compile("Apples")])
    expect(row(three, "Apples")).to_have_attribute("aria-current", "page")
    first = three.url
    assert first != third
    three.go_back()
    expect(three.locator("li.asked")).to_have_text([re.compile("Clouds")])
    three.go_forward()
    expect(three.locator("li.asked")).to_have_text([re.compile("Apples")])

    # Whoever says something in one brings it to the top.
    ask(three, "More @hello")
    expect(three.locator("li.answered")).to_have_count(2)
    answered(three, "Hello, you there!")
    titles(three, "Apples @hello", "Clouds @hello", "Bears @hello")

    other = three.context.new_page()
    other.goto(third)
    expect(other.locator("li.asked")).to_have_text([re.compile("Clouds")])
    other.goto(f"{server.address}/?model={TALKER}#c={'0' * 32}")
    expect(gone(other)).to_contain_text("It was deleted, or another browser has it.")
    assert other.url.endswith("0" * 32)
    gone(other).get_by_role("button", name="New chat").click()
    expect(other.get_by_role("heading", name="talker is ready on the server")).to_be_visible()
    assert "#c=" not in other.url


def test_a_model_that_is_chosen_meanwhile_keeps_the_conversation(three: Page) -> None:
    three.get_by_title("Choose a model").click()
    expect(three.get_by_role("tab", name="All models")).to_be_visible()
    three.go_back()
    expect(three.locator("li.asked")).to_have_text([re.compile("Clouds")])


def test_search_shows_where_words_were_said(three: Page, server: ScriptedServer) -> None:
    server.scripts["tells"] = "Long ago, in a **harbour** of the north, a ship lay at anchor."
    ask(three, "Tell me more @tells")
    answered(three, re.compile("harbour"))
    begin(three, "Dew")
    search = side(three).get_by_role("searchbox", name="Search conversations")
    search.fill("harbour")
    expect(side(three).get_by_text("1 conversation", exact=True)).to_be_visible()
    found = side(three).locator(".is-found")
    expect(found).to_have_count(1)
    expect(found).to_contain_text("Clouds")
    expect(found.locator("mark")).to_have_text("harbour")
    expect(found.locator(".conversation-snippet")).to_contain_text("a ship lay")
    found.click()
    expect(three.locator("li.asked").last).to_contain_text("Tell me more")
    search.fill("no such words")
    expect(side(three).get_by_text("Nothing found.")).to_be_visible()
    search.press("Escape")
    expect(search).to_have_value("")
    expect(side(three).locator(".conversation")).to_have_count(4)


def test_names_pins_and_deleting_with_a_way_back(three: Page) -> None:
    row(three, "Bears").focus()
    three.keyboard.press("F2")
    field = side(three).get_by_role("textbox", name="Title of the conversation")
    expect(field).to_be_focused()
    three.keyboard.type("Polar bears")
    three.keyboard.press("Enter")
    titles(three, "Clouds @hello", "Polar bears", "Apples @hello")
    expect(row(three, "Polar bears")).to_be_focused()
    three.keyboard.press("F2")
    three.keyboard.type("nothing")
    three.keyboard.press("Escape")
    titles(three, "Clouds @hello", "Polar bears", "Apples @hello")

    menu(three, "Apples @hello", "Pin")
    titles(three, "Apples @hello", "Clouds @hello", "Polar bears")
    expect(side(three).get_by_role("heading", name="Pinned")).to_be_visible()
    three.reload()
    titles(three, "Apples @hello", "Clouds @hello", "Polar bears")
    menu(three, "Apples @hello", "Unpin")
    expect(side(three).get_by_role("heading", name="Pinned")).to_have_count(0)

    row(three, "Polar bears").focus()
    three.keyboard.press("Delete")
    keep_undo(three)
    expect(side(three).get_by_text("Deleted “Polar bears”.")).to_be_visible()
    titles(three, "Clouds @hello", "Apples @hello")
    expect(row(three, "Apples")).to_be_focused()
    side(three).get_by_role("button", name="Undo").click()
    titles(three, "Clouds @hello", "Polar bears", "Apples @hello")
    row(three, "Polar bears").click()
    answered(three, "Hello, you there!")

    # The one that shows leaves the screen, too.
    menu(three, "Polar bears", "Delete")
    expect(three.locator("#door")).to_be_visible()
    titles(three, "Clouds @hello", "Apples @hello")
    three.reload()
    titles(three, "Clouds @hello", "Apples @hello")
    three.go_back()
    expect(three.locator("#door")).to_be_visible()
    expect(three.locator("li.asked")).to_have_count(0)


def gone(page: Page) -> Locator:
    return page.get_by_role("region", name="This conversation is not here any more")


def test_a_deleted_conversation_says_so_at_its_address_and_comes_back(three: Page) -> None:
    row(three, "Bears").click()
    expect(three.locator("li.asked")).to_have_text([re.compile("Bears")])
    address = three.url
    menu(three, "Bears @hello", "Delete")
    expect(three.locator("li.asked")).to_have_count(0)
    three.goto(address)
    expect(gone(three)).to_contain_text("It was just deleted, and can come back.")
    gone(three).get_by_role("button", name="Undo").click()
    expect(three.locator("li.asked")).to_have_text([re.compile("Bears")])
    titles(three, "Clouds @hello", "Bears @hello", "Apples @hello")

    # Nobody brings back what an earlier visit deleted.
    menu(three, "Bears @hello", "Delete")
    expect(three.locator("li.asked")).to_have_count(0)
    # Read back from the database.
    titles(three, "Clouds @hello", "Apples @hello")
    three.goto(address)
    three.reload()
    expect(gone(three)).to_contain_text("It was deleted, or another browser has it.")
    expect(gone(three).get_by_role("button", name="Undo")).to_have_count(0)
    three.set_viewport_size(PHONE)
    three.get_by_role("banner").get_by_role("button", name="New chat").click()
    expect(gone(three)).to_have_count(0)


def test_conversations_on_a_phone_are_a_drawer(three: Page) -> None:
    three.set_viewport_size(PHONE)
    expect(side(three)).to_have_count(0)
    three.get_by_role("button", name="Conversations").click()
    drawer = three.get_by_role("dialog", name="Conversations")
    expect(drawer).to_be_visible()
    titles(three, "Clouds @hello", "Bears @hello", "Apples @hello")
    row(three, "Bears").click()
    expect(drawer).to_have_count(0)
    expect(three.locator("li.asked")).to_have_text([re.compile("Bears")])
    three.get_by_role("button", name="Conversations").click()
    expect(drawer).to_be_visible()
    three.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(three.get_by_role("button", name="Conversations")).to_be_focused()


def test_leaving_in_mid_answer_keeps_what_came(three: Page, server: ScriptedServer) -> None:
    server.scripts["walks"] = ENDLESS
    ask(three, "@walks")
    expect(last(three)).to_contain_text("on and on")
    row(three, "Apples").click()
    expect(three.locator("li.asked")).to_have_text([re.compile("Apples")])
    expect(three.get_by_role("button", name="Stop")).to_have_count(0)
    row(three, "Clouds").click()
    expect(last(three)).to_contain_text("on and on")
    expect(last(three).locator(".message-note")).to_contain_text("stopped")
    expect(last(three).get_by_role("button", name="Continue")).to_be_enabled()


def test_two_tabs_follow_each_other(three: Page, server: ScriptedServer) -> None:
    other = open_chat(three.context, server)
    titles(other, "Clouds @hello", "Bears @hello", "Apples @hello")
    begin(other, "Dew")
    titles(three, "Dew @hello", "Clouds @hello", "Bears @hello", "Apples @hello")
    # The one that shows over there is renamed here, and talk over there keeps that.
    row(other, "Clouds").focus()
    other.keyboard.press("F2")
    other.keyboard.type("Weather")
    other.keyboard.press("Enter")
    expect(row(three, "Weather")).to_be_visible()
    ask(three, "More @hello")
    expect(three.locator("li.answered")).to_have_count(2)
    answered(three, "Hello, you there!")
    titles(other, "Weather", "Dew @hello", "Bears @hello", "Apples @hello")
    titles(three, "Weather", "Dew @hello", "Bears @hello", "Apples @hello")
    menu(three, "Bears @hello", "Delete")
    keep_undo(three)
    titles(other, "Weather", "Dew @hello", "Apples @hello")
    side(three).get_by_role("button", name="Undo").click()
    titles(other, "Weather", "Dew @hello", "Bears @hello", "Apples @hello")


def saved(page: Page, item: str) -> Download:
    side(page).get_by_role("button", name="Save or load conversations").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=item).click()
    return download.value


def load(page: Page, file: Path) -> None:
    side(page).get_by_role("button", name="Save or load conversations").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("menuitem", name="Load from a file").click()
    chooser.value.set_files(file)


def wipe(page: Page) -> None:
    page.get_by_role("button", name="Settings", exact=True).click()
    dialog = page.get_by_role("dialog", name="Settings")
    dialog.get_by_role("tab", name="Privacy").click()
    dialog.get_by_role("button", name="Delete everything").click()
    with page.expect_navigation():
        dialog.get_by_role("button", name="Yes, delete everything").click()


def everything(context: BrowserContext, server: ScriptedServer) -> Page:
    """Two conversations with all that conversations can have, and a preset."""
    server.scripts |= {
        "ponders": "Six times seven.</think>It is **42**.",
        "fails": {"tokens": "Half", "fails": {"code": "engine-failed", "message": "no"}},
    }
    page = open_chat(context, server, THINKER)
    page.locator("#attach-files").set_input_files(
        [{"name": "notes.md", "mimeType": "text/markdown", "buffer": "Grüße 👋".encode()}]
    )
    ask(page, "What is it? @ponders")
    answered(page, "It is 42.")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".branches")).to_contain_text("2 of 2")
    answered(page, "It is 42.")
    page.get_by_role("button", name="New chat").first.click()
    page.get_by_role("button", name="Prompt and parameters").click()
    panel = page.get_by_role("dialog", name="Prompt and parameters")
    panel.get_by_label("System prompt").fill("You are brief.")
    panel.get_by_role("textbox", name="Temperature").fill("0.3")
    panel.get_by_role("button", name="Close").click()
    ask(page, "</think> @fails")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.get_by_role("button", name="Presets", exact=True).click()
    presets = page.get_by_role("dialog", name="Presets")
    presets.get_by_role("button", name="New preset").click()
    editor = page.get_by_role("dialog", name="Preset: New preset")
    editor.get_by_label("Model", exact=True).fill(THINKER)
    editor.get_by_role("button", name="Save", exact=True).click()
    presets.get_by_role("button", name="Close").click()
    menu(page, "What is it? @ponders", "Pin")
    expect(side(page).get_by_role("heading", name="Pinned")).to_be_visible()
    return page


def test_what_is_saved_wiped_and_loaded_is_equal(
    browser_context: BrowserContext, server: ScriptedServer, tmp_path: Path
) -> None:
    page = everything(browser_context, server)
    before = page.evaluate(KEPT)
    counts = {name: len(rows) for name, rows in before.items()}
    assert counts == {"conversations": 2, "turns": 5, "files": 1, "presets": 1}
    file = tmp_path / "all.json"
    download = saved(page, "Save all as JSON")
    assert re.fullmatch(r"Transom \d{4}-\d\d-\d\d\.json", download.suggested_filename)
    download.save_as(file)
    wipe(page)
    # A page that opens finds a fresh database.
    expect(side(page).get_by_text("What you ask shows up here")).to_be_visible()
    assert not any(page.evaluate(KEPT).values())
    load(page, file)
    expect(side(page).get_by_text("Loaded 2 conversations.")).to_be_visible()
    assert comparable(page.evaluate(KEPT)) == comparable(before)
    row(page, "What is it?").click()
    answered(page, "It is 42.")
    expect(page.locator(".branches")).to_contain_text("2 of 2")

    # Twice is once.
    load(page, file)
    expect(
        side(page).get_by_text("All conversations of that file are here already.")
    ).to_be_visible()
    assert comparable(page.evaluate(KEPT)) == comparable(before)
    broken = tmp_path / "broken.json"
    broken.write_bytes(file.read_bytes()[:-9])
    load(page, broken)
    expect(side(page).get_by_text("That did not work:")).to_be_visible()
    assert comparable(page.evaluate(KEPT)) == comparable(before)


def comparable(kept: dict[str, Any]) -> dict[str, Any]:
    """Without what is only of this browser: when a file was put into a draft, and what was read of
    it, which is read again."""
    own = {"draftedAt", "text", "vectors"}
    files = [{k: v for k, v in each.items() if k not in own} for each in kept["files"]]
    return {**kept, "files": files}


def message(role: str, text: str) -> dict[str, Any]:
    return {"author": {"role": role}, "content": {"content_type": "text", "parts": [text]}}


# By hand, after the sources that web/src/chat/foreign-export.ts names.
CHATGPT: Final = {
    "id": "g",
    "title": "Windows",
    "create_time": 1_700_000_000,
    "current_node": "b",
    "mapping": {
        "root": {"parent": None, "message": None},
        "q": {"parent": "root", "message": message("user", "Why glass?")},
        "a": {"parent": "q", "message": message("assistant", "It is clear.")},
        "b": {"parent": "q", "message": message("assistant", "For light.")},
    },
}
THOUGHT: Final = (
    '<details type="reasoning" done="true" duration="3">\n'
    "<summary>Thought for 3 seconds</summary>\n&gt; It&#x27;s ajar.\n</details>\n"
)
OPEN_WEBUI: Final = {
    "id": "w",
    "title": "Doors",
    "created_at": 1_700_000_000,
    "updated_at": 1_700_000_100,
    "chat": {
        "history": {
            "currentId": "b",
            "messages": {
                "q": {"parentId": None, "role": "user", "content": "Open?"},
                "a": {"parentId": "q", "role": "assistant", "content": "No."},
                "b": {"parentId": "q", "role": "assistant", "content": f"{THOUGHT}Yes."},
            },
        }
    },
}


@pytest.mark.parametrize(
    ("exported", "question", "answers"),
    [
        pytest.param(CHATGPT, "Why glass?", ("It is clear.", "For light."), id="chatgpt"),
        pytest.param(OPEN_WEBUI, "Open?", ("No.", "Yes."), id="open-webui"),
    ],
)
def test_what_other_apps_export_comes_in_with_its_branches(
    chat: Page,
    complaints: list[list[str]],
    tmp_path: Path,
    exported: dict[str, Any],
    question: str,
    answers: tuple[str, str],
) -> None:
    file = tmp_path / "conversations.json"
    file.write_text(json.dumps([exported]))
    load(chat, file)
    expect(side(chat).get_by_text("Loaded 1 conversation.")).to_be_visible()
    row(chat, exported["title"]).click()
    expect(chat.locator("li.asked")).to_contain_text(question)
    expect(chat.locator(".branches")).to_contain_text("2 of 2")
    expect(last(chat).locator(".message-text")).to_have_text(answers[1])
    if exported is OPEN_WEBUI:
        thoughts = last(chat).locator(".reasoning summary")
        expect(thoughts).to_contain_text("Thought for 3")
        thoughts.click()
        expect(last(chat).get_by_text("It's ajar.", exact=True)).to_be_visible()
    chat.get_by_role("button", name="Earlier version").click()
    expect(last(chat).locator(".message-text")).to_have_text(answers[0])


def test_one_conversation_is_saved_to_read(three: Page, tmp_path: Path) -> None:
    side(three).get_by_role("button", name="More about “Bears @hello”").click()
    with three.expect_download() as download:
        three.get_by_role("menuitem", name="Save as Markdown").click()
    assert download.value.suggested_filename == "Bears @hello.md"
    text = download.value.path().read_text()
    assert text.startswith("# Bears @hello\n")
    assert "Hello, you there!" in text
    assert "Apples" not in text


@contextmanager
def visit(playwright: Playwright, chromium: str, profile: Path) -> Iterator[BrowserContext]:
    """Again with the same profile."""
    with open_chromium(playwright, chromium, profile, WITHOUT_WEBGPU) as context:
        context.set_default_timeout(120_000)
        yield context


def kill(profile: Path) -> None:
    """The browser of this profile, as the system does when memory ends."""
    killed = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            is_browser = not any(word.startswith("--type=") for word in words)
            if is_browser and f"--user-data-dir={profile}" in words:
                os.kill(int(process.name), signal.SIGKILL)
                killed.append(process.name)
    assert killed


def go_on(page: Page, server: ScriptedServer) -> None:
    """The answer that nobody finished is here as far as it came, and is finished now."""
    answer = last(page)
    expect(answer).to_contain_text("on and on and on")
    expect(answer).to_contain_text("The page went away before this answer was whole.")
    said = answer.locator(".message-text").inner_text().strip()
    server.scripts["walks"] = "to the end."
    answer.get_by_role("button", name="Continue").click()
    answered(page, re.compile(rf"^{said} ?to the end\.$"))
    expect(page.get_by_text("The page went away")).to_have_count(0)
    expect(page.locator("li.answered")).to_have_count(1)


def test_a_tab_that_ends_in_mid_answer_leaves_what_came_to_another(
    chat: Page, server: ScriptedServer
) -> None:
    server.scripts["walks"] = ENDLESS
    ask(chat, "Go @walks")
    expect(last(chat)).to_contain_text("on and on and on")
    other = chat.context.new_page()
    other.goto(chat.url)
    expect(last(other)).to_contain_text("on and on and on")
    expect(other.get_by_text("The page went away")).to_have_count(0)
    chat.close()
    go_on(other, server)


def test_a_browser_that_is_killed_in_mid_answer_loses_none_of_it(
    playwright: Playwright, chromium: str, server: ScriptedServer, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    server.scripts["walks"] = ENDLESS
    was_killed = False
    # A browser that is gone cannot be closed.
    with suppress(Error), visit(playwright, chromium, profile) as context:
        page = open_chat(context, server)
        ask(page, "Go @walks")
        expect(last(page)).to_contain_text("on and on and on")
        # What came is kept twice a second.
        wait_until(
            page, f"async () => JSON.stringify(await ({KEPT})()).includes('on and on and on')"
        )
        kill(profile)
        was_killed = True
    assert was_killed
    with visit(playwright, chromium, profile) as context:
        page = open_chat(context, server)
        row(page, "Go").click()
        go_on(page, server)
