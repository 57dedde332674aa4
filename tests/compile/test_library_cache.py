"""The library cache: one build per request and compiler, and no trust in a damaged file."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from transom_compile import library_cache
from transom_compile.library_cache import CacheEntry, InvalidCap, read_cap, tool_versions


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


def kept(builder: Builder) -> set[bytes]:
    return {path.read_bytes() for path in (builder.out.parent / "cache").rglob("*.library")}


def made(builder: Builder, dtype: str, used: float) -> None:
    """A library of the cache, used last at `used`, in Unix seconds."""
    before = set((builder.out.parent / "cache").rglob("*.*"))
    ask(builder, Request(dtype))
    for path in set((builder.out.parent / "cache").rglob("*.*")) - before:
        os.utime(path, (used, used))


def test_over_its_cap_the_least_recently_used_go(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        made(builder, f"float{number}", used=1_000_000.0 + number)
    assert ask(builder, Request("float1"))  # used again: the second is the oldest now
    one = len(b"library 1") + len(f"sha256:{'0' * 64}")
    monkeypatch.setenv("TRANSOM_LIBRARY_BYTES", str(3 * one))
    assert not ask(builder, Request("float4"))
    assert kept(builder) == {b"library 1", b"library 3", b"library 4"}
    assert ask(builder, Request("float1"))
    # A byte less, and the next one pushes out two.
    monkeypatch.setenv("TRANSOM_LIBRARY_BYTES", str(3 * one - 1))
    assert not ask(builder, Request("float5"))
    assert b"library 3" not in kept(builder)
    assert len(kept(builder)) == 2


def test_what_is_used_now_stays_however_small_the_cap(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(builder, "float1", used=1_000_000.0)
    folder = next((builder.out.parent / "cache").rglob("*.library")).parent
    written, left = (folder / f".{digit * 64}.library.partial" for digit in "ab")
    written.write_bytes(b"by another compile, now")
    left.write_bytes(b"by one that was killed")
    os.utime(left, (1_000_000.0, 1_000_000.0))
    monkeypatch.setenv("TRANSOM_LIBRARY_BYTES", "0")
    assert not ask(builder, Request("float2"))
    assert kept(builder) == {b"library 2"}
    assert written.exists()
    assert not left.exists()


def test_one_that_goes_while_it_is_taken_is_built_again(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(builder)

    def copied(source: Path, out: Path) -> None:
        source.unlink()
        raise FileNotFoundError(source)

    monkeypatch.setattr(shutil, "copyfile", copied)
    assert not ask(builder)
    assert builder.out.read_bytes() == b"library 2"


@pytest.mark.parametrize("text", ["-1", "2G", "1" * 19])
def test_a_cap_is_a_number_of_bytes(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_LIBRARY_BYTES", text)
    with pytest.raises(InvalidCap, match=r"TRANSOM_LIBRARY_BYTES: .* is not a number of bytes"):
        read_cap()


def test_the_cap_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSOM_LIBRARY_BYTES", "")
    assert read_cap() == 2_000_000_000
    monkeypatch.setenv("TRANSOM_LIBRARY_BYTES", "9" * 18)
    assert read_cap() == int("9" * 18)


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
