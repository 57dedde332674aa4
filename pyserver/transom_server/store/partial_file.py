"""Files that are either whole on the disk or not there: written aside, fsynced, then renamed.

A partial file lies in the store's `.tmp` folder and is locked (flock) by its writer for as long as
that lives. A crash drops the lock, so `remove_stale` can tell what a dead process left behind from
what a living one is writing, without trusting process ids. Knows nothing of digests or manifests.
Needs a POSIX system (flock, fsync of folders).
"""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".partial"
# Kept files are for reading: an editor that opens a blob by mistake cannot save over it.
_MODE = 0o444


class PartialFile:
    """A file on its way. Write to `file`; `publish` gives it its name, once."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file

    def publish(self, target: Path) -> None:
        """Put all bytes on the disk under `target`, in place of what was there."""
        self.file.flush()
        os.fsync(self.file.fileno())
        make_folders(target.parent)
        self.path.rename(target)
        sync_folder(target.parent)


@contextmanager
def partial_file(folder: Path) -> Iterator[PartialFile]:
    """A new partial file in `folder` (made when missing); gone at the end unless published."""
    make_folders(folder)
    partial = _create_locked(folder)
    try:
        with partial.file:
            yield partial
    finally:
        partial.path.unlink(missing_ok=True)


def _create_locked(folder: Path) -> PartialFile:
    while True:
        path = folder / (secrets.token_hex(8) + SUFFIX)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # A cleaner may have taken the file for a dead one before it was locked.
            if os.fstat(descriptor).st_nlink > 0:
                return PartialFile(path, os.fdopen(descriptor, "wb"))
        except BaseException:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)


def remove_stale(folder: Path) -> int:
    """Remove partial files whose writer is dead; gives their number. No folder is no error."""
    removed = 0
    for path in folder.glob("*" + SUFFIX):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            continue  # published or removed meanwhile; or another user's
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The name is random and never used twice: it is this file or none.
            path.unlink(missing_ok=True)
            removed += 1
        except (BlockingIOError, PermissionError):
            pass  # its writer lives, or the store is another user's
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
        finally:
            os.close(descriptor)
    return removed


def make_folders(path: Path) -> None:
    """Make a folder and its parents, each one on the disk before anything is put into it."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Make renames inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
