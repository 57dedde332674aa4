"""Step 8 from outside: which model libraries a variant has, each from the cache or the compiler.

TVM is imported when a library has to be built, not before. Knows no weights and no names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_compile.bundle import BundleFile
from transom_compile.library_cache import cached_library
from transom_compile.library_request import LibraryRequest
from transom_compile.progress import Progress
from transom_models import media_types
from transom_models.architecture import ParameterSpec


@dataclass(frozen=True, slots=True)
class LibraryKind:
    """One model library of a variant: its file, dtype of activations and KV cache, schedule."""

    file_name: str
    compute_dtype: str
    schedule: str


# f32 runs everywhere, so it alone has a library for software adapters, which have no shader-f16.
LIBRARY_KINDS: Mapping[str, tuple[LibraryKind, ...]] = {
    "f32": (
        LibraryKind("library-f32.wasm", "float32", "gpu"),
        LibraryKind("library-f32-fallback.wasm", "float32", "fallback"),
    ),
    "f16": (LibraryKind("library-f16.wasm", "float16", "gpu"),),
}
# Best first: a page takes the first row that its adapter can run.
VARIANTS = ("f16", "f32")


@dataclass(frozen=True, slots=True)
class LibrarySource:
    """What every library of one model is built from."""

    architecture: str
    config: Any
    parameters: tuple[ParameterSpec, ...]
    context_window: int
    prefill_chunk: int
    runtime_dir: Path
    dump_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class LibraryFigures:
    """What one library cost. `seconds` by compiler phase, empty when it came from the cache."""

    file_name: str
    size_bytes: int
    cached: bool
    seconds: Mapping[str, float]


def build_libraries(
    source: LibrarySource, variants: Sequence[str], folder: Path, progress: Progress
) -> tuple[dict[str, list[BundleFile]], tuple[LibraryFigures, ...]]:
    """Every library of `variants` in `folder`: files by variant, and what they cost."""
    files: dict[str, list[BundleFile]] = {}
    figures: list[LibraryFigures] = []
    for variant in variants:
        files[variant] = []
        for kind in LIBRARY_KINDS[variant]:
            figures.append(build_one(source, kind, folder / kind.file_name, progress))
            annotations = {media_types.ANNOTATION_SCHEDULE: kind.schedule}
            file = BundleFile(folder / kind.file_name, media_types.LIBRARY, annotations)
            files[variant].append(file)
    return files, tuple(figures)


def build_one(
    source: LibrarySource, kind: LibraryKind, path: Path, progress: Progress
) -> LibraryFigures:
    """One library at `path`."""
    request = LibraryRequest(
        architecture=source.architecture,
        config=source.config,
        parameters=source.parameters,
        compute_dtype=kind.compute_dtype,
        schedule=kind.schedule,
        context_window=source.context_window,
        prefill_chunk=source.prefill_chunk,
    )
    dump_dir = None if source.dump_dir is None else source.dump_dir / path.stem
    seconds: dict[str, float] = {}

    def build() -> None:
        from transom_compile.lower import build_library

        report = build_library(
            request,
            source.runtime_dir,
            path,
            dump_dir=dump_dir,
            progress=lambda phase: progress.note(f"{kind.file_name}: {phase}"),
        )
        seconds.update(report.seconds)

    if dump_dir is None:
        cached = cached_library(request, source.runtime_dir, path, build)
    else:
        # A dump is of a run: a library from the cache would leave the folder empty.
        build()
        cached = False
    return LibraryFigures(kind.file_name, path.stat().st_size, cached, seconds)
