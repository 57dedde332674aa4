"""A static host as a good one is: byte ranges, and pages isolated from other origins.

Isolation is what gives wllama its threads and lets a page ask for its memory.
"""

import http.server
import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


@dataclass(frozen=True)
class Sent:
    """An answer: `length` as its head says."""

    path: str
    status: int
    length: int


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments: Any, log: list[Sent] | None, **options: Any) -> None:
        self._log = log
        self._status = self._length = 0
        super().__init__(*arguments, **options)

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        with path.open("rb") as file:
            file.seek(first)
            part = file.read(last - first + 1)
        self.send_response(206 if part else 416)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        return io.BytesIO(part)

    def send_response(self, code: int, message: str | None = None) -> None:
        self._status, self._length = int(code), 0
        super().send_response(code, message)

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Content-Length":
            self._length = int(value)
        super().send_header(keyword, value)

    def end_headers(self) -> None:
        if self._log is not None:
            path = urlsplit(self.path).path
            self._log.append(Sent(path, self._status, self._length))
        for name, value in ISOLATED.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@contextmanager
def serve(folder: Path, log: list[Sent] | None = None) -> Iterator[str]:
    """Gives the address; what is answered goes into the log."""
    handler = partial(_Handler, directory=str(folder), log=log)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
