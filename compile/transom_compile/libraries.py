"""Step 8 from outside: which model libraries a variant has, each from the cache or the compiler.

Building goes on in other processes while the walk repacks. Knows no TVM, no weights and no names.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transom_compile.bundle import BundleFile
from transom_compile.library_builds import BuildFigures, Tell, started_builds
from transom_compile.library_cache import CacheEntry
from transom_compile.library_request import LibraryRequest
from transom_compile.library_worker import Job
from transom_compile.progress import Progress
from transom_models import media_types
from transom_models.architecture import ParameterSpec, load_architecture


@dataclass(frozen=True, slots=True)
class LibraryKind:
    """One library or program of a variant: its file, dtype of activations and KV cache,
    schedule."""

    file_name: str
    compute_dtype: str
    schedule: str
    product: str = "library"

    @property
    def media_type(self) -> str:
        return media_types.PROGRAM if self.product == "program" else media_types.LIBRARY


# f32 runs everywhere, so it alone has a library for software adapters, which have no shader-f16.
LIBRARY_KINDS: Mapping[str, tuple[LibraryKind, ...]] = {
    "f32": (
        LibraryKind("library-f32.wasm", "float32", "gpu"),
        LibraryKind("library-f32-fallback.wasm", "float32", "fallback"),
        LibraryKind("program-f32.json", "float32", "gpu", "program"),
        LibraryKind("program-f32-fallback.json", "float32", "fallback", "program"),
    ),
    "f16": (
        LibraryKind("library-f16.wasm", "float16", "gpu"),
        LibraryKind("program-f16.json", "float16", "gpu", "program"),
    ),
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

    def request(self, kind: LibraryKind) -> LibraryRequest:
        """What one library is made from."""
        return LibraryRequest(
            architecture=self.architecture,
            config=self.config,
            parameters=self.parameters,
            compute_dtype=kind.compute_dtype,
            schedule=kind.schedule,
            context_window=self.context_window,
            prefill_chunk=self.prefill_chunk,
            product=kind.product,
        )

    def kinds(self, variants: Sequence[str]) -> list[LibraryKind]:
        """What these variants have: a model that does not write has no program."""
        writes = load_architecture(self.architecture).TASK == "chat"
        return [
            kind
            for variant in variants
            for kind in LIBRARY_KINDS[variant]
            if writes or kind.product == "library"
        ]


@dataclass(frozen=True, slots=True)
class LibraryFigures:
    """What one library cost. `seconds` by compiler phase, empty when it came from the cache;
    `peak_rss_bytes` of the compiler's process, 0 then."""

    file_name: str
    size_bytes: int
    cached: bool
    seconds: Mapping[str, float]
    peak_rss_bytes: int = 0


@dataclass
class LibraryBuilds:
    """Libraries that are in the cache, and those that are being built."""

    variants: Sequence[str]
    folder: Path
    entries: Mapping[LibraryKind, CacheEntry]
    """By what is built, variant by variant."""
    building: dict[LibraryKind, Future[BuildFigures]] = field(default_factory=dict)
    phases: dict[str, str] = field(default_factory=dict)
    """What each compiler does now; written by the threads that hear of it."""

    def finish(
        self, progress: Progress
    ) -> tuple[dict[str, list[BundleFile]], tuple[LibraryFigures, ...]]:
        """Wait for the rest: files by variant, and what each library cost."""
        kinds = list(self.entries)
        progress.items(len(kinds) - len(self._unfinished()), len(kinds))
        said = ""
        while unfinished := self._unfinished():
            done, _ = wait(unfinished, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in done:
                # Now, and not after the other libraries: it raises what went wrong.
                future.result()
            if done:
                progress.items(len(kinds) - len(self._unfinished()), len(kinds))
            text = ", ".join(
                f"{name}: {phase}"
                for name, phase in sorted(self.phases.items())
                if any(kind.file_name == name for kind in self.building)
            )
            if text != said:
                said = text
                progress.note(text)
        figures = {kind: self._figures(kind) for kind in kinds}
        files = {
            variant: [
                BundleFile(
                    self.folder / kind.file_name,
                    kind.media_type,
                    {media_types.ANNOTATION_SCHEDULE: kind.schedule},
                )
                for kind in LIBRARY_KINDS[variant]
                if kind in self.entries
            ]
            for variant in self.variants
        }
        return files, tuple(figures.values())

    def _unfinished(self) -> list[Future[BuildFigures]]:
        return [future for future in self.building.values() if not future.done()]

    def _figures(self, kind: LibraryKind) -> LibraryFigures:
        path = self.folder / kind.file_name
        if kind not in self.building:
            return LibraryFigures(kind.file_name, path.stat().st_size, True, {})
        cost = self.building[kind].result()
        self.entries[kind].keep(path)
        return LibraryFigures(
            kind.file_name, path.stat().st_size, False, cost.seconds, cost.peak_rss_bytes
        )


@contextmanager
def library_builds(
    source: LibrarySource, variants: Sequence[str], folder: Path
) -> Iterator[LibraryBuilds]:
    """Start on every library of `variants`; those in the cache are in `folder` at once.

    What is not finished when the block ends is stopped.
    """
    entries = {
        kind: CacheEntry.of(source.request(kind), source.runtime_dir)
        for kind in source.kinds(variants)
    }
    builds = LibraryBuilds(variants, folder, entries)
    missing = [
        kind
        for kind, entry in entries.items()
        # A dump is of a run: a library from the cache would leave the folder empty.
        if source.dump_dir is not None or not entry.take(folder / kind.file_name)
    ]
    jobs = [(_job(source, kind, folder), _teller(builds, kind)) for kind in missing]
    with started_builds(jobs) as futures:
        builds.building.update(zip(missing, futures, strict=True))
        yield builds


def _job(source: LibrarySource, kind: LibraryKind, folder: Path) -> Job:
    out = folder / kind.file_name
    dump_dir = None if source.dump_dir is None else source.dump_dir / out.stem
    return Job(source.request(kind), source.runtime_dir, out, dump_dir)


def _teller(builds: LibraryBuilds, kind: LibraryKind) -> Tell:
    def tell(phase: str) -> None:
        builds.phases[kind.file_name] = phase

    return tell
