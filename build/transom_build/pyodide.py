"""Python for the page: a folder with Pyodide, a smaller standard library, and our wheels.

    npm's pyodide -> trim the standard library -> our packages and two others as wheels
    -> bytecode -> pyodide-lock.json -> publish the folder by rename

The handover is the folder: `web/pyodide-bundle.ts` puts it into the page's build. The same sources
give the same bytes. `pyodide-lock.json` is what Pyodide reads (package names to wheels), and holds
size and sha256 of every file under `files`. PyPI's `pyodide-lock` refuses that field, and even
npm's own lock file (0.1.2, which Python 3.11 gets), and would bring pydantic along.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_build.archives import unzip, with_record, zip_bytes
from transom_build.bytecode import compile_modules, find_node
from transom_build.client_wheel import client_wheel
from transom_build.errors import ToolchainError
from transom_build.python_packages import PythonPackage, installed_package, own_package
from transom_build.standard_library import for_programs, trim

PYODIDE_VERSION = "314.0.7"
"""npm's; package.json has the same pin, and a test compares the two."""

LOCK_FILE = "pyodide-lock.json"
STANDARD_LIBRARY = "python_stdlib.zip"
MORE_LIBRARY = "python_more.zip"
"""For programs of models; the page fetches it with the first of them."""
INTERPRETER = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
# nginx and others send .mjs as no script, and browsers take no module of such a type.
RENAMED = {"pyodide.mjs": "pyodide.js", "pyodide.asm.mjs": "pyodide.asm.js"}

WHOLE = ("pyserver/transom_api", "pyserver/transom_pyodide")
AS_IMPORTED = ("models/transom_models",)
"""Most of it is about weights, of which this Python sees none."""

_NOTICE = """\
Python for Transom's page.

pyodide.js, pyodide.asm.js, pyodide.asm.wasm: Pyodide {pyodide}, Mozilla Public License 2.0;
its sources: https://github.com/pyodide/pyodide/tree/{pyodide}
(the scripts, and what they call each other, end in .js here, not in .mjs; nothing else differs)
They contain CPython {python}, as python_stdlib.zip and python_more.zip do: Python Software
Foundation License 2.0.
The wheels hold their licences themselves: Transom (Apache-2.0), Jinja2 and MarkupSafe
(BSD-3-Clause).
"""


@dataclass(frozen=True, slots=True)
class PyodideBundle:
    """A folder that is ready. `files`: name to bytes. `digest`: sha256 (hex) of the lock file,
    which holds those of all others.
    """

    directory: Path
    files: Mapping[str, int]
    digest: str
    has_bytecode: bool
    seconds: float


def build_pyodide(
    checkout: Path,
    output: Path,
    report: Callable[[str], None] = lambda line: None,
    *,
    bytecode: bool = True,
) -> PyodideBundle:
    """Write Python for the page into `output`, in place of what is there.

    `checkout` is Transom's source tree with its `node_modules`. `report` gets a line for each step.
    Without Node, or without `bytecode`, sources are shipped, which start slower. ToolchainError
    when something is missing.
    """
    started = time.monotonic()
    version = _version(checkout)
    npm = _find_pyodide(checkout)
    packages = [
        own_package(
            version,
            checkout / "LICENSE",
            [checkout / folder for folder in WHOLE],
            [checkout / folder for folder in AS_IMPORTED],
        ),
        installed_package("jinja2", depends=("markupsafe",)),
        installed_package("markupsafe"),
    ]
    if bytecode and find_node() is None:
        report("no Node.js to compile with: shipping Python sources, which start slower")
        bytecode = False
    compiler = npm if bytecode else None

    upstream: dict[str, Any] = json.loads((npm / LOCK_FILE).read_bytes())
    python: str = upstream["info"]["python"]
    files = {RENAMED.get(name, name): _renamed(npm / name) for name in INTERPRETER}
    whole_library = unzip((npm / STANDARD_LIBRARY).read_bytes())
    library, more = trim(whole_library), for_programs(whole_library)
    report(f"standard library of Python {python}, {len(library)} files, {len(more)} for programs")
    for package in packages:
        report(f"wheel of {package.name} {package.version}, {len(package.modules)} files")
    # Most of the time is Pyodide's start, and on one core.
    with ThreadPoolExecutor(max_workers=2) as pool:
        compiled_library = pool.submit(_compiled_library, library, compiler)
        compiled_more = pool.submit(_compiled_library, more, compiler)
        wheels = list(pool.map(lambda package: _wheel(package, compiler, python), packages))
        files[STANDARD_LIBRARY] = compiled_library.result()
        files[MORE_LIBRARY] = compiled_more.result()
    files |= dict(wheels)
    entries = {
        package.name: _lock_entry(package, name, wheel)
        for package, (name, wheel) in zip(packages, wheels, strict=True)
    }
    client, wheel = client_wheel(checkout, version)
    files[client] = wheel
    notice = _NOTICE.format(pyodide=PYODIDE_VERSION, python=python)
    files["NOTICE.txt"] = notice.encode()
    files[LOCK_FILE] = _lock_file(upstream["info"], entries, files, client)
    _publish(files, output)
    return PyodideBundle(
        directory=output,
        files={name: len(content) for name, content in sorted(files.items())},
        digest=hashlib.sha256(files[LOCK_FILE]).hexdigest(),
        has_bytecode=bytecode,
        seconds=time.monotonic() - started,
    )


def _find_pyodide(checkout: Path) -> Path:
    """The npm package, whole and of the pinned version."""
    folder = checkout / "node_modules" / "pyodide"
    try:
        found: str = json.loads((folder / "package.json").read_bytes())["version"]
    except FileNotFoundError:
        raise ToolchainError(f"there is no npm package pyodide in {folder}: run `npm ci`") from None
    if found != PYODIDE_VERSION:
        raise ToolchainError(
            f"npm's pyodide {found} is installed, but {PYODIDE_VERSION} is wanted: run `npm ci`"
        )
    for name in (*INTERPRETER, STANDARD_LIBRARY, LOCK_FILE):
        if not (folder / name).is_file():
            raise ToolchainError(f"npm's pyodide has lost its {name}: run `npm ci`")
    return folder


def _renamed(path: Path) -> bytes:
    """A file of the interpreter; scripts call the others as they are called here."""
    data = path.read_bytes()
    if path.name in RENAMED:
        for old, new in RENAMED.items():
            data = data.replace(old.encode(), new.encode())
    return data


def _version(checkout: Path) -> str:
    try:
        with (checkout / "pyproject.toml").open("rb") as file:
            version: str = tomllib.load(file)["project"]["version"]
    except FileNotFoundError:
        raise ToolchainError(f"{checkout} is no checkout of Transom") from None
    return version


def _compiled_library(library: Mapping[str, bytes], compiler: Path | None) -> bytes:
    """As a zip; `compiler` as for a wheel."""
    if compiler is not None:
        # 2: a third of the bytes are docstrings, which nobody reads there.
        library = compile_modules(library, compiler, optimize=2)
    return zip_bytes(library)


def _wheel(package: PythonPackage, compiler: Path | None, python: str) -> tuple[str, bytes]:
    """File name and content; `compiler` is the folder of Pyodide, None leaves sources as such."""
    modules = package.modules
    tag = "py3-none-any"
    if compiler is not None:
        # 0: our code behaves as on the server, asserts included.
        modules = compile_modules(modules, compiler, optimize=0)
        tag = f"cp{''.join(python.split('.')[:2])}-none-any"
    info = {
        **package.info,
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: transom\nRoot-Is-Purelib: true\nTag: {tag}\n"
        .encode(),
    }  # fmt: skip
    files = {**modules}
    for name, content in info.items():
        files[f"{package.info_folder}/{name}"] = content
    name = f"{package.name}-{package.version}-{tag}.whl"
    return name, zip_bytes(with_record(files, package.info_folder))


def _lock_entry(package: PythonPackage, file_name: str, wheel: bytes) -> dict[str, Any]:
    return {
        "name": package.name,
        "version": package.version,
        "file_name": file_name,
        "install_dir": "site",
        "sha256": hashlib.sha256(wheel).hexdigest(),
        "package_type": "package",
        "imports": list(package.imports),
        "depends": list(package.depends),
        "unvendored_tests": False,
    }


def _lock_file(
    info: Mapping[str, str], packages: Mapping[str, Any], files: Mapping[str, bytes], client: str
) -> bytes:
    """`client`: the wheel for people's programs, which the page's own Python does without."""
    lock = {
        "info": dict(info),
        "client": client,
        "packages": dict(packages),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    return (json.dumps(lock, indent=1, sort_keys=True) + "\n").encode()


def _publish(files: Mapping[str, bytes], output: Path) -> None:
    """Whoever reads meanwhile finds the old folder or the new one, never half of it."""
    if _holds(output, files):
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".pyodide-") as folder:
        fresh = Path(folder, "fresh")
        fresh.mkdir()
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        if output.exists():
            output.rename(Path(folder, "replaced"))
        shutil.move(fresh, output)


def _holds(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Whether it is there already; whoever builds the page meanwhile is not disturbed then."""
    if not folder.is_dir() or {path.name for path in folder.iterdir()} != files.keys():
        return False
    return all((folder / name).read_bytes() == content for name, content in files.items())
