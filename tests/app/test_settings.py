"""Settings, parameters and presets: chosen by a person, kept, and in what the model is asked."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.app.conftest import PHONE, SMALL, TALKER, ScriptedServer, answered, ask, open_chat
from tests.e2e.commands import ROOT

pytestmark = [pytest.mark.app, pytest.mark.timeout(300)]

SECTIONS = ("Look", "Chat", "Answers", "Privacy", "About")


def opened(page: Page, label: str, title: str | None = None) -> Locator:
    """The dialog that the button of the bar opens, or on a narrow page the bar's menu."""
    button = page.get_by_role("button", name=label, exact=True)
    if button.count() == 0:
        page.get_by_role("banner").get_by_role("button", name="More").click()
        button = page.get_by_role("menuitem", name=label)
    button.click()
    dialog = page.get_by_role("dialog", name=title or label)
    expect(dialog).to_be_visible()
    return dialog


def close(dialog: Locator) -> None:
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


@contextmanager
def asked(page: Page) -> Iterator[list[dict[str, Any]]]:
    """The bodies of what models are asked meanwhile."""
    bodies: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/v1/chat/completions"):
            bodies.append(json.loads(request.post_data or "{}"))

    page.on("request", note)
    yield bodies
    page.remove_listener("request", note)


def serious(page: Page) -> list[str]:
    """What axe finds that keeps people out."""
    page.evaluate((ROOT / "node_modules/axe-core/axe.min.js").read_text())
    found = page.evaluate("() => axe.run()")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_looks_and_language_are_chosen_and_kept(chat: Page, complaints: object) -> None:
    dialog = opened(chat, "Settings")
    dialog.get_by_role("radio", name="Dark", exact=True).check()
    dialog.get_by_role("radio", name="High", exact=True).check()
    dialog.get_by_role("radio", name="Larger", exact=True).check()
    root = chat.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    paper = "() => getComputedStyle(document.body).backgroundColor"
    assert chat.evaluate(paper) == "rgb(0, 0, 0)"
    chat.reload()
    expect(root).to_have_attribute("data-contrast", "more")
    expect(root).to_have_attribute("data-text", "larger")
    assert chat.evaluate(paper) == "rgb(0, 0, 0)"

    dialog = opened(chat, "Settings")
    dialog.get_by_label("Language").select_option("العربية")
    expect(root).to_have_attribute("dir", "rtl")
    expect(chat.get_by_role("dialog", name="الإعدادات")).to_be_visible()
    chat.get_by_role("dialog").get_by_label("اللغة").select_option("Deutsch")
    expect(root).to_have_attribute("lang", "de")
    expect(root).to_have_attribute("dir", "ltr")
    chat.reload()
    expect(chat.get_by_role("button", name="Einstellungen")).to_be_visible()


def test_what_is_set_reaches_the_model_and_can_be_taken_back(
    chat: Page, complaints: object
) -> None:
    dialog = opened(chat, "Prompt and parameters")
    dialog.get_by_label("System prompt").fill("You are brief.")
    dialog.get_by_role("textbox", name="Temperature").fill("0.3")
    dialog.get_by_role("textbox", name="Stop texts").fill("###")
    dialog.get_by_role("textbox", name="Top K").fill("many")
    expect(dialog.get_by_text("A number from -1")).to_be_visible()
    close(dialog)
    with asked(chat) as bodies:
        ask(chat, "@hello")
        answered(chat, "Hello, you there!")
    [body] = bodies
    assert body["messages"][0] == {"role": "system", "content": "You are brief."}
    assert (body["temperature"], body["stop"]) == (0.3, ["###"])
    assert "top_k" not in body

    dialog = opened(chat, "Prompt and parameters")
    dialog.get_by_label("System prompt").fill("")
    dialog.get_by_role("button", name="All back to the model's own").click()
    close(dialog)
    with asked(chat) as bodies:
        ask(chat, "@hello")
        answered(chat, "Hello, you there!")
    assert {"temperature", "stop"}.isdisjoint(bodies[0])
    assert bodies[0]["messages"][0]["role"] == "user"


