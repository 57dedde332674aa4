"""A readers-writer lock that machines share through a bucket, made of small objects that run out.

    locks/shared/<id>       one for each process that reads or adds under the lock
    locks/exclusive/<id>    one for the process that collects

Who wants the lock puts an object of its own and then lists the others. A bucket that lists what was
put before (S3 does: "strong read-after-write consistency") shows at least one of two comers the
other. A reader that finds a writer steps back; a writer that finds another writer steps back; a
writer that finds readers waits for them, and no new ones come in.

A holder puts its object again all the while. Age is told by the bucket's clock alone: the time of
another's object beside that of one's own, just put. One that has not been renewed for
`DEAD_SECONDS` is of a dead process. A holder that could not renew for `TTL_SECONDS`, the shorter,
counts as dead in its own eyes (`check`), before anybody else takes it so.

What this cannot promise: a request that the holder sent in time and the network delivers more than
`DEAD_SECONDS - TTL_SECONDS` late. A collection's grace period covers that for young blobs.
"""

import errno
import json
import logging
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from transom_server.store.storage import Entry

FOLDER: Final = "locks"
_SHARED: Final = f"{FOLDER}/shared/"
_EXCLUSIVE: Final = f"{FOLDER}/exclusive/"

# Long enough that a slow answer or a second without network loses no lock; short enough that a
# crash holds up nobody for long.
TTL_SECONDS: Final = 60.0
DEAD_SECONDS: Final = 90.0
# A collection of a large store deletes for minutes.
WAIT_SECONDS: Final = 600.0
# Each look costs a request or three. Most waits are for somebody who writes a tag.
_FIRST_POLL_SECONDS: Final = 0.05
_LAST_POLL_SECONDS: Final = 2.0
# Whoever presses Ctrl-C while the network is down should not wait for its timeouts.
_JOIN_SECONDS: Final = 5.0

_LOG = logging.getLogger(__name__)


class Objects(Protocol):
    """What the lock needs of a bucket."""

    def put(self, key: str, data: bytes) -> None: ...
    def entries(self, prefix: str) -> Iterator[Entry]: ...
    def delete(self, *keys: str) -> None: ...
    def read(self, key: str, first: int, count: int) -> bytes: ...


class ObjectLock:
    """The lock of one bucket. Threads of a process share one reader's object.

    `scale` shortens all times, for tests.
    """

    def __init__(
        self, objects: Objects, scale: float = 1.0, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._objects = objects
        self._scale = scale
        self._wait_seconds = wait_seconds
        self._mutex = threading.Lock()
        self._shared: _Claim | None = None
        self._readers = 0
        self._exclusive: _Claim | None = None

    @contextmanager
    def hold(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the lock. Raises `OSError` (EBUSY) when others keep it too long."""
        if exclusive:
            claim = self._claim_exclusive()
            self._exclusive = claim
            try:
                yield
            finally:
                self._exclusive = None
                claim.release()
            return
        with self._mutex:
            if self._readers == 0:
                self._shared = self._claim_shared()
            self._readers += 1
        try:
            yield
        finally:
            with self._mutex:
                self._readers -= 1
                if self._readers == 0 and self._shared is not None:
                    claim, self._shared = self._shared, None
                    claim.release()

    def check(self) -> None:
        """Raise `OSError` when a lock that this process holds has run out. Before each change."""
        for claim in (self._shared, self._exclusive):
            if claim is not None and claim.lost:
                raise OSError(
                    errno.ETIMEDOUT,
                    "the store's lock ran out, as the bucket could not be reached; try again",
                )

    def _claim_shared(self) -> "_Claim":
        patience = _Patience(self._wait_seconds, self._scale)
        while True:
            claim = _Claim(self._objects, _SHARED, self._scale)
            try:
                writers = [other for other in self._others(claim) if _is_exclusive(other)]
            except BaseException:
                claim.release()
                raise
            if not writers:
                return claim
            claim.release()
            self._wait(patience, writers)

    def _claim_exclusive(self) -> "_Claim":
        patience = _Patience(self._wait_seconds, self._scale)
        while True:
            claim = _Claim(self._objects, _EXCLUSIVE, self._scale)
            try:
                others = self._others(claim)
                writers = [other for other in others if _is_exclusive(other)]
                if not writers:
                    # From here on nobody else becomes a writer, and no reader comes in.
                    while others := [key for key in others if not _is_exclusive(key)]:
                        self._wait(patience, others)
                        claim.renew()
                        others = self._others(claim)
                    return claim
            except BaseException:
                claim.release()
                raise
            claim.release()
            self._wait(patience, writers)

    def _others(self, claim: "_Claim") -> list[str]:
        """Keys of the living but for `claim`, which was just put. A writer clears up the dead."""
        entries = {entry.key: entry for entry in self._objects.entries(FOLDER)}
        own = entries.pop(claim.key, None)
        if own is None:
            raise OSError(
                errno.EIO,
                "the object store does not list what was just put, so that it can hold no lock",
            )
        oldest = own.modified - DEAD_SECONDS * self._scale
        living = [key for key, entry in entries.items() if entry.modified >= oldest]
        if _is_exclusive(claim.key):
            self._objects.delete(*(entries.keys() - set(living)))
        return living

    def _wait(self, patience: "_Patience", others: list[str]) -> None:
        if not patience.wait():
            raise OSError(errno.EBUSY, f"the store is in use by {self._holder(others[0])}")

    def _holder(self, key: str) -> str:
        try:
            holder = json.loads(self._objects.read(key, 0, 1000))
            return f"process {int(holder['process'])} on {str(holder['host'])!r:.100}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"


class _Claim:
    """One object below `locks/`, renewed by a thread until it is released."""

    def __init__(self, objects: Objects, folder: str, scale: float) -> None:
        self.key = folder + secrets.token_hex(8)
        self._objects = objects
        self._ttl = TTL_SECONDS * scale
        self._good_until = float("inf")
        self._released = threading.Event()
        self._body = json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode()
        self.renew()
        self._thread = threading.Thread(target=self._keep_up, name="transom-lock", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        return time.monotonic() > self._good_until

    def renew(self) -> None:
        """Put the object again. Too late is too late: others may have taken us for dead."""
        begun = time.monotonic()
        self._objects.put(self.key, self._body)
        if not self.lost:
            self._good_until = begun + self._ttl

    def release(self) -> None:
        """Remove the object; when the bucket cannot be reached, it runs out by itself."""
        self._released.set()
        # A renewal that hangs may put the object once more: others then wait until it runs out.
        self._thread.join(_JOIN_SECONDS)
        try:
            self._objects.delete(self.key)
        except OSError as error:
            _LOG.warning("%s stays until it runs out: %s", self.key, error)

    def _keep_up(self) -> None:
        while not self._released.wait(self._ttl / 4) and not self.lost:
            try:
                self.renew()
            except OSError as error:
                _LOG.warning("cannot renew %s: %s", self.key, error)


class _Patience:
    """Waits that grow, up to a limit in all."""

    def __init__(self, seconds: float, scale: float) -> None:
        self._scale = scale
        self._deadline = time.monotonic() + seconds * scale
        self._next = _FIRST_POLL_SECONDS

    def wait(self) -> bool:
        """Wait a little; False when there is no time left to."""
        if time.monotonic() > self._deadline:
            return False
        # Not in step with another who waits.
        time.sleep(self._next * self._scale * random.uniform(0.5, 1.5))
        self._next = min(2 * self._next, _LAST_POLL_SECONDS)
        return True


def _is_exclusive(key: str) -> bool:
    return key.startswith(_EXCLUSIVE)
