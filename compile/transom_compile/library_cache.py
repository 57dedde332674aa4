"""Model libraries built before, kept in the user's cache folder by what they were made from.

A library depends on sizes, block types, dtype, schedule and on the tools, never on weights or
names: a fine-tune finds its base model's. The key covers the request, the tool versions, the
runtime's files and the source of what makes a library, so an edited kernel never meets an old
library. A cache: anything in it may be deleted at any time, and a file that does not match its
digest is built again. It has a cap (`TRANSOM_LIBRARY_BYTES`): what was used least recently goes.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import platformdirs

import transom_models
from transom_compile.durable import write_durably
from transom_compile.library_request import LibraryRequest
from transom_models.digest import Digest, Hasher, InvalidDigest
from transom_models.errors import TransomError

TOOLS = ("apache-tvm", "apache-tvm-ffi", "ziglang")

CAP_VARIABLE = "TRANSOM_LIBRARY_BYTES"
# Libraries and programs of all variants of a model have about 22 MB: these are ninety models, or
# one by ninety compilers, since each version and each edit of a kernel builds all anew.
DEFAULT_CAP_BYTES = 2_000_000_000
# 18 digits: more than any disk.
MAX_CAP_DIGITS = 18
# A file of a few megabytes is written in seconds; one that is not finished then has no writer.
UNFINISHED_SECONDS = 60 * 60

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
        try:
            digest = Digest.parse(_note(self.path).read_text())
            shutil.copyfile(self.path, out)
            # The copy: what is kept may be pushed out by others meanwhile.
            found = Digest.of_file(out) == digest
        except (OSError, InvalidDigest, UnicodeDecodeError):
            found = False
        if found:
            with suppress(OSError):
                os.utime(self.path)
        else:
            out.unlink(missing_ok=True)
        return found

    def keep(self, built: Path) -> None:
        """Remember a library that was built; others go where they are over the cap together.
        Raises `InvalidCap`."""
        cap_bytes = read_cap()
        data = built.read_bytes()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self.path, data)
        write_durably(_note(self.path), str(Digest.of(data)).encode())
        _evict(self.path.parent, cap_bytes, self.path.stem)


class InvalidCap(TransomError):
    """`TRANSOM_LIBRARY_BYTES` is no number of bytes."""


def read_cap() -> int:
    """Most bytes of the cache, as the environment says. Raises `InvalidCap`."""
    text = os.environ.get(CAP_VARIABLE) or str(DEFAULT_CAP_BYTES)
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_CAP_DIGITS):
        raise InvalidCap(f"{CAP_VARIABLE}: {text!r:.80} is not a number of bytes")
    return int(text)


def _evict(folder: Path, cap_bytes: int, used: str) -> None:
    """Delete those used least recently until all are within the cap; `used` stays, and what is
    being written now. Whoever copies one that goes has it open, and gets all of it."""
    entries: dict[str, list[tuple[Path, os.stat_result]]] = {}
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            # `<key>.library`, `<key>.digest`, and `.<key>.library.partial` of a writer.
            entries.setdefault(path.name.lstrip(".").partition(".")[0], []).append(
                (path, path.stat())
            )
    total = sum(stat.st_size for files in entries.values() for _, stat in files)
    unfinished_since = time.time() - UNFINISHED_SECONDS

    def last_use(key: str) -> float:
        return max(stat.st_mtime for _, stat in entries[key])

    for key in sorted(entries, key=last_use):
        is_written = any(path.suffix == ".partial" for path, _ in entries[key])
        if total <= cap_bytes:
            return
        if key == used or (is_written and last_use(key) > unfinished_since):
            continue
        for path, stat in entries[key]:
            path.unlink(missing_ok=True)
            total -= stat.st_size


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