def test_a_preset_from_the_first_word_to_a_model(
    chat: Page, server: ScriptedServer, complaints: object, tmp_path: Path
) -> None:
    dialog = opened(chat, "Presets")
    dialog.get_by_role("button", name="New preset").click()
    editor = chat.get_by_role("dialog", name="Preset: New preset")
    editor.get_by_label("Name").fill("Pirate")
    editor.get_by_label("Model", exact=True).fill(TALKER)
    editor.get_by_label("System prompt").fill("You are a pirate.")
    editor.get_by_role("tab", name="Modelfile").click()
    text = editor.get_by_role("textbox", name="Modelfile")
    expect(text).to_have_value(f"FROM {TALKER}\nSYSTEM You are a pirate.\n")
    text.fill(f"# Mine\nFROM {TALKER}\nSYSTEM You are a pirate.\nPARAMETER temprature 1\n")
    expect(editor.get_by_text("Line 4:")).to_be_visible()
    expect(editor.get_by_role("button", name="Save")).to_be_disabled()
    text.fill(f"# Mine\nFROM {TALKER}\nSYSTEM You are a pirate.\nPARAMETER temperature 0.5\n")
    editor.get_by_role("button", name="Save").click()

    with chat.expect_download() as download:
        dialog.get_by_role("button", name="More for Pirate").click()
        chat.get_by_role("menuitem", name="Export").click()
    kept = tmp_path / "Pirate.Modelfile"
    download.value.save_as(kept)
    assert kept.read_text().startswith("# Mine\nFROM")

    dialog.get_by_role("button", name="More for Pirate").click()
    chat.get_by_role("menuitem", name="Save as a model").click()
    saving = chat.get_by_role("dialog", name="Save as a model")
    expect(saving.get_by_label("Name of the model")).to_have_value("pirate")
    saving.get_by_role("button", name="Make the model").click()
    expect(saving.get_by_text("pirate is on the server now.")).to_be_visible()
    saving.get_by_role("button", name="Close").last.click()
    made = chat.request.post(f"{server.address}/api/show", data={"model": "pirate"}).json()
    assert made["system"] == "You are a pirate."

    # Away, and back from the file.
    dialog.get_by_role("button", name="More for Pirate").click()
    chat.get_by_role("menuitem", name="Delete").click()
    dialog.get_by_role("button", name="Delete", exact=True).click()
    expect(dialog.get_by_text("No preset yet.")).to_be_visible()
    dialog.get_by_label("Import a Modelfile").set_input_files(kept)
    chat.get_by_role("dialog", name="Preset: Pirate").get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Use in this chat").click()
    with asked(chat) as bodies:
        ask(chat, "@hello")
        answered(chat, "Hello, you there!")
    assert bodies[0]["messages"][0] == {"role": "system", "content": "You are a pirate."}
    assert bodies[0]["temperature"] == 0.5


def test_the_key_that_sends_is_chosen(chat: Page, complaints: object) -> None:
    dialog = opened(chat, "Settings")
    dialog.get_by_role("tab", name="Chat").click()
    dialog.get_by_role("radio", name="Ctrl + Enter", exact=True).check()
    close(dialog)
    message = chat.get_by_role("textbox", name="Message")
    message.fill("@hello")
    message.press("Enter")
    expect(message).to_have_value("@hello\n")
    message.press("Control+Enter")
    answered(chat, "Hello, you there!")


