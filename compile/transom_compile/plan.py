"""`transom compile --plan`: what a compile would make, need, reuse and cost. Does none of it.

Reads headers only. Never imports TVM. Sizes of a GGUF are exact; where a file has yet to be made
(a folder, a quantization), they follow from the parameters' shapes and are called estimates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transom_compile.libraries import LIBRARY_KINDS
from transom_compile.library_builds import worker_count
from transom_compile.library_cache import CacheEntry
from transom_compile.pipeline import CompileOptions, library_source
from transom_compile.prepare import check_recipe
from transom_compile.rates import Rates, read_rates
from transom_compile.recognise import CompileError, Model, choose_window, recognise
from transom_compile.shards import plan_shards
from transom_models.architecture import CacheSpec, ParameterSpec, load_architecture
from transom_models.digest import Digest

# Names of models in a store whose checkpoint has this many bytes, by its digest.
KnownSources = Callable[[int], Mapping[Digest, str]]

# Of any architecture so far: runtime 4.3 MB, host code and kernels the rest.
LIBRARY_BYTES = 7_000_000
# TVM's paged KV cache counts in pages of this many tokens and keeps one to spare.
PAGE_TOKENS = 16
DTYPE_BYTES = {"f16": 2, "f32": 4}
FIRST_CONTEXT = 1024
# Bits per weight of llama.cpp's schemes for a model of some billion weights, its own table; small
# models keep more of theirs in the wider types.
SCHEME_BITS = {
    "f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q6_k": 6.56, "q5_1": 6.0, "q5_0": 5.54,
    "q5_k_m": 5.68, "q5_k_s": 5.52, "q4_1": 5.1, "q4_0": 4.6, "q4_k_m": 4.85, "q4_k_s": 4.6,
    "iq4_nl": 4.6, "iq4_xs": 4.32, "mxfp4": 4.3, "q3_k_l": 4.27, "q3_k_m": 3.9, "q3_k_s": 3.5,
    "q2_k": 3.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class LibraryPlan:
    """One library: `cached` when it need not be built; None when that cannot be known yet."""

    name: str
    cached: bool | None


@dataclass(frozen=True, slots=True)
class VariantPlan:
    """What a browser of one kind downloads: shards, texts and one library."""

    name: str
    download_bytes: int | None
    libraries: tuple[LibraryPlan, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """GPU memory of a loaded model, in bytes."""

    weight_bytes: int
    kv_bytes: int
    scratch_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes + self.scratch_bytes


@dataclass(frozen=True, slots=True)
class ContextMemory:
    """Memory at one context length, by variant."""

    context: int
    totals: tuple[tuple[str, Memory], ...]


@dataclass(frozen=True, slots=True)
class CompilePlan:
    """Everything that can be said before any work. Sizes in bytes; `exact`: not estimates."""

    source: Path
    format: str
    source_bytes: int
    architecture: str
    licence: str | None
    context_window: int
    trained_context: int
    steps: tuple[str, ...]
    made_bytes: int | None
    stored_bytes: int | None
    exact: bool
    variants: tuple[VariantPlan, ...]
    memory: tuple[ContextMemory, ...]
    reused: tuple[str, ...]
    seconds: Mapping[str, float]
    measured: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def steps_text(self) -> str:
        return ", ".join(self.steps)

    @property
    def time_text(self) -> str:
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        guessed = [name for name in self.seconds if name not in self.measured]
        doubt = f"; {', '.join(guessed)}: by another machine's figures" if guessed else ""
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
            "stored_bytes": self.stored_bytes,
            "exact": self.exact,
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
                {
                    "context": row.context,
                    **{
                        name: {
                            "weight_bytes": memory.weight_bytes,
                            "kv_bytes": memory.kv_bytes,
                            "scratch_bytes": memory.scratch_bytes,
                            "total_bytes": memory.total_bytes,
                        }
                        for name, memory in row.totals
                    },
                }
                for row in self.memory
            ],
            "reused": list(self.reused),
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "measured": list(self.measured),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class _Shape:
    """A model as far as its header tells: from a GGUF, or from a folder's config."""

    format: str
    architecture: str
    licence: str | None
    config: Any
    rows: tuple[ParameterSpec, ...]
    cache: CacheSpec
    context_window: int
    prefill_chunk: int
    weights: int
    """Numbers in all parameters."""
    model: Model | None
    """Of a GGUF that is there."""


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
    shape = _folder_shape(source, options) if source.is_dir() else _gguf_shape(source, options)
    steps = _steps(source, options)
    source_bytes = _source_bytes(source)
    made = _made_bytes(shape, source_bytes, options) if steps else None
    stored = (
        sum(plan.nbytes for plan in plan_shards(shape.rows, options.shard_cap_bytes))
        if made is None
        else made
    )
    variants = tuple(
        _variant(name, shape, stored, bool(steps), options) for name in options.variants
    )
    reused, notes = _reuse(source, shape, variants, options, bool(steps), known_sources)
    rates = read_rates()
    return CompilePlan(
        source=source,
        format=shape.format,
        source_bytes=source_bytes,
        architecture=shape.architecture,
        licence=shape.licence,
        context_window=shape.context_window,
        trained_context=shape.config.context_length,
        steps=steps,
        made_bytes=made,
        stored_bytes=stored,
        exact=not steps,
        variants=variants,
        memory=() if stored is None else _memory(shape, stored),
        reused=reused,
        seconds=_seconds(steps, source_bytes, stored, variants, rates),
        measured=rates.measured,
        notes=notes,
    )


