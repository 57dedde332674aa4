"""The commands a person types, run in child processes on a store of their own.

What these tests pass on to each other is a file or a printed line, never an import of our packages:
what is tested is what is shipped.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRANSOM = Path(sys.executable).with_name("transom")
TOKENS = 64
COMPILE_TIMEOUT_SECONDS = 1500
BUILD_TIMEOUT_SECONDS = 1500
START_TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Prompt:
    """A fixed prompt: its ids come from llama.cpp's own template and tokenizer, not from ours."""

    name: str
    messages: tuple[dict[str, str], ...]
    token_ids: tuple[int, ...]
    """By SmolLM2's template."""
    gemma3_token_ids: tuple[int, ...]
    """The last message as a text to continue: Gemma 3 270M has no template."""


@dataclass(frozen=True)
class Compiled:
    """A bundle as a folder and the same one in a store."""

    bundle: Path
    store: Path
    name: str
    report: dict[str, Any]
    """The last line of what `transom compile --json` printed."""


@dataclass(frozen=True)
class Server:
    """A running `transom serve`."""

    address: str
    log_path: Path
    pid: int

    def log(self) -> list[str]:
        """What it has printed so far, requests among it."""
        return self.log_path.read_text(errors="replace").splitlines()


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
    return [
        Prompt(
            row["name"],
            tuple(row["messages"]),
            tuple(row["token_ids"]),
            tuple(row["gemma3_token_ids"]),
        )
        for row in rows
    ]


@contextmanager
def serve(
    store: Path,
    log_path: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    command: Path = TRANSOM,
) -> Iterator[Server]:
    """`transom serve` on a free port until the block ends."""
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(command), "serve", "--port", "0", *arguments],
            env={
                **os.environ,
                "TRANSOM_MODELS": str(store),
                "PYTHONUNBUFFERED": "1",
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
        try:
            yield Server(_address(process, log_path), log_path, process.pid)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=120)


def _address(process: subprocess.Popen[bytes], log_path: Path) -> str:
    """Where it listens, which it says first, once it is well."""
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        said = re.search(r"^http://127\.0\.0\.1:\d+$", log_path.read_text(errors="replace"), re.M)
        if said is not None:
            with suppress(OSError), urllib.request.urlopen(f"{said[0]}/healthz", timeout=5):
                return said[0]
        time.sleep(0.1)
    pytest.fail(f"transom serve did not come up\n{log_path.read_text(errors='replace')[-4000:]}")
