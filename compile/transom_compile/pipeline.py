"""The walk from a checkpoint to a bundle: the order of the steps and nothing else.

Works in a folder beside the wanted one and renames it at the end, so that a failure or an interrupt
leaves nothing behind.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transom_compile import bundle as sealing
from transom_compile import chat_config as chatting
from transom_compile.bundle import Bundle, BundleFile, BundleParts, Source, seal_bundle
from transom_compile.durable import sync_folder, write_durably
from transom_compile.libraries import (
    LIBRARY_KINDS,
    VARIANTS,
    LibraryFigures,
    LibrarySource,
    build_libraries,
)
from transom_compile.library_cache import tool_versions
from transom_compile.link import RUNTIME_FILE
from transom_compile.names import Plan, match_names, read_parameter, release_parameter
from transom_compile.progress import PhaseFigures, Phases, Progress
from transom_compile.repack import repack
from transom_compile.shards import (
    SHARD_CAP_BYTES,
    ShardPlan,
    plan_shards,
    write_shards,
    write_tensor_cache,
)
from transom_compile.sources.checkpoint import Checkpoint, CheckpointError
from transom_compile.sources.gguf import open_checkpoint
from transom_compile.tokenizer import Tokenizer, convert_tokenizer
from transom_models import media_types
from transom_models.architecture import ARCHITECTURE_KEY, load_architecture
from transom_models.digest import Hasher
from transom_models.errors import TransomError

# A piece of the source file between two reports of progress.
HASH_PIECE_BYTES = 4 * 1024 * 1024
# A context or chunk below this holds no chat; the paged KV cache counts in pages of 16.
MIN_WINDOW = 64


class CompileError(TransomError):
    """An option or the output folder does not fit."""


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile. `context` None: the model's own, up to 4 096 tokens."""

    runtime_dir: Path
    variants: tuple[str, ...] = VARIANTS
    context: int | None = None
    prefill_chunk: int = chatting.DEFAULT_PREFILL_CHUNK
    dump_dir: Path | None = None
    shard_cap_bytes: int = SHARD_CAP_BYTES


