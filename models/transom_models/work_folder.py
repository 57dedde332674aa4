"""Folders for work in progress, gone with their maker: whatever a killed process leaves behind, the
next one removes.

A folder has a lock file beside it, locked (flock) for as long as its process lives; so nobody has
to trust process ids. Knows nothing of what is made in a folder. Needs a POSIX system.
"""

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_LOCK: Final = ".lock"
_RANDOM_BYTES: Final = 8


@contextmanager
def work_folder(parent: Path, prefix: str = "") -> Iterator[Path]:
    """An empty folder in `parent`, removed at the end, as are those that dead processes left there
    under this prefix. Raises `OSError`."""
    remove_dead_work(parent, prefix)
    lock, descriptor = _locked(parent, prefix)
    folder = lock.with_suffix("")
    try:
        folder.mkdir(0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def remove_dead_work(parent: Path, prefix: str = "", dry_run: bool = False) -> int:
    """Remove the folders of processes that are gone; gives their number. What cannot be removed
    (another user's) stays."""
    name = re.compile(re.escape(prefix) + f"[0-9a-f]{{{2 * _RANDOM_BYTES}}}" + re.escape(_LOCK))
    removed = 0
    for lock in parent.iterdir():
        if name.fullmatch(lock.name) is None:
            continue
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            removed += 1
            if not dry_run:
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
    return removed


def _locked(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        lock = parent / f"{prefix}{secrets.token_hex(_RANDOM_BYTES)}{_LOCK}"
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Where a file system has no locks nobody takes one, and nothing is removed.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A cleaner may have taken the file for a dead one's before it was locked.
        if os.fstat(descriptor).st_nlink > 0:
            return lock, descriptor
        os.close(descriptor)
