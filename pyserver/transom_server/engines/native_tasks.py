"""What a stored model does beside going on with a text: vectors, scores, tokens.

Knows the store, which models are loaded, and no HTTP.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from transom_api import options
from transom_api.engine import (
    Cancelled,
    Embeddings,
    Engine,
    Input,
    LoadOptions,
    Pooling,
    Ranking,
    Task,
)
from transom_api.ollama_generation import DEFAULT_KEEP_SECONDS
from transom_models import media_types
from transom_models.errors import TransomError
from transom_models.modelfile import ParameterValue
from transom_models.name import ModelName
from transom_server.engines.loaded import InUse, LoadedModels, ModelKey
from transom_server.engines.native_model import NativeModel, files_of, read_native_model
from transom_server.model.model_texts import gguf_of, layers_of
from transom_server.store import Store

# GGUF's `pooling_type` of a model that scores pairs of texts.
_RANK: Final = 4


class WrongTask(TransomError):
    """The model is not made for what is asked of it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which model, and how it is to be loaded and kept."""

    model: str
    options: Mapping[str, ParameterValue]
    keep_seconds: float | None = None


class NativeTasks:
    """Threads may share it."""

    def __init__(
        self, store: Store, loaded: LoadedModels[NativeModel], loading: LoadOptions
    ) -> None:
        """`loading`: what counts where neither a request nor the model says."""
        self._store = store
        self._loading = loading
        self._loaded = loaded

    def embed(
        self, asked: Asked, inputs: Sequence[Input], cancelled: Cancelled, *, cuts: bool = False
    ) -> tuple[Embeddings, float]:
        """Vectors, and the seconds it took to load the model. `cuts`: what is too long loses its
        end. Without inputs the model is only loaded."""
        with self._use(asked, "embed", cancelled) as used:
            if not inputs:
                return Embeddings((), 0), used.load_seconds
            given = [_cut(used.engine, each) for each in inputs] if cuts else inputs
            return used.engine.embed(given, used.cancelled), used.load_seconds

    def rerank(
        self, asked: Asked, query: str, documents: Sequence[str], cancelled: Cancelled
    ) -> Ranking:
        """How well each document answers."""
        with self._use(asked, "rerank", cancelled) as used:
            return used.engine.rerank(query, documents, used.cancelled)

    @contextmanager
    def tokenizer(self, model: str, cancelled: Cancelled) -> Iterator[Engine]:
        """The engine of a model for tokens alone, beside whatever it does."""
        with self._use(Asked(model, {}), None, cancelled) as used:
            yield used.engine

    @contextmanager
    def _use(self, asked: Asked, task: Task | None, cancelled: Cancelled) -> Iterator[InUse]:
        """`task` None: what the model is made for, without computing."""
        model = read_native_model(self._store, ModelName.parse(asked.model))
        parameters = {**model.texts.parameters, **asked.options}
        loading = options.load_options_of(parameters, self._loading)
        loading = self._for_task(model, task, loading)
        key = ModelKey(str(model.name), model.stored.digest, loading, model)
        keep = DEFAULT_KEEP_SECONDS if asked.keep_seconds is None else asked.keep_seconds
        with self._loaded.use(
            key,
            lambda: files_of(self._store, model),
            keep,
            cancelled,
            computes=task is not None,
        ) as used:
            yield used

    def _for_task(self, model: NativeModel, task: Task | None, loading: LoadOptions) -> LoadOptions:
        (weights, *_) = layers_of(model.manifest, media_types.OLLAMA_MODEL)
        facts = gguf_of(self._store, weights.digest)
        pooling = facts.metadata.get(f"{facts.architecture}.pooling_type")
        is_encoder = facts.metadata.get(f"{facts.architecture}.attention.causal") is False
        ranks = pooling == _RANK
        if task == "rerank" and not ranks:
            raise WrongTask(f"{model.name} does not score documents; ask a reranker")
        if task == "embed" and ranks:
            raise WrongTask(f"{model.name} scores documents; ask /v1/rerank")
        if task is None:
            task = "rerank" if ranks else "embed" if pooling or is_encoder else "generate"
        missing: Pooling | None = None
        if task == "embed" and not pooling:
            missing = "mean" if is_encoder else "last"
        return replace(loading, task=task, pooling=missing)


def _cut(engine: Engine, given: Input) -> Input:
    """As many tokens as the context holds, with those that the tokenizer puts at the end."""
    tokens = engine.tokenize(given, around=True) if isinstance(given, str) else given
    most = engine.facts.context_tokens
    if len(tokens) <= most:
        return given
    around = engine.tokenize("", around=True)
    ends = bool(around) and tokens[-1] == around[-1] and (len(around) > 1 or tokens[0] != around[0])
    return (*tokens[: most - 1], tokens[-1]) if ends else tuple(tokens[:most])
