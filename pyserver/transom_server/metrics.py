"""What the server counts, in Prometheus's text format: numbers, never words of a prompt.

Knows no HTTP and no engine. Threads may share it.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# From an answer out of a table to a long one out of a large model, in seconds.
BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0)

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counts since the server began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Labels] = Counter()
        self._tokens: Counter[Labels] = Counter()
        self._seconds: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An answer begins. `route` is the rule, not the address: there are few of them."""
        labels = (("method", method), ("route", route), ("status", str(status)))
        with self._lock:
            self._requests[labels] += 1
            counts = self._seconds.setdefault(route, [0] * (len(BUCKETS) + 1))
            place = next((i for i, edge in enumerate(BUCKETS) if seconds <= edge), len(BUCKETS))
            counts[place] += 1
            self._sums[route] = self._sums.get(route, 0.0) + seconds

    def tokens(self, read: int, written: int) -> None:
        """A model has answered."""
        with self._lock:
            self._tokens[(("kind", "prompt"),)] += read
            self._tokens[(("kind", "completion"),)] += written

    def drafts(self, guessed: int, right: int) -> None:
        """A draft model has guessed."""
        if guessed:
            with self._lock:
                self._tokens[(("kind", "drafted"),)] += guessed
                self._tokens[(("kind", "accepted"),)] += right

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """The page; `gauges` by name, with their help, are what is true now. One whose name ends
        with `_total` never falls."""
        lines: list[str] = []
        with self._lock:
            lines += _table("transom_requests_total", "Answers.", self._requests.items())
            lines += _table("transom_tokens_total", "Tokens of models.", self._tokens.items())
            name = "transom_request_seconds"
            lines += [
                f"# HELP {name} Until an answer begins, whole ones until they are made.",
                f"# TYPE {name} histogram",
            ]
            for route, counts in sorted(self._seconds.items()):
                total = 0
                for edge, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
                    total += count
                    labels = _shown((("le", edge), ("route", route)))
                    lines.append(f"{name}_bucket{labels} {total}")
                labels = _shown((("route", route),))
                lines += [f"{name}_sum{labels} {self._sums[route]:.6f}"]
                lines += [f"{name}_count{labels} {total}"]
        for name, (meaning, value) in gauges.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {value:g}"]
        return "\n".join(lines) + "\n"


def _table(name: str, meaning: str, rows: Iterable[tuple[Labels, int]]) -> list[str]:
    head = [f"# HELP {name} {meaning}", f"# TYPE {name} counter"]
    return head + [f"{name}{_shown(labels)} {value}" for labels, value in sorted(rows)]


def _shown(labels: Labels) -> str:
    def escaped(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{key}="{escaped(value)}"' for key, value in labels) + "}"
