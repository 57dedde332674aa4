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

# A step of an answer takes a slow machine seconds. A grammar that reads the same text in ever more
# ways takes for ever, and all other answers of its model with it.
GRAMMAR_STEP_SECONDS: Final = 30.0
# A step that also reads a piece of a prompt (2,048 tokens), its own or another's.
PROMPT_STEP_SECONDS: Final = 300.0
# A prompt that came so soon after a step may be read with the next one; later ones wait for it.
SOON_SECONDS: Final = 5.0


class Prompts:
    """Those that one process has yet to read. Threads may share it."""

    def __init__(self) -> None:
        self._since: dict[object, float] = {}
        self._lock = threading.Lock()

    def begin(self) -> object:
        """One is sent; gives what `end` is to be told."""
        prompt = object()
        with self._lock:
            self._since[prompt] = time.monotonic()
        return prompt

    def end(self, prompt: object) -> None:
        """It is read, or will not be. Twice is once."""
        with self._lock:
            self._since.pop(prompt, None)

    def came_before(self, moment: float) -> bool:
        """Whether one that is not read came before so many monotonic seconds."""
        with self._lock:
            return any(since < moment for since in self._since.values())


class GrammarWatch:
    """Over one answer that is held to a grammar: between two of its steps the process computes for
    nobody else, and cannot be stopped. One that has gone too far is ended."""

    def __init__(self, end: Callable[[str], None], prompts: Prompts) -> None:
        self._end = end
        self._prompts = prompts
        self._heard = time.monotonic()
        self._is_gone = self._may_go = False
        self.has_ended = False
        """No step came in time, and the process was ended."""

    def heard(self) -> None:
        """A step came, or a piece of the prompt is read."""
        self._heard = time.monotonic()
        self._may_go = self._is_gone

    def over(self, cancelled: Cancelled) -> Cancelled:
        """`cancelled`, but not before the step that is computed has come: else nobody would learn
        that it never does."""

        def looked() -> bool:
            if time.monotonic() - self._heard > self._patience():
                self.has_ended = True
                self._end("took too long over a grammar and was ended")
                return False
            self._is_gone = self._is_gone or cancelled()
            return self._may_go

        return looked

    def _patience(self) -> float:
        reads = self._prompts.came_before(self._heard + SOON_SECONDS)
        return PROMPT_STEP_SECONDS if reads else GRAMMAR_STEP_SECONDS


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
