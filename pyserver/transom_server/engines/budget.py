"""Which loaded models have to go so that another one fits into memory, or that it never will.

Knows sizes and times, and no engine, no thread, no store.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from transom_api.engine import EngineError

# The rest is for the system, this server and what else runs here.
MACHINE_SHARE: Final = 0.8
# Where the system does not say how much it has.
UNKNOWN_MACHINE_BYTES: Final = 8 * 2**30

UNLIMITED_BYTES: Final = 2**63

Item = TypeVar("Item")


class NeverFits(EngineError):
    """The model needs more memory than models may take, whatever else is let go of."""


@dataclass(frozen=True, slots=True)
class Held(Generic[Item]):
    """A loaded model. `stays`: it was asked to stay for ever, so others go first."""

    item: Item
    name: str
    held_bytes: int
    is_busy: bool
    idle_since: float
    stays: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that all loaded models may take. Those whose name is `pinned` are never let go of."""

    total: int = UNLIMITED_BYTES
    pinned: frozenset[str] = frozenset()

    def is_pinned(self, name: str) -> bool:
        return name in self.pinned

    def room(self, name: str, needed: int, loaded: Sequence[Held[Item]]) -> list[Item] | None:
        """What to let go of so that `needed` bytes fit; None: wait until something is idle.

        Of those not in use the one unused longest goes first. Raises `NeverFits`.
        """
        fixed = sum(held.held_bytes for held in loaded if self.is_pinned(held.name))
        if needed > self.total - fixed:
            raise NeverFits(self._never(name, needed, fixed))
        over = needed + sum(held.held_bytes for held in loaded) - self.total
        leaving = []
        for held in sorted(self._idle(loaded), key=lambda held: (held.stays, held.idle_since)):
            if over <= 0:
                break
            over -= held.held_bytes
            leaving.append(held.item)
        return leaving if over <= 0 else None

    def oldest(self, loaded: Sequence[Held[Item]]) -> Item | None:
        """The one to let go of where there are too many, whatever they take."""
        idle = self._idle(loaded)
        oldest = min(idle, key=lambda held: (held.stays, held.idle_since), default=None)
        return None if oldest is None else oldest.item

    def _idle(self, loaded: Iterable[Held[Item]]) -> list[Held[Item]]:
        return [held for held in loaded if not (held.is_busy or self.is_pinned(held.name))]

    def _never(self, name: str, needed: int, fixed: int) -> str:
        beside = f", of which pinned models hold {gigabytes(fixed)}" if fixed else ""
        return (
            f"{name} needs about {gigabytes(needed)} of memory as it is asked for, and models may "
            f"take {gigabytes(self.total)} (TRANSOM_MEMORY){beside}; ask with a smaller num_ctx, "
            "keep keys and values as q8_0, or take a smaller quantization"
        )


def gigabytes(count: int) -> str:
    """A size for people."""
    return f"{count / 1e9:.2f} GB"


def machine_bytes(root: Path = Path("/")) -> int:
    """Memory that this process may use: the machine's, or its control group's where it is less."""
    limits = [_total(root), *_group_limits(root)]
    return min([limit for limit in limits if limit], default=UNKNOWN_MACHINE_BYTES)


def default_total() -> int:
    """What models may take unless somebody says it."""
    return int(machine_bytes() * MACHINE_SHARE)


def free_bytes(root: Path = Path("/")) -> int | None:
    """Memory that nobody uses now, or could be asked back at once; None where nobody says."""
    free = _meminfo(root, "MemAvailable")
    return min(free, machine_bytes(root)) if free else None


def _meminfo(root: Path, name: str) -> int:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _total(root: Path) -> int:
    if total := _meminfo(root, "MemTotal"):
        return total
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # a system without these names
        return 0


def _group_limits(root: Path) -> Iterable[int]:
    """Limits of the process's group and of all above it, of both versions of control groups."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for count in range(len(parts) + 1):
            text = _read(base.joinpath(*parts[:count], name)).strip()
            if text.isdigit():  # else "max", or no such file
                yield int(text)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