def test_the_api_key_goes_to_the_server_and_can_be_forgotten(
    chat: Page, complaints: object
) -> None:
    dialog = opened(chat, "Settings")
    dialog.get_by_role("tab", name="Answers").click()
    dialog.get_by_label("API key of the server").fill("not-a-real-key")
    dialog.get_by_label("API key of the server").press("Tab")
    close(dialog)
    with chat.expect_request("**/v1/chat/completions") as request:
        ask(chat, "@hello")
    assert request.value.all_headers()["authorization"] == "Bearer not-a-real-key"
    answered(chat, "Hello, you there!")
    dialog = opened(chat, "Settings")
    dialog.get_by_role("tab", name="Answers").click()
    dialog.get_by_role("button", name="Forget the key").click()
    close(dialog)
    with chat.expect_request("**/v1/chat/completions") as request:
        ask(chat, "@hello")
    assert "authorization" not in request.value.all_headers()
    answered(chat, "Hello, you there!")


def test_everything_is_deleted_when_asked_twice(chat: Page, complaints: object) -> None:
    ask(chat, "@hello")
    answered(chat, "Hello, you there!")
    dialog = opened(chat, "Settings")
    dialog.get_by_role("radio", name="Dark", exact=True).check()
    dialog.get_by_role("tab", name="Privacy").click()
    dialog.get_by_role("button", name="Delete everything").click()
    dialog.get_by_role("button", name="Keep it").click()
    dialog.get_by_role("button", name="Delete everything").click()
    with chat.expect_navigation():
        dialog.get_by_role("button", name="Yes, delete everything").click()
    expect(chat.locator("html")).not_to_have_attribute("data-theme", "dark")
    expect(chat.get_by_text("Hello, you there!")).to_have_count(0)


def test_a_full_context_is_said_and_nothing_is_left_out(
    browser_context: BrowserContext, server: ScriptedServer, complaints: object
) -> None:
    page = open_chat(browser_context, server, SMALL)
    ask(page, "@hello " + "word " * 30)
    answered(page, "Hello, you there!")
    expect(page.get_by_role("meter", name="Context used").first).to_be_visible()
    page.get_by_role("button", name="Where it runs").click()
    expect(page.locator("#status")).to_contain_text("tokens")
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_be_hidden()
    page.get_by_role("textbox", name="Message").fill("word " * 80)
    expect(page.get_by_text("Nothing is left out unless you say so.")).to_be_visible()


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_every_panel_is_for_everybody(chat: Page, complaints: object, theme: str) -> None:
    dialog = opened(chat, "Settings")
    dialog.get_by_role("radio", name=theme, exact=True).check()
    for section in SECTIONS:
        dialog.get_by_role("tab", name=section).click()
        assert serious(chat) == [], section
    close(dialog)
    dialog = opened(chat, "Prompt and parameters")
    assert serious(chat) == []
    close(dialog)
    dialog = opened(chat, "Presets")
    dialog.get_by_role("button", name="New preset").click()
    for view in ("Form", "Modelfile"):
        chat.get_by_role("tab", name=view).click()
        assert serious(chat) == [], view
    chat.get_by_role("button", name="Save", exact=True).click()
    dialog.get_by_role("button", name="More for New preset").click()
    assert serious(chat) == []


@pytest.mark.parametrize("width", [320, PHONE["width"]])
def test_every_panel_fits_a_phone(chat: Page, complaints: object, width: int) -> None:
    chat.set_viewport_size({"width": width, "height": PHONE["height"]})
    # The bar hears of the width in the page's next frame.
    expect(chat.get_by_role("banner").get_by_role("button", name="More")).to_be_visible()

    def fits(dialog: Locator) -> None:
        box = dialog.bounding_box()
        assert box is not None
        assert (box["x"], box["width"]) == (0, width)
        too_wide = "(body) => body.scrollWidth > body.clientWidth"
        assert dialog.locator(".dialog-body").evaluate(too_wide) is False

    dialog = opened(chat, "Settings")
    for section in SECTIONS:
        dialog.get_by_role("tab", name=section).click()
        fits(dialog)
    close(dialog)
    dialog = opened(chat, "Prompt and parameters")
    fits(dialog)
    close(dialog)
    fits(opened(chat, "Presets"))
