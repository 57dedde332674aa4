"""Whether llama.cpp's process still answers while somebody waits for it; it is ended when not.

A process that died is noticed by its sockets. One that hangs (stopped, deadlocked, swapped out for
good) would keep everybody waiting, so those who wait have it asked now and then. Its web server
answers also while the model computes. Must not know requests.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from transom_api.engine import Cancelled

# Between two looks; an answer costs a process that is well nothing.
LOOK_SECONDS: Final = 10.0
# One that is well answers at once, whatever it computes; this is for a machine that swaps.
PATIENCE_SECONDS: Final = 60.0

# A step of an answer takes a slow machine seconds, a piece of a long prompt some minutes, and both
# are told. A grammar with ever more ways to go on takes for ever, and all other answers with it.
GRAMMAR_PATIENCE_SECONDS: Final = 300.0


class GrammarWatch:
    """Over one answer that is held to a grammar: between two of its steps the process computes for
    nobody else, and cannot be stopped. One that has gone too far is ended."""

    def __init__(self, end: Callable[[str], None]) -> None:
        self._end = end
        self._heard = time.monotonic()
        self._is_gone = self._may_go = False

    def heard(self) -> None:
        """A step came, or a piece of the prompt is read."""
        self._heard = time.monotonic()
        self._may_go = self._is_gone

    def over(self, cancelled: Cancelled) -> Cancelled:
        """`cancelled`, but not before the step that is computed has come: else nobody would learn
        that it never does."""

        def looked() -> bool:
            if time.monotonic() - self._heard > GRAMMAR_PATIENCE_SECONDS:
                self._end("took too long over a grammar and was ended")
                return False
            self._is_gone = self._is_gone or cancelled()
            return self._may_go

        return looked


class Watch:
    """Over one process. Threads may share it; it has one of its own only while it asks."""

    def __init__(self, responds: Callable[[float], bool], end: Callable[[str], None]) -> None:
        """`responds` asks and waits for at most so many seconds; `end` ends the process, and is
        told what others are to be told."""
        self._responds = responds
        self._end = end
        self._lock = threading.Lock()
        self._next = time.monotonic() + LOOK_SECONDS

    def over(self, cancelled: Cancelled) -> Cancelled:
        """`cancelled`, and a look at the process now and then as it is asked."""

        def looked() -> bool:
            self._look()
            return cancelled()

        return looked

    def _look(self) -> None:
        if time.monotonic() < self._next or not self._lock.acquire(blocking=False):
            return
        try:
            self._next = time.monotonic() + PATIENCE_SECONDS + LOOK_SECONDS
            threading.Thread(target=self._ask, name="llama-cpp-watch", daemon=True).start()
        finally:
            self._lock.release()

    def _ask(self) -> None:
        if self._responds(PATIENCE_SECONDS):
            self._next = time.monotonic() + LOOK_SECONDS
        else:
            self._end(f"did not answer for {PATIENCE_SECONDS:g} seconds and was ended")