def _gguf_shape(path: Path, options: CompileOptions) -> _Shape:
    model = recognise(path, options.context, options.prefill_chunk)
    tensors = model.checkpoint.tensors.values()
    return _Shape(
        "GGUF",
        model.architecture,
        model.licence,
        model.config,
        model.plan.rows,
        model.cache,
        model.context_window,
        model.prefill_chunk,
        sum(_product(info.shape) for info in tensors),
        model,
    )


def _folder_shape(folder: Path, options: CompileOptions) -> _Shape:
    from transom_compile.hub.plan import read_hub_model

    name, hub, licence = read_hub_model(folder)
    architecture = load_architecture(name)
    config = architecture.read_config(hub.metadata, hub.vectors)
    rows = architecture.parameters(config, {})
    window = choose_window(options.context, config.context_length)
    return _Shape(
        "Hugging Face folder",
        name,
        licence,
        config,
        rows,
        architecture.cache_spec(config, window),
        window,
        min(options.prefill_chunk, window),
        sum(_product(row.shape) for row in rows),
        None,
    )


def _steps(source: Path, options: CompileOptions) -> tuple[str, ...]:
    wanted = (
        ("convert", source.is_dir()),
        ("merge", options.recipe.adapter is not None),
        ("quantize", options.recipe.quantize is not None),
    )
    return tuple(name for name, needed in wanted if needed)


def _source_bytes(source: Path) -> int:
    if source.is_file():
        return source.stat().st_size
    return sum(path.stat().st_size for path in source.glob("*.safetensors"))


def _made_bytes(shape: _Shape, source_bytes: int, options: CompileOptions) -> int | None:
    """The size of the GGUF that will be made; None for a scheme that is not in the table."""
    scheme = options.recipe.quantize
    if scheme is None:
        # Converted in its own types; a merged adapter adds no weights.
        return source_bytes
    bits = SCHEME_BITS.get(scheme.lower())
    return None if bits is None else round(shape.weights * bits / 8)


def _variant(
    name: str, shape: _Shape, stored: int | None, estimated: bool, options: CompileOptions
) -> VariantPlan:
    libraries = []
    for kind in LIBRARY_KINDS[name]:
        # Block types decide a library, and those of a file that is not made are not known.
        cached = None
        if shape.model is not None and not estimated and options.runtime_dir.is_dir():
            request = library_source(shape.model, options).request(kind)
            cached = CacheEntry.of(request, options.runtime_dir).is_whole()
        libraries.append(LibraryPlan(kind.file_name, cached))
    texts = 0 if shape.model is None else len(shape.model.tokenizer.json_bytes)
    download = None if stored is None else stored + texts + LIBRARY_BYTES
    return VariantPlan(name, download, tuple(libraries))


