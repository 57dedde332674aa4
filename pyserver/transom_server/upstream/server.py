"""One other server: what it is asked, what its answers mean, and whether it is well.

What it refuses because of the request is the asker's to mend (`InvalidField`); everything else is
its own failure (`UpstreamFailed`), and another server may do better.
"""

import logging
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from transom_api.chat import Chat
from transom_api.deltas import Delta
from transom_api.engine import Cancelled, ContextOverflow, Embeddings, Input, Ranking
from transom_api.fields import InvalidField
from transom_api.openai import incoming, outgoing
from transom_api.openai.incoming import BadAnswer, ChunkReader, EventReader, ReportedError
from transom_models.modelfile import ParameterValue
from transom_models.name import InvalidName, ModelName
from transom_server.upstream.client import (
    MAX_BODY_BYTES,
    MAX_ERROR_BYTES,
    Deadline,
    Exchange,
    Head,
    UpstreamFailed,
)
from transom_server.upstream.settings import UpstreamSetting

# A list of models is asked for while nobody waits.
HEALTH_TIMEOUT_SECONDS: Final = 5.0
MAX_LIST_BYTES: Final = 4 * 1024 * 1024
MAX_LISTED: Final = 10_000
# The longest answers have a million tokens, each some hundred bytes of an event.
MAX_STREAM_BYTES: Final = 1024 * 1024 * 1024
EVENT_STREAM: Final = "text/event-stream"
# Statuses that are about the request, whichever server is asked.
_REFUSALS: Final = frozenset({400, 411, 413, 414, 415, 422})
_OVERFLOWS: Final = ("context_length_exceeded", "exceed_context_size_error")
_OVERFLOW_WORDS: Final = ("maximum context length", "context length is only")

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class UpstreamAnswered(UpstreamFailed):
    """It is there, and says that it cannot do this."""


class UpstreamBusy(UpstreamAnswered):
    """It has too much to do; the same request may succeed later."""


