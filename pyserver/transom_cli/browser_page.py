"""The chat page in a headless browser, driven through its `window.transom`.

Knows Playwright and the page's automation hook (web/src/page/automation.ts); knows neither the
command line nor the server.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserType, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from transom_cli.chromium import Adapter, flags, how_to_install
from transom_models.errors import TransomError

# Often enough to look like typing, seldom enough to leave the processor to the model.
POLL_MILLISECONDS: Final = 100
SCRIPT_TIMEOUT_MILLISECONDS: Final = 60_000

# A promise's fate is noted down in the page and polled from here: awaiting it in one call would
# leave no way to hear of progress meanwhile.
_WATCH: Final = """(start) => {
  const note = { done: false };
  window.transomAsk = note;
  start().then(
    (value) => Object.assign(note, { done: true, value }),
    (error) => Object.assign(note, {
      done: true,
      error: { code: error?.code ?? "internal", message: error?.message ?? String(error) },
    }),
  );
}"""
_WATCH_READY: Final = f"() => ({_WATCH})(() => window.transom.ready)"
_WATCH_ASK: Final = f"([text, options]) => ({_WATCH})(() => window.transom.ask(text, options))"
_POLL_READY: Final = "() => ({ ...window.transomAsk, progress: window.transom.progress() })"
_POLL_ASK: Final = "() => ({ ...window.transomAsk, text: window.transom.partial().text })"


class PageError(TransomError):
    """The page said no, or the browser ended. `code` is the page's own word for it."""

    def __init__(self, message: str, code: str = "internal") -> None:
        super().__init__(" ".join(message.split()))
        self.code = code


class ChatPage:
    """A page that is loading a model, then answers."""

    def __init__(self, page: Page, deadline: float) -> None:
        self._page = page
        self._deadline = deadline

    def wait_until_ready(self, show: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """The page's LoadReport; `show` hears its LoadProgress. Raises `PageError`."""
        self._page.wait_for_function(
            "() => window.transom !== undefined", timeout=SCRIPT_TIMEOUT_MILLISECONDS
        )
        self._page.evaluate(_WATCH_READY)

        def look(state: dict[str, Any]) -> None:
            if state["progress"] is not None:
                show(state["progress"])

        return self._poll(_POLL_READY, look)

    def ask(
        self, question: str, options: dict[str, Any], show: Callable[[str], None]
    ) -> dict[str, Any]:
        """The page's AnswerReport; `show` hears the answer so far. Raises `PageError`."""
        self._page.evaluate(_WATCH_ASK, [question, options])
        return self._poll(_POLL_ASK, lambda state: show(state["text"]))

    def _poll(self, script: str, look: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        while True:
            state: dict[str, Any] = self._page.evaluate(script)
            look(state)
            if "error" in state:
                raise PageError(state["error"]["message"], state["error"]["code"])
            if state["done"]:
                value: dict[str, Any] = state["value"]
                return value
            if time.monotonic() > self._deadline:
                raise PageError("out of time; give it more with --timeout")
            self._page.wait_for_timeout(POLL_MILLISECONDS)


@contextmanager
def open_page(
    url: str, chromium: Path | None, adapter: Adapter, deadline: float
) -> Iterator[ChatPage]:
    """The page at `url` in a browser of its own, gone at the end of the block.

    `chromium` None takes Playwright's own. `deadline` is in `time.monotonic` seconds. Raises
    `PageError`, `NoChromium`.
    """
    with sync_playwright() as playwright:
        try:
            browser = _launch(playwright.chromium, chromium, adapter)
            try:
                page = browser.new_page()
                page.goto(url, timeout=SCRIPT_TIMEOUT_MILLISECONDS)
                yield ChatPage(page, deadline)
            finally:
                browser.close()
        except PlaywrightError as error:
            raise PageError(f"the browser failed: {error.message:.300}") from error


def _launch(kind: BrowserType, chromium: Path | None, adapter: Adapter) -> Browser:
    if chromium is None and not Path(kind.executable_path).exists():
        raise how_to_install()
    return kind.launch(executable_path=chromium, headless=True, args=flags(adapter))
