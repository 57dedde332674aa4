"""Pure Python wheels for the browser: one of our own packages, and repacked installed ones.

Our packages come as folders; this room imports none of them. Compiles nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from transom_build.errors import ToolchainError

PINNED: Mapping[str, str] = MappingProxyType({"jinja2": "3.1.6", "markupsafe": "3.0.4"})
"""What our packages need of others; the same pins stand in pyproject's extra `build`."""

OWN_NAME = "transom_host"
"""`transom` is what people's programs import (`client_wheel.py`)."""

_NOT_PURE = frozenset({".so", ".pyd", ".dll", ".dylib", ".c", ".pyx", ".pyi"})
_INSTALLERS = frozenset({"INSTALLER", "RECORD", "REQUESTED", "WHEEL", "direct_url.json"})


@dataclass(frozen=True, slots=True)
class PythonPackage:
    """What becomes one wheel. `modules` are sources; `info` is the content of its `.dist-info`."""

    name: str
    version: str
    depends: tuple[str, ...]
    imports: tuple[str, ...]
    modules: Mapping[str, bytes]
    info: Mapping[str, bytes]

    @property
    def info_folder(self) -> str:
        return f"{self.name}-{self.version}.dist-info"


def own_package(
    version: str, license_file: Path, whole: Sequence[Path], as_imported: Sequence[Path]
) -> PythonPackage:
    """Our packages as one: the folders in `whole`, and of those in `as_imported` what they import.

    ToolchainError when a folder is no package.
    """
    for folder in (*whole, *as_imported):
        if not (folder / "__init__.py").is_file():
            raise ToolchainError(f"there is no Python package in {folder}")
    modules = {
        _path_in(folder, file): file.read_bytes()
        for folder in whole
        for file in sorted(folder.rglob("*.py"))
    }
    others = {
        _path_in(folder, file): file for folder in as_imported for file in folder.rglob("*.py")
    }
    waiting = list(modules)
    while waiting:
        for name in _imported(modules[waiting.pop()], others):
            if name not in modules:
                modules[name] = others[name].read_bytes()
                waiting.append(name)
    metadata = f"Metadata-Version: 2.4\nName: {OWN_NAME}\nVersion: {version}\n"
    metadata += "License-Expression: Apache-2.0\nLicense-File: LICENSE\nRequires-Dist: jinja2\n"
    return PythonPackage(
        name=OWN_NAME,
        version=version,
        depends=("jinja2",),
        imports=tuple(sorted({PurePosixPath(name).parts[0] for name in modules})),
        modules=modules,
        info={"METADATA": metadata.encode(), "licenses/LICENSE": license_file.read_bytes()},
    )


def installed_package(name: str, depends: tuple[str, ...] = ()) -> PythonPackage:
    """An installed distribution without what a C compiler made of it, which it can do without.

    ToolchainError when it is missing or is not the pinned version.
    """
    pinned = PINNED[name]
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise ToolchainError(
            f"{name} {pinned} is not installed; install it with: pip install 'transom[build]'"
        ) from None
    if found.version != pinned:
        raise ToolchainError(
            f"{name} {found.version} is installed, but the page's Python is built with {pinned}; "
            "install it with: pip install 'transom[build]'"
        )
    modules: dict[str, bytes] = {}
    info: dict[str, bytes] = {}
    for file in found.files or ():
        if file.parts[0].endswith(".dist-info"):
            if file.name not in _INSTALLERS:
                info["/".join(file.parts[1:])] = file.read_binary()
        elif file.parts[0] == name and file.suffix not in _NOT_PURE and _is_kept(file):
            modules[file.as_posix()] = file.read_binary()
    if f"{name}/__init__.py" not in modules:
        raise ToolchainError(f"the installed {name} has lost its files; install it again")
    return PythonPackage(name, pinned, depends, (name,), modules, info)


def _is_kept(file: PurePosixPath) -> bool:
    return "__pycache__" not in file.parts


def _path_in(package: Path, file: Path) -> str:
    return file.relative_to(package.parent).as_posix()


def _imported(source: bytes, known: Mapping[str, Path]) -> Iterator[str]:
    """Which of the `known` files a module imports anywhere in it, with the packages around them."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            # What is imported may be a module itself.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                path = "/".join(parts[:end])
                for candidate in (f"{path}.py", f"{path}/__init__.py"):
                    if candidate in known:
                        yield candidate
