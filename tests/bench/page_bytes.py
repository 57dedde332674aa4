"""What the page is made of: which part a file belongs to, and how large the parts are.

Reads a built page (`web/dist`) and a model's bundle. Starts nothing.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.static_host import Sent

MODEL: Final = "demo"
"""The folder of the bundle beside the page."""
SUMS: Final = {"Pyodide": ("Pyodide: ",), "all but the model": ("",)}

_PYTHON: Final = r"assets/python-[^/]+/"
# The first that fits; what only debuggers read has been left out before.
_PARTS: Final = (
    ("model", rf"{MODEL}/"),
    ("service worker", r"sw\.js$"),
    ("Pyodide: library", rf"{_PYTHON}python_stdlib\.zip$"),
    ("Pyodide: wheels", rf"{_PYTHON}.*\.whl$"),
    ("Pyodide: library, later", rf"{_PYTHON}python_more\.zip$"),
    ("Pyodide: interpreter", _PYTHON),
    ("API worker", r"assets/api-worker-"),
    ("xgrammar", r"assets/.*xgrammar"),
    ("wllama", r"assets/(wllama|llama|load-gguf|gguf)"),
    ("engine worker", r"assets/(worker|tvm|load|engine)-"),
    ("bridge for other sites", r"(embed|consent)\.html$|connect\.js$|assets/(embed|consent)-"),
    ("wheel for programs", r"python/"),
    ("frames of tools", r"(outside|python)\.html$|assets/(outside|python)-"),
    # Colours, formulas, DOCX, PDF, MCP and languages: chunks that come at first need.
    ("app, later", r"assets/(highlight|temml|lib|pdf[-.]worker|session|de|ar)[-.]"),
    ("app", r"$|index\.html$|.*\.(svg|png|ico|webmanifest)$|assets/.*\.(js|css|woff2)$"),
)
OTHER: Final = "other"


@dataclass(frozen=True)
class Size:
    """Bytes of some files, as they are and by gzip -9, each file for itself."""

    files: int = 0
    raw: int = 0
    gzip: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.files + other.files, self.raw + other.raw, self.gzip + other.gzip)


def part_of(path: str) -> str:
    """`path` from the page's folder, as `assets/worker-x.js`."""
    return next((part for part, pattern in _PARTS if re.match(pattern, path)), OTHER)


def size_of(data: bytes) -> Size:
    """gzip's head is 10 bytes, its tail 8."""
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return Size(1, len(data), len(packed.compress(data)) + len(packed.flush()) + 18)


def sizes(folder: Path, paths: Iterable[str]) -> dict[str, Size]:
    """Part -> size, the parts in the order of their list."""
    found: dict[str, Size] = {}
    for path in paths:
        part = part_of(path)
        found[part] = found.get(part, Size()) + size_of((folder / path).read_bytes())
    order = [part for part, _ in _PARTS] + [OTHER]
    return {part: found[part] for part in sorted(found, key=order.index)}


def with_sums(parts: Mapping[str, Size]) -> dict[str, Size]:
    rows = dict(parts)
    for title, starts in SUMS.items():
        rows[title] = sum(
            (size for part, size in parts.items() if part.startswith(starts) and part != "model"),
            start=Size(),
        )
    return rows


def files_of(page: Path) -> list[str]:
    """What a host hands out of a built page, but for debuggers and the notebooks' examples."""
    paths = (path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file())
    return sorted(p for p in paths if not p.endswith(".map") and not p.startswith("examples/"))


def traffic(sent: Iterable[Sent]) -> dict[str, dict[str, int]]:
    """Part -> requests, bytes and files that were sent whole more than once."""
    rows: dict[str, dict[str, int]] = {}
    whole: dict[str, int] = {}
    for answer in sent:
        path = answer.path.lstrip("/")
        row = rows.setdefault(
            part_of(path) if answer.status < 400 else f"HTTP {answer.status}",
            {"requests": 0, "bytes": 0, "twice": 0},
        )
        row["requests"] += 1
        if answer.status in (200, 206):
            row["bytes"] += answer.length
        if answer.status == 200:
            whole[path] = whole.get(path, 0) + 1
            row["twice"] += whole[path] == 2
    return rows


def print_sizes(parts: Mapping[str, Size]) -> None:
    print(f"\n{'bytes':<36}{'files':>8}{'MB':>10}{'gzip -9':>10}")
    for title, size in with_sums(parts).items():
        print(f"  {title:<34}{size.files:>8}{size.raw / 1e6:>10.3f}{size.gzip / 1e6:>10.3f}")


def print_traffic(title: str, rows: Mapping[str, Mapping[str, int]]) -> None:
    print(f"\n{title:<36}{'requests':>8}{'MB':>10}{'twice':>10}")
    for part, row in rows.items():
        megabytes = row["bytes"] / 1e6
        print(f"  {part:<34}{row['requests']:>8}{megabytes:>10.3f}{row['twice']:>10}")
