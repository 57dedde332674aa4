"""The walk from a checkpoint to a bundle: the order of the steps and nothing else.

Works in a folder beside the wanted one and renames it at the end, so that a failure or an interrupt
leaves nothing behind; what a killed walk left goes with the next one to the same place. Model
libraries are built in other processes, and the checkpoint is hashed in a thread, while weights are
repacked.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from transom_compile import bundle as sealing
from transom_compile import chat_config as chatting
from transom_compile.background import Background, hash_file, one_ahead
from transom_compile.bundle import Bundle, BundleFile, BundleParts, Source, seal_bundle
from transom_compile.durable import sync_folder, write_durably
from transom_compile.hub.licences import read_licences
from transom_compile.libraries import (
    LIBRARY_KINDS,
    VARIANTS,
    LibraryFigures,
    LibrarySource,
    library_builds,
)
from transom_compile.library_cache import read_cap, tool_versions
from transom_compile.link import RUNTIME_FILE
from transom_compile.names import read_parameter, release_parameter
from transom_compile.prepare import MADE_NAME, Recipe, check_recipe, prepare_checkpoint
from transom_compile.progress import PhaseFigures, Phases, Progress
from transom_compile.recognise import CompileError, Model, recognise
from transom_compile.repack import StoredTensor, repack
from transom_compile.shards import (
    SHARD_CAP_BYTES,
    ShardPlan,
    plan_shards,
    write_shards,
    write_tensor_cache,
)
from transom_compile.template_lint import LintReport, check_template
from transom_models import media_types
from transom_models.architecture import ParameterSpec
from transom_models.digest import Digest
from transom_models.native_config import native_config
from transom_models.work_folder import work_folder

__all__ = ["CompileError", "CompileOptions", "CompileReport", "compile_bundle"]


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """How to compile. `context` None: the model's own, up to 4 096 tokens. `force`: a chat template
    with problems is a note, not an error."""

    runtime_dir: Path
    variants: tuple[str, ...] = VARIANTS
    context: int | None = None
    prefill_chunk: int = chatting.DEFAULT_PREFILL_CHUNK
    dump_dir: Path | None = None
    shard_cap_bytes: int = SHARD_CAP_BYTES
    recipe: Recipe = field(default_factory=Recipe)
    force: bool = False


@dataclass(frozen=True, slots=True)
class CompileReport:
    """What came out and what it cost; `notes` are for people. `source_bytes`: of the GGUF."""

    bundle: Bundle
    source_bytes: int
    stored_bytes: int
    phases: tuple[PhaseFigures, ...]
    libraries: tuple[LibraryFigures, ...]
    notes: tuple[str, ...]


def compile_bundle(
    source: Path, out_dir: Path, options: CompileOptions, progress: Progress
) -> CompileReport:
    """Walk from a checkpoint (a GGUF file, a Hugging Face folder) to a bundle at `out_dir`.

    Raises `TransomError` for anything wrong with the input; nothing is left behind then.
    """
    check_options(source, options)
    phases = Phases(progress)
    with workspace(out_dir) as folder:
        path = prepare_checkpoint(source, options.recipe, folder, phases)
        with phases.run("read"):
            model = recognise(path, options.context, options.prefill_chunk)
            template = _check_template(model, options.force)
        plans = plan_shards(model.plan.rows, options.shard_cap_bytes)
        stored_bytes = sum(plan.nbytes for plan in plans)
        with (
            Background() as background,
            library_builds(library_source(model, options), options.variants, folder) as builds,
        ):
            digest = background.submit(hash_file, path, background.stopped)
            with phases.run("repack", stored_bytes):
                shards = _write_shards(model, plans, folder, progress, background)
            with phases.run("texts"):
                checkpoint = Source(
                    path,
                    digest.result(),
                    path.stat().st_size,
                    title=MADE_NAME if path != source else None,
                )
                texts, notes = _write_texts(model, checkpoint, template, folder)
            with phases.run("libraries"):
                libraries, figures = builds.finish(progress)
        with phases.run("seal"):
            licences = _write_licences(source, folder)
            layers = [checkpoint.digest, *(Digest.of_file(file.path) for file in licences)]
            native = _write_native_config(model, layers, folder)
            parts = BundleParts(
                source=checkpoint,
                native_config=native,
                chat_config=texts[0],
                shared=[*shards, *texts[1:]],
                libraries=libraries,
                annotations=_annotations(model, checkpoint.digest, bool(libraries)),
                licences=licences,
            )
            bundle = seal_bundle(parts, folder)
    return CompileReport(
        bundle.moved_to(out_dir), checkpoint.size, stored_bytes, phases.figures, figures, notes
    )


def check_options(source: Path, options: CompileOptions) -> None:
    """What can be known to be wrong before any work."""
    for variant in options.variants:
        if variant not in LIBRARY_KINDS:
            known = ", ".join(LIBRARY_KINDS)
            raise CompileError(f"there is no variant {variant!r}; choose from {known}")
    if options.variants and not (options.runtime_dir / RUNTIME_FILE).is_file():
        raise CompileError(
            f"{options.runtime_dir} holds no wasm runtime; run `transom build runtime` first"
        )
    if options.variants:
        read_cap()
    check_recipe(source, options.recipe)


def library_source(model: Model, options: CompileOptions) -> LibrarySource:
    """What the model's libraries are built from."""
    return LibrarySource(
        architecture=model.architecture,
        config=model.config,
        parameters=model.plan.rows,
        context_window=model.context_window,
        prefill_chunk=model.prefill_chunk,
        runtime_dir=options.runtime_dir,
        dump_dir=options.dump_dir,
    )


