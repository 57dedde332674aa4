"""Finding a Chromium and saying how to start it for WebGPU. Starts nothing."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from transom_models.errors import TransomError

Adapter = Literal["hardware", "swiftshader"]

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_PATHS: Final = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
# WebGPU, and no traffic but the page's.
FLAGS: Final = (
    "--headless=new",
    "--enable-unsafe-webgpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# A WebGPU adapter on the CPU, for machines without a graphics adapter.
SWIFTSHADER_FLAG: Final = "--use-webgpu-adapter=swiftshader"


class NoChromium(TransomError):
    """No browser was found that could be driven."""


def find_chromium(explicit: str | None, environ: Mapping[str, str]) -> Path | None:
    """The browser to drive: `--chromium`, `$CHROMIUM`, one on PATH, one of macOS; None: none.

    Raises `NoChromium` when the one that was asked for by name cannot be run.
    """
    for named, source in ((explicit, "--chromium"), (environ.get("CHROMIUM"), "CHROMIUM")):
        if named:
            found = shutil.which(named, path=environ.get("PATH"))
            if found is None:
                raise NoChromium(f"{source}: {named} is not a program that can be run")
            return Path(found)
    candidates = (*NAMES, *MAC_PATHS) if sys.platform == "darwin" else NAMES
    for name in candidates:
        found = shutil.which(name, path=environ.get("PATH"))
        if found is not None:
            return Path(found)
    return None


def how_to_install() -> NoChromium:
    """The error for a machine without a browser, with this system's way out."""
    if sys.platform == "darwin":
        way = "brew install --cask chromium"
    else:
        way = "apt-get install chromium (or your system's package)"
    return NoChromium(f"no Chromium or Chrome found; {way}, or name one with --chromium")


def flags(adapter: Adapter) -> list[str]:
    """Command line of the browser for an adapter."""
    chosen = list(FLAGS)
    if adapter == "swiftshader":
        chosen.append(SWIFTSHADER_FLAG)
    if os.geteuid() == 0:
        # Chromium refuses to make its sandbox for root, as in most containers.
        chosen.append("--no-sandbox")
    return chosen
