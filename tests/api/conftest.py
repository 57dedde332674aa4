"""What the judges of the API share: a store with a real model, a server, environments of clients.

Clients run in environments of their own (`.ci/setup environment NAME`), as processes that know an
address and nothing of this repository.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.e2e.commands import Server, run_checked, serve, transom

MissingTool = Callable[[str], NoReturn]
MODELFILE = """\
FROM {gguf}
PLATFORM native
PARAMETER temperature 0
PARAMETER num_ctx 1024
PARAMETER num_predict 64
"""


@pytest.fixture(scope="session")
def environment(missing_tool: MissingTool) -> Callable[[str], Path]:
    """The Python of an environment of tests/api/environments, by name."""

    def find(name: str) -> Path:
        python = Path(f"{sys.prefix}-{name}") / "bin" / "python"
        if not python.exists():
            missing_tool(f"no {python}; make it with: .ci/setup environment {name}")
        return python

    return find


@pytest.fixture(scope="session")
def models(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with SmolLM2 in it, as `smollm2`."""
    folder = tmp_path_factory.mktemp("api")
    modelfile = folder / "Modelfile"
    modelfile.write_text(MODELFILE.format(gguf=smollm2))
    store = folder / "models"
    done = transom("create", "smollm2", "-f", modelfile, store=store)
    assert done.returncode == 0, done.stderr
    return store


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`transom serve` over that store, for all tests that leave it as it was."""
    with serve(models, tmp_path_factory.mktemp("server") / "log") as running:
        yield running


def run_script(python: Path, script: Path, address: str, timeout: float = 300) -> str:
    """Run a client's script with the server's address as its argument; gives what it printed."""
    return run_checked(python, script, address, timeout=timeout)
