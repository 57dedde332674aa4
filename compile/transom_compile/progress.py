"""How the walk tells what it is doing: phases, amounts and figures. Knows no terminal.

Two sides: a `Progress` (given by the caller, e.g. the rich bars of `cli.py`) hears of every step; a
`Phases` keeps wall seconds and peak memory per phase for the report.
"""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Hears of the walk. One step runs at a time; a new step ends the one before."""

    def step(self, name: str, total_bytes: int | None = None) -> None:
        """A phase begins; `total_bytes` when its size is known."""
        ...

    def advance(self, count: int) -> None:
        """`count` more bytes of the running step are done."""
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

    def note(self, text: str) -> None:
        del text


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """What one phase cost. `peak_rss_bytes` is the process's highest so far, at the phase's end."""

    name: str
    seconds: float
    peak_rss_bytes: int


class Phases:
    """Runs named phases and keeps their figures in order."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._figures: list[PhaseFigures] = []

    @property
    def figures(self) -> tuple[PhaseFigures, ...]:
        return tuple(self._figures)

    @contextmanager
    def run(self, name: str, total_bytes: int | None = None) -> Iterator[None]:
        self._progress.step(name, total_bytes)
        started = time.monotonic()
        yield
        self._figures.append(PhaseFigures(name, time.monotonic() - started, peak_rss_bytes()))


def peak_rss_bytes() -> int:
    """The most memory this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kibibytes, macOS bytes.
    return peak if sys.platform == "darwin" else peak * 1024
