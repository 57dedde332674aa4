"""`transom build pyodide`: digests that hold, the same bytes twice, and what is missing is said.

What the bytecode does is seen by tests/e2e/test_api_worker.py.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from transom_build import bytecode, python_packages
from transom_build.archives import unzip, with_record, zip_bytes
from transom_build.errors import ToolchainError
from transom_build.pyodide import PYODIDE_VERSION, PyodideBundle, build_pyodide
from transom_build.python_packages import installed_package, own_package
from transom_build.standard_library import FOR_PROGRAMS, LEFT_OUT, for_programs, trim

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(
    tmp_path_factory: pytest.TempPathFactory, missing_tool: Callable[[str], NoReturn]
) -> PyodideBundle:
    if not (ROOT / "node_modules" / "pyodide").is_dir():
        missing_tool("npm packages are not installed: run .ci/setup node")
    return build_pyodide(ROOT, tmp_path_factory.mktemp("pyodide") / "bundle", bytecode=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A source tree with small packages and a Pyodide that is no interpreter."""
    root = tmp_path / "checkout"
    files = {
        "pyproject.toml": '[project]\nversion = "1.2"\n',
        "LICENSE": "free",
        "pyserver/transom_api/__init__.py": "",
        "pyserver/transom_api/chat.py": "from transom_models.name import Name\n",
        "pyserver/transom_pyodide/__init__.py": "import transom_models.deep.below\n",
        "web/python/transom/__init__.py": "",
        "models/transom_models/__init__.py": "",
        "models/transom_models/name.py": "def late():\n    from transom_models import errors\n",
        "models/transom_models/errors.py": "import json\n",
        "models/transom_models/weights.py": "import transom_models.name\n",
        "models/transom_models/deep/__init__.py": "",
        "models/transom_models/deep/below.py": "",
        "node_modules/pyodide/package.json": json.dumps({"version": PYODIDE_VERSION}),
        "node_modules/pyodide/pyodide.mjs": "loader",
        "node_modules/pyodide/pyodide.asm.mjs": "glue",
        "node_modules/pyodide/pyodide.asm.wasm": "wasm",
        "node_modules/pyodide/pyodide-lock.json": '{"info": {"python": "3.14.2"}}',
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    library = zip_bytes({"json/__init__.py": b"pass\n", "turtle.py": b"pass\n"})
    (root / "node_modules/pyodide/python_stdlib.zip").write_bytes(library)
    return root


def lock_of(bundle: PyodideBundle) -> dict[str, Any]:
    lock: dict[str, Any] = json.loads((bundle.directory / "pyodide-lock.json").read_bytes())
    return lock


def test_the_lock_file_knows_every_byte(built: PyodideBundle) -> None:
    lock = lock_of(built)
    on_disk = {path.name: path.read_bytes() for path in built.directory.iterdir()}
    written = on_disk.pop("pyodide-lock.json")
    assert hashlib.sha256(written).hexdigest() == built.digest
    assert lock["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in on_disk.items()
    }
    for package in lock["packages"].values():
        assert lock["files"][package["file_name"]]["sha256"] == package["sha256"]
        assert set(package["depends"]) <= set(lock["packages"])
    assert set(lock["packages"]) == {"transom_host", "jinja2", "markupsafe"}
    client = zipfile.ZipFile(built.directory / lock["client"])
    assert {"transom/__init__.py", "transom/browser.py"} <= set(client.namelist())
    assert not any(name.startswith("transom_") for name in client.namelist())
    assert lock["info"]["python"].startswith("3.14.")


def test_scripts_have_names_that_every_host_knows(built: PyodideBundle) -> None:
    scripts = [path for path in built.directory.iterdir() if path.suffix == ".js"]
    assert {path.name for path in scripts} == {"pyodide.js", "pyodide.asm.js"}
    assert not [name for name in built.files if name.endswith(".mjs")]
    assert not [path for path in scripts if b"asm.mjs" in path.read_bytes()]
    assert b"pyodide.asm.js" in (built.directory / "pyodide.js").read_bytes()


def test_wheels_are_whole_and_pure(built: PyodideBundle) -> None:
    for package in lock_of(built)["packages"].values():
        wheel = unzip((built.directory / package["file_name"]).read_bytes())
        info = f"{package['name']}-{package['version']}.dist-info"
        rest = {name: content for name, content in wheel.items() if name != f"{info}/RECORD"}
        assert with_record(rest, info) == wheel
        assert f"{info}/METADATA" in wheel
        assert any(name.startswith(f"{info}/licenses/") for name in wheel), package["name"]
        code = [name for name in wheel if not name.startswith(info)]
        assert {Path(name).suffix for name in code} <= {".py", ".typed", ".json"}, package["name"]


def test_the_same_sources_give_the_same_bytes(checkout: Path, tmp_path: Path) -> None:
    first = build_pyodide(checkout, tmp_path / "one", bytecode=False)
    for file in checkout.rglob("*.py"):
        file.touch()
    second = build_pyodide(checkout, tmp_path / "two", bytecode=False)
    assert second.digest == first.digest
    (checkout / "pyserver/transom_api/chat.py").write_text("pass\n")
    assert build_pyodide(checkout, tmp_path / "two", bytecode=False).digest != first.digest
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_of_the_models_room_comes_what_is_imported(checkout: Path) -> None:
    package = own_package(
        "1.2",
        checkout / "LICENSE",
        [checkout / "pyserver/transom_api", checkout / "pyserver/transom_pyodide"],
        [checkout / "models/transom_models"],
    )
    assert {name for name in package.modules if name.startswith("transom_models")} == {
        "transom_models/__init__.py",
        "transom_models/name.py",
        "transom_models/errors.py",
        "transom_models/deep/__init__.py",
        "transom_models/deep/below.py",
    }
    assert package.imports == ("transom_api", "transom_models", "transom_pyodide")


def test_archives_hold_no_time_and_no_order() -> None:
    archive = zip_bytes({"b": b"2", "a/c": b"1"})
    assert archive == zip_bytes({"a/c": b"1", "b": b"2"})
    assert unzip(archive) == {"a/c": b"1", "b": b"2"}


def test_the_library_is_trimmed_at_the_top_level_alone() -> None:
    files = {name: b"" for name in ("turtle.py", "html/parser.py", "json/tool.py", "re/html.py")}
    assert set(trim(files)) == {"json/tool.py", "re/html.py"}
    assert set(trim({"encodings/utf_8.py": b"", "encodings/big5.py": b""})) == {
        "encodings/utf_8.py"
    }


def test_programs_get_some_of_what_is_left_out(built: PyodideBundle) -> None:
    files = {name: b"" for name in ("statistics.py", "html/parser.py", "turtle.py", "json/tool.py")}
    assert set(for_programs(files)) == {"statistics.py", "html/parser.py"}
    assert FOR_PROGRAMS <= LEFT_OUT
    with zipfile.ZipFile(built.directory / "python_more.zip") as more:
        tops = {Path(name).parts[0].removesuffix(".py") for name in more.namelist()}
    # Names of modules that Pyodide's library has lost would be of no use here.
    assert tops == FOR_PROGRAMS


def test_without_node_sources_are_shipped_and_it_is_said(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom_build.pyodide.find_node", lambda: None)
    said: list[str] = []
    bundle = build_pyodide(checkout, tmp_path / "out", said.append)
    assert not bundle.has_bytecode
    assert "no Node.js to compile with: shipping Python sources, which start slower" in said
    assert "transom_host-1.2-py3-none-any.whl" in bundle.files
    assert "transom-1.2-py3-none-any.whl" in bundle.files
    with zipfile.ZipFile(tmp_path / "out" / "python_stdlib.zip") as library:
        assert library.namelist() == ["json/__init__.py"]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("node_modules/pyodide", r"no npm package pyodide in .*: run `npm ci`"),
        ("node_modules/pyodide/pyodide.asm.wasm", r"lost its pyodide.asm.wasm: run `npm ci`"),
        ("pyserver/transom_pyodide", r"no Python package in .*transom_pyodide"),
        ("pyproject.toml", "is no checkout of Transom"),
    ],
)
def test_what_is_missing_is_named(checkout: Path, tmp_path: Path, lost: str, said: str) -> None:
    path = checkout / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ToolchainError, match=said):
        build_pyodide(checkout, tmp_path / "out", bytecode=False)
    assert not (tmp_path / "out").exists()


