"""The page of the tests, built beside the service worker that is shipped."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from tests.e2e.commands import BUILD_TIMEOUT_SECONDS, ROOT, TRANSOM, run_checked

MissingTool = Callable[[str], NoReturn]


def build_page(folder: Path, missing_tool: MissingTool) -> None:
    """Put tests/web/contract-page and all that it needs into the folder."""
    if shutil.which("npx") is None or not (ROOT / "node_modules").exists():
        missing_tool("no node_modules here: npm ci")
    run_checked(TRANSOM, "build", "pyodide", timeout=BUILD_TIMEOUT_SECONDS)
    for words in (
        ["--config", ROOT / "tests/web/contract-page/vite.config.ts"],
        [ROOT / "web", "--config", ROOT / "web/vite.sw.config.ts"],
    ):
        command = ["npx", "vite", "build", *map(str, words), "--outDir", str(folder)]
        run_checked(*command, timeout=BUILD_TIMEOUT_SECONDS)


def find_chromium(missing_tool: MissingTool) -> str:
    """Path of a Chromium or Chrome to drive."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path is not None:
            return path
    missing_tool("no Chromium here: apt-get install chromium")
