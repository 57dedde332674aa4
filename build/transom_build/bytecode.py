"""Bytecode for the page's Python, made by that Python: Pyodide runs in Node, which is here anyway.

So the versions cannot differ, and no Python 3.14 has to be installed. What was compiled once lies
in the cache by the digest of its sources.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from transom_build.archives import unzip, zip_bytes
from transom_build.errors import ToolchainError
from transom_build.runtime import cache_folder

SCRIPT = Path(__file__).parent / "pyodide_src" / "bytecode.mjs"
TIMEOUT_SECONDS = 600
"""A busy machine takes a minute for the whole standard library."""


def compile_modules(files: Mapping[str, bytes], pyodide: Path, optimize: int) -> dict[str, bytes]:
    """`files` with `x.pyc` in place of each `x.py`. `pyodide`: the folder of the npm package.

    `optimize` as for Python's `compile`: 0 keeps all, 2 drops asserts and docstrings.
    ToolchainError when a file does not compile.
    """
    digest = _digest(files, pyodide, optimize)
    kept = cache_folder() / "bytecode" / f"{digest}.zip"
    try:
        return unzip(kept.read_bytes())
    except (OSError, zipfile.BadZipFile):
        pass
    compiled = _compile(files, pyodide, optimize)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as file:
        file.write(zip_bytes(compiled))
    os.replace(file.name, kept)
    return compiled


def find_node() -> str | None:
    """Node, which compiles; None where there is none."""
    return shutil.which("node")


def _compile(files: Mapping[str, bytes], pyodide: Path, optimize: int) -> dict[str, bytes]:
    node = find_node()
    if node is None:
        raise ToolchainError("no Node.js found; install version 20 or newer")
    with tempfile.TemporaryDirectory(prefix="transom-bytecode-") as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            done = subprocess.run(
                [node, str(SCRIPT), str(pyodide.resolve()), folder, str(optimize)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ToolchainError(
                f"Pyodide took more than {TIMEOUT_SECONDS} s to compile Python files in Node"
            ) from None
        if done.returncode != 0:
            raise ToolchainError(f"Pyodide does not compile in Node: {_reason(done.stderr)}")
        return {
            f"{name}c" if name.endswith(".py") else name: _read(Path(folder), name)
            for name in files
        }


def _read(folder: Path, name: str) -> bytes:
    return (folder / (f"{name}c" if name.endswith(".py") else name)).read_bytes()


def _reason(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return (lines or ["no message"])[-1]


def _digest(files: Mapping[str, bytes], pyodide: Path, optimize: int) -> str:
    """Of all that decides what comes out. The interpreter counts with its version."""
    package = json.loads((pyodide / "package.json").read_bytes())
    recipe = {
        "script": hashlib.sha256(SCRIPT.read_bytes()).hexdigest(),
        "pyodide": package["version"],
        "optimize": optimize,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
