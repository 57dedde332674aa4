"""The commands a person types, run in child processes on a store of their own.

What these tests pass on to each other is a file or a printed line, never an import of our packages:
what is tested is what is shipped.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRANSOM = Path(sys.executable).with_name("transom")
TOKENS = 64
COMPILE_TIMEOUT_SECONDS = 1500
BUILD_TIMEOUT_SECONDS = 1500


@dataclass(frozen=True)
class Prompt:
    """A fixed prompt: its ids come from llama.cpp's own template and tokenizer, not from ours."""

    name: str
    messages: tuple[dict[str, str], ...]
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Compiled:
    """A bundle as a folder and the same one in a store."""

    bundle: Path
    store: Path
    name: str
    report: dict[str, Any]
    """What `transom compile --json` printed."""


def transom(
    *arguments: str | Path,
    store: Path,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run the command line on a store of its own; the caller looks at the exit code."""
    return subprocess.run(
        [str(TRANSOM), *map(str, arguments)],
        env={**os.environ, "TRANSOM_MODELS": str(store), **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
    )


def run_checked(*command: str | Path, timeout: float) -> str:
    """Run a build step; gives its stdout; both streams are shown when it fails."""
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
    )
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-6000:]
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}\n{output}")
    return done.stdout


def read_prompts() -> list[Prompt]:
    rows = json.loads((Path(__file__).parent / "prompts.json").read_text())
    return [Prompt(row["name"], tuple(row["messages"]), tuple(row["token_ids"])) for row in rows]
