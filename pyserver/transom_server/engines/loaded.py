"""Which models are loaded: on demand, as many requests at once as each takes, let go when unused.

Clients take turns, and each one's first request comes first, also when that means to load a model
otherwise. What has to go so that a model fits is `Budget`'s to say.

Knows when and in what order; how a model is loaded is the `LoadEngine` it is given. Must not know
HTTP, templates or the store.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic

from transom_api.engine import (
    Cancelled,
    Engine,
    EngineFailed,
    LoadEngine,
    LoadFailed,
    ModelFiles,
    RequestCancelled,
)
from transom_server.engines.budget import Budget
from transom_server.engines.loaded_model import (
    FOREVER_SECONDS,
    Entry,
    LoadedRow,
    ModelKey,
    Place,
    Tag,
)
from transom_server.engines.waiting import Overloaded, Ticket, WaitingLine
from transom_server.logs import event

# Memory is what limits them (`Budget`); each is a process with a dozen threads, too.
MAX_LOADED: Final = 16
# How often a wait looks whether anybody still waits for it.
POLL_SECONDS: Final = 0.1

ENDING: Final = "the server is ending; ask again in a moment"

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InUse:
    """A model that a request may use. `load_seconds` is 0 when it was loaded already;
    `cancelled` is the request's own, and says so too when the server ends."""

    engine: Engine
    load_seconds: float
    cancelled: Cancelled


