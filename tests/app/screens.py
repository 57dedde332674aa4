"""The screens of the app: how one gets there, and what has to show."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from playwright.sync_api import FilePayload, Page, expect

from tests.app.conftest import DESKTOP, PHONE
from tests.app.gallery import ARABIC, BRANCH, DOCUMENTS, GERMAN, TIDES, library

NARROW: Final = {"width": 320, "height": 640}

Show = Callable[[Page], None]


@dataclass(frozen=True)
class Screen:
    """A screen in a picture of its own size."""

    name: str
    show: Show
    parts: tuple[str, ...]
    """Selectors of what shows, whatever the width."""
    size: dict[str, int] = field(default_factory=lambda: DESKTOP)
    language: str = "en"
    widths: tuple[dict[str, int], ...] = (DESKTOP, PHONE, NARROW)


def opened_conversation(title: str) -> Show:
    """From the list of conversations, by its title; scrolled to its end, as conversations open."""

    def show(page: Page) -> None:
        page.locator(".conversation", has_text=title).first.click()
        expect(page.locator(".answered .message-note").last).to_be_visible()
        # Formulas and colours come after the text.
        page.wait_for_function("() => !document.querySelector('.answered [aria-busy=true]')")
        page.mouse.move(0, 0)

    return show


def from_its_beginning(show: Show) -> Show:
    def begin(page: Page) -> None:
        show(page)
        page.locator("#scroller").evaluate("(scroller) => scroller.scrollTo(0, 0)")

    return begin


def panel(label: str) -> Show:
    """One of the bar's, or of the composer's."""

    def show(page: Page) -> None:
        page.get_by_role("button", name=label, exact=True).click()
        expect(page.get_by_role("dialog")).to_be_visible()

    return show


def after(*steps: Show) -> Show:
    def show(page: Page) -> None:
        for step in steps:
            step(page)

    return show


def models_room(page: Page) -> None:
    page.locator("#model-name").click()
    expect(page.locator(".model-card").first).to_contain_text("This browser, processor")


def storage(page: Page) -> None:
    models_room(page)
    kept = page.locator(".model-card").filter(
        has=page.get_by_role("heading", name="lantern-small", exact=True)
    )
    kept.scroll_into_view_if_needed()
    kept.get_by_role("button", name="Download").click()
    expect(kept.get_by_text("In this browser", exact=True)).to_be_visible()
    page.get_by_role("tab", name="Storage").click()


def cited(page: Page) -> None:
    opened_conversation(DOCUMENTS)(page)
    page.get_by_role("button", name="Source 2:").first.click()
    expect(page.get_by_role("dialog", name="Sources")).to_be_visible()


def drawer(page: Page) -> None:
    opened_conversation(TIDES)(page)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.get_by_role("button", name="Conversations").click()


COMPOSER: Final = ("#question", "#send", "#place-wanted")
SCREENS: Final = (
    Screen("door", lambda page: None, ("#door.is-ready", *COMPOSER)),
    Screen(
        "chat",
        opened_conversation(TIDES),
        (".answered table", ".answered math", ".answered pre", *COMPOSER),
        {"width": 1280, "height": 960},
    ),
    Screen("branch", opened_conversation(BRANCH), (".branches", *COMPOSER)),
    Screen("documents", cited, ("[role=dialog] [aria-current], dialog [aria-current]",)),
    Screen("models", models_room, (".model-card",)),
    Screen("storage", storage, ("[role=tabpanel]",)),
    Screen("settings", panel("Settings"), ("dialog .tab-row, dialog select",)),
    Screen("parameters", panel("Prompt and parameters"), ("dialog textarea",)),
    Screen("presets", panel("Presets"), ("dialog li",)),
    Screen(
        "tools",
        after(opened_conversation(TIDES), panel("Tools, 1 on")),
        ("dialog [role=switch]",),
    ),
    Screen("phone-chat", opened_conversation(TIDES), (".answered table", *COMPOSER), PHONE),
    Screen("phone-drawer", drawer, ("dialog .conversation",), PHONE, widths=(PHONE, NARROW)),
    Screen("german", opened_conversation(GERMAN), (".answered ol", *COMPOSER), language="de"),
    Screen("arabic", opened_conversation(ARABIC), (".answered ol", *COMPOSER), language="ar"),
    Screen(
        "arabic-phone",
        opened_conversation(ARABIC),
        (".answered ol", *COMPOSER),
        PHONE,
        language="ar",
    ),
)


def open_with_library(page: Page, address: str, language: str) -> None:
    """The page, ready, in this language and with the conversations of the pictures."""
    page.add_init_script(
        f"""localStorage.getItem("transom-preferences") ??
        localStorage.setItem("transom-preferences", '{{"language": "{language}"}}');"""
    )
    page.goto(address)
    expect(page.locator("#door.is-ready")).to_be_visible()
    chats: FilePayload = {
        "name": "chats.json",
        "mimeType": "application/json",
        "buffer": library(language),
    }
    page.locator(".sidebar input[type=file]").set_input_files(chats)
    expect(page.locator(".sidebar .note.is-good")).to_be_visible()
    # It says what it did until something else is done here.
    page.reload()
    expect(page.locator("#door.is-ready")).to_be_visible()
