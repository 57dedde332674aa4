"""The built runtime: what it asks of JavaScript, what it offers, and how its errors arrive."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.build.wasm_sections import read_exports, read_imports
from transom_build.runtime import EXPORTS, RuntimeBuild, build_runtime, find_runtime
from transom_build.sources import COMMON_FLAGS
from transom_compile.link import LinkError, link_library

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]

# All that npm @mlc-ai/web-runtime 0.27.0-dev0 and @mlc-ai/web-llm 0.2.86 provide, one by one.
IMPORTS = [
    "env.TVMFFIWasmFunctionDeleter",
    "env.TVMFFIWasmSafeCall",
    "env.emscripten_notify_memory_growth",
    "wasi_snapshot_preview1.clock_time_get",
    "wasi_snapshot_preview1.environ_get",
    "wasi_snapshot_preview1.environ_sizes_get",
    "wasi_snapshot_preview1.fd_close",
    "wasi_snapshot_preview1.fd_read",
    "wasi_snapshot_preview1.fd_seek",
    "wasi_snapshot_preview1.fd_write",
    "wasi_snapshot_preview1.proc_exit",
]


def test_a_library_imports_what_tvmjs_provides_and_nothing_else(library: Path) -> None:
    assert read_imports(library.read_bytes()) == [("function", name) for name in IMPORTS]


def test_a_library_exports_what_tvmjs_calls(library: Path) -> None:
    expected = [("function", name) for name in ("_initialize", *EXPORTS)]
    assert read_exports(library.read_bytes()) == sorted([*expected, ("memory", "memory")])


def test_no_path_of_this_machine_is_in_a_library(library: Path, runtime: RuntimeBuild) -> None:
    wasm = library.read_bytes()
    for path in (Path.home(), Path(sys.prefix), runtime.directory.parent):
        assert str(path).encode() not in wasm


def test_a_second_build_takes_the_first_one(runtime: RuntimeBuild) -> None:
    again = build_runtime()
    assert (again.cached, again.directory) == (True, runtime.directory)
    assert again.seconds < 5
    assert find_runtime() == runtime.directory
    assert all(path.is_file() for path in again.object_paths)


def test_tvmjs_runs_it_and_errors_arrive_as_text(
    library: Path, tvmjs: None, run_node: Callable[..., Any]
) -> None:
    seen = run_node("call_runtime.cjs", library)
    assert seen["sum"] == 42
    assert "vm.builtin.kv_state_add_sequence" in seen["functions"]
    assert seen["badArgument"]["name"] == "Error"
    assert "Expected `relax.vm.KVState` but got `float`" in seen["badArgument"]["message"]
    assert "Check failed" in seen["failedCheck"]["message"]
    # From a callback in JavaScript through C++ and back: the text survives both borders.
    assert "thrown by the page" in seen["throughBothBorders"]["message"]
    # The runtime lives on after each of these.
    assert seen["sumAfterErrors"] == 43


def test_tvmjs_still_hears_it_after_memory_growth(
    library: Path, tvmjs: None, run_node: Callable[..., Any]
) -> None:
    """zig's own malloc grows the memory silently; tvmjs then read its output from a dead buffer."""
    seen = run_node("call_runtime.cjs", library)
    assert seen["memoryBytes"] > 256 * 1024 * 1024
    assert seen["memoryBytes"] < 300 * 1024 * 1024, "a large block was rounded up"
    assert any("said after growth" in line for line in seen["log"])


def test_heap_stack_and_last_words_keep_their_promises(
    runtime: RuntimeBuild, tmp_path: Path, run_node: Callable[..., Any]
) -> None:
    source = Path(__file__).with_name("memory_stress.cc")
    stress = tmp_path / "memory_stress.o"
    compiler = [sys.executable, "-m", "ziglang", "c++", *COMMON_FLAGS]
    subprocess.run([*compiler, "-c", str(source), "-o", str(stress)], check=True)
    wasm = tmp_path / "memory_stress.wasm"
    link_library([stress], wasm, runtime.directory)
    seen = run_node("memory_stress.mjs", wasm)
    assert seen["stress"] == [0] * 5
    assert seen["pagesAfterMoreStress"] == seen["pagesAfterStress"], "freed memory is not reused"
    assert seen["largeFits"] == 1
    assert seen["pagesForLarge"] <= 256 * 16 + 17, "a large block was rounded up"
    assert seen["pagesForLargeAgain"] == seen["pagesForLarge"]
    assert seen["growths"] == 1
    assert seen["hugeFits"] == 0
    assert seen["newError"].startswith("out of memory: no room for 4294967280 bytes")
    # A trap has a last word, on stderr and for the engine to fetch.
    last_words = {
        "freeTwice": "is no block in use",
        "uncatchable": "terminated: an exception left",
        "givenUp": "abort() was called",
    }
    for name, text in last_words.items():
        assert seen[name]["error"] == "RuntimeError"
        assert text in seen[name]["lastError"]
        assert seen[name]["stderr"] == seen[name]["lastError"] + "\n"
    # 5 MiB of stack hold 60 frames of 64 KiB; 200 leave the memory instead of eating data.
    assert seen["deep"]["error"] == "none"
    assert seen["tooDeep"]["error"] == "RuntimeError"
    assert "out of bounds" in seen["tooDeep"]["message"]


def test_the_same_objects_give_the_same_bytes_in_under_two_seconds(
    runtime: RuntimeBuild, library: Path, tmp_path: Path
) -> None:
    again = tmp_path / "elsewhere" / "again.wasm"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    link_library([], again, runtime.directory)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of processors: nobody knows what else they have to do.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert again.read_bytes() == library.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["again.wasm"]


def test_an_undefined_symbol_is_named(runtime: RuntimeBuild, tmp_path: Path) -> None:
    source = tmp_path / "needy.c"
    source.write_text(
        "void no_such_function(void);\n"
        "__attribute__((constructor)) void start(void) { no_such_function(); }\n"
    )
    needy = tmp_path / "needy.o"
    compiler = [sys.executable, "-m", "ziglang", "cc", *COMMON_FLAGS]
    subprocess.run([*compiler, "-c", str(source), "-o", str(needy)], check=True)
    with pytest.raises(
        LinkError, match=r"^cannot link m\.wasm: .*undefined symbol: no_such_function$"
    ):
        link_library([needy], tmp_path / "m.wasm", runtime.directory)
    assert not (tmp_path / "m.wasm").exists()


def test_a_damaged_cache_is_built_again_not_used(
    runtime: RuntimeBuild, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Proven without a build: the damaged copy is not taken, a build starts and is stopped."""
    copy = tmp_path / "runtime" / runtime.directory.name
    copy.mkdir(parents=True)
    for path in runtime.directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path))
    assert build_runtime().cached
    victim = copy / "libc.a"
    victim.write_bytes(victim.read_bytes()[:-1])

    class Started(Exception):
        pass

    def stop(_: object) -> None:
        raise Started

    with pytest.raises(Started):
        build_runtime(stop)
    assert [path.name for path in copy.parent.iterdir()] == [copy.name], (
        "half a build stayed behind"
    )


def test_runtime_json_is_the_whole_handover(runtime: RuntimeBuild) -> None:
    description = json.loads((runtime.directory / "runtime.json").read_text())
    assert description["digest"] == runtime.digest
    assert set(description["files"]) == {
        path.name for path in runtime.directory.iterdir() if path.name != "runtime.json"
    }
    assert str(Path.home()) not in json.dumps(description)
