"""The answer of llama.cpp's server to one question, read by the thread that asked it.

Every token of every answer comes through here. With a standard client, each would take a dozen
calls, and a second thread that reads while the first one looks whether anybody still waits; here
it takes one `recv`. Knows HTTP as far as this server speaks it, and not what is asked.
"""

import http.client
import socket
from collections.abc import Iterator
from typing import Final

from transom_api.engine import Cancelled, RequestCancelled

# How often a wait looks whether anybody still waits for it.
POLL_SECONDS: Final = 0.1
RECEIVE_BYTES: Final = 64 * 1024
# A token is a few bytes, with its likeliest neighbours a few kilobytes; a vector of 4096 numbers
# is 22 KB.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class Reply:
    """Pieces of a body as they come; the connection ends with it."""

    def __init__(self, wire: socket.socket, cancelled: Cancelled) -> None:
        """Waits for the head. Raises as iterating does: `RequestCancelled`, `OSError`,
        `HTTPException` for an answer that breaks off, `ValueError` for what is none."""
        wire.settimeout(POLL_SECONDS)
        self._wire, self._cancelled = wire, cancelled
        self._held = bytearray()
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if not self._receive():
                raise http.client.IncompleteRead(b"")
        head = bytes(self._held[:end]).lower()
        del self._held[: end + 4]
        self.status = int(head.partition(b" ")[2][:3])
        self._is_chunked = b"\r\ntransfer-encoding: chunked" in head

    def __iter__(self) -> Iterator[bytes]:
        is_over = False
        while not is_over:
            if self._is_chunked:
                piece, is_over = self._whole_chunks()
            else:
                piece, self._held = bytes(self._held), bytearray()
            if piece:
                yield piece
            if not is_over and not self._receive():
                if self._is_chunked:
                    raise http.client.IncompleteRead(b"")
                return

    def read(self) -> bytes:
        """All of it."""
        whole = bytearray()
        for piece in self:
            whole += piece
            if len(whole) > MAX_ANSWER_BYTES:
                raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
        return bytes(whole)

    def _receive(self) -> bool:
        """Wait for more; whether there is more."""
        while not self._cancelled():
            try:
                data = self._wire.recv(RECEIVE_BYTES)
            except TimeoutError:
                continue
            self._held += data
            if len(self._held) > MAX_ANSWER_BYTES:
                raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
            return bool(data)
        raise RequestCancelled("nobody waits for this answer any more")

    def _whole_chunks(self) -> tuple[bytes, bool]:
        """What has come, without HTTP's lengths between; whether it is the end."""
        held, found, start = self._held, bytearray(), 0
        is_over = False
        while not is_over and (end := held.find(b"\r\n", start)) >= 0:
            size = int(held[start:end], 16)
            after = end + 2 + size + 2
            if len(held) < after:
                break
            found += held[end + 2 : after - 2]
            start, is_over = after, size == 0
        del held[:start]
        return bytes(found), is_over