@dataclass(frozen=True, slots=True)
class CompileReport:
    """What came out and what it cost; `notes` are for people."""

    bundle: Bundle
    phases: tuple[PhaseFigures, ...]
    libraries: tuple[LibraryFigures, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Model:
    """The checkpoint after it has been recognised: steps 1 to 3 of the walk."""

    checkpoint: Checkpoint
    architecture: str
    config: Any
    plan: Plan
    tokenizer: Tokenizer
    context_window: int
    prefill_chunk: int


def compile_bundle(
    checkpoint_path: Path, out_dir: Path, options: CompileOptions, progress: Progress
) -> CompileReport:
    """Walk from a checkpoint to a bundle at `out_dir`.

    Raises `TransomError` for anything wrong with the input; nothing is left behind then.
    """
    _check(options)
    phases = Phases(progress)
    with _workspace(out_dir) as folder:
        with phases.run("read"):
            model = _recognise(checkpoint_path, options)
        with phases.run("digest", checkpoint_path.stat().st_size):
            source = _digest_source(checkpoint_path, progress)
        with phases.run("texts"):
            texts, notes = _write_texts(model, source, folder)
        plans = plan_shards(model.plan.rows, options.shard_cap_bytes)
        with phases.run("repack", sum(plan.nbytes for plan in plans)):
            shards = _write_shards(model, plans, folder, progress)
        with phases.run("libraries"):
            libraries, figures = build_libraries(
                _library_source(model, options), options.variants, folder, progress
            )
        with phases.run("seal"):
            native = _write_native_config(model, source, folder)
            parts = BundleParts(
                source=source,
                native_config=native,
                chat_config=texts[0],
                shared=[*shards, *texts[1:]],
                libraries=libraries,
                annotations=_annotations(model, source, bool(libraries)),
            )
            bundle = seal_bundle(parts, folder)
    return CompileReport(bundle.moved_to(out_dir), phases.figures, figures, notes)


def _check(options: CompileOptions) -> None:
    """What can be known to be wrong before any work."""
    for variant in options.variants:
        if variant not in LIBRARY_KINDS:
            known = ", ".join(LIBRARY_KINDS)
            raise CompileError(f"there is no variant {variant!r}; choose from {known}")
    if options.variants and not (options.runtime_dir / RUNTIME_FILE).is_file():
        raise CompileError(
            f"{options.runtime_dir} holds no wasm runtime; run `transom build runtime` first"
        )


@contextmanager
def _workspace(out_dir: Path) -> Iterator[Path]:
    """A folder that becomes `out_dir` when the block ends well, and is deleted when it does not."""
    if out_dir.exists() and not _is_replaceable(out_dir):
        raise CompileError(f"{out_dir} exists and is not a bundle; choose another --out")
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    try:
        inner = folder / "bundle"
        inner.mkdir()
        yield inner
        if out_dir.exists():
            # Aside first: rename does not replace a folder that holds files.
            out_dir.rename(folder / "previous")
        inner.rename(out_dir)
        sync_folder(out_dir.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and (
        (folder / sealing.INDEX_NAME).is_file() or not any(folder.iterdir())
    )


def _recognise(path: Path, options: CompileOptions) -> _Model:
    checkpoint = open_checkpoint(path)
    name = checkpoint.metadata.get(ARCHITECTURE_KEY)
    if not isinstance(name, str):
        raise CheckpointError(f"{path} does not name its architecture ({ARCHITECTURE_KEY})")
    architecture = load_architecture(name)
    config = architecture.read_config(checkpoint.metadata)
    block_types = {info.name: info.block_type for info in checkpoint.tensors.values()}
    specs = architecture.parameters(config, block_types)
    plan = match_names(specs, checkpoint.tensors, name)
    tokenizer = convert_tokenizer(checkpoint.metadata)
    window = _window(options.context, config.context_length)
    chunk = min(options.prefill_chunk, window)
    if chunk < MIN_WINDOW:
        raise CompileError(f"a prefill chunk of {chunk} tokens is below {MIN_WINDOW}")
    return _Model(checkpoint, name, config, plan, tokenizer, window, chunk)


def _window(asked: int | None, trained: int) -> int:
    if asked is None:
        return min(trained, chatting.DEFAULT_CONTEXT_WINDOW)
    if not MIN_WINDOW <= asked <= trained:
        raise CompileError(
            f"a context of {asked} tokens is not from {MIN_WINDOW} to the model's {trained}"
        )
    return asked


def _digest_source(path: Path, progress: Progress) -> Source:
    hasher = Hasher()
    with path.open("rb") as file:
        while piece := file.read(HASH_PIECE_BYTES):
            hasher.update(piece)
            progress.advance(len(piece))
    return Source(path, hasher.digest(), hasher.size)


def _write_shards(
    model: _Model, plans: Sequence[ShardPlan], folder: Path, progress: Progress
) -> list[BundleFile]:
    shards = write_shards(plans, _stored_tensors(model, progress), folder)
    tensor_cache = write_tensor_cache(plans, shards, folder)
    return [
        *(BundleFile(shard.path, media_types.SHARD) for shard in shards),
        BundleFile(tensor_cache, media_types.TENSOR_CACHE),
    ]


def _stored_tensors(
    model: _Model, progress: Progress
) -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
    """Every stored tensor in order; one parameter is in memory at a time."""
    for row in model.plan.rows:
        blocks = read_parameter(model.checkpoint, row)
        for tensor in repack(blocks, row.block_type, row.shape):
            yield row.name + tensor.suffix, tensor.array
            progress.advance(tensor.array.nbytes)
        release_parameter(model.checkpoint, row)


def _write_texts(
    model: _Model, source: Source, folder: Path
) -> tuple[list[BundleFile], tuple[str, ...]]:
    """Chat config first, then tokenizer and template."""
    settings = chatting.ChatSettings(
        architecture=model.architecture,
        config=model.config,
        context_window=model.context_window,
        prefill_chunk=model.prefill_chunk,
        quantization=_main_block_type(model).lower(),
        provenance=_provenance(model, source),
    )
    chat = chatting.build_chat_config(model.checkpoint.metadata, model.tokenizer, settings)
    texts = [
        (chatting.CHAT_CONFIG_NAME, chat.json_bytes, media_types.CONFIG),
        (chatting.TOKENIZER_NAME, model.tokenizer.json_bytes, media_types.TOKENIZER),
    ]
    if chat.template is not None:
        data = chat.template.encode()
        texts.append((chatting.CHAT_TEMPLATE_NAME, data, media_types.OLLAMA_TEMPLATE))
    files = []
    for name, data, media_type in texts:
        write_durably(folder / name, data)
        files.append(BundleFile(folder / name, media_type))
    problem = chat.conversation_problem
    notes = () if problem is None else (f"no prompt format for WebLLM: {problem}",)
    return files, notes


def _library_source(model: _Model, options: CompileOptions) -> LibrarySource:
    return LibrarySource(
        architecture=model.architecture,
        config=model.config,
        parameters=model.plan.rows,
        context_window=model.context_window,
        prefill_chunk=model.prefill_chunk,
        runtime_dir=options.runtime_dir,
        dump_dir=options.dump_dir,
    )


def _write_native_config(model: _Model, source: Source, folder: Path) -> BundleFile:
    size_label = model.checkpoint.metadata.get("general.size_label")
    data = sealing.native_config(
        model.architecture,
        size_label if isinstance(size_label, str) else "",
        _main_block_type(model),
        source.digest,
    )
    path = folder / sealing.NATIVE_CONFIG_NAME
    write_durably(path, data)
    return BundleFile(path, media_types.OLLAMA_CONFIG)


def _provenance(model: _Model, source: Source) -> dict[str, Any]:
    """Where the bundle comes from, for people who read its config."""
    metadata = model.checkpoint.metadata
    return {
        "name": metadata.get("general.name"),
        "license": metadata.get("general.license"),
        "source_digest": str(source.digest),
        "block_types": dict(_histogram(model)),
    }


def _annotations(model: _Model, source: Source, built: bool) -> dict[str, str]:
    annotations = {
        media_types.ANNOTATION_ARCHITECTURE: model.architecture,
        media_types.ANNOTATION_SOURCE_DIGEST: str(source.digest),
        media_types.ANNOTATION_SCHEME: " ".join(
            f"{name}:{count}" for name, count in _histogram(model)
        ),
    }
    licence = model.checkpoint.metadata.get("general.license")
    if isinstance(licence, str) and licence:
        annotations[media_types.ANNOTATION_LICENSES] = licence
    if built:
        annotations[media_types.ANNOTATION_VERSIONS] = tool_versions()
    return annotations


def _histogram(model: _Model) -> list[tuple[str, int]]:
    """Block types of the checkpoint's tensors, most frequent first."""
    counts = Counter(info.block_type for info in model.checkpoint.tensors.values())
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _main_block_type(model: _Model) -> str:
    """The block type that most bytes are in."""
    sizes: Counter[str] = Counter()
    for info in model.checkpoint.tensors.values():
        sizes[info.block_type] += info.nbytes
    return min(sizes, key=lambda name: (-sizes[name], name))
