"""Build the TVM web runtime into a cached folder that the compile room links model libraries with.

    find the tools -> digest all inputs -> (cached? done) -> stage -> compile
    -> collect zig's libraries -> write runtime.json -> publish the folder by rename

The handover is the folder, not an import: objects, archives and `runtime.json`, which holds the
link command. `transom_compile.link` reads it; see build/README.md. Knows no model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from transom_build.errors import ToolchainError
from transom_build.sources import (
    COMMON_FLAGS,
    LAYOUT_VERSION,
    UNITS,
    Unit,
    digest_inputs,
    list_sources,
    stage_sources,
)
from transom_build.toolchain import Toolchain, find_toolchain, run_zig

RUNTIME_FILE = "runtime.json"
"""Its presence makes a folder a runtime folder."""

ABANDONED_SECONDS = 24 * 3600.0
"""A build folder this old belongs to a build that was killed; no build takes near that long."""

LIBRARIES_USUAL_SECONDS = 40.0
"""zig builds libc, libc++ and compiler-rt from source once per machine, then takes them from its
cache.
"""

STACK_BYTES = 5 * 1024 * 1024
"""What upstream links its model libraries with."""

INITIAL_MEMORY_BYTES = 32 * 1024 * 1024
"""Room for stack, data and the first objects; the heap grows with the tensors that pass through it.
"""

MAXIMUM_MEMORY_BYTES = 4 * 1024 * 1024 * 1024 - 65536
"""All that wasm32 can address but its last page: the heap's end must itself be an address."""

HOST_FUNCTIONS = ("TVMFFIWasmFunctionDeleter", "TVMFFIWasmSafeCall")
"""What JavaScript gives under `env`. Any other undefined symbol is a link error that names it."""

EXPORTS = (
    # The allocator and the C functions that tvmjs 0.27 (web-runtime) and 0.28 (web-llm) call.
    "TVMFFIAnyViewToOwnedAny",
    "TVMFFIDataTypeToString",
    "TVMFFIErrorSetRaisedFromCStr",
    "TVMFFIFunctionCall",
    "TVMFFIFunctionGetGlobal",
    "TVMFFIFunctionSetGlobal",
    "TVMFFIGetTypeInfo",
    "TVMFFIObjectDecRef",
    "TVMFFIObjectIncRef",
    "TVMFFITypeKeyToIndex",
    "TVMFFIWasmFunctionCreate",
    "TVMFFIWasmGetLastError",
    "TVMWasmAllocSpace",
    "TVMWasmFreeSpace",
    # Ours: the text behind a trap.
    "transom_last_error",
)

