"""Leases: digests that a living process is about to name in a tag, kept from being collected.

A lease is a file of digests, one a line, locked (flock) by its holder for as long as that lives.
A crash drops the lock, so nothing has to be cleaned up before the next collection, which removes
the file. Leases guard a store against the processes of this machine; a store that machines share
has its grace period for the others.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from transom_models.digest import Digest, InvalidDigest
from transom_server.store.partial_file import make_folders

FOLDER_NAME: Final = "leases"
_SUFFIX: Final = ".lease"

SharedLock = Callable[[], AbstractContextManager[None]]


class Lease:
    """Digests that stay in the store while this lives, whether a tag names them or not."""

    def __init__(self, descriptor: int, shared: SharedLock) -> None:
        self._descriptor = descriptor
        self._shared = shared

    def keep(self, *digests: Digest) -> None:
        """Hold on to these, there already or not. Ask whether a blob is there only after this."""
        # Under the store's lock: a collection sees the line, or is over before the blob is used.
        with self._shared():
            os.write(self._descriptor, "".join(f"{digest.hex}\n" for digest in digests).encode())


@contextmanager
def lease(scratch: Path, shared: SharedLock) -> Iterator[Lease]:
    """A lease in the store whose scratch folder is `scratch`, for as long as the block runs."""
    folder = scratch / FOLDER_NAME
    make_folders(folder)
    with shared():
        # No collection runs now: nobody can take the file for a dead one before it is locked.
        path = folder / (secrets.token_hex(8) + _SUFFIX)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield Lease(descriptor, shared)
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def leased_digests(scratch: Path) -> set[Digest]:
    """What living leases hold; those of the dead are removed. Call it under the exclusive lock."""
    held: set[Digest] = set()
    for path in (scratch / FOLDER_NAME).glob("*" + _SUFFIX):
        try:
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    held |= _read(file.read().decode(errors="replace"))
                else:
                    path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue  # its holder just ended
    return held


def _read(text: str) -> set[Digest]:
    found = set()
    for line in text.splitlines():
        try:
            found.add(Digest(line))
        except InvalidDigest:
            continue  # half a line, of a disk that was full
    return found
