"""Each screen shows what it is for, and nothing sticks out, down to 320 pixels.

With `--write-screenshots` the pictures of docs/app.md are made, by day and by night.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from tests.app.conftest import ScriptedServer
from tests.app.gallery import MODEL, store_models
from tests.app.pictures import reduced
from tests.app.screens import SCREENS, Screen, open_with_library
from tests.bench.first_paint import start_bytes
from tests.e2e.commands import ROOT

pytestmark = [pytest.mark.app, pytest.mark.slow, pytest.mark.browser]

PICTURES: Final = ROOT / "docs/screenshots"
# Together they come with every clone.
MAX_PICTURE_BYTES: Final = 150_000
MAX_PICTURES_BYTES: Final = 2_500_000
MAX_START_BYTES: Final = 250_000
"""Of JavaScript, by gzip -9: what a phone waits for before anything answers."""
# A box that scrolls to the side where it should not; code and tables may. What changes with the
# width of the window does so some frames later.
STICKS_OUT: Final = """async () => {
    const found = () =>
        ["html", "main", ".dock", ".bar", ".dialog-body", ".sidebar"]
            .flatMap((selector) => [...document.querySelectorAll(selector)])
            .filter((box) => box.scrollWidth > box.clientWidth)
            .map((box) => [box.tagName, box.className, box.scrollWidth, box.clientWidth].join(" "));
    for (let frame = 0; frame < 120 && found().length > 0; frame++) {
        await new Promise(requestAnimationFrame);
    }
    return found();
}"""


@pytest.fixture(scope="module")
def scripted_models(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Mapping[str, Any]]:
    """Those of the pictures."""
    folder = tmp_path_factory.mktemp("gallery") / "models"
    return folder, store_models(folder)


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_each_screen_shows(
    screen: Screen,
    browser_context: Any,
    server: ScriptedServer,
    complaints: object,
    pytestconfig: pytest.Config,
) -> None:
    page: Page = browser_context.new_page()
    open_with_library(page, f"{server.address}/?model={MODEL}", screen.language)
    screen.show(page)
    for width in (*screen.widths, screen.size):
        page.set_viewport_size(width)  # type: ignore[arg-type]
        for part in screen.parts:
            expect(page.locator(part).first).to_be_visible()
        assert page.evaluate(STICKS_OUT) == [], width
    if pytestconfig.getoption("--write-screenshots"):
        # Whatever the widths before it have done.
        page.locator("#scroller").evaluate_all("([box]) => box?.scrollTo(0, box.scrollHeight)")
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
            # The field's caret blinks.
            picture = reduced(page.screenshot(caret="hide"))
            (PICTURES / f"{screen.name}-{theme}.png").write_bytes(picture)


def test_pictures_are_small_and_all_there() -> None:
    names = {f"{screen.name}-{theme}.png" for screen in SCREENS for theme in ("light", "dark")}
    sizes = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert set(sizes) == names
    assert [name for name, size in sizes.items() if size > MAX_PICTURE_BYTES] == []
    assert sum(sizes.values()) <= MAX_PICTURES_BYTES


def test_little_javascript_comes_before_the_page_shows(built_page: Path) -> None:
    assert 0 < start_bytes(built_page) < MAX_START_BYTES
