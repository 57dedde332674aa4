"""Copies of far-away objects on this machine's disk, for engines that map a file.

A cache: whole files, published as any blob is, dropped when there are too many, the one that nobody
has asked for longest first. A file that a process has open or mapped stays, and so does one that
was asked for within the hour, for whoever is about to open it. Only blobs are copied, and a copy is
checked against its name once, as it comes. Knows no object store.
"""

import errno
import fcntl
import os
import signal
import threading
import time
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.digest import Hasher
from transom_server.store.partial_file import partial_file
from transom_server.store.storage import Entry

# Two models of 7 billion weights and some small ones: what one engine's machine works with.
DEFAULT_CAP_BYTES: Final = 20_000_000_000
# Between asking for a path and opening it: a queue, a download of the model's other files.
SPARED_SECONDS: Final = 3600.0
_COPY_BYTES: Final = 1024 * 1024


class LocalCopies:
    """Copies below `folder`, which need not exist yet. Threads and processes may share it.

    `cap_bytes` is kept to except for files in use.
    """

    def __init__(self, folder: Path, cap_bytes: int) -> None:
        self._folder = folder
        self._cap_bytes = cap_bytes
        self._busy: dict[str, threading.Lock] = {}
        self._mutex = threading.Lock()

    def find(self, entry: Entry) -> Path | None:
        """The copy of a blob, marked as used now; None without one."""
        path = self._path(entry.key)
        try:
            if path.stat().st_size != entry.size:
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def take(self, entry: Entry, source: BinaryIO) -> Path:
        """Copy a blob from `source`, unless another thread has just done so.

        Raises `OSError` when the bytes are not those that the key names.
        """
        with self._lock_of(entry.key):
            path = self.find(entry)
            if path is not None:
                return path
            path = self._path(entry.key)
            self._make_room(entry.size)
            hasher = Hasher()
            with partial_file(self._folder) as partial:
                while piece := source.read(_COPY_BYTES):
                    hasher.update(piece)
                    partial.file.write(piece)
                if hasher.digest().hex != path.name:
                    raise OSError(
                        errno.EIO,
                        "its bytes were changed or cut short; `transom verify` tells what needs it",
                    )
                partial.publish(path)
            return path

    def forget(self, key: str) -> None:
        """The object is gone; so is its copy."""
        self._path(key).unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        found = []
        for path in self._folder.glob("*/*/*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_mtime, status.st_size, path))
        excess = size + sum(bytes_ for _, bytes_, _ in found) - self._cap_bytes
        for used, bytes_, path in sorted(found):
            if excess <= 0 or used > time.time() - SPARED_SECONDS:
                return
            if not _is_open(path):
                path.unlink(missing_ok=True)
                excess -= bytes_

    def _path(self, key: str) -> Path:
        return self._folder.joinpath(*key.split("/"))

    def _lock_of(self, key: str) -> threading.Lock:
        with self._mutex:
            return self._busy.setdefault(key, threading.Lock())


def _is_open(path: Path) -> bool:
    """Whether any process has the file open or mapped.

    Linux grants a lease on a file only when nobody has it open (fcntl(2), F_SETLEASE). Elsewhere
    nobody can tell: a file without a name lives on for those who have it open.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        # Whoever opens the file meanwhile makes a signal of it, and SIGIO would end this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
