"""What a stored model will take on this machine, loaded as somebody asks for it.

Reads headers, never weights.
"""

from typing import Final

from transom_api.engine import LoadOptions, ModelFiles
from transom_models import media_types
from transom_models.digest import Digest
from transom_server.engines.llama_cpp import DEFAULT_CONTEXT_TOKENS
from transom_server.engines.loading import header
from transom_server.engines.memory import (
    CacheShape,
    MemoryEstimate,
    Unestimated,
    estimate,
)
from transom_server.engines.native_model import NativeModel
from transom_server.engines.repacking import repacked_types
from transom_server.engines.slots import parallel_for
from transom_server.model.gguf_facts import InvalidGguf
from transom_server.model.model_texts import layers_of
from transom_server.store import Store

# Of a model whose header says too little: half as much again as its file, which is rarely too low.
UNKNOWN_SHARE: Final = 1.5


def estimate_of(store: Store, model: NativeModel, options: LoadOptions) -> MemoryEstimate:
    """Raises `BlobNotFound`, `InvalidGguf`, `Unestimated`."""
    (weights, *_) = layers_of(model.manifest, media_types.OLLAMA_MODEL)
    beside = [
        layer.size
        for media_type in (media_types.OLLAMA_PROJECTOR, media_types.OLLAMA_ADAPTER)
        for layer in layers_of(model.manifest, media_type)
    ]
    drafts = layers_of(model.manifest, media_types.OLLAMA_DRAFT)
    draft = drafts[0].digest if drafts else None
    return _estimate(store, weights.digest, sum(beside), options, draft)


def needed_by_files(store: Store, files: ModelFiles, options: LoadOptions) -> int:
    """The same by digests, for whoever knows no more of a model. Raises `BlobNotFound`."""
    weights = Digest.parse(files.weights)
    others = [files.projector, *files.adapters]
    beside = sum(store.blob_size(Digest.parse(each)) for each in others if each is not None)
    draft = None if files.draft is None else Digest.parse(files.draft)
    try:
        return _estimate(store, weights, beside, options, draft).total
    except (InvalidGguf, Unestimated):
        return int(store.blob_size(weights) * UNKNOWN_SHARE)


def _estimate(
    store: Store,
    weights: Digest,
    beside_bytes: int,
    options: LoadOptions,
    draft: Digest | None = None,
) -> MemoryEstimate:
    context = options.context_tokens or DEFAULT_CONTEXT_TOKENS
    kept = options.kv_type or "f16"
    shape = CacheShape(context, options.parallel or parallel_for(context), kept, kept)
    if draft is not None and options.task == "generate" and options.draft_tokens != 0:
        second = estimate(header(store, draft), shape, options, repacked_types=repacked_types())
        beside_bytes += second.total - second.process
    return estimate(
        header(store, weights),
        shape,
        options,
        beside_bytes=beside_bytes,
        repacked_types=repacked_types(),
    )


def needed_bytes(store: Store, model: NativeModel, options: LoadOptions) -> int:
    """The sum, of any model. Raises `BlobNotFound`."""
    try:
        return estimate_of(store, model, options).total
    except (InvalidGguf, Unestimated):  # whoever loads it says what is wrong
        (weights, *_) = layers_of(model.manifest, media_types.OLLAMA_MODEL)
        return int(weights.size * UNKNOWN_SHARE)
