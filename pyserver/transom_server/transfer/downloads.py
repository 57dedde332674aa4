"""Many files at once over a few connections: whose piece is next, and what is done with the whole.

Large files are cut into pieces that any connection takes; a file that another process has in hand
is waited for. Each finished file becomes a blob of the store. Knows no registry and no manifest.
"""

import shutil
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from transom_models.digest import Digest
from transom_server.store import Lease, NoRoom, Store
from transom_server.store.scratch import DOWNLOADS
from transom_server.transfer.fetching import Fetching, HostHasNoRanges, Wanted
from transom_server.transfer.http_client import HttpClient
from transom_server.transfer.pieces import DamagedPiece, PieceFile, open_pieces
from transom_server.transfer.status import Report, Status, TransferOptions, pulling

# How often to look whether another process is done with a file.
_BUSY_SECONDS: Final = 0.2
# No eye and no log wants to be told more often.
_REPORT_SECONDS: Final = 0.1
# Left free on the disk: tags, journals, and whatever else writes there.
_SPARE_BYTES: Final = 16 * 1024 * 1024


class NotEnoughSpace(NoRoom):
    """The files do not fit on the disk; nothing was fetched."""


def check_space(folder: Path, wanted: Sequence[Wanted]) -> None:
    """Raise `NotEnoughSpace` unless the disk of `folder` has room for what is still missing."""
    needed = sum(max(0, file.size - _taken(folder / file.key)) for file in wanted)
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if needed and needed + _SPARE_BYTES > free:
        raise NotEnoughSpace(
            f"{needed} bytes are to come, and the disk of {existing} has {free} free, of which "
            f"{_SPARE_BYTES} stay so; free some space, or set TRANSOM_MODELS to a folder on "
            "another disk"
        )


def _taken(path: Path) -> int:
    """Bytes of a sparse file that have their place on the disk."""
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


