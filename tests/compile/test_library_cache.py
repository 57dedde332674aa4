"""The library cache: one build per request and compiler, and no trust in a damaged file."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from transom_compile import library_cache
from transom_compile.library_cache import CacheEntry, tool_versions


@dataclass(frozen=True)
class Request:
    compute_dtype: str = "float32"
    product: str = "library"


class Builder:
    """Counts its builds; each gives other bytes, so that a rebuild shows."""

    def __init__(self, out: Path) -> None:
        self.out, self.builds = out, 0

    def __call__(self) -> None:
        self.builds += 1
        self.out.write_bytes(b"library %d" % self.builds)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime" / "runtime.json").write_text("{}")
    return Builder(tmp_path / "out.wasm")


def ask(builder: Builder, request: Request | None = None) -> bool:
    runtime = builder.out.parent / "runtime"
    builder.out.unlink(missing_ok=True)
    entry = CacheEntry.of(request or Request(), runtime)
    if entry.take(builder.out):
        return True
    builder()
    entry.keep(builder.out)
    return False


def test_the_second_build_is_a_cache_hit_with_the_same_bytes(builder: Builder) -> None:
    assert not ask(builder)
    assert ask(builder)
    assert builder.out.read_bytes() == b"library 1"


def test_another_request_runtime_or_tool_is_another_library(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(builder)
    assert not ask(builder, replace(Request(), compute_dtype="float16"))
    (builder.out.parent / "runtime" / "runtime.json").write_text('{"other": 1}')
    assert not ask(builder)
    monkeypatch.setattr(library_cache, "tool_versions", lambda: "other tools")
    assert not ask(builder)
    assert builder.builds == 4


def test_a_damaged_file_is_built_again(builder: Builder) -> None:
    ask(builder)
    (kept,) = (builder.out.parent / "cache").rglob("*.library")
    kept.write_bytes(b"damaged")
    assert not ask(builder)
    assert builder.out.read_bytes() == b"library 2"
    assert ask(builder)


def test_looking_writes_nothing(builder: Builder) -> None:
    entry = CacheEntry.of(Request(), builder.out.parent / "runtime")
    assert not entry.is_whole()
    assert not entry.take(builder.out)
    assert not list((builder.out.parent / "cache").rglob("*"))


# Of all that the compiler imports, what no byte of a library comes from.
WITHOUT_EFFECT = {
    "transom_compile",
    "transom_models",
    "transom_models.architectures",
    "transom_models.errors",
    # What it gives is in the request.
    "transom_models.metadata_reader",
}


def test_the_key_covers_every_file_that_makes_a_library(tmp_path: Path) -> None:
    """A compiler that was taken apart into new files must not meet its old libraries."""
    code = (
        "import json, sys; import transom_compile.lower;"
        "from transom_models.architecture import known_architectures, load_architecture;"
        "[load_architecture(name) for name in known_architectures()];"
        "print(json.dumps({name: module.__file__ for name, module in sys.modules.items()"
        " if name.startswith(('transom_compile', 'transom_models'))}))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    used = {
        Path(file).resolve()
        for name, file in json.loads(printed.splitlines()[-1]).items()
        if name not in WITHOUT_EFFECT
    }
    covered = {path.resolve() for _, files in library_cache._inputs(tmp_path) for path in files}
    assert sorted(used - covered) == []
    assert len(used) > 20


def test_versions_are_one_line() -> None:
    assert "apache-tvm 0." in tool_versions()
