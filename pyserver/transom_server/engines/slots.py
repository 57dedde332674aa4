"""Which request has which of a child's slots, each with a context for itself.

A slot keeps the last conversation that it went through, so a request gets the one that remembers
most of its prompt. llama.cpp's log is the only place that tells when a slot really begins and ends
a request: `hear` reads it. Must not know requests, HTTP or processes.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from transom_api.engine import Cancelled, RequestCancelled

# How often a wait looks whether anybody still waits for it.
POLL_SECONDS: Final = 0.1
# Whether llama.cpp took up a request that its client left at once, nobody knows for so long: it
# looks at its connections once a second.
UNSURE_SECONDS: Final = 2.0
# What a prompt shares with the last one of a slot is worth that slot from this part on, as
# llama.cpp has it: less would cost another conversation its memory.
LEAST_SHARED: Final = 0.1
MAX_PARALLEL: Final = 4
# Four slots of the default context (4096); keys and values of larger ones cost memory that nobody
# asked for.
MAX_TOKENS: Final = MAX_PARALLEL * 4096

# llama.cpp answers without a schema that it cannot compile, and only its log tells, just before the
# slot begins.
_FAULT: Final = "llg error: "
_BEGINS: Final = re.compile(r" launch_slot_: id +(\d+) \| .* is_child = (\d)")
_ENDS: Final = re.compile(r" release: id +(\d+) ")


def parallel_for(context_tokens: int) -> int:
    """How many requests at once a model with this context takes, if nobody says."""
    return max(1, min(MAX_PARALLEL, MAX_TOKENS // context_tokens))


@dataclass(slots=True, eq=False)
class Slot:
    """One place for a request."""

    number: int
    prompt: str = ""
    """What it went through last."""
    used: int = 0
    leased: bool = False
    begun: bool = False
    """The log has said that llama.cpp began its request, …"""
    ended: bool = False
    """… and that it ended it."""
    fault: str | None = None
    """Why the schema of its request was passed over."""
    late_begins: int = 0
    late_ends: int = 0
    """Lines of the log that are yet to come about requests whose last word has come already."""
    guest: bool = False
    """llama.cpp put a further choice of another slot's request here."""
    unsure_until: float = 0.0
    """Monotonic seconds until which a request that was let go of may still begin."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Slots of one request: `first` is where it goes, the others are for its further choices."""

    slots: tuple[Slot, ...]

    @property
    def first(self) -> Slot:
        return self.slots[0]


class Slots:
    """Threads may share it; whoever comes first is served first."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()
        self._clock = 0
        self._fault: str | None = None
        self._over = False

    def take(self, prompt: str, count: int, cancelled: Cancelled) -> Lease:
        """Slots for a request. Raises `RequestCancelled`."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while not (self._queue[0] is ticket and len(self._free()) >= count):
                    if cancelled():
                        raise RequestCancelled("nobody waits for this answer any more")
                    self._changed.wait(POLL_SECONDS)
                return Lease(self._choose(prompt, count))
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def give_back(self, lease: Lease, *, refused: bool = False, finished: bool = False) -> None:
        """The request is over. `refused`: llama.cpp never took it up, and said so; `finished`: it
        said its last word, so that the slot is free although the log is late."""
        with self._changed:
            for slot in lease.slots:
                slot.leased = False
            first = lease.first
            if refused and not first.begun:
                first.ended = True
            if finished and not first.ended:
                first.late_begins += not first.begun
                first.late_ends += 1
                first.ended = True
            first.unsure_until = time.monotonic() + UNSURE_SECONDS
            self._changed.notify_all()

    def fault(self, lease: Lease, patience: float) -> str | None:
        """Why the schema of this request, which has begun, was passed over; None: it was not.
        Raises `TimeoutError` when the log does not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: lease.first.begun or self._over, patience):
                raise TimeoutError
            return lease.first.fault

    def hear(self, line: str) -> None:
        """A line of llama.cpp's log; an empty one is its end."""
        if not line:
            with self._changed:
                self._over = True
                self._changed.notify_all()
        elif _FAULT in line:
            self._fault = line.partition(_FAULT)[2]
        elif match := _BEGINS.search(line):
            with self._changed:
                slot = self._slots[int(match[1])]
                if match[2] == "1":
                    slot.guest = True
                elif slot.late_begins:
                    slot.late_begins -= 1
                else:
                    slot.begun, slot.fault = True, self._fault
                self._fault = None
                self._changed.notify_all()
        elif match := _ENDS.search(line):
            with self._changed:
                slot = self._slots[int(match[1])]
                if slot.late_ends:
                    slot.late_ends -= 1
                elif slot.guest:
                    slot.guest = False
                elif slot.begun:
                    slot.ended = True
                self._changed.notify_all()

    def _free(self) -> list[Slot]:
        now = time.monotonic()
        return [
            slot
            for slot in self._slots
            if not slot.leased
            and (
                self._over
                or slot.used == 0
                or slot.ended
                or (not slot.begun and slot.unsure_until < now)
            )
            and (self._over or not slot.guest)
        ]

    def _choose(self, prompt: str, count: int) -> tuple[Slot, ...]:
        free = self._free()
        best = max(free, key=lambda slot: shared_chars(slot.prompt, prompt))
        oldest = sorted(free, key=lambda slot: slot.used)
        is_worth_it = shared_chars(best.prompt, prompt) > LEAST_SHARED * len(prompt)
        first = best if is_worth_it else oldest[0]
        others = [slot for slot in oldest if slot is not first][: count - 1]
        self._clock += 1
        for slot in (first, *others):
            slot.leased, slot.used, slot.prompt = True, self._clock, prompt
            slot.begun, slot.ended, slot.fault = False, False, None
        for slot in others:
            # Its own log lines are those of a guest, if any come.
            slot.ended = True
        return (first, *others)


def shared_chars(one: Sequence[str], other: Sequence[str]) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
