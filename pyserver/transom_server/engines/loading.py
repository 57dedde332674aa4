"""How a stored model is loaded for a request, and what it is made for: said from its header.

Knows the store's headers and the options of a request; no engine, no HTTP.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from transom_api import options
from transom_api.engine import LoadOptions, Pooling, Task
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.modelfile import ParameterValue
from transom_server.engines.llama_cpp import DEFAULT_CONTEXT_TOKENS
from transom_server.engines.memory import LAYER_ITEMS
from transom_server.engines.native_model import NativeModel
from transom_server.model.gguf_facts import GgufFacts, InvalidGguf
from transom_server.model.model_texts import gguf_of, layers_of
from transom_server.store import Store

# Reading a header again costs a second; loaded models are a handful, each with a draft at most.
HEADERS_KEPT: Final = 32
# GGUF's `pooling_type`: the last token's vector; what scores pairs of texts.
_LAST: Final = 3
_RANK: Final = 4

_LOG = logging.getLogger(__name__)


class WrongTask(TransomError):
    """The model is not made for what is asked of it."""


@dataclass(frozen=True, slots=True)
class Loading:
    """`options` as it is loaded; `asked_tokens`: the context that somebody named, where it is more
    than the model was trained for."""

    options: LoadOptions
    asked_tokens: int | None = None

    def tell(self, name: str) -> None:
        """Say in the log what is not as it was asked for."""
        if self.asked_tokens is not None:
            _LOG.warning(
                "%s was trained for %d tokens, so it has a context of these, not of %d (num_ctx)",
                name,
                self.options.context_tokens,
                self.asked_tokens,
            )


@lru_cache(maxsize=HEADERS_KEPT)
def header(store: Store, digest: Digest) -> GgufFacts:
    """With its arrays' first `LAYER_ITEMS`. Raises `BlobNotFound`, `InvalidGguf`."""
    return gguf_of(store, digest, LAYER_ITEMS)


def weights_header(store: Store, model: NativeModel) -> GgufFacts:
    """Raises `BlobNotFound`, `InvalidGguf`."""
    (weights, *_) = layers_of(model.manifest, media_types.OLLAMA_MODEL)
    return header(store, weights.digest)


def loading_of(
    store: Store,
    model: NativeModel,
    parameters: Mapping[str, ParameterValue],
    otherwise: LoadOptions,
    *,
    task: Task | None,
) -> Loading:
    """For this task; None: the one that the model is made for. `otherwise` says what neither the
    model nor the request does. Raises `BlobNotFound`, `WrongTask`.

    More context than a model was trained for would be memory that is never used: it gets what it
    was trained for.
    """
    said = options.load_options_of({**model.texts.parameters, **parameters}, otherwise)
    if task != "generate" or not layers_of(model.manifest, media_types.OLLAMA_DRAFT):
        said = replace(said, draft_tokens=None)
    try:
        facts = weights_header(store, model)
    except InvalidGguf:  # whoever loads it says what is wrong
        return Loading(replace(said, task=task or "generate"))
    said = _for_task(str(model.name), facts, task, said)
    trained = facts.integer(f"{facts.architecture}.context_length")
    wanted = said.context_tokens or DEFAULT_CONTEXT_TOKENS
    if not trained or wanted <= trained:
        return Loading(said)
    return Loading(replace(said, context_tokens=trained), said.context_tokens)


def _for_task(name: str, facts: GgufFacts, task: Task | None, said: LoadOptions) -> LoadOptions:
    pooling = facts.metadata.get(f"{facts.architecture}.pooling_type")
    is_encoder = facts.metadata.get(f"{facts.architecture}.attention.causal") is False
    ranks = pooling == _RANK
    if task == "rerank" and not ranks:
        raise WrongTask(f"{name} does not score documents; ask a reranker")
    if task == "embed" and ranks:
        raise WrongTask(f"{name} scores documents; ask /v1/rerank")
    if task == "generate" and is_encoder:
        does = "scores documents (/v1/rerank)" if ranks else "makes vectors (/v1/embeddings)"
        raise WrongTask(f"{name} writes no text, it {does}; ask another model")
    if task is None:
        task = "rerank" if ranks else "embed" if pooling or is_encoder else "generate"
    wanted: Pooling | None = None
    if task == "embed" and not is_encoder and pooling == _LAST:
        wanted = "last"
    elif task == "embed" and not pooling:
        wanted = "mean" if is_encoder else "last"
    return replace(said, task=task, pooling=wanted)
