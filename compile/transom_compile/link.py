"""Link a model's wasm objects with the prebuilt runtime into one model library.

The runtime is a folder that `transom build runtime` wrote; its `runtime.json` holds the link
command. Knows neither how the runtime was made (it imports nothing of `transom_build`) nor what is
in a model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from transom_models.errors import TransomError

RUNTIME_FILE = "runtime.json"
LAYOUT_VERSION = 1
"""The shape of a runtime folder that this file reads; `transom_build.sources` writes the same
number.
"""

LINK_LIMIT_SECONDS = 120.0
"""A link takes under a second; this is for a machine that swaps, and against one that hangs."""


class LinkError(TransomError):
    """The model library could not be linked, or the runtime folder is not one."""


def link_library(objects: Sequence[Path], output: Path, runtime_dir: Path) -> None:
    """Write `output` (wasm): `objects` (relocatable wasm, as TVM exports) and the runtime,
    stripped.

    The same objects and runtime give the same bytes. `output` appears whole or not at all.
    LinkError names the missing file, tool or symbol.
    """
    template = _read_link_command(runtime_dir)
    for path in objects:
        if not path.is_file():
            raise LinkError(f"cannot link {output.name}: there is no object file {path}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".link-", dir=output.parent) as folder:
        linked = Path(folder) / "library.wasm"
        _run_linker(_fill(template, objects, linked, runtime_dir), output.name)
        os.replace(linked, output)


def _read_link_command(runtime_dir: Path) -> list[str]:
    """The command template of a runtime folder, once the linker is the one it names."""
    path = runtime_dir / RUNTIME_FILE
    try:
        description = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise LinkError(
            f"{runtime_dir} holds no wasm runtime; build it with: transom build runtime"
        ) from None
    except (OSError, ValueError) as error:
        raise LinkError(f"cannot read {path}: {error}") from error
    try:
        layout, command = description["layout"], description["link"]
        wanted = description["versions"]["ziglang"]
    except (KeyError, TypeError) as error:
        raise LinkError(f"{path} lacks {error}; run: transom build runtime --force") from error
    if layout != LAYOUT_VERSION or not all(isinstance(word, str) for word in command):
        raise LinkError(
            f"{path} has layout {layout}, this version reads {LAYOUT_VERSION}; "
            "run: transom build runtime"
        )
    try:
        found = version("ziglang")
    except PackageNotFoundError:
        found = "not installed"
    if found != wanted:
        raise LinkError(
            f"linking needs ziglang {wanted} (found: {found}); run: pip install ziglang=={wanted}"
        )
    return list(command)


def _fill(
    template: Sequence[str], objects: Sequence[Path], output: Path, runtime_dir: Path
) -> list[str]:
    command: list[str] = []
    for word in template:
        if word == "{objects}":
            command.extend(str(path.resolve()) for path in objects)
        elif word == "{output}":
            command.append(str(output.resolve()))
        else:
            command.append(word.replace("{runtime}", str(runtime_dir.resolve())))
    return command


def _run_linker(command: Sequence[str], name: str) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ziglang", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=LINK_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LinkError(f"linking {name} took longer than {LINK_LIMIT_SECONDS:.0f} s") from None
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[0] if lines else f"exit code {done.returncode}"
        raise LinkError(f"cannot link {name}: {reason}")
