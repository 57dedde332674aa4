"""Where a request's body lies until the app reads it, and how large it may be.

waitress takes in a whole body before it calls the app, and counts it as part of the request. Here
what is more than a little lies in a nameless file of the store's scratch folder (waitress would
take /tmp, which on many systems is memory), and only addresses that take blobs may get large ones,
up to what the disk has room for: not from a web page, which has none to give, nor where nobody may
change the store. Knows waitress; knows no routes but by their form.
"""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from waitress.parser import HTTPRequestParser
from waitress.utilities import Error, RequestEntityTooLarge

from transom_models.manifest import MAX_BLOB_BYTES
from transom_server.file_sending import SendingChannel
from transom_server.store.partial_file import make_folders

# Of a body that is no blob: a conversation with a few pictures in it.
MAX_BODY_BYTES: Final = 64 * 1024 * 1024
# Of a body in memory; a thousand of them are half a gigabyte.
MEMORY_BYTES: Final = 512 * 1024
RECEIVE_BYTES: Final = 256 * 1024
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


def channel_class(scratch: Path, writable: bool) -> type[SendingChannel]:
    """Connections of waitress whose bodies follow this module's rules."""

    class Parser(HTTPRequestParser):  # type: ignore[misc]
        """A request on its way in."""

        _limit = MAX_BODY_BYTES

        def parse_header(self, header_plus: bytes) -> None:
            super().parse_header(header_plus)
            if self.body_rcv is not None:
                if writable and "ORIGIN" not in self.headers:
                    self._limit = body_limit(self.path, _free_bytes(scratch))
                self.body_rcv.buf = _Body(scratch)

        def received(self, data: bytes) -> int:
            try:
                consumed: int = super().received(data)
            except OSError as error:
                return self._refuse(_NoRoom(f"the body cannot be kept: {error.strerror}"), data)
            if self.error is None and self._largest_known() > self._limit:
                return self._refuse(
                    RequestEntityTooLarge(f"a body here can have {self._limit} bytes at most"), data
                )
            return consumed

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
