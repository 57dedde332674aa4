"""Silence is no success: every test file on disk is collected, every package is in the wheel.

pytest skips folders called `build` unless told otherwise, and a wheel leaves out what it is not
told of; both happen without a word.
"""

import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("models", "compile", "build", "pyserver")
PYTHON_TESTS = {
    "models",
    "compile",
    "build",
    "pyserver",
    "contract",
    "hostile",
    "e2e",
    "api",
    "app",
    "web",
    "bench",
}


def test_every_test_file_is_collected() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert printed.returncode == 0, printed.stdout + printed.stderr
    collected = {line.rpartition(":")[0] for line in printed.stdout.splitlines() if ".py:" in line}
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if "node_modules" not in path.parts
    }
    assert collected == on_disk
    assert set(Counter(name.split("/")[1] for name in collected)) == PYTHON_TESTS


def test_the_wheel_holds_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    in_tree = [
        path.parent.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).glob("*/__init__.py")
    ]
    assert sorted(listed) == sorted(in_tree)
    contracts = project["tool"]["importlinter"]["root_packages"]
    assert sorted(contracts) == sorted(name.split("/")[1] for name in listed)


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for room in ROOMS for path in (ROOT / room).glob("transom_*/**/*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
