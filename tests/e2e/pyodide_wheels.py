"""PyPI's wheels for Pyodide, as docs/python.md has them downloaded."""

import sys
from pathlib import Path

from tests.e2e.commands import run_checked

DOWNLOAD = (
    *("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
    # The platform is PEP 783's, Python's own are for any.
    *("--python-version", "3.14", "--implementation", "cp", "--abi", "cp314"),
    *("--platform", "pyemscripten_2026_0_wasm32"),
)


def download_wheels(folder: Path, listed: Path) -> None:
    run_checked(sys.executable, *DOWNLOAD, "--dest", folder, "-r", listed, timeout=300)
