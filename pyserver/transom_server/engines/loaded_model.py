"""One model that is loaded, or being loaded: what it was loaded as, who has it, what it holds.

Its owner (`loaded.py`) says when it comes and goes, under its own lock. Must not know the others.
"""

import logging
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from transom_api.engine import Engine, LoadOptions, Task
from transom_models.digest import Digest
from transom_server.engines.budget import Held
from transom_server.logs import event

# Ollama's "for ever": Go's longest duration.
FOREVER_SECONDS: Final = 2**63 / 1e9

# Its lines are those of `loaded.py`, for whoever reads the log.
_LOG = logging.getLogger("transom_server.engines.loaded")

Tag = TypeVar("Tag")
# A model that answers and embeds is loaded for either.
Place = tuple[str, Task]


@dataclass(frozen=True, slots=True)
class ModelKey(Generic[Tag]):
    """A model to load. `tag` is what the caller calls it, and is told again in `rows`."""

    name: str
    digest: Digest
    options: LoadOptions
    tag: Tag = field(compare=False)

    @property
    def place(self) -> tuple[str, Task]:
        return self.name, self.options.task


@dataclass(frozen=True, slots=True)
class LoadedRow(Generic[Tag]):
    """A loaded model. `expires` is Unix seconds, `resident_bytes` its memory now, `gpu_bytes` that
    of graphics cards beside it."""

    key: ModelKey[Tag]
    resident_bytes: int
    gpu_bytes: int
    context_tokens: int
    expires: float


@dataclass(slots=True)
class Entry(Generic[Tag]):
    """`engine` is None while it loads."""

    key: ModelKey[Tag]
    engine: Engine | None = None
    users: int = 0
    """Requests that have it, the one that loads it included."""
    places: int = 0
    """Of them, those that have it compute."""
    keep_seconds: float = 0.0
    idle_since: float = 0.0
    """Monotonic seconds."""
    leave: bool = False
    """Let go as soon as it is not busy."""
    needed_bytes: int = 0
    """What it was said to take, before it was loaded."""

    @property
    def busy(self) -> bool:
        return self.users > 0

    def takes(self, key: ModelKey[Tag], place: int) -> bool:
        """Whether another request may have it as it is."""
        return (
            self.engine is not None
            and self.key == key
            and not self.leave
            and self.engine.alive()
            and self.places + place <= self.engine.facts.parallel
        )

    @property
    def deadline(self) -> float:
        return self.idle_since + self.keep_seconds

    def alive(self) -> bool:
        """Whether it is loaded, and can still answer."""
        return self.engine is not None and self.engine.alive()

    def close(self) -> None:
        """Let go of what it has; twice is once."""
        if self.engine is not None:
            if self.engine.alive():
                event(_LOG, logging.INFO, "model let go", model=self.key.name)
            self.engine.close()

    def row(self, expires: float) -> LoadedRow[Tag] | None:
        """As it is told of; None: it is not loaded, or has ended."""
        engine = self.engine
        if engine is None or not engine.alive():
            return None
        return LoadedRow(
            key=self.key,
            resident_bytes=engine.resident_bytes(),
            gpu_bytes=engine.facts.gpu_bytes,
            context_tokens=engine.facts.context_tokens,
            expires=expires,
        )

    def held(self) -> "Held[Entry[Tag]]":
        """As the budget counts it."""
        now = 0 if self.engine is None else self.engine.resident_bytes()
        return Held(
            self,
            self.key.name,
            max(now, self.needed_bytes) if self.needed_bytes else 0,
            self.busy,
            self.idle_since,
            self.keep_seconds >= FOREVER_SECONDS,
        )
