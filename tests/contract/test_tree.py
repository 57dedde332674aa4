"""What may be in this repository at all: no machine's own paths, no registry's address, no big
file.

Reads tracked files only, through git; a checkout without git fails here, on purpose.
"""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 1_000_000
"""A clone is for reading. Weights and pictures of this size belong to a release or a store."""

# Spelled in pieces, so that this file does not hold what it looks for.
REGISTRY_HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
    )
]
MACHINE_PATHS = re.compile(
    r"(?<![\w.$}~-])/(?:work|root|home/(?!someone)\w+|Users/\w+|tmp/lab|opt/wheels)/"
)


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[Path, str]]:
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            found.append((path.relative_to(ROOT), data.decode()))
    return found


def test_no_file_is_big() -> None:
    big = {str(path): path.stat().st_size for path in tracked() if path.stat().st_size > MOST_BYTES}
    assert big == {}


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_registry_is_named(host: str) -> None:
    """Each machine has its own mirrors; a lock file that names one breaks on all others."""
    assert [str(path) for path, text in texts() if host in text] == []


def test_no_path_of_one_machine() -> None:
    found = [
        f"{path}: {match.group()}"
        for path, text in texts()
        for match in [MACHINE_PATHS.search(text)]
        if match
    ]
    assert found == []


def test_rooms_are_no_packages() -> None:
    """`build/__init__.py` would take `python -m build` away from the PyPA tool."""
    rooms = ["models", "compile", "build", "pyserver", "web"]
    assert [room for room in rooms if (ROOT / room / "__init__.py").exists()] == []


def test_packages_are_imported_by_their_own_names() -> None:
    """`from models.transom_models import …` would load a second copy of the module."""
    wrong = re.compile(r"^\s*(?:from|import) (?:models|compile|build|pyserver)\.transom_", re.M)
    python = [(str(path), text) for path, text in texts() if path.suffix == ".py"]
    assert [path for path, text in python if wrong.search(text)] == []


def test_nothing_of_ours_is_ignored_by_git() -> None:
    """A line `build/` in .gitignore hides a whole room from git, from ruff and from the wheel."""
    sources = [
        path
        for room in ("models", "compile", "build", "pyserver", "web/src", "tests", "docs")
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".ts", ".cc", ".h", ".md"}
        and not {"node_modules", "dist", "dist-node", "__pycache__"} & set(path.parts)
    ]
    ignored = subprocess.run(
        ["git", "check-ignore", "--stdin"],
        input="\n".join(str(path.relative_to(ROOT)) for path in sources),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ignored.stdout == ""


def test_pages_are_waited_for_with_functions() -> None:
    """Playwright keeps a function, but evaluates an expression again in each frame of the page,
    where its policy may forbid that; and it takes any promise for something true. Whoever needs
    either asks with `tests.e2e.browser.wait_until`."""
    condition = re.compile(
        r"\.wait_for_function\(\s*f?(?:\"{3}\s*|[\"'](?!\"\"))(?!\s|(?:\(\w*\)|\w+) ?=>)"
    )
    python = [(str(path), text) for path, text in texts() if path.suffix == ".py"]
    assert [path for path, text in python if condition.search(text)] == []
