"""Where a request's body lies until the app reads it, and how large it may be.

waitress takes in a whole body before it calls the app, and counts it as part of the request. Here
what is more than a little lies in a nameless file of the store's scratch folder (waitress would
take /tmp, which on many systems is memory), and only addresses that take blobs may get large ones,
up to what the disk has room for: not from a web page, which has none to give, nor from whoever may
not change the store. What could be read in two ways, or costs the main loop more than it says, is
refused. Knows waitress; knows no routes but by their form.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

from waitress.parser import ParsingError
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from transom_api.addresses import MAX_BODY_BYTES
from transom_models.manifest import MAX_BLOB_BYTES
from transom_server.http.file_sending import SendingChannel
from transom_server.http.refusals import AddressParser, RefusalTask
from transom_server.store.partial_file import make_folders

# Of a body in memory; a thousand of them are half a gigabyte.
MEMORY_BYTES: Final = 512 * 1024
RECEIVE_BYTES: Final = 256 * 1024
# Digits of a length: more than any disk has bytes.
MAX_LENGTH_DIGITS: Final = 18
# waitress copies what is left of its input with each chunk, so it gets little at a time.
CHUNKS_BYTES: Final = 4096
# A chunk's length is a few digits, and nobody sends extensions or trailers.
MAX_CHUNK_LINE_BYTES: Final = 4096
# Beside as much as the body itself has: chunks of one byte are six.
MAX_FRAMING_BYTES: Final = 64 * 1024

# How much is taken from whoever sends these headers, named as WSGI names them without `HTTP_`.
Sender = Literal["stranger", "client", "writer"]
Judge = Callable[[Mapping[str, str]], Sender]
_TAKES_BLOBS: Final = re.compile(r"/v2/.+/blobs/uploads(/.*)?|/api/blobs/.+", re.DOTALL)


class _NoRoom(Error):  # type: ignore[misc]  # waitress has no types
    code = 507
    reason = "Insufficient Storage"


def body_limit(path: str, free_bytes: int) -> int:
    """Largest body (bytes) that an address may get, with so much room on the disk."""
    if _TAKES_BLOBS.fullmatch(path) is None:
        return MAX_BODY_BYTES
    # Twice: once as the body, and once where the app puts it.
    return min(MAX_BLOB_BYTES, max(free_bytes // 2, MEMORY_BYTES))


def channel_class(scratch: Path, judge: Judge) -> type[SendingChannel]:
    """Connections of waitress whose bodies follow this module's rules."""

    class Parser(AddressParser):
        """A request on its way in."""

        _limit = MAX_BODY_BYTES

        def parse_header(self, header_plus: bytes) -> None:
            try:
                super().parse_header(header_plus)
            except ValueError:  # Python reads no number of thousands of digits
                raise ParsingError("Content-Length is invalid") from None
            length = self.headers.get("CONTENT_LENGTH")
            if length is not None and len(length) > MAX_LENGTH_DIGITS:
                raise ParsingError("Content-Length is invalid")
            # A proxy in front may take the other one of two lengths, and see another request in it.
            is_coded = self.chunked or "TRANSFER_ENCODING" in self.headers
            if is_coded and (length is not None or self.version != "1.1"):
                raise ParsingError("a body has a Content-Length, or HTTP/1.1's chunks")
            if self.body_rcv is not None:
                sender = judge(self.headers)
                if sender == "stranger":
                    self._limit = MEMORY_BYTES
                elif sender == "writer":
                    self._limit = body_limit(self.path, _free_bytes(scratch))
                self.body_rcv.buf = _Body(scratch)

        def received(self, data: bytes) -> int:
            in_chunks = self.chunked and self.body_rcv is not None
            if in_chunks:
                data = data[: max(self.body_rcv.chunk_remainder, CHUNKS_BYTES)]
            try:
                consumed: int = super().received(data)
            except OSError as error:
                return self._refuse(_NoRoom(f"the body cannot be kept: {error.strerror}"), data)
            if self.error is None and self._largest_known() > self._limit:
                return self._refuse(
                    RequestEntityTooLarge(f"a body here can have {self._limit} bytes at most"), data
                )
            if self.error is None and in_chunks and self._is_mostly_frames():
                return self._refuse(BadRequest("the body's chunks are too small"), data)
            return consumed

        def _is_mostly_frames(self) -> bool:
            lines = len(self.body_rcv.control_line) + len(self.body_rcv.trailer)
            frames = self.body_bytes_received - len(self.body_rcv)
            most = MAX_FRAMING_BYTES + len(self.body_rcv)
            return lines > MAX_CHUNK_LINE_BYTES or frames > most

        def _largest_known(self) -> int:
            return int(max(self.content_length, self.body_bytes_received))

        def _refuse(self, error: Any, data: bytes) -> int:
            self.error = error
            self.completed = True
            self.expect_continue = False  # nobody shall send the body after all
            return len(data)

    class Channel(SendingChannel):
        """A connection."""

        parser_class = Parser
        error_task_class = RefusalTask

        def handle_read(self) -> None:
            """Headers that come byte by byte keep no connection open: it ends as an idle one does,
            counted from the first byte (`channel_timeout`)."""
            before = self.last_activity if self._has_begun() else None
            super().handle_read()
            if before is not None and self._has_begun():
                self.last_activity = before

        def _has_begun(self) -> bool:
            return self.request is not None and not self.request.headers_finished

    return Channel


class _Body:
    """What waitress calls a buffer: bytes come at the end, and are read once, from the start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._size = 0
        self._file = tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=str(folder))

    def __len__(self) -> int:
        return self._size

    def __bool__(self) -> bool:
        return True

    def append(self, data: bytes) -> None:
        if self._size <= MEMORY_BYTES < self._size + len(data):
            make_folders(self._folder)
        self._file.write(data)
        self._size += len(data)

    def getfile(self) -> BinaryIO:
        self._file.seek(0)
        return cast(BinaryIO, self._file)

    def close(self) -> None:
        self._file.close()

    def __del__(self) -> None:
        self.close()  # a client that went away in the middle leaves nobody else to do it


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
