"""Tiny checkpoints on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.tiny_gguf import TinyGguf, tiny_llama


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
