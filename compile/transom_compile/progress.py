"""How the walk tells what it is doing: phases, amounts and figures. Knows no terminal.

Two sides: a `Progress` (given by the caller, e.g. the rich bars of `bars.py`) hears of every
step; a `Phases` keeps wall seconds and peak memory per phase for the report.
"""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """Hears of the walk. One step runs at a time; a new step ends the one before.

    May be called from any thread, by one thread at a time per step.
    """

    def step(self, name: str, total_bytes: int | None = None) -> None:
        """A phase begins; `total_bytes` when its size is known."""
        ...

    def advance(self, count: int) -> None:
        """`count` more bytes of the running step are done."""
        ...

    def items(self, done: int, total: int) -> None:
        """The running step makes `total` things (not bytes), and `done` of them are made."""
        ...

    def note(self, text: str) -> None:
        """What the running step is doing now (a name, a compiler phase)."""
        ...


class Silent:
    """A `Progress` that nobody watches."""

    def step(self, name: str, total_bytes: int | None = None) -> None:
        del name, total_bytes

    def advance(self, count: int) -> None:
        del count

    def items(self, done: int, total: int) -> None:
        del done, total

    def note(self, text: str) -> None:
        del text


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """What one phase cost. `peak_rss_bytes` is this process's highest so far, at the phase's end;
    compilers run in processes of their own (`LibraryFigures`)."""

    name: str
    seconds: float
    peak_rss_bytes: int


class Phases:
    """Runs named phases and keeps their figures in order."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._figures: list[PhaseFigures] = []

    @property
    def figures(self) -> tuple[PhaseFigures, ...]:
        return tuple(self._figures)

    @contextmanager
    def run(self, name: str, total_bytes: int | None = None) -> Iterator[None]:
        self.progress.step(name, total_bytes)
        started = time.monotonic()
        yield
        self._figures.append(PhaseFigures(name, time.monotonic() - started, peak_rss_bytes()))


class Pace:
    """Bytes done of one step, and what follows from them. `now` in seconds of any clock."""

    def __init__(self, total: int | None, now: float) -> None:
        self.total = total
        self.done = 0
        self._started = now

    def advance(self, count: int) -> None:
        self.done += count

    def rate(self, now: float) -> float | None:
        """Bytes a second since the step began; None before there is anything to tell."""
        elapsed = now - self._started
        return self.done / elapsed if self.done and elapsed > 0 else None

    def seconds_left(self, now: float) -> float | None:
        """None where the total is not known."""
        rate = self.rate(now)
        if rate is None or self.total is None:
            return None
        return max(0, self.total - self.done) / rate


def peak_rss_bytes() -> int:
    """The most memory this process has held at once.

    Not `ru_maxrss` on Linux: a child starts with its parent's figure there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes
