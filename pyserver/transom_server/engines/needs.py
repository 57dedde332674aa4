"""What a stored model will take on this machine, loaded as somebody asks for it.

Reads headers, never weights.
"""

from typing import Final

from transom_api.engine import LoadOptions
from transom_models import media_types
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
    context = options.context_tokens or DEFAULT_CONTEXT_TOKENS
    kept = options.kv_type or "f16"
    shape = CacheShape(context, options.parallel or parallel_for(context), kept, kept)
    return estimate(
        header(store, weights.digest),
        shape,
        options,
        beside_bytes=sum(beside),
        repacked_types=repacked_types(),
    )


def needed_bytes(store: Store, model: NativeModel, options: LoadOptions) -> int:
    """The sum, of any model. Raises `BlobNotFound`."""
    try:
        return estimate_of(store, model, options).total
    except (InvalidGguf, Unestimated):  # whoever loads it says what is wrong
        (weights, *_) = layers_of(model.manifest, media_types.OLLAMA_MODEL)
        return int(weights.size * UNKNOWN_SHARE)
