"""The pinned tools: which wheels, where they lie, and how zig is run.

Finds TVM by its metadata and folder only; importing it takes seconds and is not needed. Knows no
source file and no flag of the runtime.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from transom_build.errors import ToolchainError

PINNED: Mapping[str, str] = MappingProxyType(
    {"apache-tvm": "0.27.0.post1", "apache-tvm-ffi": "0.1.15.post2", "ziglang": "0.17.0"}
)
"""Distribution to version. The same pins stand in pyproject's extra `build`; a test compares the
two.
"""

INSTALL_HINT = "install the tools with: pip install 'transom[build]'"


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Folders of the three wheels' packages and the versions found."""

    tvm: Path
    tvm_ffi: Path
    zig: Path
    versions: Mapping[str, str]


def find_toolchain() -> Toolchain:
    """The installed tools. ToolchainError when one is missing or is not the pinned version."""
    versions: dict[str, str] = {}
    for name, pinned in PINNED.items():
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            raise ToolchainError(f"{name} {pinned} is not installed; {INSTALL_HINT}") from None
        if versions[name] != pinned:
            raise ToolchainError(
                f"{name} {versions[name]} is installed, but the runtime is built with {pinned}; "
                f"{INSTALL_HINT}"
            )
    return Toolchain(
        tvm=_package_folder("tvm"),
        tvm_ffi=_package_folder("tvm_ffi"),
        zig=_package_folder("ziglang"),
        versions=MappingProxyType(versions),
    )


def run_zig(arguments: Sequence[str], *, cwd: Path, doing: str) -> str:
    """Run `python -m ziglang …` and return what it wrote to stderr. ToolchainError when it fails.

    `doing` completes the sentence "zig failed while …".
    """
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = next(
            (line for line in lines if "error" in line), lines[-1] if lines else "no message"
        )
        raise ToolchainError(f"zig failed while {doing} (exit {done.returncode}): {reason.strip()}")
    return done.stderr


def _package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ToolchainError(f"the Python package {name} has no folder; {INSTALL_HINT}")
    return Path(spec.origin).parent
