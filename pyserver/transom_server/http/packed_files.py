"""Small files that are sent again and again, packed by gzip once. Knows no HTTP and no folder."""

import gzip
from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock
from typing import Final

from transom_models.digest import Digest

# 9 takes twice as long, and the page's wasm is half of one hundredth smaller by it.
_LEVEL: Final = 6
# What hardly gets smaller is not worth the unpacking.
_MOST_OF_IT: Final = 0.9


class PackedFiles:
    """Keeps up to `most_bytes`; what was wanted least recently goes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._lock = Lock()
        self._found: OrderedDict[Digest, Future[bytes | None]] = OrderedDict()

    def get(self, digest: Digest, data: bytes) -> bytes | None:
        """`data` packed; None where that is hardly smaller. Whoever wants what another thread packs
        waits for it."""
        with self._lock:
            future = self._found.get(digest)
            if is_new := future is None:
                future = self._found[digest] = Future()
            self._found.move_to_end(digest)
        assert future is not None
        if is_new:
            self._make(digest, data, future)
        return future.result()

    def _make(self, digest: Digest, data: bytes, future: Future[bytes | None]) -> None:
        try:
            packed = gzip.compress(data, _LEVEL, mtime=0)
        except BaseException as error:
            with self._lock:
                del self._found[digest]
            future.set_exception(error)
            raise
        kept = packed if len(packed) < len(data) * _MOST_OF_IT else None
        with self._lock:
            future.set_result(kept)
            self._bytes += len(kept or b"")
            # Those that are being packed count when they are done.
            for old in [each for each, made in self._found.items() if made.done()]:
                if self._bytes <= self._most_bytes:
                    break
                self._bytes -= len(self._found.pop(old).result() or b"")