@contextmanager
def workspace(out_dir: Path) -> Iterator[Path]:
    """A folder that becomes `out_dir` when the block ends well, and is deleted when it does not."""
    if out_dir.exists() and not _is_replaceable(out_dir):
        raise CompileError(f"{out_dir} exists and is not a bundle; choose another --out")
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    with work_folder(out_dir.parent, f".{out_dir.name}.") as folder:
        inner = folder / "bundle"
        inner.mkdir()
        yield inner
        if out_dir.exists():
            # Aside first: rename does not replace a folder that holds files.
            out_dir.rename(folder / "previous")
        inner.rename(out_dir)
        sync_folder(out_dir.parent)


def _is_replaceable(folder: Path) -> bool:
    return folder.is_dir() and (
        (folder / sealing.INDEX_NAME).is_file() or not any(folder.iterdir())
    )


def _write_shards(
    model: Model,
    plans: Sequence[ShardPlan],
    folder: Path,
    progress: Progress,
    background: Background,
) -> list[BundleFile]:
    def stored(row: ParameterSpec) -> list[StoredTensor]:
        return repack(read_parameter(model.checkpoint, row), row.block_type, row.shape)

    def stream() -> Iterator[tuple[str, npt.NDArray[np.generic]]]:
        """Every stored tensor in order; two parameters are in memory: one is written while the
        next is repacked."""
        for row, tensors in one_ahead(background, stored, model.plan.rows):
            for tensor in tensors:
                yield row.name + tensor.suffix, tensor.array
                progress.advance(tensor.array.nbytes)
            release_parameter(model.checkpoint, row)

    shards = write_shards(plans, stream(), folder)
    tensor_cache = write_tensor_cache(plans, shards, folder)
    return [
        *(BundleFile(shard.path, media_types.SHARD) for shard in shards),
        BundleFile(tensor_cache, media_types.TENSOR_CACHE),
    ]


def _check_template(model: Model, force: bool) -> LintReport:
    """Before any work, since only `force` goes past a problem."""
    if model.task != "chat":
        return LintReport()
    return check_template(model.checkpoint.metadata, model.tokenizer, force=force)


def _write_texts(
    model: Model, source: Source, template: LintReport, folder: Path
) -> tuple[list[BundleFile], tuple[str, ...]]:
    """Chat config first, then tokenizer and template."""
    settings = chatting.ChatSettings(
        architecture=model.architecture,
        config=model.config,
        context_window=model.context_window,
        prefill_chunk=model.prefill_chunk,
        quantization=model.main_block_type.lower(),
        provenance=_provenance(model, source),
        task=model.task,
        template=template,
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
    notes = [f"chat template: {found}" for found in template.problems]
    if problem is not None:
        notes.append(f"no prompt format for WebLLM: {problem}")
    return files, tuple(notes)


def _write_licences(source: Path, folder: Path) -> list[BundleFile]:
    """The licence texts that lie in a Hugging Face folder; a GGUF brings none."""
    files = []
    for name, text in read_licences(source).items() if source.is_dir() else ():
        write_durably(folder / name, text.encode())
        files.append(BundleFile(folder / name, media_types.OLLAMA_LICENSE))
    return files


def _write_native_config(model: Model, layers: Sequence[Digest], folder: Path) -> BundleFile:
    path = folder / sealing.NATIVE_CONFIG_NAME
    write_durably(path, native_config(model.facts, layers))
    return BundleFile(path, media_types.OLLAMA_CONFIG)


def _provenance(model: Model, source: Source) -> dict[str, Any]:
    """Where the bundle comes from, for people who read its config."""
    metadata = model.checkpoint.metadata
    return {
        "name": metadata.get("general.name"),
        "license": model.licence,
        "source_digest": str(source.digest),
        "block_types": dict(model.histogram),
    }


def _annotations(model: Model, source: Digest, built: bool) -> dict[str, str]:
    annotations = {
        media_types.ANNOTATION_ARCHITECTURE: model.architecture,
        media_types.ANNOTATION_SOURCE_DIGEST: str(source),
        media_types.ANNOTATION_SCHEME: " ".join(
            f"{name}:{count}" for name, count in model.histogram
        ),
    }
    if model.licence is not None:
        annotations[media_types.ANNOTATION_LICENSES] = model.licence
    if built:
        annotations[media_types.ANNOTATION_VERSIONS] = tool_versions()
    return annotations