class Upstream:
    """Threads may share it."""

    def __init__(self, setting: UpstreamSetting) -> None:
        self.setting = setting
        self.counts: Counter[str] = Counter()
        """Requests by how they ended: "ok", "failed", "refused"."""
        self._lock = threading.Lock()
        self._fault: str | None = None
        self._listed: Mapping[str, Mapping[str, Any]] | None = None
        self.looked = threading.Event()
        """Set when it is to be asked how it is, before its time."""

    # How it is

    @property
    def place(self) -> str:
        return self.setting.place

    @property
    def fault(self) -> str | None:
        """What is wrong with it; None while it is well, and before it was ever asked."""
        with self._lock:
            return self._fault

    def fault_of(self, model: str) -> str | None:
        """What keeps it from running the model of this name."""
        with self._lock:
            listed, theirs = self._listed, self.setting.models[model]
            if self._fault is None and listed is not None and _find(listed, theirs) is None:
                return f"{self.place}: it has no model {theirs}"
            return self._fault

    def card(self, model: str) -> Mapping[str, Any]:
        """What it tells of a model in its list; nothing before it was asked."""
        with self._lock:
            return _find(self._listed or {}, self.setting.models[model]) or {}

    def look(self) -> None:
        """Ask it which models it has, and remember whether it answered."""
        try:
            listed = self._list()
        except UpstreamFailed as error:
            self.mark(str(error))
            return
        self.mark(None, listed)

    def mark(
        self, fault: str | None, listed: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """It is well (None), or what is wrong. A change is a line of the log."""
        with self._lock:
            before, self._fault = self._fault, fault
            first = self._listed is None
            self._listed = self._listed if listed is None else listed
        if fault is not None and before is None:
            _LOG.warning("upstream %s is not well: %s", self.place, fault)
        elif fault is None and (before is not None or first):
            missing = [name for name in self.setting.models if self.fault_of(name)]
            without = f", without a model for {', '.join(missing)}" if missing else ""
            _LOG.info("upstream %s is well%s", self.place, without)

    def _list(self) -> dict[str, Mapping[str, Any]]:
        with Exchange(
            self.setting, "models", None, lambda: False, timeout=HEALTH_TIMEOUT_SECONDS
        ) as exchange:
            head = exchange.head()
            data = exchange.read(MAX_LIST_BYTES)
            if head.status != 200:
                raise exchange.failed(_said(head, data))
            with _told(exchange):
                body = incoming.parse(data)
            rows = body.get("data") if isinstance(body, dict) else None
            if not isinstance(rows, list) or len(rows) > MAX_LISTED:
                raise exchange.failed("its list of models is none")
        return {row["id"]: row for row in rows if isinstance(row, dict) and _is_id(row.get("id"))}

    # What it is asked

    def converse(
        self, chat: Chat, model: str, cancelled: Cancelled
    ) -> Generator[Delta, None, None]:
        """Pieces of the answer, then its usage. Closing it closes the connection."""
        request = outgoing.outgoing(chat, self.setting.models[model], self.setting.kind)
        body = outgoing.encoded(request.body)
        reader = ChunkReader(chat.choices, lambda: f"call_{secrets.token_hex(12)}")
        events = EventReader()
        # Comments keep a connection open; only a piece of the answer is progress.
        deadline = Deadline(self.setting.timeout)
        with (
            Exchange(self.setting, request.path, body, cancelled, accept=EVENT_STREAM) as exchange,
            _told(exchange),
        ):
            self._check(exchange, exchange.head(), EVENT_STREAM)
            size = 0
            for data in exchange.chunks(deadline):
                size += len(data)
                if size > MAX_STREAM_BYTES:
                    raise exchange.failed(f"its stream is longer than {MAX_STREAM_BYTES} bytes")
                for event in events.feed(data):
                    if event.strip() == incoming.DONE:
                        yield reader.finish()
                        return
                    deltas = reader.feed(event)
                    if deltas:
                        deadline.move()
                    yield from deltas
            yield reader.finish()

    def count_tokens(self, chat: Chat, model: str, cancelled: Cancelled) -> int:
        """Tokens of the prompt that a conversation becomes there."""
        request = outgoing.counting(chat, self.setting.models[model], self.setting.kind)
        answer = self._ask(request.path, request.body, cancelled)
        return self._read(lambda: incoming.read_count(answer))

    def embed(
        self,
        model: str,
        inputs: Sequence[Input],
        options: Mapping[str, ParameterValue],
        cancelled: Cancelled,
        *,
        cuts: bool,
    ) -> Embeddings:
        theirs, kind = self.setting.models[model], self.setting.kind
        request = outgoing.embedding(theirs, inputs, cuts=cuts, kind=kind)
        body = {**request.body, **outgoing.load_options(options, kind)}
        answer = self._ask(request.path, body, cancelled)
        vectors, tokens = self._read(lambda: incoming.read_embeddings(answer, len(inputs)))
        return Embeddings(vectors, tokens)

    def rerank(
        self, model: str, query: str, documents: Sequence[str], cancelled: Cancelled
    ) -> Ranking:
        theirs = self.setting.models[model]
        body = {"model": theirs, "query": query, "documents": list(documents)}
        answer = self._ask("rerank", body, cancelled)
        scores, tokens = self._read(lambda: incoming.read_ranking(answer, len(documents)))
        return Ranking(scores, tokens)

    def tokenize(
        self, model: str, text: str, cancelled: Cancelled, *, special: bool, around: bool
    ) -> tuple[int, ...]:
        body = {"prompt": text, "add_special_tokens": around}
        if not special:
            if self.setting.kind != "transom":
                raise InvalidField("parse_special", f"{self.place} reads special tokens always")
            body["parse_special"] = False
        answer = self._beside("tokenize", model, body, cancelled)
        return self._read(lambda: incoming.read_tokens(answer))

    def detokenize(self, model: str, tokens: Sequence[int], cancelled: Cancelled) -> str:
        answer = self._beside("detokenize", model, {"tokens": list(tokens)}, cancelled)
        return self._read(lambda: incoming.read_detokenized(answer))

    def _beside(
        self, route: str, model: str, body: Mapping[str, Any], cancelled: Cancelled
    ) -> object:
        """A route that vLLM and Transom have beside `/v1`."""
        if self.setting.kind == "openai":
            raise InvalidField("model", f"{self.place} tells no tokens (its kind is openai)")
        theirs = self.setting.models[model]
        return self._ask(f"../{route}", {"model": theirs, **body}, cancelled)

    def _ask(self, path: str, body: Mapping[str, Any], cancelled: Cancelled) -> object:
        with Exchange(self.setting, path, outgoing.encoded(body), cancelled) as exchange:
            self._check(exchange, exchange.head(), "application/json")
            data = exchange.read(MAX_BODY_BYTES)
            with _told(exchange):
                return incoming.parse(data)

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except BadAnswer as error:
            raise UpstreamFailed(f"{self.place}: {error}") from None

    def _check(self, exchange: Exchange, head: Head, kind: str) -> None:
        """Raises what a status other than 200 means."""
        if head.status == 200:
            if head.kind != kind:
                raise exchange.failed(f"it answers with {head.kind or 'no type'!r:.80}, not {kind}")
            return
        data = exchange.read(MAX_ERROR_BYTES)
        why = f"{self.place}: {_said(head, data)}"
        if head.status in (429, 503):
            raise UpstreamBusy(why)
        if head.status not in _REFUSALS:
            raise UpstreamAnswered(why)
        body = _parsed(data)
        is_long = incoming.error_code(body) in _OVERFLOWS
        if is_long or any(words in why for words in _OVERFLOW_WORDS):
            raise ContextOverflow(why)
        error = body.get("error") if isinstance(body, dict) else None
        param = error.get("param") if isinstance(error, dict) else None
        raise InvalidField(param if isinstance(param, str) else None, why)


@contextmanager
def _told(exchange: Exchange) -> Generator[None, None, None]:
    """What its words show is its failure."""
    try:
        yield
    except BadAnswer as error:
        raise exchange.failed(str(error)) from None
    except ReportedError as error:
        raise UpstreamAnswered(str(exchange.failed(f"it failed: {error}"))) from None


def _said(head: Head, data: bytes) -> str:
    text = incoming.error_text(_parsed(data))
    if head.status in (301, 302, 303, 307, 308):
        return f"it answers {head.status}; give the address that it leads to"
    return f"it answers {head.status}" + (f": {text:.300}" if text else "")


def _parsed(data: bytes) -> object:
    try:
        return incoming.parse(data)
    except BadAnswer:
        return None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 500


def _find(listed: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """A row of its list; `smollm2` and `smollm2:latest` are one model of another Transom."""
    found = listed.get(name)
    if found is not None:
        return found
    try:
        wanted = ModelName.parse(name).folded
        return next((row for each, row in listed.items() if _folded(each) == wanted), None)
    except InvalidName:
        return None


def _folded(name: str) -> tuple[str, str, str, str] | None:
    try:
        return ModelName.parse(name).folded
    except InvalidName:
        return None
