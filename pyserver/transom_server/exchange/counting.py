"""Bytes done of a known amount, told as `Status` while any number of threads do them.

Knows the words of progress, and neither the terminal nor what the bytes are.
"""

import threading

from transom_server.transfer.status import Cancelled, Report, Status


class Counting:
    """Adds up what is done of `total` bytes; `advance` may be called from any thread."""

    def __init__(
        self, report: Report, text: str, total: int, cancelled: threading.Event | None = None
    ) -> None:
        self._report, self._text, self._total = report, text, total
        self._cancelled = cancelled or threading.Event()
        self._lock = threading.Lock()
        self._done = 0
        report(Status(text, None, total, 0))

    def advance(self, count: int) -> None:
        """`count` more bytes are done. Raises `Cancelled` once nobody wants them any more."""
        if self._cancelled.is_set():
            raise Cancelled
        with self._lock:
            self._done += count
            self._report(Status(self._text, None, self._total, self._done))
