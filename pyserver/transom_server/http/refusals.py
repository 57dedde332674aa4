"""What is answered without the app: requests that cannot be read, or find no thread.

In the dialect of their address, as all errors are, and in the log. Knows waitress.
"""

import re
from typing import Any, Final

from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask
from waitress.utilities import Error

from transom_api.dialects import ANTHROPIC_HEADER, dialect_of, error_of
from transom_server.request_log import new_request

# Of a request's first line, kept for those that cannot be read: any address of ours is shorter.
_KEPT_BYTES: Final = 2048
_FIRST_LINE: Final = re.compile(rb"\s*([A-Z]{1,16}) (/[^ ?#\r\n]*)")
_CODES: Final = {413: "SIZE_INVALID", 503: "TOOMANYREQUESTS", 507: "UNKNOWN", 500: "UNKNOWN"}
RETRY_SECONDS: Final = 1


class NoThread(Error):  # type: ignore[misc]  # waitress has no types
    """All threads answer others."""

    code = 503
    reason = "Service Unavailable"

    def __init__(self) -> None:
        super().__init__("this server answers as many requests as it can; ask again in a moment")


class AddressParser(HTTPRequestParser):  # type: ignore[misc]
    """A request on its way in, whose address is known also when the rest cannot be read."""

    _start = b""

    def received(self, data: bytes) -> int:
        if len(self._start) < _KEPT_BYTES and not self.headers_finished:
            self._start += data[: _KEPT_BYTES - len(self._start)]
        return int(super().received(data))

    def address(self) -> tuple[str, str]:
        """Method and path, as well as they can be told."""
        match = _FIRST_LINE.match(self._start)
        return (match[1].decode(), match[2].decode("latin-1")) if match else ("", "")


class RefusalTask(ErrorTask):  # type: ignore[misc]
    """The answer to such a request."""

    def execute(self) -> None:
        error = self.request.error
        method, path = self.request.address()
        headers = self.request.headers
        found = new_request(method, headers.get("X_REQUEST_ID", ""), self.channel.addr[0])
        says_anthropic = ANTHROPIC_HEADER.upper().replace("-", "_") in headers
        status, body, kind = error_of(
            dialect_of(path, says_anthropic=says_anthropic),
            error.code,
            _CODES.get(error.code, "UNSUPPORTED"),
            _one_line(error.body),
            request_id=found.id,
        )
        self.status = f"{status} {error.reason}"
        self.response_headers += [
            ("Content-Type", kind),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("x-request-id", found.id),
        ]
        if error.code == NoThread.code:
            self.response_headers.append(("Retry-After", str(RETRY_SECONDS)))
        self.set_close_on_finish()
        self.content_length = len(body)
        found.status = status
        found.begins()
        try:
            self.write(body if method != "HEAD" else b"")
        finally:
            found.ends()


def _one_line(text: Any) -> str:
    """waitress quotes what it cannot read."""
    return "".join(char if char.isprintable() else "?" for char in str(text))[:300]
