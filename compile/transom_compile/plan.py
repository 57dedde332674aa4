"""`transom compile --plan`: what a compile would make, need, reuse and cost. Does none of it.

Reads headers only. Never imports TVM. Sizes are exact, but for a GGUF's header and a library that
is not built; times come from what this machine did before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_compile.libraries import LIBRARY_KINDS, LibrarySource
from transom_compile.library_builds import worker_count
from transom_compile.library_cache import CacheEntry
from transom_compile.memory_estimate import Memory, Sizes, contexts, estimate_memory
from transom_compile.model_shape import ModelShape, read_shape
from transom_compile.pipeline import CompileOptions
from transom_compile.prepare import check_recipe
from transom_compile.rates import Rates, read_rates
from transom_compile.recognise import CompileError, choose_chunk
from transom_compile.shards import plan_shards
from transom_models.digest import Digest

# Names of models in a store whose checkpoint has this many bytes, by its digest.
KnownSources = Callable[[int], Mapping[Digest, str]]

# Of any architecture so far. A library: the runtime 4.3 MB, host code and kernels the rest; a
# program: its kernels.
EXPECTED_BYTES = {"library": 7_000_000, "program": 700_000}
DTYPE_BYTES = {"f16": 2, "f32": 4}


@dataclass(frozen=True, slots=True)
class LibraryPlan:
    """One library or program: `cached` when it need not be built; None where the runtime is not
    built yet."""

    name: str
    cached: bool | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VariantPlan:
    """What a browser of one kind downloads: shards and one library; texts are a few MB more."""

    name: str
    download_bytes: int
    libraries: tuple[LibraryPlan, ...]


@dataclass(frozen=True, slots=True)
class ContextMemory:
    """Memory at one context length, by compute dtype."""

    context: int
    totals: tuple[tuple[str, Memory], ...]


@dataclass(frozen=True, slots=True)
class CompilePlan:
    """Everything that can be said before any work. `made_bytes`: of a GGUF that has to be made,
    None where the source is one."""

    source: Path
    format: str
    source_bytes: int
    architecture: str
    licence: str | None
    context_window: int
    trained_context: int
    steps: tuple[str, ...]
    made_bytes: int | None
    shard_count: int
    stored_bytes: int
    variants: tuple[VariantPlan, ...]
    memory: tuple[ContextMemory, ...]
    reused: tuple[str, ...]
    seconds: Mapping[str, float]
    measured: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def time_text(self) -> str:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        guessed = [name for name in self.seconds if name not in self.measured]
        doubt = f"; {', '.join(guessed)} by another machine's figures" if guessed else ""
        return f"about {sum(self.seconds.values()):.0f} s ({parts}){doubt}"

    def to_json(self) -> dict[str, Any]:
        """Plain data for machines."""
        return {
            "source": str(self.source),
            "format": self.format,
            "source_bytes": self.source_bytes,
            "architecture": self.architecture,
            "license": self.licence,
            "context_window": self.context_window,
            "trained_context": self.trained_context,
            "steps": list(self.steps),
            "made_bytes": self.made_bytes,
            "shard_count": self.shard_count,
            "stored_bytes": self.stored_bytes,
            "variants": [
                {
                    "name": variant.name,
                    "download_bytes": variant.download_bytes,
                    "libraries": [
                        {"name": library.name, "cached": library.cached}
                        for library in variant.libraries
                    ],
                }
                for variant in self.variants
            ],
            "memory": [
                {"context": row.context, **{name: _memory_json(one) for name, one in row.totals}}
                for row in self.memory
            ],
            "reused": list(self.reused),
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "measured": list(self.measured),
            "notes": list(self.notes),
        }


def plan_compile(
    source: Path, options: CompileOptions, known_sources: KnownSources | None = None
) -> CompilePlan:
    """What `compile_bundle` would do. Raises the `TransomError` that it would raise at its start;
    a runtime that is not built yet is only noted."""
    for variant in options.variants:
        if variant not in LIBRARY_KINDS:
            raise CompileError(
                f"there is no variant {variant!r}; choose from {', '.join(LIBRARY_KINDS)}"
            )
    check_recipe(source, options.recipe)
    shape = read_shape(source, options.recipe, options.context)
    shards = plan_shards(shape.rows, options.shard_cap_bytes)
    stored = sum(shard.nbytes for shard in shards)
    variants = tuple(_variant(name, shape, stored, options) for name in options.variants)
    reused, notes = _reuse(source, shape, variants, options, known_sources)
    rates = read_rates()
    return CompilePlan(
        source=source,
        format=shape.format,
        source_bytes=shape.source_bytes,
        architecture=shape.architecture.NAME,
        licence=shape.licence,
        context_window=shape.context_window,
        trained_context=shape.config.context_length,
        steps=shape.steps,
        made_bytes=shape.gguf_bytes if shape.steps else None,
        shard_count=len(shards),
        stored_bytes=stored,
        variants=variants,
        memory=_memory(shape, stored, options),
        reused=reused,
        seconds=_seconds(shape, stored, variants, rates),
        measured=rates.measured,
        notes=notes,
    )


def _variant(name: str, shape: ModelShape, stored: int, options: CompileOptions) -> VariantPlan:
    source = LibrarySource(
        architecture=shape.architecture.NAME,
        config=shape.config,
        parameters=shape.rows,
        context_window=shape.context_window,
        prefill_chunk=choose_chunk(
            shape.architecture.TASK, options.prefill_chunk, shape.context_window
        ),
        runtime_dir=options.runtime_dir,
    )
    libraries, sizes = [], dict[str, int]()
    for kind in source.kinds([name]):
        cached, size = None, EXPECTED_BYTES[kind.product]
        if options.runtime_dir.is_dir():
            entry = CacheEntry.of(source.request(kind), options.runtime_dir)
            cached = entry.is_whole()
            size = entry.path.stat().st_size if cached else size
        libraries.append(LibraryPlan(kind.file_name, cached, size))
        sizes[kind.product] = max(size, sizes.get(kind.product, 0))
    # The page takes one program; where there is none, one library.
    download = stored + sizes.get("program", sizes["library"])
    return VariantPlan(name, download, tuple(libraries))


def _memory(shape: ModelShape, stored: int, options: CompileOptions) -> tuple[ContextMemory, ...]:
    # An encoder runs its whole context at once.
    encodes = shape.architecture.TASK == "embedding"
    sizes = Sizes(
        weight_bytes=stored,
        width=shape.config.embedding_length,
        vocabulary=shape.config.vocab_size,
        rows=shape.rows,
        cache=shape.cache,
        prefill_chunk=shape.config.context_length if encodes else options.prefill_chunk,
    )
    return tuple(
        ContextMemory(
            context,
            tuple(
                (name, estimate_memory(sizes, context, dtype_bytes))
                for name, dtype_bytes in DTYPE_BYTES.items()
            ),
        )
        for context in contexts(shape.config.context_length)
    )


def _memory_json(memory: Memory) -> dict[str, int]:
    return {
        "weight_bytes": memory.weight_bytes,
        "kv_bytes": memory.kv_bytes,
        "scratch_bytes": memory.scratch_bytes,
        "total_bytes": memory.total_bytes,
    }


def _reuse(
    source: Path,
    shape: ModelShape,
    variants: Sequence[VariantPlan],
    options: CompileOptions,
    known_sources: KnownSources | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    reused, notes = [], []
    libraries = [library for variant in variants for library in variant.libraries]
    cached = [library for library in libraries if library.cached]
    if cached:
        reused.append(f"{len(cached)} of {len(libraries)} libraries, from the cache")
    if variants and not options.runtime_dir.is_dir():
        notes.append("the wasm runtime is not built yet: `transom build runtime`, minutes, once")
    if known_sources is not None and not shape.steps:
        candidates = known_sources(shape.source_bytes)
        # Hashing is the one thing here that costs; only a file of the same size is worth it.
        owner = candidates.get(Digest.of_file(source)) if candidates else None
        if owner is not None:
            reused.append(f"the checkpoint: the store has it, in {owner}")
    if shape.licence is None:
        notes.append("no licence is stated; what may be done with the model is not known")
    return tuple(reused), tuple(notes)


def _seconds(
    shape: ModelShape, stored: int, variants: Sequence[VariantPlan], rates: Rates
) -> dict[str, float]:
    """By phase; a library of which it is not known whether it is cached counts as not."""
    seconds = {step: shape.source_bytes / rates.bytes_per_second[step] for step in shape.steps}
    seconds["repack"] = stored / rates.bytes_per_second["repack"]
    missing = sum(not library.cached for variant in variants for library in variant.libraries)
    if missing:
        seconds["libraries"] = missing * rates.library_seconds / worker_count(missing)
    return seconds