def test_another_version_is_refused(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = checkout / "node_modules/pyodide/package.json"
    package.write_text(json.dumps({"version": "0.29.0"}))
    with pytest.raises(ToolchainError, match=f"pyodide 0.29.0 .* {PYODIDE_VERSION} is wanted"):
        build_pyodide(checkout, tmp_path / "out", bytecode=False)
    monkeypatch.setattr(python_packages, "PINNED", {"jinja2": "3.0"})
    with pytest.raises(ToolchainError, match=r"jinja2 .* is installed, but .* 3\.0"):
        installed_package("jinja2")


def test_a_module_that_does_not_compile_is_named(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: PyodideBundle
) -> None:
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    npm = ROOT / "node_modules" / "pyodide"
    with pytest.raises(ToolchainError, match=r"in Node: .*broken\.py.*SyntaxError"):
        bytecode.compile_modules({"broken.py": b"def\n"}, npm, optimize=0)


def test_bytecode_is_the_same_each_time_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: PyodideBundle
) -> None:
    npm = ROOT / "node_modules" / "pyodide"
    files = {
        "package/__init__.py": b"WORDS = {'one', 'two', 'three'}\n",
        "package/module.py": b"def ask(word):\n    return word in {'a', 'b', 'c', 'd'}\n",
        "package/data.json": b"{}",
    }
    compiled = []
    for cache in ("one", "two"):
        monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / cache))
        compiled.append(bytecode.compile_modules(files, npm, optimize=0))
    assert compiled[0] == compiled[1]
    assert set(compiled[0]) == {"package/__init__.pyc", "package/module.pyc", "package/data.json"}
    monkeypatch.setattr(bytecode, "find_node", lambda: None)
    assert bytecode.compile_modules(files, npm, optimize=0) == compiled[0]
    with pytest.raises(ToolchainError, match=r"no Node\.js found"):
        bytecode.compile_modules(files, npm, optimize=2)


def test_the_pin_is_that_of_package_json() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    assert package["dependencies"]["pyodide"] == PYODIDE_VERSION
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]["build"]
    for name, version in python_packages.PINNED.items():
        assert f"{name}=={version}" in extra
