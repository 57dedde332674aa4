"""The runtime of this machine, and Node with the tvmjs of package.json.

The runtime comes from the user's cache folder; the first test that asks for it there waits for
the build (minutes), later ones do not. What needs it is marked `e2e`: .ci/run builds it for that
stage.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from transom_build.runtime import RuntimeBuild, build_runtime
from transom_compile.link import link_library

ROOT = Path(__file__).resolve().parents[2]
NODE_TIMEOUT_SECONDS = 120


@pytest.fixture(scope="session")
def runtime() -> RuntimeBuild:
    return build_runtime()


@pytest.fixture(scope="session")
def library(runtime: RuntimeBuild, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library without a model: the runtime alone, linked as every model is."""
    output = tmp_path_factory.mktemp("library") / "library.wasm"
    link_library([], output, runtime.directory)
    return output


@pytest.fixture(scope="session")
def run_node(missing_tool: Callable[[str], NoReturn]) -> Callable[..., Any]:
    """Run a script of this folder in Node; what it prints as JSON is the result."""
    node = shutil.which("node") or missing_tool("node is not on the PATH: run .ci/setup node")

    def run(script: str, *arguments: Path) -> Any:
        done = subprocess.run(
            [node, str(Path(__file__).with_name(script)), *map(str, arguments)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=NODE_TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def tvmjs(missing_tool: Callable[[str], NoReturn]) -> None:
    if not (ROOT / "node_modules" / "@mlc-ai" / "web-runtime").is_dir():
        missing_tool("npm packages are not installed: run .ci/setup node")
