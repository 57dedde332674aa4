"""Files beside a question, from the file to the words that a model is sent: documents, their
passages and citations; images without what a camera wrote into them; speech in and out.
"""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.app.conftest import (
    DESKTOP,
    PHONE,
    SEER,
    TALKER,
    ScriptedServer,
    answered,
    ask,
    open_chat,
)
from tests.app.document_files import SHIFT_JIS, docx, pdf, with_metadata

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

SECRET: Final = b"GPS 52.5163 N 13.3777 E"
REPORT: Final = pdf([["Annual report"], ["Whales are the largest animals.", "They sing."]])
LETTER: Final = docx(["Dear Ada,", "the meeting is on Friday &amp; Saturday."])
NOTES: Final = b"Remember: ```fences``` and the colour of the door is blue."
# A photograph of a red left and a blue right half.
PHOTO: Final = """async ([width, height, type]) => {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, {width, height});
    const context = canvas.getContext("2d");
    context.fillStyle = "#c22";
    context.fillRect(0, 0, width / 2, height);
    context.fillStyle = "#22c";
    context.fillRect(width / 2, 0, width / 2, height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, type));
    return [...new Uint8Array(await blob.arrayBuffer())];
}"""
# Brings files as a hand does: over the conversation, or from the clipboard.
BRING: Final = """([how, name, type, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], name, {type}));
    const target = document.querySelector(how === "paste" ? "#question" : "#scroller");
    const options = {bubbles: true, cancelable: true};
    if (how === "paste") {
        target.dispatchEvent(new ClipboardEvent("paste", {...options, clipboardData: data}));
    } else {
        target.dispatchEvent(new DragEvent(how, {...options, dataTransfer: data}));
    }
}"""


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def sized(
    request: pytest.FixtureRequest, chat: Page, complaints: list[list[str]]
) -> Iterator[Page]:
    chat.set_viewport_size(request.param)
    yield chat
    # Nothing sticks out.
    assert chat.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )


def attach(page: Page, *files: tuple[str, bytes]) -> None:
    """By the file picker; waits until all are read, or have said why not."""
    page.locator("#attach-files").set_input_files(
        [{"name": name, "mimeType": "", "buffer": content} for name, content in files]
    )
    expect(page.locator(".attachment.is-reading")).to_have_count(0)


def sent(page: Page, text: str) -> Any:
    """The last message of the request that this question makes."""
    with page.expect_request("**/v1/chat/completions") as asked:
        ask(page, text)
    return json.loads(asked.value.post_data or "")["messages"][-1]["content"]


def photo(page: Page, width: int, height: int, kind: str = "image/jpeg") -> bytes:
    return bytes(page.evaluate(PHOTO, [width, height, kind]))


def test_documents_go_with_a_question_and_are_cited(sized: Page, server: ScriptedServer) -> None:
    server.scripts["cites"] = "Whales sing [2]; the meeting is on Friday [3]."
    attach(sized, ("report.pdf", REPORT), ("letter.docx", LETTER), ("notes.md", NOTES))
    listed = sized.get_by_role("list", name="Attached files").get_by_role("listitem")
    expect(listed).to_have_count(3)
    expect(listed.first).to_contain_text("2 pages")
    expect(sized.get_by_text("go to the server with it")).to_be_visible()
    content = sent(sized, "Who sings? @cites")
    assert "[1] report.pdf, page 1\n```\nAnnual report\n```" in content
    assert (
        "[2] report.pdf, page 2\n```\nWhales are the largest animals.\nThey sing.\n```" in content
    )
    assert "[3] letter.docx\n```\nDear Ada,\n\nthe meeting is on Friday & Saturday.\n```" in content
    assert f"[4] notes.md\n````\n{NOTES.decode()}\n````" in content
    assert content.endswith("\n\nWho sings? @cites")
    expect(sized.locator("li.answered .message-note")).to_be_visible()
    expect(sized.locator("li.asked .sent-document")).to_have_count(3)

    # In the text, and below it.
    cited = sized.get_by_role("button", name="Source 3: letter.docx")
    expect(cited).to_have_count(2)
    cited.first.click()
    panel = sized.get_by_role("dialog", name="Sources")
    expect(panel.locator("[aria-current]")).to_contain_text("the meeting is on Friday & Saturday.")
    expect(panel.get_by_role("listitem")).to_have_count(4)
    sized.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def test_an_old_japanese_document_is_read_by_a_table_of_its_own(
    browser_context: BrowserContext, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    """Nobody fetches the table before, and what came once stays."""
    old = pdf([["日本語の文書".encode("shift_jis").decode("latin-1")]], SHIFT_JIS)
    tables: list[str] = []
    browser_context.on(
        "request",
        lambda request: tables.append(request.url) if ".bcmap" in request.url else None,
    )
    page = open_chat(browser_context, server)
    attach(page, ("report.pdf", REPORT))
    assert tables == []
    attach(page, ("old.pdf", old))
    assert "日本語の文書" in sent(page, "What is it? @hello")
    assert tables
    assert all(each.startswith(f"{server.address}/assets/pdf-cmaps-") for each in tables)


def test_of_a_long_document_the_passages_that_fit_the_question(
    chat: Page, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    filler = "Nothing of note happened in this chapter, and nobody came by. " * 10
    paragraphs = [f"Chapter {number}. {filler}" for number in range(400)]
    paragraphs[271] += "The treasure lies beneath the old lighthouse."
    text = "\n\n".join(paragraphs)
    server.scripts["hidden"] = "Beneath the lighthouse [1]."
    attach(chat, ("novel.txt", text.encode()))
    content = sent(chat, "Where is the treasure, near a lighthouse? @hidden")
    assert "beneath the old lighthouse" in content
    assert len(content) < len(text) / 8
    expect(chat.locator("li.answered .message-note")).to_be_visible()
    chat.get_by_role("button", name="Source 1: novel.txt").first.click()
    marked = chat.get_by_role("dialog", name="Sources").locator("[aria-current]")
    expect(marked).to_contain_text("beneath the old lighthouse")


def test_a_question_later_finds_the_same_document(chat: Page, server: ScriptedServer) -> None:
    attach(chat, ("notes.md", NOTES))
    assert "colour of the door is blue" in sent(chat, "@hello")
    answered(chat, "Hello, you there!")
    assert "colour of the door is blue" in sent(chat, "And the door? @hello")
    expect(chat.get_by_role("list", name="Attached files")).to_have_count(1)


def test_what_cannot_be_read_says_why_and_the_rest_goes(
    sized: Page, server: ScriptedServer
) -> None:
    attach(
        sized,
        ("cut.pdf", REPORT[:-100]),
        ("scan.pdf", pdf([[]])),
        ("old.txt", "Grün".encode("latin-1")),
        ("program.bin", b"\x7fELF\0\0"),
        ("notes.md", NOTES),
    )
    said = sized.locator(".attachments").get_by_role("alert")
    expect(said).to_contain_text("cut.pdf is damaged or incomplete.")
    expect(said).to_contain_text("scan.pdf has no text")
    expect(said).to_contain_text("old.txt is not UTF-8 text.")
    expect(said).to_contain_text("program.bin cannot be read here.")
    sized.get_by_role("button", name="Remove cut.pdf").click()
    expect(said).not_to_contain_text("cut.pdf")
    content = sent(sized, "@hello")
    assert "[1] notes.md" in content
    assert "[2]" not in content


def test_files_are_dropped_and_pasted(chat: Page, complaints: list[list[str]]) -> None:
    rows = [*NOTES]
    chat.evaluate(BRING, ["dragenter", "notes.md", "text/markdown", rows])
    expect(chat.get_by_text("Drop files here")).to_be_visible()
    chat.evaluate(BRING, ["drop", "notes.md", "text/markdown", rows])
    expect(chat.get_by_text("Drop files here")).to_have_count(0)
    chat.evaluate(BRING, ["paste", "image.png", "image/png", [*photo(chat, 40, 30, "image/png")]])
    listed = chat.get_by_role("list", name="Attached files").get_by_role("listitem")
    expect(listed).to_have_count(2)
    expect(listed.first).to_contain_text("notes.md")
    expect(listed.last).to_contain_text(re.compile("40 . 30"))


def test_an_image_is_seen_upright_small_and_without_its_metadata(
    browser_context: BrowserContext, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    page = open_chat(browser_context, server, SEER)
    # Held so that its left is up (EXIF orientation 6).
    held = with_metadata(photo(page, 3000, 2000), 6, SECRET)
    attach(page, ("photo.jpg", held))
    expect(page.get_by_text("cannot see images")).to_have_count(0)
    content = sent(page, "What is it? @hello")
    answered(page, "Hello, you there!")
    [image, text] = content
    assert text == {"type": "text", "text": "What is it? @hello"}
    head, _, data = image["image_url"]["url"].partition(",")
    made = base64.b64decode(data)
    assert head == "data:image/jpeg;base64"
    assert SECRET in held
    assert SECRET not in made
    assert b"Exif" not in made
    size = page.evaluate(
        """async (url) => {
            const image = new Image();
            image.src = url;
            await image.decode();
            const canvas = document.createElement("canvas");
            Object.assign(canvas, {width: image.width, height: image.height});
            const context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            const [red, , blue] = context.getImageData(image.width / 2, 9, 1, 1).data;
            return [image.width, image.height, red > 150 && blue < 90];
        }""",
        image["image_url"]["url"],
    )
    assert size == [896, 1344, True]

    page.reload()
    thumbnail = page.get_by_role("button", name="Open photo.jpg")
    thumbnail.click()
    large = page.get_by_role("dialog", name="photo.jpg").get_by_role("img", name="photo.jpg")
    expect(large).to_be_visible()
    assert large.evaluate("image => image.decode().then(() => image.naturalHeight)") == 1344


def test_a_model_that_sees_nothing_says_so(sized: Page) -> None:
    attach(sized, ("photo.png", photo(sized, 20, 20, "image/png")))
    expect(sized.get_by_text(f"{TALKER} cannot see images.")).to_be_visible()
    sized.get_by_role("button", name="Remove photo.png").click()
    expect(sized.get_by_text("cannot see images")).to_have_count(0)


def test_the_menu_of_files_by_keyboard(chat: Page) -> None:
    # From now on Chromium tells, and opens no picker of its own.
    chat.on("filechooser", lambda _: None)
    chat.get_by_role("button", name="Attach").press("Enter")
    expect(chat.get_by_role("menuitem").first).to_be_focused()
    chat.keyboard.press("ArrowDown")
    with chat.expect_file_chooser() as chosen:
        chat.keyboard.press("Enter")
    assert chosen.value.is_multiple()
    assert chosen.value.element.get_attribute("id") == "attach-images"


# A browser that sends speech to its maker, and has one voice of its own.
SPEECH: Final = """
    window.heard = [];
    window.SpeechRecognition = window.webkitSpeechRecognition = class {
        start() {
            window.heard.push(this.lang);
            window.hear = (transcript) =>
                this.onresult({results: [{0: {transcript}, isFinal: true}]});
        }
        stop() { this.onend(); }
        abort() {}
    };
    window.spoken = [];
    Object.defineProperty(window, "speechSynthesis", {value: {
        getVoices: () => [
            {name: "far", lang: "en-GB", localService: false, default: true},
            {name: "near", lang: "en-US", localService: true, default: false},
        ],
        addEventListener() {},
        cancel() {},
        speak: (utterance) => window.spoken.push([utterance.text, utterance.voice.name]),
    }});
    window.SpeechSynthesisUtterance = class extends EventTarget {
        constructor(text) { super(); this.text = text; }
    };
"""


def test_speech_is_asked_for_once_and_answers_are_read_by_voices_of_this_device(
    browser_context: BrowserContext, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    browser_context.add_init_script(SPEECH)
    page = open_chat(browser_context, server)
    microphone = page.get_by_role("button", name="Speak your question")
    microphone.click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("servers of its maker")
    question.get_by_role("button", name="No").click()
    assert page.evaluate("heard") == []
    microphone.click()
    question.get_by_role("button", name="Send my speech").click()
    page.evaluate("hear('say @hello')")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("say @hello")
    page.get_by_role("button", name="Stop listening").click()
    page.get_by_role("textbox", name="Message").press("Enter")
    answered(page, "Hello, you there!")
    page.get_by_role("button", name="Read aloud").click()
    assert page.evaluate("spoken") == [["Hello, you there!", "near"]]
    page.get_by_role("button", name="Stop reading").click()

    page.reload()
    page.get_by_role("button", name="Speak your question").click()
    expect(page.get_by_role("button", name="Stop listening")).to_be_visible()
