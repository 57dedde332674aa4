"""What models write, as people see it: in the page as it is shipped, with its policy, in a browser
that lays it out. What answers look like as data, tests/web/app/markdown*.test.ts say.
"""

from typing import Final

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.app.conftest import DESKTOP, PHONE, ScriptedServer, ask

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

HOSTILE: Final = {
    "script": "<script>window.pwned = 1</script>\n\n<img src=x onerror='window.pwned = 1'>",
    "svg": "<svg onload='window.pwned = 1'></svg>\n\n> <svg/onload=window.pwned=1>",
    "links": "[a](javascript:window.pwned=1) <javascript:window.pwned=1> [b](data:text/html,x)",
    "images": "![a](https://example.com/a.png) ![b](/v1/models) ![c](data:image/png;base64,AAAA)",
    "formulas": "$$\\href{javascript:window.pwned=1}{x}$$ $\\includegraphics{https://example.com/a}$",
    "styles": "<div style='position:fixed;inset:0'>x</div><style>body{display:none}</style>",
    "line": "x" * 1_000_000,
    "words": "\n\n".join(["W" * 3000, f"**{'long' * 900}**", f"- {'a' * 4000}", f"> {'b' * 4000}"]),
    "deep": ">" * 1000 + " deep\n\n" + "\n".join("  " * depth + "- x" for depth in range(100)),
    "table": "|" + "a|" * 60 + "\n|" + "-|" * 60 + "\n" + ("|" + "cell|" * 60 + "\n") * 200,
    "code": "```\n" + "x" * 5000 + "\n" + "\n".join(f"line {at}" for at in range(5000)) + "\n```",
    "bidi": "\u202eright to left\u2066 for ever\n\nnext",
}
# Marks that stand on each other, a hundred to a letter.
ZALGO: Final = "".join(
    f"{letter}{chr(0x0300 + at % 80) * 120}" for at, letter in enumerate("zalgo")
)


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def sized(request: pytest.FixtureRequest, chat: Page, complaints: list[list[str]]) -> Page:
    chat.set_viewport_size(request.param)
    return chat


def answer(page: Page, server: ScriptedServer, text: str) -> Locator:
    """The whole answer of a model that says this."""
    server.scripts["markdown"] = [text[at : at + 5000] for at in range(0, len(text), 5000)]
    ask(page, "Say @markdown")
    last = page.locator("li.answered").last
    expect(last.locator(".turn-foot")).to_be_visible()
    return last.locator(".markdown")


def nothing_sticks_out(page: Page, shown: Locator) -> bool:
    return bool(
        shown.evaluate(
            """(it) => document.documentElement.scrollWidth <= innerWidth &&
                it.getBoundingClientRect().right <= innerWidth &&
                [...it.querySelectorAll(".md-block")].every((block) =>
                    block.getBoundingClientRect().right <= it.getBoundingClientRect().right + 1)"""
        )
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_runs_and_nothing_sticks_out(
    sized: Page, server: ScriptedServer, name: str
) -> None:
    outside: list[str] = []
    sized.on("request", lambda sent: outside.append(sent.url))
    shown = answer(sized, server, HOSTILE[name])
    assert nothing_sticks_out(sized, shown)
    assert sized.evaluate("window.pwned") is None
    assert shown.locator("script, img, svg:not(.icon), style, [style*=fixed]").count() == 0
    assert [url for url in outside if not url.startswith((server.address, "data:", "blob:"))] == []
    # The page still listens.
    message = sized.get_by_role("textbox", name="Message")
    message.fill("still here")
    expect(message).to_have_value("still here")


def test_stacked_marks_stay_in_their_answer(chat: Page, server: ScriptedServer) -> None:
    shown = answer(chat, server, ZALGO)
    assert shown.evaluate("(it) => getComputedStyle(it).overflowY") == "clip"
    assert shown.evaluate("(it) => it.offsetHeight") < 200


def test_a_table_shows_its_first_rows_and_then_all(
    chat: Page, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    shown = answer(chat, server, "|a|b|\n|-|-|\n" + "|1|2|\n" * 5000)
    expect(shown.locator("tbody tr")).to_have_count(100)
    shown.get_by_role("button", name="Show all 5,000 rows").press("Enter")
    expect(shown.locator("tbody tr")).to_have_count(5000)
    expect(shown.get_by_role("group", name="Table, 5,000 rows")).to_be_focused()


def test_code_is_coloured_copied_and_scrolled_by_keyboard(
    chat: Page, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    chat.context.grant_permissions(["clipboard-read", "clipboard-write"])
    source = "def door():\n    return " + " + ".join(["'a long way'"] * 40)
    shown = answer(chat, server, f"```python\n{source}\n```\n")
    expect(shown.locator(".hljs-keyword").first).to_have_text("def")
    shown.get_by_role("button", name="Copy Python code").click()
    expect(chat.get_by_role("status").filter(has_text="Copied").first).to_be_attached()
    assert chat.evaluate("navigator.clipboard.readText()") == source
    code = shown.get_by_role("group", name="Code, Python")
    code.focus()
    chat.keyboard.press("ArrowRight")
    chat.keyboard.press("ArrowRight")
    chat.wait_for_function("() => document.activeElement.scrollLeft > 0")


def test_formulas_are_drawn_under_the_page_s_policy(
    chat: Page, server: ScriptedServer, complaints: list[list[str]]
) -> None:
    shown = answer(
        chat, server, "$\\color{red}{x}$ costs $5\n\n$$\\frac{a}{b}$$\n\n$\\nonsense{$\n"
    )
    expect(shown.locator("math")).to_have_count(2)
    expect(shown.locator("math mfrac")).to_have_count(1)
    assert shown.locator("math").first.evaluate(
        """(it) => [...it.querySelectorAll("*")].some(
            (each) => getComputedStyle(each).color === "rgb(255, 0, 0)")"""
    )
    expect(shown).to_contain_text("costs $5")
    expect(shown).to_contain_text("\\nonsense{")


def test_what_is_half_open_does_not_jump(chat: Page, server: ScriptedServer) -> None:
    """No frame shows a mark that is gone in the next; what is above the end stays in its place."""
    text = "Some **bold** and `code`.\n\n1. one\n2. *two*\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    server.scripts["slowly"] = {"tokens": list(text), "again": True}
    chat.evaluate(
        """() => {
            window.seen = [];
            const look = () => {
                const shown = document.querySelector("li.answered:last-child .markdown");
                const top = shown?.firstElementChild?.offsetTop;
                if (shown) window.seen.push([shown.textContent, top]);
                if (window.seen.length < 300) requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
        }"""
    )
    ask(chat, "Say @slowly")
    chat.wait_for_function("() => window.seen.length >= 200")
    seen = chat.evaluate("window.seen")
    chat.get_by_role("button", name="Stop").first.click()
    assert not any(mark in text for text, _ in seen[:100] for mark in ("**", "`", "|--"))
    assert len({top for text, top in seen if text}) == 1
