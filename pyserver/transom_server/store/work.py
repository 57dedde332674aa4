"""Folders for work whose results become blobs: on the disk of the store, and gone with their maker.

Converting and compiling write as much as the store then keeps; a killed process must not leave that
behind. A folder has a lock file beside it, locked (flock) for as long as its process lives; the
next one, or a collection, removes what the dead left. Knows nothing of what is made in a folder.
"""

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from transom_server.store.partial_file import make_folders

WORK: Final = "work"
_LOCK: Final = ".lock"


@contextmanager
def work_folder(scratch: Path) -> Iterator[Path]:
    """An empty folder below the store's scratch folder, removed at the end. Raises `OSError`."""
    root = scratch / WORK
    make_folders(root)
    remove_dead_work(scratch)
    lock, descriptor = _locked(root)
    folder = lock.with_suffix("")
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def remove_dead_work(scratch: Path, dry_run: bool = False) -> int:
    """Remove the folders of processes that are gone; gives their number."""
    removed = 0
    for lock in (scratch / WORK).glob("*" + _LOCK):
        with suppress(FileNotFoundError, BlockingIOError, PermissionError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed += 1
            if not dry_run:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
    return removed


def _locked(root: Path) -> tuple[Path, int]:
    while True:
        lock = root / (secrets.token_hex(8) + _LOCK)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A cleaner may have taken the file for a dead one's before it was locked.
        if os.fstat(descriptor).st_nlink > 0:
            return lock, descriptor
        os.close(descriptor)
