"""`transom compile --json`: one JSON object a line, while it works and at the end.

The events are `docs/formats/events.md`: `phase`, `progress`, `items`, `note`, then one last line,
`report`, `plan` or `error`. Knows no terminal and no step of the walk.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from transom_compile.progress import Pace

# Often enough for a bar that moves, seldom enough that a reader in Python keeps up.
PROGRESS_SECONDS = 0.25


class Events:
    """A `Progress` that writes lines. `write` takes one whole line without its end."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._lock = threading.Lock()
        self._phase = ""
        self._pace: Pace | None = None
        self._told_at = 0.0
        self._told_bytes = 0

    def step(self, name: str, total_bytes: int | None = None) -> None:
        with self._lock:
            self._finish()
            now = self._clock()
            self._phase, self._pace = name, Pace(total_bytes, now)
            self._told_at, self._told_bytes = now, 0
            self._line("phase", total_bytes=total_bytes)

    def advance(self, count: int) -> None:
        with self._lock:
            if self._pace is None:
                return
            self._pace.advance(count)
            if self._clock() - self._told_at >= PROGRESS_SECONDS:
                self._tell()

    def items(self, done: int, total: int) -> None:
        with self._lock:
            self._line("items", done=done, total=total)

    def note(self, text: str) -> None:
        with self._lock:
            self._line("note", text=text)

    def end(self, event: str, body: Mapping[str, Any]) -> None:
        """The last line: "report", "plan" or "error"."""
        with self._lock:
            self._finish()
            self._write(json.dumps({"event": event, **body}, ensure_ascii=False))

    def _finish(self) -> None:
        """A step that moved says how far it came, whatever the throttle held back."""
        if self._pace is not None and self._pace.done > self._told_bytes:
            self._tell()
        self._pace = None

    def _tell(self) -> None:
        assert self._pace is not None
        now = self._clock()
        rate, left = self._pace.rate(now), self._pace.seconds_left(now)
        self._told_at, self._told_bytes = now, self._pace.done
        self._line(
            "progress",
            done_bytes=self._pace.done,
            total_bytes=self._pace.total,
            bytes_per_second=None if rate is None else round(rate),
            seconds_left=None if left is None else round(left, 1),
        )

    def _line(self, event: str, **body: Any) -> None:
        line = {"event": event, "phase": self._phase, **body}
        self._write(json.dumps(line, ensure_ascii=False))
