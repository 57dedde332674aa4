"""What a stored model does beside going on with a text: vectors, scores, tokens.

Knows the store, which models are loaded, and no HTTP.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from transom_api.engine import (
    Cancelled,
    ContextOverflow,
    Embeddings,
    Engine,
    Input,
    LoadOptions,
    ModelFiles,
    Ranking,
    Task,
)
from transom_api.lengths import check_length, most_bytes, within
from transom_api.ollama.generation import DEFAULT_KEEP_SECONDS
from transom_api.operations import AskedModel
from transom_models.name import ModelName
from transom_server.engines.loaded import InUse, LoadedModels
from transom_server.engines.loaded_model import ModelKey
from transom_server.engines.loading import loading_of
from transom_server.engines.native_model import NativeModel, files_of, read_native_model
from transom_server.store import Store


class NativeTasks:
    """Threads may share it."""

    def __init__(
        self,
        store: Store,
        loaded: LoadedModels[NativeModel],
        loading: LoadOptions,
        *,
        heard: Callable[[int], None] = lambda tokens: None,
    ) -> None:
        """`loading`: what counts where neither a request nor the model says; `heard` is told the
        tokens of each answer."""
        self._store = store
        self._loading = loading
        self._loaded = loaded
        self._heard = heard

    def embed(
        self,
        asked: AskedModel,
        inputs: Sequence[Input],
        cancelled: Cancelled,
        *,
        cuts: bool = False,
    ) -> tuple[Embeddings, float]:
        """Vectors, and the seconds it took to load the model. `cuts`: what is too long loses its
        end. Without inputs the model is only loaded."""
        with self._use(asked, "embed", cancelled) as used:
            if not inputs:
                return Embeddings((), 0), used.load_seconds
            if not cuts:
                for each in inputs:
                    if isinstance(each, str):
                        check_length(each, used.engine.facts)
                found = used.engine.embed(inputs, used.cancelled)
                self._heard(found.tokens)
                return found, used.load_seconds
            most = used.engine.facts.context_tokens
            try:
                given = [_cut(used.engine, each, most) for each in inputs]
                found = used.engine.embed(given, used.cancelled)
            except ContextOverflow:
                # A model that writes, too, wants room for one token more.
                given = [_cut(used.engine, each, most - 1) for each in inputs]
                found = used.engine.embed(given, used.cancelled)
            shorter = [number for number, each in enumerate(inputs) if given[number] is not each]
            self._heard(found.tokens)
            return replace(found, cut=tuple(shorter)), used.load_seconds

    def rerank(
        self, asked: AskedModel, query: str, documents: Sequence[str], cancelled: Cancelled
    ) -> Ranking:
        """How well each document answers."""
        with self._use(asked, "rerank", cancelled) as used:
            for each in (query, *documents):
                check_length(each, used.engine.facts)
            found = used.engine.rerank(query, documents, used.cancelled)
            self._heard(found.tokens)
            return found

    @contextmanager
    def tokenizer(self, model: str, cancelled: Cancelled) -> Iterator[Engine]:
        """The engine of a model for tokens alone, beside whatever it does."""
        with self._use(AskedModel(model, {}), None, cancelled) as used:
            yield used.engine

    @contextmanager
    def _use(self, asked: AskedModel, task: Task | None, cancelled: Cancelled) -> Iterator[InUse]:
        """`task` None: what the model is made for, without computing."""
        model = read_native_model(self._store, ModelName.parse(asked.model))
        loading = loading_of(self._store, model, asked.options, self._loading, task=task)
        key = ModelKey(str(model.name), model.stored.digest, loading.options, model)
        keep = DEFAULT_KEEP_SECONDS if asked.keep_seconds is None else asked.keep_seconds

        def files() -> ModelFiles:
            loading.tell(str(model.name))
            return files_of(self._store, model)

        with self._loaded.use(key, files, keep, cancelled, computes=task is not None) as used:
            yield used


def _cut(engine: Engine, given: Input, most: int) -> Input:
    """At most so many tokens, with those that the tokenizer puts at the end."""
    tokens = (
        engine.tokenize(given[: most_bytes(engine.facts)], around=True)
        if isinstance(given, str)
        else given
    )
    return given if len(tokens) <= most else within(tokens, most, engine.tokenize("", around=True))