class LoadedModels(Generic[Tag]):
    """All loaded models of a server. Threads may share it."""

    def __init__(
        self,
        load: LoadEngine,
        most: int = MAX_LOADED,
        budget: Budget | None = None,
        line: WaitingLine | None = None,
        *,
        needs: Callable[[ModelKey[Tag]], int] = lambda key: 0,
        client: Callable[[], str] = lambda: "",
    ) -> None:
        """`needs` says what a model will take, `client` who asks in this thread. Without a budget
        memory is not counted."""
        self._needs = needs
        self._client = client
        self._load = load
        self._most = most
        self._budget = Budget() if budget is None else budget
        self._line = WaitingLine() if line is None else line
        self._entries: dict[Place, Entry[Tag]] = {}
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        # For the reaper alone, which each request would wake otherwise.
        self._idle = threading.Condition(lock)
        self._closed = False
        self._running = self._broken = 0
        self._reaper: threading.Thread | None = None

    @contextmanager
    def use(
        self,
        key: ModelKey[Tag],
        files: Callable[[], ModelFiles],
        keep_seconds: float,
        cancelled: Cancelled,
        *,
        computes: bool = True,
    ) -> Iterator[InUse]:
        """The model for as long as the block runs, then for `keep_seconds` more.

        Waits for its turn among those of all clients, unless it `computes` nothing and the model
        is there. `files` is asked when it has to be loaded. Raises `EngineError`: `Overloaded`
        where too many wait, `NeverFits`; `RequestCancelled`.
        """
        place = int(computes)
        entry = self._take(key, place, cancelled)
        entry.keep_seconds = keep_seconds
        try:
            started = time.monotonic()
            loading = entry.engine is None
            ended = self._or_closed(cancelled)
            if entry.engine is None:
                try:
                    engine = self._load(files(), key.options, ended)
                except LoadFailed as error:
                    raise LoadFailed(
                        f"{key.name}: {error}; `transom verify {key.name}` tells whether its files "
                        "are whole"
                    ) from None
                with self._changed:
                    entry.engine = engine
                    self._changed.notify_all()
                seconds = round(time.monotonic() - started, 3)
                event(_LOG, logging.INFO, "model loaded", model=key.name, seconds=seconds)
            assert entry.engine is not None
            yield InUse(entry.engine, time.monotonic() - started if loading else 0.0, ended)
        except EngineFailed:
            if self._closed:  # it was us who ended it
                raise Overloaded(ENDING) from None
            raise
        finally:
            self._give_back(entry, place)

    def unload(self, name: str) -> bool:
        """Let go of a model now, or when its requests are done; whether it was loaded."""
        with self._changed:
            found = [entry for entry in self._entries.values() if entry.key.name == name]
            idle = [entry for entry in found if not entry.busy]
            for entry in found:
                entry.leave = True
            for entry in idle:
                del self._entries[entry.key.place]
            self._changed.notify_all()
        for entry in idle:
            entry.close()
        return bool(found)

    def rows(self) -> list[LoadedRow[Tag]]:
        """What is loaded now, the one that stays longest first."""
        with self._changed:
            entries = [entry for entry in self._entries.values() if entry.engine is not None]
        now, wall = time.monotonic(), time.time()
        rows = []
        for entry in entries:
            left = entry.keep_seconds if entry.busy else entry.deadline - now
            if self._budget.is_pinned(entry.key.name):
                left = FOREVER_SECONDS
            row = entry.row(wall + left)
            if row is not None:
                rows.append(row)
        return sorted(rows, key=lambda row: -row.expires)

    @property
    def running(self) -> int:
        """Requests that have a model, or load one."""
        with self._changed:
            return self._running

    @property
    def broken(self) -> int:
        """How often a loaded model was found to have ended by itself, since the start."""
        with self._changed:
            return self._broken

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        with self._changed:
            return len(self._line)

    @property
    def is_full(self) -> bool:
        """Whether one more would be turned away."""
        with self._changed:
            return self._line.is_full

    def close(self) -> None:
        """Let go of all, whatever they do; requests that wait or run end with an error."""
        with self._changed:
            self._closed = True
            # Those that load are let go by their own request, which is cancelled.
            entries = list(self._entries.values())
            self._changed.notify_all()
            self._idle.notify()
        for entry in entries:
            entry.close()
        if self._reaper is not None:
            self._reaper.join()

    def _take(self, key: ModelKey[Tag], place: int, cancelled: Cancelled) -> Entry[Tag]:
        """An entry that is loaded as `key` says, or this request's to load."""
        with self._changed:
            self._check(cancelled)
            entry = self._sound(key.place)
            if not place and entry is not None and entry.takes(key, place):
                return self._enter(entry, place)
            ticket = self._line.enter(self._client(), key.place, time.monotonic())
        try:
            return self._wait(key, place, cancelled, ticket)
        finally:
            with self._changed:
                self._line.leave(ticket)
                self._changed.notify_all()

    def _wait(
        self, key: ModelKey[Tag], place: int, cancelled: Cancelled, ticket: Ticket
    ) -> Entry[Tag]:
        needed: int | None = None
        while True:
            with self._changed:
                self._check(cancelled)
                self._line.check(ticket, time.monotonic())
                entry = self._sound(key.place)
                is_next = self._line.is_next(ticket)
                if is_next and entry is not None and entry.takes(key, place):
                    self._line.served(ticket)
                    return self._enter(entry, place)
                if not is_next or (entry is not None and entry.busy):
                    self._changed.wait(POLL_SECONDS)
                    continue
                leaving = None if needed is None else self._leaving(key, needed, entry, ticket)
                if needed is not None and leaving is None:
                    self._changed.wait(POLL_SECONDS)
                    continue
                if leaving is not None:
                    for unwanted in leaving:
                        del self._entries[unwanted.key.place]
                    entry = Entry(key, needed_bytes=needed or 0)
                    self._entries[key.place] = self._enter(entry, place)
                    self._line.served(ticket)
                    self._start_reaper()
            if leaving is None:
                # It reads a file, so not while others wait for the lock.
                needed = self._needs(key)
                continue
            for unwanted in leaving:
                unwanted.close()
            assert entry is not None
            return entry

    def _sound(self, place: Place) -> Entry[Tag] | None:
        """What is in a place. What broke there is in nobody's way: those who still have it only
        pass on the end of their answers, for as long as their clients take; the last closes it."""
        entry = self._entries.get(place)
        if entry is None or entry.engine is None or entry.alive():
            return entry
        self._drop_broken(entry)
        if not entry.busy:
            # It has ended, so this takes no time.
            entry.close()
        return None

    def _drop_broken(self, entry: Entry[Tag]) -> None:
        del self._entries[entry.key.place]
        self._broken += 1
        _LOG.error("%s has ended by itself; whoever asks for it next loads it", entry.key.name)

    def _leaving(
        self, key: ModelKey[Tag], needed: int, same: Entry[Tag] | None, ticket: Ticket
    ) -> list[Entry[Tag]] | None:
        """Models to let go of so that this one can be loaded, the one in its own place first; None:
        wait. Raises `NeverFits`."""
        ticket.wants_room = True
        others = [entry.held() for entry in self._entries.values() if entry is not same]
        leaving = self._budget.room(key.name, needed, others)
        if leaving is None or not self._line.may_make_room(ticket):
            return None
        if len(others) - len(leaving) >= self._most:
            rest = [held for held in others if held.item not in leaving]
            oldest = self._budget.oldest(rest)
            if oldest is None:
                return None
            leaving = [*leaving, oldest]
        return leaving if same is None else [same, *leaving]

    def _check(self, cancelled: Cancelled) -> None:
        if self._closed:
            raise Overloaded(ENDING)
        if cancelled():
            raise RequestCancelled("nobody waits for this answer any more")

    def _or_closed(self, cancelled: Cancelled) -> Cancelled:
        return lambda: self._closed or cancelled()

    def _enter(self, entry: Entry[Tag], place: int) -> Entry[Tag]:
        self._running += 1
        entry.users += 1
        entry.places += place
        return entry

    def _give_back(self, entry: Entry[Tag], place: int) -> None:
        with self._changed:
            entry.users -= 1
            self._running -= 1
            entry.places -= place
            entry.idle_since = time.monotonic()
            is_over = entry.keep_seconds <= 0 and not self._budget.is_pinned(entry.key.name)
            is_ours = self._entries.get(entry.key.place) is entry
            is_broken = entry.engine is not None and not (entry.alive() or self._closed)
            if is_ours and is_broken:
                self._drop_broken(entry)
                is_ours = False
            leaves = not entry.busy and (
                entry.leave or self._closed or is_over or not (is_ours and entry.alive())
            )
            if leaves and is_ours:
                del self._entries[entry.key.place]
            self._changed.notify_all()
            self._idle.notify()
        if leaves:
            entry.close()

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
                idle = [
                    entry
                    for entry in self._entries.values()
                    if not (entry.busy or self._budget.is_pinned(entry.key.name))
                ]
                over = [entry for entry in idle if entry.deadline <= time.monotonic()]
                for entry in over:
                    del self._entries[entry.key.place]
                if not over:
                    waits = [entry.deadline - time.monotonic() for entry in idle]
                    # The longest wait that every system takes.
                    self._idle.wait(min([*waits, threading.TIMEOUT_MAX / 2]))
                    continue
                self._changed.notify_all()
            for entry in over:
                entry.close()