class Downloads:
    """Gets files into the store. One object per transfer; `run` once."""

    def __init__(
        self,
        store: Store,
        http: HttpClient,
        options: TransferOptions,
        report: Report,
        lease: Lease,
    ) -> None:
        self._store = store
        self._http = http
        self._options = options
        self._lease = lease
        self._folder = store.scratch / DOWNLOADS
        self._teller = _Teller(report)
        self._changed = threading.Condition()
        self._waiting: deque[Wanted] = deque()
        self._busy: deque[Wanted] = deque()
        self._active: list[_Active] = []
        self._digests: dict[str, Digest] = {}
        self._error: BaseException | None = None

    def run(self, wanted: Sequence[Wanted]) -> list[Digest]:
        """Get all files; gives their digests. What came of them stays, whatever is raised.

        Raises `TransferError`, `StoreError`, `Cancelled`.
        """
        check_space(self._folder, [file for file in wanted if not self._is_here(file)])
        # The largest first: no connection is left alone with one at the end.
        by_size = sorted(wanted, key=lambda file: file.size, reverse=True)
        self._waiting.extend({file.key: file for file in by_size}.values())
        pieces = sum(-(-file.size // self._options.piece_bytes) or 1 for file in self._waiting)
        threads = [
            threading.Thread(target=self._work, name=f"transom-download-{number}")
            for number in range(min(max(1, self._options.connections), pieces))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            self._http.stop()
            raise
        finally:
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            for active in self._active:
                active.file.close()
        if self._error is not None:
            raise self._error
        return [self._digests[file.key] for file in wanted]

    # In each thread

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._do(*job)
        except BaseException as error:  # told by `run`, whatever it is
            with self._changed:
                if self._error is None:
                    self._error = error
                self._changed.notify_all()
            self._http.stop()

    def _next(self) -> "tuple[_Active, int | None] | None":
        """The next piece to fetch, or a file to look after (None); None when all is done."""
        with self._changed:
            while True:
                self._http.check()
                for active in self._active:
                    # A stream is one connection's.
                    if active.todo and not (active.fetching.streams and active.workers):
                        active.workers += 1
                        return active, active.todo.popleft()
                if self._waiting:
                    opened = self._open(self._waiting.popleft())
                    if opened is not None:
                        self._active.append(opened)
                    continue
                if not self._active and not self._busy:
                    return None
                # A piece may come back from whoever has it; a file, from another process.
                self._changed.wait(_BUSY_SECONDS)
                self._waiting.extend(self._busy)
                self._busy.clear()

    def _open(self, wanted: Wanted) -> "_Active | None":
        """What is there of a file, locked; None when it is done, or another process has it."""
        if wanted.digest is not None and self._is_here(wanted):
            self._digests[wanted.key] = wanted.digest
            self._teller.start(wanted, wanted.size)
            return None
        file = open_pieces(
            self._folder, wanted.key, wanted.size, self._options.piece_bytes, wanted.version
        )
        if file is None:
            self._teller.waits(wanted)
            self._busy.append(wanted)
            return None
        # Whoever had the lock before may have finished it.
        if wanted.digest is not None and self._is_here(wanted):
            file.discard()
            file.close()
            self._waiting.appendleft(wanted)
            return None
        self._teller.start(wanted, file.present_bytes())
        fetching = Fetching(
            self._http, wanted, file, lambda count: self._teller.advance(wanted, count)
        )
        return _Active(wanted, file, fetching)

    def _is_here(self, wanted: Wanted) -> bool:
        """Not read: `transom verify --repair` removes what is damaged."""
        digest = wanted.digest
        if digest is None or not self._store.has_blob(digest):
            return False
        return self._store.blob_size(digest) == wanted.size

    def _do(self, active: "_Active", number: int | None) -> None:
        try:
            if number is not None:
                self._fetch(active, number)
            active.file.follow(self._http.check)
        except DamagedPiece as damaged:
            self._teller.advance(active.wanted, -active.file.place(damaged.number)[1])
            with self._changed:
                active.todo.append(damaged.number)
                self._changed.notify_all()
        finally:
            with self._changed:
                active.workers -= 1
                # Nobody may write into a file that has become a blob: the last one out ends it.
                is_last = active.workers == 0 and active.file.whole_digest() is not None
                if is_last:
                    active.todo.clear()
        if is_last:
            self._finish(active)

    def _fetch(self, active: "_Active", number: int) -> None:
        try:
            active.fetching.fetch(number)
        except HostHasNoRanges:
            active.fetching.stream()

    def _finish(self, active: "_Active") -> None:
        wanted = active.wanted
        digest = active.fetching.settle()
        if wanted.digest is None:
            self._lease.keep(digest)
        self._store.take_file(active.file.path, digest)
        active.file.published()
        with self._changed:
            self._active.remove(active)
            self._digests[wanted.key] = digest
            active.file.close()
            self._changed.notify_all()


class _Active:
    """A file in hand: pieces that nobody fetches yet, and how many threads are at it."""

    def __init__(self, wanted: Wanted, file: PieceFile, fetching: Fetching) -> None:
        self.wanted = wanted
        self.file = file
        self.fetching = fetching
        self.todo: deque[int | None] = deque(file.missing())
        if not self.todo:
            self.todo.append(None)  # somebody still has to read it through
        self.workers = 0


class _Teller:
    """Counts what came of each file, and tells of it, not too often."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._completed: dict[str, int] = {}
        self._told_at: dict[str, float] = {}

    def start(self, wanted: Wanted, completed: int) -> None:
        with self._lock:
            self._completed[wanted.key] = completed
            self._tell(wanted)

    def waits(self, wanted: Wanted) -> None:
        with self._lock:
            if wanted.key not in self._told_at:
                self._told_at[wanted.key] = 0.0
                self._report(Status(f"waiting for another pull of {wanted.title}"))

    def advance(self, wanted: Wanted, count: int) -> None:
        with self._lock:
            self._completed[wanted.key] += count
            is_whole = self._completed[wanted.key] == wanted.size
            if is_whole or time.monotonic() - self._told_at[wanted.key] >= _REPORT_SECONDS:
                self._tell(wanted)

    def _tell(self, wanted: Wanted) -> None:
        self._told_at[wanted.key] = time.monotonic()
        completed = self._completed[wanted.key]
        if wanted.digest is None:
            self._report(Status(f"pulling {wanted.title}", None, wanted.size, completed))
        else:
            self._report(pulling(wanted.digest, wanted.size, completed))
