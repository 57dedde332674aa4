"""One visit of the page in Chromium, and one measurement of what the API's way costs there.

Times are taken in the page itself (`page_scripts/`), by its clock since the navigation. Knows no
statistics and no tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext, Page, Playwright

from tests.bench.page_bytes import MODEL
from tests.bench.static_host import Sent
from tests.e2e.browser import FLAGS, WITHOUT_WEBGPU, open_chromium
from tests.e2e.commands import BUILD_TIMEOUT_SECONDS, ROOT, run_checked

SCRIPTS: Final = Path(__file__).with_name("page_scripts")
TIMEOUT_SECONDS: Final = 1200
WAYS: Final = {"transom": "api", "engine": "engine", "engine, no Python": "alone"}
"""As tables call them, and as `moments.js` does."""
BATCHES: Final = (1, 4)
"""Tokens that come together from the engine that takes no time."""
TOKENS_ALONE: Final = 100
"""Of an answer whose tokens come one now and then."""
WITHOUT_SERVICE_WORKERS: Final = "delete Navigator.prototype.serviceWorker;"
"""For `add_init_script`: nothing of the API starts then."""
_FAKE: Final = """async (asked) => (await import('/path_cost.mjs')).fakeCost(...asked)"""
_REAL: Final = """async (asked) => (await import('/path_cost.mjs')).realCost(...asked)"""
_STORY: Final = "Write a long story about a lighthouse keeper who finds a letter in a bottle."


@dataclass(frozen=True)
class Site:
    """What is served, the address, and what its host has answered."""

    folder: Path
    address: str
    log: list[Sent]


def lay_out(folder: Path, page: Path, bundle: Path) -> None:
    """Our page with a model beside it; in `path/`, the page whose engine takes no time."""
    for path in (*page.iterdir(), SCRIPTS / "path_cost.mjs"):
        (folder / path.name).symlink_to(path.resolve())
    (folder / MODEL).symlink_to(bundle.resolve())
    for words in (
        [ROOT / "tests/web/path-page"],
        [ROOT / "web", "--config", ROOT / "web/vite.sw.config.ts"],
    ):
        run_checked(
            "npx", "vite", "build", *map(str, words), "--outDir", folder / "path",
            timeout=BUILD_TIMEOUT_SECONDS,
        )  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What a person asks, and how much of the real engine's cost is measured behind it."""

    question: str
    tokens: int
    times: int


def visit_twice(
    playwright: Playwright, executable: str, site: Site, engine: str, profile: Path, asked: Asked
) -> dict[str, Any]:
    """A first visit and, in another browser with the same profile, a second one.

    Of each: moments in milliseconds since the navigation, and what the host sent; by way of the API
    also what is kept, and after the second visit the cost of the API with the real engine.
    """
    visits: dict[str, Any] = {}
    for title in ("cold", "warm"):
        start = len(site.log)
        with open_chromium(playwright, executable, profile, FLAGS) as context:
            page = _open(context, site.address, f"?bundle={MODEL}/&where=browser", WAYS[engine])
            row: dict[str, Any] = {
                "moments": page.evaluate(
                    "([way, content]) => window.visit(way, content)",
                    [WAYS[engine], f"{asked.question} ({title})"],
                )
            }
            if engine == "transom":
                row["kept"] = page.evaluate("() => window.kept()")["rows"]
            row["sent"] = site.log[start:]
            if title == "warm" and engine == "transom" and asked.tokens > 0:
                row["cost"] = page.evaluate(_REAL, [MODEL, _STORY, asked.tokens, asked.times])
        visits[title] = row
    return visits


def fake_cost(
    playwright: Playwright,
    executable: str,
    site: Site,
    profile: Path,
    tokens: int,
    times: int,
    batches: Sequence[int] = BATCHES,
) -> dict[str, Any]:
    """What the way costs where nothing else does; see `path_cost.mjs`."""
    with open_chromium(playwright, executable, profile, WITHOUT_WEBGPU) as context:
        page = context.new_page()
        page.goto(f"{site.address}/path/?where=browser")
        page.wait_for_function("() => window.path !== undefined")
        figures: dict[str, Any] = page.evaluate(_FAKE, [tokens, times, list(batches), TOKENS_ALONE])
        return figures


def _open(context: BrowserContext, address: str, query: str, way: str) -> Page:
    context.set_default_timeout(TIMEOUT_SECONDS * 1000)
    page = context.new_page()
    if way == "alone":
        page.add_init_script(WITHOUT_SERVICE_WORKERS)
    page.add_init_script(path=SCRIPTS / "moments.js")
    page.goto(f"{address}/{query}", wait_until="commit")
    return page
