"""Everything that enters the runtime: which files, from where, and the digest over all of it.

The wheels ship the sources of TVM's web runtime but not all headers; `runtime_src/` holds ours.
Both are staged into one tree shaped like TVM's own, so that the sources' relative includes work and
no machine path gets into the objects. Compiles nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from transom_build.errors import ToolchainError
from transom_build.toolchain import Toolchain

OWN_SOURCES = Path(__file__).parent / "runtime_src"
SUFFIXES = frozenset({".h", ".hpp", ".cc", ".cpp", ".c", ".s", ".inc", ".def"})

LAYOUT_VERSION = 1
"""Raise it when the shape of a runtime folder changes: old folders are then not taken for new ones.
"""

COMMON_FLAGS = (
    "-target",
    "wasm32-wasi",
    # lime1 is what every browser with WebGPU has; exceptions come on top, so that errors arrive.
    "-mcpu=lime1+exception_handling",
    "-mexec-model=reactor",
    "-O2",
    "-g0",
    "-fexceptions",
    "-fwasm-exceptions",
    # Browsers and Node 20 run this form; the newer one (exnref) is missing from several of them.
    "-mllvm",
    "-wasm-use-legacy-eh=true",
    "-fvisibility=hidden",
    "-ffunction-sections",
    "-fdata-sections",
)
TVM_FLAGS = (
    "-std=c++17",
    "-I.",
    "-Iinclude",
    "-I3rdparty/tvm-ffi/include",
    "-include",
    "transom/shim.h",
    "-DTVM_FFI_CMAKE_LITTLE_ENDIAN=1",
)
CXXABI_FLAGS = (
    "-std=c++23",
    "-Ilibcxxabi/include",
    "-Ilibcxxabi/src",
    "-Ilibcxx/src",
    "-Ilibunwind/include",
    "-D_LIBCXXABI_BUILDING_LIBRARY",
    "-D_LIBCXXABI_HAS_NO_THREADS",
    "-DLIBCXX_BUILDING_LIBCXXABI",
    "-D_LIBCPP_BUILDING_LIBRARY",
)
UNWIND_FLAGS = (
    "-std=c23",
    "-Ilibunwind/include",
    "-D_LIBUNWIND_HIDE_SYMBOLS",
    "-D_LIBUNWIND_HAS_NO_THREADS",
)


@dataclass(frozen=True, slots=True)
class Unit:
    """One source file to compile: path in the staged tree, its flags, its usual seconds on one
    core.
    """

    source: str
    flags: tuple[str, ...]
    usual_seconds: float

    @property
    def object_name(self) -> str:
        return PurePosixPath(self.source).stem + ".o"

    def compiler(self) -> str:
        return "c++" if self.source.endswith((".cc", ".cpp")) else "cc"


UNITS = (
    Unit("web/emcc/wasm_runtime.cc", TVM_FLAGS, 70.0),
    Unit("web/emcc/tvmjs_support.cc", TVM_FLAGS, 5.0),
    Unit("web/emcc/webgpu_runtime.cc", TVM_FLAGS, 6.0),
    Unit("transom/support.cc", TVM_FLAGS, 1.0),
    Unit("transom/memory.cc", TVM_FLAGS, 1.0),
    Unit("transom/exception_tag.s", (), 0.2),
    # zig's own libc++abi for wasi leaves these out, since zig builds it without exceptions.
    Unit("libcxxabi/src/cxa_exception.cpp", CXXABI_FLAGS, 0.5),
    Unit("libcxxabi/src/cxa_personality.cpp", CXXABI_FLAGS, 0.5),
    Unit("libunwind/src/Unwind-wasm.c", UNWIND_FLAGS, 0.3),
)


def list_sources(toolchain: Toolchain) -> Mapping[str, Path]:
    """Path in the staged tree (POSIX, sorted) to the file it is copied from.

    ToolchainError when a wheel lacks the sources (a repackaged TVM may).
    """
    zig_lib = toolchain.zig / "lib"
    trees = (
        (toolchain.tvm / "web" / "emcc", "web/emcc"),
        (toolchain.tvm / "include", "include"),
        (toolchain.tvm / "src" / "runtime", "src/runtime"),
        (toolchain.tvm_ffi / "include", "3rdparty/tvm-ffi/include"),
        (toolchain.tvm_ffi / "src", "3rdparty/tvm-ffi/src"),
        (zig_lib / "libcxxabi" / "include", "libcxxabi/include"),
        (zig_lib / "libcxxabi" / "src", "libcxxabi/src"),
        (zig_lib / "libcxx" / "src" / "include", "libcxx/src/include"),
        (zig_lib / "libunwind" / "include", "libunwind/include"),
        (zig_lib / "libunwind" / "src", "libunwind/src"),
        (OWN_SOURCES, ""),
    )
    sources: dict[str, Path] = {}
    for folder, staged in trees:
        for path in _walk(folder):
            sources[str(PurePosixPath(staged) / path.relative_to(folder).as_posix())] = path
    for unit in UNITS:
        if unit.source not in sources:
            raise ToolchainError(
                f"the wheel of apache-tvm has no {unit.source}: use the wheel from PyPI"
            )
    return dict(sorted(sources.items()))


def digest_inputs(sources: Mapping[str, Path], toolchain: Toolchain, link: object) -> str:
    """sha256 (hex) over every staged file, the flags, the tools' versions and the link recipe."""
    recipe = {
        "layout": LAYOUT_VERSION,
        "versions": dict(toolchain.versions),
        "flags": COMMON_FLAGS,
        "units": [(unit.source, unit.flags) for unit in UNITS],
        "link": link,
        "sources": {
            staged: hashlib.sha256(path.read_bytes()).hexdigest()
            for staged, path in sources.items()
        },
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def stage_sources(sources: Mapping[str, Path], tree: Path) -> None:
    """Copy the sources into `tree` (copies, not links: Windows lets few users make links)."""
    for staged, path in sources.items():
        target = tree / staged
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        # Headers without a suffix are libc++'s public ones; zig finds those itself.
        if path.suffix in SUFFIXES and path.is_file():
            yield path
