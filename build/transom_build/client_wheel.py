"""The `transom` package for Python in the browser, as a wheel for any Pyodide.

Not part of Python for the page (`pyodide.py`), which is our own and hosts the API: this one is for
people's programs, that ask it.
"""

from __future__ import annotations

from pathlib import Path

from transom_build.archives import with_record, zip_bytes
from transom_build.errors import ToolchainError

FOLDER = "web/python/transom"
"""Of the checkout."""
NAME = "transom"


def client_wheel(checkout: Path, version: str) -> tuple[str, bytes]:
    """File name and content, the same for the same sources. ToolchainError without them."""
    package = checkout / FOLDER
    if not (package / "__init__.py").is_file():
        raise ToolchainError(f"there is no Python package in {package}")
    info = f"{NAME}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.4\nName: {NAME}\nVersion: {version}\n"
        "Summary: Ask this browser's own language models.\n"
        "License-Expression: Apache-2.0\nLicense-File: LICENSE\nRequires-Python: >=3.11\n"
    )
    files = {
        f"{NAME}/{path.relative_to(package).as_posix()}": path.read_bytes()
        for path in package.rglob("*.py")
    }
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: transom\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    files[f"{info}/licenses/LICENSE"] = (checkout / "LICENSE").read_bytes()
    return f"{NAME}-{version}-py3-none-any.whl", zip_bytes(with_record(files, info))
