"""Model libraries built before, kept in the user's cache folder by what they were made from.

A library depends on sizes, block types, dtype, schedule and on the tools, never on weights or
names: a fine-tune finds its base model's. The key covers the request, the tool versions, the
runtime's files and the source of what makes a library, so an edited kernel never meets an old
library. A cache: anything in it may be deleted at any time, and a file that does not match its
digest is built again.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import platformdirs

import transom_models
from transom_compile.durable import write_durably
from transom_compile.library_request import LibraryRequest
from transom_models.digest import Digest, Hasher, InvalidDigest

TOOLS = ("apache-tvm", "apache-tvm-ffi", "ziglang")

# What a library's bytes come from, as globs: in this package, and in transom_models.
COMPILER_PARTS = (
    "binding.py",
    "choosers.py",
    "graph.py",
    "library_request.py",
    "lower.py",
    "link.py",
    "kernels/**/*.py",
    "passes/**/*.py",
    "program.py",
    "program_graph.py",
    "wgsl.py",
)
MODEL_PARTS = ("architecture.py", "architectures/*.py", "block_type.py", "rope.py")


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """Where the library of one request is kept, or would be."""

    path: Path

    @classmethod
    def of(cls, request: LibraryRequest, runtime_dir: Path) -> "CacheEntry":
        return cls(cache_folder() / f"{_key(request, runtime_dir).hex}.{request.product}")

    def is_whole(self) -> bool:
        """Whether the library is here, undamaged. Reads it."""
        return _is_whole(self.path)

    def take(self, out: Path) -> bool:
        """Put the library at `out`, if it is here."""
        if not self.is_whole():
            return False
        shutil.copyfile(self.path, out)
        return True

    def keep(self, built: Path) -> None:
        """Remember a library that was built."""
        data = built.read_bytes()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, data)
        write_durably(_note(self.path), str(Digest.of(data)).encode())


def tool_versions() -> str:
    """Versions that decide a library's bytes, as one annotation: "apache-tvm 0.27 ziglang 0.17"."""
    return " ".join(f"{tool} {version(tool)}" for tool in TOOLS)


def cache_folder() -> Path:
    """`libraries` in `$TRANSOM_CACHE`, else in the platform's cache folder for `transom`."""
    chosen = os.environ.get("TRANSOM_CACHE")
    return (Path(chosen) if chosen else platformdirs.user_cache_path("transom")) / "libraries"


def _note(kept: Path) -> Path:
    return kept.with_suffix(".digest")


def _is_whole(kept: Path) -> bool:
    try:
        return Digest.parse(_note(kept).read_text()) == Digest.of_file(kept)
    except (OSError, InvalidDigest, UnicodeDecodeError):
        return False


def _key(request: LibraryRequest, runtime_dir: Path) -> Digest:
    hasher = Hasher()
    hasher.update(json.dumps(asdict(request), sort_keys=True).encode())
    hasher.update(tool_versions().encode())
    for root, files in _inputs(runtime_dir):
        for path in sorted(files):
            hasher.update(path.relative_to(root).as_posix().encode())
            hasher.update(str(Digest.of_file(path)).encode())
    return hasher.digest()


def _inputs(runtime_dir: Path) -> Iterator[tuple[Path, Iterator[Path]]]:
    """The source of what makes a library (graph, kernels, passes, architectures), the runtime."""
    compiler, models = Path(__file__).parent, Path(next(iter(transom_models.__path__)))
    yield compiler, (path for part in COMPILER_PARTS for path in compiler.glob(part))
    yield models, (path for part in MODEL_PARTS for path in models.glob(part))
    yield runtime_dir, (path for path in runtime_dir.rglob("*") if path.is_file())
