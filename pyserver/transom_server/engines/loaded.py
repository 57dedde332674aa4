"""Which models are loaded: on demand, one request at a time each, let go when unused.

Knows when and in what order; how a model is loaded is the `LoadEngine` it is given. Must not know
HTTP, templates or the store.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from transom_api.engine import (
    Cancelled,
    Engine,
    EngineError,
    LoadEngine,
    LoadOptions,
    ModelFiles,
    RequestCancelled,
)
from transom_models.digest import Digest

# Ollama's for one device. Memory is not counted yet, so it is few.
MAX_LOADED: Final = 3
# How often a wait looks whether anybody still waits for it.
POLL_SECONDS: Final = 0.1
# Ollama's "for ever": Go's longest duration.
FOREVER_SECONDS: Final = 2**63 / 1e9

Tag = TypeVar("Tag")


@dataclass(frozen=True, slots=True)
class ModelKey(Generic[Tag]):
    """A model to load. `tag` is what the caller calls it, and is told again in `rows`."""

    name: str
    digest: Digest
    options: LoadOptions
    tag: Tag = field(compare=False)


@dataclass(frozen=True, slots=True)
class LoadedRow(Generic[Tag]):
    """A loaded model. `expires` is Unix seconds, `resident_bytes` its memory now."""

    key: ModelKey[Tag]
    resident_bytes: int
    context_tokens: int
    expires: float


@dataclass(slots=True)
class _Entry(Generic[Tag]):
    """`engine` is None while it loads; `busy` while a request has it, loading included."""

    key: ModelKey[Tag]
    engine: Engine | None = None
    busy: bool = True
    keep_seconds: float = 0.0
    idle_since: float = 0.0
    """Monotonic seconds."""
    leave: bool = False
    """Let go as soon as it is not busy."""

    @property
    def deadline(self) -> float:
        return self.idle_since + self.keep_seconds


@dataclass(frozen=True, slots=True)
class InUse:
    """A model that one request has for itself. `load_seconds` is 0 when it was loaded already;
    `cancelled` is the request's own, and says so too when the server ends."""

    engine: Engine
    load_seconds: float
    cancelled: Cancelled


class LoadedModels(Generic[Tag]):
    """All loaded models of a server. Threads may share it."""

    def __init__(self, load: LoadEngine, most: int = MAX_LOADED) -> None:
        self._load = load
        self._most = most
        self._entries: dict[str, _Entry[Tag]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._reaper: threading.Thread | None = None

    @contextmanager
    def use(
        self,
        key: ModelKey[Tag],
        files: Callable[[], ModelFiles],
        keep_seconds: float,
        cancelled: Cancelled,
    ) -> Iterator[InUse]:
        """The model for as long as the block runs, then for `keep_seconds` more.

        Waits for whoever has it. `files` is asked when it has to be loaded. Raises `EngineError`,
        `RequestCancelled`.
        """
        entry = self._take(key, cancelled)
        entry.keep_seconds = keep_seconds
        try:
            started = time.monotonic()
            loading = entry.engine is None
            ended = self._or_closed(cancelled)
            if entry.engine is None:
                entry.engine = self._load(files(), key.options, ended)
            yield InUse(entry.engine, time.monotonic() - started if loading else 0.0, ended)
        finally:
            self._give_back(entry)

    def unload(self, name: str) -> bool:
        """Let go of a model now, or when its request is done; whether it was loaded."""
        with self._changed:
            entry = self._entries.get(name)
            if entry is None:
                return False
            if entry.busy:
                entry.leave = True
                return True
            del self._entries[name]
            self._changed.notify_all()
        _close(entry)
        return True

    def rows(self) -> list[LoadedRow[Tag]]:
        """What is loaded now, the one that stays longest first."""
        with self._changed:
            entries = [entry for entry in self._entries.values() if entry.engine is not None]
        now, wall = time.monotonic(), time.time()
        rows = []
        for entry in entries:
            engine = entry.engine
            if engine is not None and engine.alive():
                left = entry.keep_seconds if entry.busy else entry.deadline - now
                rows.append(
                    LoadedRow(
                        entry.key, engine.resident_bytes(), engine.facts.context_tokens, wall + left
                    )
                )
        return sorted(rows, key=lambda row: -row.expires)

    def close(self) -> None:
        """Let go of all, whatever they do; requests that wait or run end with an error."""
        with self._changed:
            self._closed = True
            # Those that load are let go by their own request, which is cancelled.
            entries = list(self._entries.values())
            self._changed.notify_all()
        for entry in entries:
            _close(entry)
        if self._reaper is not None:
            self._reaper.join()

    def _take(self, key: ModelKey[Tag], cancelled: Cancelled) -> _Entry[Tag]:
        """This request's own entry, loaded as `key` says or yet to be loaded."""
        while True:
            unwanted: _Entry[Tag] | None
            with self._changed:
                self._check(cancelled)
                entry = self._entries.get(key.name)
                if entry is not None and entry.busy:
                    self._changed.wait(POLL_SECONDS)
                    continue
                if entry is not None and entry.key == key and _alive(entry):
                    entry.busy = True
                    return entry
                unwanted = entry or self._surplus()
                if unwanted is None and len(self._entries) >= self._most:
                    self._changed.wait(POLL_SECONDS)
                    continue
                if unwanted is not None:
                    del self._entries[unwanted.key.name]
                entry = self._entries[key.name] = _Entry(key)
                self._start_reaper()
            if unwanted is not None:
                _close(unwanted)
            return entry

    def _check(self, cancelled: Cancelled) -> None:
        if self._closed:
            raise EngineError("the server is ending")
        if cancelled():
            raise RequestCancelled("nobody waits for this answer any more")

    def _or_closed(self, cancelled: Cancelled) -> Cancelled:
        return lambda: self._closed or cancelled()

    def _surplus(self) -> _Entry[Tag] | None:
        """The model to let go of so that another one fits: of those not in use, the one unused
        longest."""
        if len(self._entries) < self._most:
            return None
        idle = [entry for entry in self._entries.values() if not entry.busy]
        return min(idle, key=lambda entry: entry.idle_since, default=None)

    def _give_back(self, entry: _Entry[Tag]) -> None:
        with self._changed:
            entry.busy = False
            entry.idle_since = time.monotonic()
            leaves = entry.leave or self._closed or entry.keep_seconds <= 0 or not _alive(entry)
            if leaves:
                self._entries.pop(entry.key.name, None)
            self._changed.notify_all()
        if leaves:
            _close(entry)

    def _start_reaper(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Thread(target=self._reap, name="unused-models", daemon=True)
            self._reaper.start()

    def _reap(self) -> None:
        """Let go of models whose time is over, until `close`."""
        while True:
            with self._changed:
                if self._closed:
                    return
                idle = [entry for entry in self._entries.values() if not entry.busy]
                over = [entry for entry in idle if entry.deadline <= time.monotonic()]
                for entry in over:
                    del self._entries[entry.key.name]
                if not over:
                    waits = [entry.deadline - time.monotonic() for entry in idle]
                    # The longest wait that every system takes.
                    self._changed.wait(min([*waits, threading.TIMEOUT_MAX / 2]))
                    continue
                self._changed.notify_all()
            for entry in over:
                _close(entry)


def _alive(entry: _Entry[Tag]) -> bool:
    return entry.engine is not None and entry.engine.alive()


def _close(entry: _Entry[Tag]) -> None:
    if entry.engine is not None:
        entry.engine.close()
