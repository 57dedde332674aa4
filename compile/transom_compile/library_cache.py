"""Model libraries built before, kept in the user's cache folder by what they were made from.

A library depends on sizes, block types, dtype, schedule and on the tools, never on weights or
names: a fine-tune finds its base model's. The key covers the request, the tool versions, the
runtime's files and the source of the compiler itself, so an edited kernel never meets an old
library. A cache: anything in it may be deleted at any time, and a file that does not match its
digest is built again.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import transom_models
from transom_compile.durable import write_durably
from transom_models.digest import Digest, Hasher, InvalidDigest

TOOLS = ("apache-tvm", "apache-tvm-ffi", "ziglang")


def cached_library(request: Any, runtime_dir: Path, out: Path, build: Callable[[], object]) -> bool:
    """Put the library of `request` (a dataclass) at `out`; True when it was in the cache."""
    kept = _cache_folder() / f"{_key(request, runtime_dir).hex}.wasm"
    if _is_whole(kept):
        shutil.copyfile(kept, out)
        return True
    build()
    data = out.read_bytes()
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_durably(kept, data)
    write_durably(_note(kept), str(Digest.of(data)).encode())
    return False


def tool_versions() -> str:
    """Versions that decide a library's bytes, as one annotation: "apache-tvm 0.27 ziglang 0.17"."""
    return " ".join(f"{tool} {version(tool)}" for tool in TOOLS)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "transom" / "libraries"


def _note(kept: Path) -> Path:
    return kept.with_suffix(".digest")


def _is_whole(kept: Path) -> bool:
    try:
        return Digest.parse(_note(kept).read_text()) == Digest.of_file(kept)
    except (OSError, InvalidDigest, UnicodeDecodeError):
        return False


def _key(request: Any, runtime_dir: Path) -> Digest:
    hasher = Hasher()
    hasher.update(json.dumps(asdict(request), sort_keys=True).encode())
    hasher.update(tool_versions().encode())
    for root, files in _inputs(runtime_dir):
        for path in sorted(files):
            hasher.update(path.relative_to(root).as_posix().encode())
            hasher.update(str(Digest.of_file(path)).encode())
    return hasher.digest()


def _inputs(runtime_dir: Path) -> Iterator[tuple[Path, Iterator[Path]]]:
    """The compiler's source (this package and the architectures) and the runtime's files."""
    compiler, models = Path(__file__).parent, Path(next(iter(transom_models.__path__)))
    yield compiler, compiler.rglob("*.py")
    yield models, models.rglob("*.py")
    yield runtime_dir, (path for path in runtime_dir.rglob("*") if path.is_file())
