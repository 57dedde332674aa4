"""Which requests go to another server, and what happens when it fails.

A model that the settings give to other servers is asked of those that are well, by turns. Whoever
fails before its first token is followed by the next one; after all of them comes the model of the
same name in the store, where there is one. Knows no HTTP.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Protocol, TypeVar

from transom_api.chat import Chat
from transom_api.deltas import Delta, Usage
from transom_api.engine import (
    Cancelled,
    Done,
    Embeddings,
    Input,
    ModelFacts,
    Ranking,
    TokenEvent,
)
from transom_api.fields import InvalidField
from transom_api.operations import AskedModel
from transom_api.prompting import Plan
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.engines.loaded import LoadedModels
from transom_server.engines.native import Loaded, NativeModels
from transom_server.engines.native_model import NativeModel
from transom_server.engines.native_tasks import NativeTasks
from transom_server.engines.waiting import Overloaded
from transom_server.store import Store
from transom_server.upstream.client import UpstreamFailed
from transom_server.upstream.health import Upstreams
from transom_server.upstream.server import Upstream, UpstreamAnswered, UpstreamBusy

_LOG = logging.getLogger(__name__)

T = TypeVar("T")
Event = Loaded | Plan | TokenEvent | Done | Delta


class Models(Protocol):
    """Whatever can answer a conversation."""

    @property
    def loaded(self) -> LoadedModels[NativeModel]: ...

    def converse(self, chat: Chat, cancelled: Cancelled) -> Generator[Event, None, None]:
        """What an engine says, after `Loaded` and `Plan`; or pieces of the answer that another
        server gives. Closing it ends the work."""
        ...

    def count_tokens(self, chat: Chat, cancelled: Cancelled) -> int: ...

    def load(self, chat: Chat, cancelled: Cancelled) -> Loaded: ...

    def unload(self, name: str) -> None: ...


class Tokenizer(Protocol):
    """What `/tokenize` needs of an engine."""

    @property
    def facts(self) -> ModelFacts: ...

    def tokenize(
        self, text: str, *, special: bool = True, around: bool = False
    ) -> tuple[int, ...]: ...

    def detokenize(self, tokens: Sequence[int]) -> str: ...


class _Turns:
    """Other servers one after the other, then the store."""

    def __init__(self, upstreams: Upstreams, store: Store) -> None:
        self._upstreams, self._store = upstreams, store

    def ask(self, model: str, ask: Callable[[Upstream, str], T], local: Callable[[], T]) -> T:
        """The first answer; `local` where the model is none of theirs, or none of them can."""
        name = self._upstreams.name_of(model)
        if name is None:
            return local()
        failed: list[UpstreamFailed] = []
        for upstream in self._upstreams.well(name):
            try:
                found = ask(upstream, name)
            except UpstreamFailed as error:
                _fail(upstream, error, failed)
                continue
            except InvalidField:
                upstream.counts["refused"] += 1
                raise
            upstream.counts["ok"] += 1
            return found
        self.explain(name, failed)
        return local()

    def explain(self, name: str, failed: Sequence[UpstreamFailed]) -> None:
        """Raises, where the store has no such model either, what kept all others from it."""
        if self._store.resolve(ModelName.parse(name)) is not None:
            _LOG.warning("%s: no upstream can, so this server's own model answers", name)
            return
        if failed and all(isinstance(error, UpstreamBusy) for error in failed):
            raise Overloaded("; ".join(map(str, failed)))
        faults = [str(error) for error in failed]
        faults += [fault for each in self._upstreams.of(name) if (fault := each.fault_of(name))]
        raise UpstreamFailed(f"no server that runs {name} can: {'; '.join(dict.fromkeys(faults))}")


class RoutedModels:
    """`Models` of other servers and of the store. Threads may share it."""

    def __init__(
        self,
        native: NativeModels,
        upstreams: Upstreams,
        store: Store,
        heard: Callable[[int, int], None] = lambda read, written: None,
    ) -> None:
        """`heard` is told how many tokens were read and written elsewhere."""
        self._native, self._upstreams, self._heard = native, upstreams, heard
        self._turns = _Turns(upstreams, store)

    @property
    def loaded(self) -> LoadedModels[NativeModel]:
        return self._native.loaded

    def converse(self, chat: Chat, cancelled: Cancelled) -> Generator[Event, None, None]:
        """See `Models`."""
        name = self._upstreams.name_of(chat.model)
        failed: list[UpstreamFailed] = []
        if name is not None:
            for upstream in self._upstreams.well(name):
                with closing(upstream.converse(chat, name, self._or_closed(cancelled))) as deltas:
                    try:
                        first = next(deltas)
                    except UpstreamFailed as error:
                        _fail(upstream, error, failed)
                        continue
                    except InvalidField:
                        upstream.counts["refused"] += 1
                        raise
                    yield from self._passed(upstream, first, deltas)
                    return
            self._turns.explain(name, failed)
        yield from self._native.converse(chat, cancelled)

    def count_tokens(self, chat: Chat, cancelled: Cancelled) -> int:
        """See `Models`."""
        return self._turns.ask(
            chat.model,
            lambda upstream, name: upstream.count_tokens(chat, name, cancelled),
            lambda: self._native.count_tokens(chat, cancelled),
        )

    def load(self, chat: Chat, cancelled: Cancelled) -> Loaded:
        """Whoever runs the model has loaded it."""
        return self._turns.ask(
            chat.model,
            lambda upstream, name: Loaded(0.0),
            lambda: self._native.load(chat, cancelled),
        )

    def unload(self, name: str) -> None:
        """Only what runs here can be let go of. Raises `InvalidField`, and as `NativeModels`."""
        known = self._upstreams.name_of(name)
        if known is None:
            self._native.unload(name)
            return
        places = ", ".join(each.place for each in self._upstreams.of(known))
        try:
            self._native.unload(name)
        except TransomError:
            raise InvalidField(
                "keep_alive", f"{name} runs on {places}, which keeps it as long as it likes"
            ) from None

    def _passed(
        self, upstream: Upstream, first: Delta, deltas: Iterator[Delta]
    ) -> Generator[Delta, None, None]:
        delta = first
        try:
            while True:
                if isinstance(delta, Usage):
                    self._heard(delta.prompt_tokens, delta.completion_tokens)
                yield delta
                following = next(deltas, None)
                if following is None:
                    break
                delta = following
        except UpstreamFailed as error:
            _fail(upstream, error, [])
            raise
        upstream.counts["ok"] += 1

    def _or_closed(self, cancelled: Cancelled) -> Cancelled:
        return lambda: self._upstreams.closed or cancelled()


class RoutedTasks:
    """Vectors, scores and tokens of other servers and of the store. Threads may share it."""

    def __init__(self, native: NativeTasks, upstreams: Upstreams, store: Store) -> None:
        self._native = native
        self._turns = _Turns(upstreams, store)

    def embed(
        self,
        asked: AskedModel,
        inputs: Sequence[Input],
        cancelled: Cancelled,
        *,
        cuts: bool = False,
    ) -> tuple[Embeddings, float]:
        """See `NativeTasks`."""

        def elsewhere(upstream: Upstream, name: str) -> tuple[Embeddings, float]:
            if not inputs:
                return Embeddings((), 0), 0.0
            return upstream.embed(name, inputs, asked.options, cancelled, cuts=cuts), 0.0

        def here() -> tuple[Embeddings, float]:
            return self._native.embed(asked, inputs, cancelled, cuts=cuts)

        return self._turns.ask(asked.model, elsewhere, here)

    def rerank(
        self, asked: AskedModel, query: str, documents: Sequence[str], cancelled: Cancelled
    ) -> Ranking:
        """See `NativeTasks`."""
        return self._turns.ask(
            asked.model,
            lambda upstream, name: upstream.rerank(name, query, documents, cancelled),
            lambda: self._native.rerank(asked, query, documents, cancelled),
        )

    @contextmanager
    def tokenizer(self, model: str, cancelled: Cancelled) -> Iterator[Tokenizer]:
        """See `NativeTasks`."""
        yield _RoutedTokenizer(self._turns, self._native, model, cancelled)


class _RoutedTokenizer:
    """A `Tokenizer` that looks for a server at each question."""

    def __init__(
        self, turns: _Turns, native: NativeTasks, model: str, cancelled: Cancelled
    ) -> None:
        self._turns, self._native, self._model = turns, native, model
        self._cancelled = cancelled
        self.facts = ModelFacts(context_tokens=0)

    def tokenize(self, text: str, *, special: bool = True, around: bool = False) -> tuple[int, ...]:
        def elsewhere(upstream: Upstream, name: str) -> tuple[int, ...]:
            length = upstream.card(name).get("max_model_len")
            self.facts = ModelFacts(context_tokens=length if isinstance(length, int) else 0)
            return upstream.tokenize(name, text, self._cancelled, special=special, around=around)

        def here() -> tuple[int, ...]:
            with self._native.tokenizer(self._model, self._cancelled) as engine:
                self.facts = engine.facts
                return engine.tokenize(text, special=special, around=around)

        return self._turns.ask(self._model, elsewhere, here)

    def detokenize(self, tokens: Sequence[int]) -> str:
        def here() -> str:
            with self._native.tokenizer(self._model, self._cancelled) as engine:
                return engine.detokenize(tokens)

        return self._turns.ask(
            self._model,
            lambda upstream, name: upstream.detokenize(name, tokens, self._cancelled),
            here,
        )


def _fail(upstream: Upstream, error: UpstreamFailed, failed: list[UpstreamFailed]) -> None:
    """Remember it. Whoever does not even answer gets no more before it is looked at again."""
    failed.append(error)
    upstream.counts["failed"] += 1
    _LOG.warning("upstream %s", error)
    if not isinstance(error, UpstreamAnswered):
        upstream.mark(str(error))
        upstream.looked.set()
