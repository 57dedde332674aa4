"""Threads beside the walk: NumPy, hashing and files let go of Python's lock, so more cores help.

Knows nothing of what it runs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from transom_models.digest import Digest, Hasher

# A piece of a file between two looks at whether anybody still waits for its digest.
HASH_PIECE_BYTES = 4 * 1024 * 1024
# One hashes the checkpoint, one repacks; the walk's own thread writes.
THREADS = 2

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")


class Background:
    """Threads for the length of a block; `stopped` is set at its end, for those that still run."""

    def __init__(self) -> None:
        self.stopped = Event()
        self._threads = ThreadPoolExecutor(THREADS)

    def submit(self, deed: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        return self._threads.submit(deed, *args, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopped.set()
        self._threads.shutdown(cancel_futures=True)


def one_ahead(
    background: Background, deed: Callable[[Item], T], items: Sequence[Item]
) -> Iterator[tuple[Item, T]]:
    """`deed` of each item, in order; the next one's is under way while the caller uses this one."""
    coming = background.submit(deed, items[0]) if items else None
    for number, item in enumerate(items):
        assert coming is not None
        result = coming.result()
        if number + 1 < len(items):
            coming = background.submit(deed, items[number + 1])
        yield item, result


def hash_file(path: Path, stopped: Event) -> Digest:
    """The digest of a file, unless `stopped` comes first; then it is of what was read."""
    hasher = Hasher()
    with path.open("rb") as file:
        while not stopped.is_set() and (piece := file.read(HASH_PIECE_BYTES)):
            hasher.update(piece)
    return hasher.digest()
