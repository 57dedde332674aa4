"""All other servers: how they are, and whose turn it is.

A thread asks each now and then; who does not answer is asked more rarely, and gets no requests
until it does.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from transom_models.name import InvalidName, ModelName
from transom_server.upstream.server import Upstream
from transom_server.upstream.settings import UpstreamSetting


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A model of another server, as lists tell it. `since` is Unix seconds; `context_tokens` None:
    it does not say."""

    name: str
    place: str
    theirs: str
    since: float
    context_tokens: int | None
    is_well: bool


WELL_SECONDS: Final = 10.0
FIRST_RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 30.0


class Upstreams:
    """Threads may share it."""

    def __init__(self, settings: Sequence[UpstreamSetting]) -> None:
        """Begins to ask them how they are."""
        self.all = tuple(Upstream(setting) for setting in settings)
        self._begun = time.time()
        self._lock = threading.Lock()
        self._turns: dict[str, int] = {}
        self._closed = threading.Event()
        self._watchers = [
            threading.Thread(target=self._watch, args=(each,), name="upstream-health", daemon=True)
            for each in self.all
        ]
        for watcher in self._watchers:
            watcher.start()

    @property
    def closed(self) -> bool:
        """Whether the server ends."""
        return self._closed.is_set()

    def close(self) -> None:
        """Ask no more. Requests that run end with their clients, or as `closed` says."""
        self._closed.set()
        for each in self.all:
            each.looked.set()

    def states(self) -> dict[str, str]:
        """How each is, by its place, in a word."""
        return {each.place: "ok" if each.fault is None else "failing" for each in self.all}

    def figures(self) -> str:
        """Lines for Prometheus."""
        if not self.all:
            return ""
        lines = [
            "# HELP transom_upstream_up Whether another server is well.",
            "# TYPE transom_upstream_up gauge",
        ]
        lines += [
            f'transom_upstream_up{{upstream="{each.place}"}} {int(each.fault is None)}'
            for each in self.all
        ]
        lines += [
            "# HELP transom_upstream_requests_total Requests that another server was asked.",
            "# TYPE transom_upstream_requests_total counter",
        ]
        for each in self.all:
            for outcome in ("ok", "failed", "refused"):
                labels = f'upstream="{each.place}",outcome="{outcome}"'
                lines.append(f"transom_upstream_requests_total{{{labels}}} {each.counts[outcome]}")
        return "\n".join(lines) + "\n"

    @property
    def names(self) -> list[str]:
        """Our names of all their models."""
        return sorted({name for each in self.all for name in each.setting.models})

    def name_of(self, model: str) -> str | None:
        """The name by which the settings have a model; None when it is none of theirs."""
        try:
            wanted = ModelName.parse(model)
        except InvalidName:
            return None
        if wanted.digest is not None:
            return None
        folded = wanted.folded
        return next((name for name in self.names if ModelName.parse(name).folded == folded), None)

    def rows(self) -> list[Elsewhere]:
        """All their models, each once."""
        found = []
        for name in self.names:
            able = self.of(name)
            upstream = next((each for each in able if each.fault_of(name) is None), able[0])
            card = upstream.card(name)
            created, length = card.get("created"), card.get("max_model_len")
            found.append(
                Elsewhere(
                    name,
                    upstream.place,
                    upstream.setting.models[name],
                    float(created) if type(created) is int else self._begun,
                    length if type(length) is int else None,
                    upstream.fault_of(name) is None,
                )
            )
        return found

    def of(self, name: str) -> list[Upstream]:
        """Those that are to run a model, well or not."""
        return [each for each in self.all if name in each.setting.models]

    def well(self, name: str) -> Iterator[Upstream]:
        """Those that can run a model now, by turns: each request begins with another one."""
        able = self.of(name)
        with self._lock:
            turn = self._turns.get(name, 0)
            self._turns[name] = turn + 1
        for place in range(len(able)):
            upstream = able[(turn + place) % len(able)]
            if upstream.fault_of(name) is None:
                yield upstream

    def _watch(self, upstream: Upstream) -> None:
        wait = FIRST_RETRY_SECONDS
        while not self._closed.is_set():
            upstream.looked.clear()
            upstream.look()
            if upstream.fault is None:
                wait, pause = FIRST_RETRY_SECONDS, WELL_SECONDS
            else:
                pause, wait = wait, min(wait * 2, MAX_RETRY_SECONDS)
            begun = time.monotonic()
            upstream.looked.wait(pause)
            # However often requests fail, it is not asked more than once in this time.
            self._closed.wait(max(0.0, FIRST_RETRY_SECONDS - (time.monotonic() - begun)))