def _memory(shape: _Shape, weight_bytes: int) -> tuple[ContextMemory, ...]:
    """From 1k tokens, doubling, to what the model was trained for."""
    contexts = []
    context = FIRST_CONTEXT
    while context < shape.config.context_length:
        contexts.append(context)
        context *= 2
    contexts.append(shape.config.context_length)
    return tuple(
        ContextMemory(
            context,
            tuple(
                (name, estimate_memory(shape, weight_bytes, context, dtype_bytes))
                for name, dtype_bytes in DTYPE_BYTES.items()
            ),
        )
        for context in contexts
    )


def estimate_memory(shape: "_Shape", weight_bytes: int, context: int, dtype_bytes: int) -> Memory:
    """GPU memory with a KV cache for `context` tokens."""
    cache = shape.cache
    chunk = min(shape.prefill_chunk, context)
    pages = -(-context // PAGE_TOKENS) + 1
    kv = cache.layers * 2 * cache.kv_heads * cache.head_dim * pages * PAGE_TOKENS * dtype_bytes
    widest = max((row.shape[0] for row in shape.rows if _is_inner(row, shape)), default=0)
    width = shape.config.embedding_length
    heads = (2 * cache.query_heads + 2 * cache.kv_heads) * cache.head_dim
    # Per token of a prefill: the residual stream and its norm, the widest product, the cache's own
    # copies of queries, keys, values and outputs. Logits are for one position, always float32.
    scratch = chunk * (4 * width + widest + heads) * dtype_bytes + 2 * shape.config.vocab_size * 4
    return Memory(weight_bytes, kv, scratch)


def _is_inner(row: ParameterSpec, shape: _Shape) -> bool:
    """A matrix that is not the vocabulary's, whose product is made for the last position only."""
    return len(row.shape) == 2 and row.shape[0] != shape.config.vocab_size


def _reuse(
    source: Path,
    shape: _Shape,
    variants: Sequence[VariantPlan],
    options: CompileOptions,
    estimated: bool,
    known_sources: KnownSources | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    reused, notes = [], []
    names = [library for variant in variants for library in variant.libraries]
    cached = [library.name for library in names if library.cached]
    if cached:
        reused.append(f"{len(cached)} of {len(names)} libraries, from the cache")
    if variants and not options.runtime_dir.is_dir():
        notes.append("the wasm runtime is not built yet: `transom build runtime`, minutes, once")
    elif any(library.cached is None for library in names):
        notes.append("whether its libraries are in the cache shows when its block types are known")
    if known_sources is not None and not estimated and source.is_file():
        candidates = known_sources(source.stat().st_size)
        # Hashing is the one thing here that costs; only a file of the same size is worth it.
        owner = candidates.get(Digest.of_file(source)) if candidates else None
        if owner is not None:
            reused.append(f"the checkpoint: the store has it, in {owner}")
    if shape.licence is None:
        notes.append("no licence is stated; what may be done with the model is not known")
    return tuple(reused), tuple(notes)


def _seconds(
    steps: Sequence[str],
    source_bytes: int,
    stored_bytes: int | None,
    variants: Sequence[VariantPlan],
    rates: Rates,
) -> dict[str, float]:
    """By phase, longest the libraries that are not cached; those of unknown state count as not."""
    seconds = {step: source_bytes / rates.bytes_per_second[step] for step in steps}
    seconds["repack"] = (stored_bytes or source_bytes) / rates.bytes_per_second["repack"]
    missing = sum(not library.cached for variant in variants for library in variant.libraries)
    if missing:
        seconds["libraries"] = missing * rates.library_seconds / worker_count(missing)
    return seconds


def _product(shape: Sequence[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count
