"""A long system prompt is run once ever: the next visit finds its pages on the disk."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright

from tests.e2e.browser import open_chromium, wait_until
from tests.e2e.commands import Server

SYSTEM = (
    "You are a patient teacher who answers questions of small children about the world. Use short "
    "words. Never mention that you are a machine. When you do not know something, say so, and tell "
    "the child whom to ask. Prefer pictures that a child can imagine: an apple, a river, a house. "
    "Do not frighten anybody. Answer with one sentence, unless you are asked for more than that."
)
QUESTION = "What is the capital of France?"
ANOTHER = "Why is the sky blue?"
TOKENS = 6
PAGE = 16

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]

KEPT = """async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("transom");
    const names = [];
    for await (const [name, file] of (await root.getDirectoryHandle("prefixes")).entries()) {
        // One that is being written is empty.
        if ((await file.getFile()).size > 0) {
            names.push(name);
        }
    }
    return names.filter((name) => /^[0-9a-f]{64}$/.test(name)).length;
}"""


def ask(page: Page, question: str) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate(
        """([system, content, maxTokens]) => window.transom.models.generate({
            messages: [{ role: "system", content: system }, { role: "user", content }],
            options: { temperature: 0, maxTokens },
        })""",
        [SYSTEM, question, TOKENS],
    )
    print(f"\n{answer}")
    return answer


def visit(context: BrowserContext, server: Server) -> Page:
    page = context.new_page()
    page.goto(f"{server.address}/?model=smollm2&pipelines=lazy")
    page.evaluate("() => window.transom.ready")
    return page


def settled(page: Page) -> int:
    """How many pages are kept when no more come."""
    kept = -1
    while (now := page.evaluate(KEPT)) != kept:
        kept = now
        page.wait_for_timeout(3000)
    return kept


def test_the_next_visit_does_not_run_it_again(
    server: Server, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    with open_chromium(playwright, chromium, tmp_path / "profile") as context:
        page = visit(context, server)
        first = ask(page, QUESTION)
        assert first["cachedTokens"] == 0
        # Written while nobody waits for it.
        wait_until(page, f"async () => await ({KEPT})() >= 4")
        kept = settled(page)
    with open_chromium(playwright, chromium, tmp_path / "profile") as context:
        page = visit(context, server)
        again = ask(page, QUESTION)
        assert again["tokenIds"] == first["tokenIds"]
        assert again["cachedTokens"] == kept * PAGE >= 4 * PAGE
        # The system prompt serves other questions too, and theirs are answered by themselves.
        other = ask(page, ANOTHER)
        assert other["cachedTokens"] >= kept * PAGE
        assert other["tokenIds"] != first["tokenIds"]
        # They go with the model: what was said is in them.
        settled(page)
        page.evaluate(
            """async () => {
                const { models } = await window.transom.storage.stored();
                await window.transom.storage.remove(models[0].id);
            }"""
        )
        assert page.evaluate(KEPT) == 0
    with open_chromium(playwright, chromium, tmp_path / "new") as context:
        assert ask(visit(context, server), ANOTHER)["tokenIds"] == other["tokenIds"]