LINK_OPTIONS = (
    "--entry=_initialize",
    # The stack below everything else: overflow leaves the memory and traps instead of eating data.
    "--stack-first",
    "-z",
    f"stack-size={STACK_BYTES}",
    f"--initial-memory={INITIAL_MEMORY_BYTES}",
    f"--max-memory={MAXIMUM_MEMORY_BYTES}",
    "--gc-sections",
    "--strip-all",
    "--build-id=none",
    "--allow-undefined-file={runtime}/host-functions.txt",
    *(f"--export={name}" for name in EXPORTS),
)


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Sent when a step starts or ends. Seconds of work are those of a usual machine (one core)."""

    running: tuple[str, ...]
    finished: str | None
    done_seconds: float
    usual_seconds: float
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class RuntimeBuild:
    """A runtime folder that is ready. `seconds` is what this call took; `digest` is `sha256:…` of
    all inputs.
    """

    directory: Path
    object_paths: tuple[Path, ...]
    digest: str
    cached: bool
    seconds: float


def build_runtime(
    progress: Callable[[BuildProgress], None] | None = None, *, force: bool = False
) -> RuntimeBuild:
    """The runtime folder of the installed tools, built when the cache has none (or when `force`).

    ToolchainError when tools are missing or a source does not compile. Killed at any moment, the
    build leaves no folder that looks finished.
    """
    started = time.monotonic()
    toolchain = find_toolchain()
    sources = list_sources(toolchain)
    digest = digest_inputs(sources, toolchain, LINK_OPTIONS)
    root = cache_folder() / "runtime"
    target = root / digest
    if not force and (names := _intact_objects(target)) is not None:
        return _describe(target, names, digest, cached=True, started=started)

    root.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(root)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
    try:
        tree = work / "tree"
        folder = work / "folder"
        folder.mkdir()
        stage_sources(sources, tree)
        meter = _Meter(progress, started)
        names, libraries = _make_files(tree, folder, meter)
        _write_description(folder, names, libraries, digest, toolchain)
        _publish(folder, target, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _describe(target, names, digest, cached=False, started=started)


def find_runtime() -> Path | None:
    """The runtime folder of the installed tools when the cache has it; builds nothing."""
    toolchain = find_toolchain()
    digest = digest_inputs(list_sources(toolchain), toolchain, LINK_OPTIONS)
    target = cache_folder() / "runtime" / digest
    return target if _intact_objects(target) is not None else None


def cache_folder() -> Path:
    """`$TRANSOM_CACHE`, else `transom` in the platform's cache folder; may be deleted any time."""
    chosen = os.environ.get("TRANSOM_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path("transom")


class _Meter:
    """Says what runs and counts what is done. Steps run on two threads, hence the lock."""

    def __init__(self, report: Callable[[BuildProgress], None] | None, started: float) -> None:
        self._report = report
        self._started = started
        self._running: list[str] = []
        self._done = 0.0
        self._usual = sum(unit.usual_seconds for unit in UNITS) + LIBRARIES_USUAL_SECONDS
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def step(self, name: str, usual_seconds: float) -> Iterator[None]:
        with self._lock:
            self._running.append(name)
            self._tell(finished=None)
        yield
        with self._lock:
            self._running.remove(name)
            self._done += usual_seconds
            self._tell(finished=name)

    def _tell(self, finished: str | None) -> None:
        if self._report is not None:
            elapsed = time.monotonic() - self._started
            running = tuple(self._running)
            self._report(BuildProgress(running, finished, self._done, self._usual, elapsed))


def _make_files(tree: Path, folder: Path, meter: _Meter) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fill `folder`; names of our objects, and of zig's start file and archives, in link order.

    Two jobs at a time: the first unit outweighs all the others and the libraries together.
    """
    first, *others = UNITS
    with ThreadPoolExecutor(max_workers=2) as pool:
        try:
            compiled = [pool.submit(_compile, first, tree, folder, meter)]
            libraries = pool.submit(_collect_libraries, tree, folder, meter)
            compiled += [pool.submit(_compile, unit, tree, folder, meter) for unit in others]
            return tuple(job.result() for job in compiled), libraries.result()
        except BaseException:
            # Also Ctrl-C: what has not begun must not begin.
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _compile(unit: Unit, tree: Path, folder: Path, meter: _Meter) -> str:
    output = folder / unit.object_name
    with meter.step(unit.source, unit.usual_seconds):
        run_zig(
            [unit.compiler(), *COMMON_FLAGS, *unit.flags, "-c", unit.source, "-o", str(output)],
            cwd=tree,
            doing=f"compiling {unit.source}",
        )
    return unit.object_name


def _collect_libraries(tree: Path, folder: Path, meter: _Meter) -> tuple[str, ...]:
    """Copy the start file and archives that zig links with; their names, in link order.

    zig keeps them in its cache under names it alone knows, so a small link is asked to show its
    command.
    """
    with meter.step("wasi libraries", LIBRARIES_USUAL_SECONDS):
        output = run_zig(
            ["c++", *COMMON_FLAGS, "transom/exception_tag.s", "-o", "probe.wasm", "-v"],
            cwd=tree,
            doing="preparing the wasi libraries",
        )
    commands = [line for line in output.splitlines() if line.startswith("wasm-ld ")]
    if not commands:
        raise ToolchainError("zig did not show its link command; is this another ziglang?")
    names: list[str] = []
    for word in shlex.split(commands[-1], posix=os.name == "posix"):
        path = Path(word)
        if path.suffix == ".a" or path.name.startswith("crt1"):
            shutil.copyfile(tree / path, folder / path.name)
            names.append(path.name)
    missing = {"crt1-reactor.o", "libc.a", "libc++.a", "libc++abi.a", "libcompiler_rt.a"} - {*names}
    if missing:
        raise ToolchainError(f"zig's link command does not name {', '.join(sorted(missing))}")
    return tuple(names)


def _write_description(
    folder: Path,
    objects: tuple[str, ...],
    libraries: tuple[str, ...],
    digest: str,
    toolchain: Toolchain,
) -> None:
    """`runtime.json`: what lies here; the link command with {runtime}, {objects}, {output}."""
    (folder / "host-functions.txt").write_text("".join(f"{name}\n" for name in HOST_FUNCTIONS))
    start = [name for name in libraries if name.endswith(".o")]
    archives = [name for name in libraries if name.endswith(".a")]
    description = {
        "layout": LAYOUT_VERSION,
        "digest": f"sha256:{digest}",
        "versions": dict(toolchain.versions),
        "link": [
            "wasm-ld",
            *LINK_OPTIONS,
            "-o",
            "{output}",
            *(f"{{runtime}}/{name}" for name in (*start, *objects)),
            "{objects}",
            *(f"{{runtime}}/{name}" for name in archives),
        ],
        "objects": list(objects),
        "files": {path.name: _sha256(path) for path in sorted(folder.iterdir())},
    }
    text = json.dumps(description, indent=1, sort_keys=True) + "\n"
    (folder / RUNTIME_FILE).write_text(text, encoding="utf-8")


def _publish(folder: Path, target: Path, work: Path) -> None:
    """Rename the finished folder to its place; two builders at once both get a whole one."""
    if target.exists():
        with contextlib.suppress(FileNotFoundError):
            target.rename(work / "replaced")
    try:
        folder.rename(target)
    except OSError:
        if _intact_objects(target) is None:
            raise


def _intact_objects(folder: Path) -> tuple[str, ...] | None:
    """Object names of a whole runtime folder; None when absent or not as it was written."""
    try:
        description: Any = json.loads((folder / RUNTIME_FILE).read_bytes())
        files: dict[str, str] = description["files"]
        if any(_sha256(folder / name) != digest for name, digest in files.items()):
            return None
        return tuple(description["objects"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _describe(
    folder: Path, names: tuple[str, ...], digest: str, *, cached: bool, started: float
) -> RuntimeBuild:
    return RuntimeBuild(
        directory=folder,
        object_paths=tuple(folder / name for name in names),
        digest=f"sha256:{digest}",
        cached=cached,
        seconds=time.monotonic() - started,
    )


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(".building-*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
