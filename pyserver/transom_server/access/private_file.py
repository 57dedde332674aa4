"""Small files that only their owner may read: logins, API keys. Read whole, written whole.

Knows no content. Needs a POSIX system (modes, flock).
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from transom_models.errors import TransomError
from transom_server.store.partial_file import make_folders, sync_folder

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class PrivateFileError(TransomError):
    """The file cannot be used; the text names it and what would help."""


def read_private(path: Path, most_bytes: int, holds: str) -> tuple[bytes, os.stat_result] | None:
    """The bytes, and what the file was when they were read; None when there is none.

    `holds` says in an error what is in it. Raises `PrivateFileError`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PrivateFileError(f"cannot read {path}: {error.strerror}") from error
    try:
        # Of the open file, so that nobody can swap it between the look and the reading.
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PrivateFileError(f"{path} is not a file")
        if found.st_mode & _OTHERS:
            raise PrivateFileError(
                f"{path} holds {holds}, and its mode {stat.S_IMODE(found.st_mode):04o} lets others "
                f"at it; close it with: chmod 600 {path}"
            )
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise PrivateFileError(f"{path} has more than {most_bytes} bytes")
    return data, found


def write_private(path: Path, data: bytes) -> None:
    """Aside, then renamed: whoever reads finds all of it or the former. Raises
    `PrivateFileError`."""
    try:
        make_folders(path.parent)
        # Made with mode 0600 from the start.
        descriptor, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise PrivateFileError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Nobody else changes the file during the block: what is added is added to what is there."""
    try:
        make_folders(path.parent)
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PrivateFileError(f"cannot write {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
