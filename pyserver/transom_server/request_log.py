"""One line of the log for each request, when it has ended: numbers and names, never words.

    request id=req_… method=POST route=/v1/chat/completions status=200 seconds=1.2 first_byte=0.02 …

`route` is the rule, not the address, which may hold what somebody typed. The id is the client's own
(`X-Request-Id`) where it has a sane one, else ours, and each answer says it. Knows WSGI and
waitress's way with files; knows no dialect.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from flask import Flask, Response, g, has_request_context, request

from transom_server.http.file_sending import SentFile
from transom_server.logs import event

_LOG = logging.getLogger(__name__)
_KEY: Final = "transom.request"
# What proxies and clients make up; nothing that needs quoting anywhere.
_SANE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
# Anybody may make a method up.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(slots=True)
class Request:
    """A request on its way."""

    id: str
    method: str
    route: str = "none"
    client: str = ""
    status: int = 0
    model: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish: str | None = None
    gone: bool = False
    _began: float = field(default_factory=time.monotonic)
    _first_byte: float | None = None
    _has_ended: bool = False

    def begins(self) -> None:
        """The first byte goes out."""
        if self._first_byte is None:
            self._first_byte = time.monotonic() - self._began

    def ends(self) -> None:
        """Write the line, once."""
        if self._has_ended:
            return
        self._has_ended = True
        first = self._first_byte
        event(
            _LOG,
            logging.INFO,
            "request",
            id=self.id,
            method=self.method,
            route=self.route,
            status=self.status,
            seconds=round(time.monotonic() - self._began, 4),
            first_byte_ms=None if first is None else round(first * 1000, 2),
            client=self.client,
            model=self.model,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            finish=self.finish,
            gone=self.gone or None,
        )


def new_request(method: str, given_id: str, client: str) -> Request:
    sane = _SANE_ID.fullmatch(given_id)
    return Request(
        given_id if sane else f"req_{secrets.token_hex(12)}",
        method if method in _METHODS else "other",
        client=client,
    )


def this_request() -> Request:
    """The request that is being answered; outside of one, one that nobody logs."""
    found = request.environ.get(_KEY) if has_request_context() else None
    return found if isinstance(found, Request) else Request("", "")


def log_requests(app: Flask) -> None:
    """Put the log around an app; last of all, so that nothing is outside of it."""

    @app.after_request
    def note(response: Response) -> Response:
        found = this_request()
        found.route = "none" if request.url_rule is None else request.url_rule.rule
        found.client = g.get("client_name") or request.remote_addr or ""
        if request.path.startswith("/v1/messages"):
            response.headers["request-id"] = found.id
        return response

    inner: Wsgi = app.wsgi_app

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = new_request(
            environ["REQUEST_METHOD"],
            environ.get("HTTP_X_REQUEST_ID", ""),
            environ.get("REMOTE_ADDR", ""),
        )
        environ[_KEY] = found

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            found.status = int(status[:3])
            return start_response(status, [*headers, ("x-request-id", found.id)], *rest)

        try:
            body = inner(environ, start)
        except BaseException:
            found.status = 500
            found.ends()
            raise
        if isinstance(body, SentFile):
            found.begins()
            body.on_close(found.ends)
            return body
        return _Told(body, found, is_head=environ["REQUEST_METHOD"] == "HEAD")

    app.wsgi_app = call  # type: ignore[method-assign]


class _Told:
    """A body that tells its request when it begins and when it ends."""

    def __init__(self, body: Iterable[bytes], request: Request, is_head: bool) -> None:
        self._body = body
        self._rest: Iterator[bytes] = iter(body)
        self._request = request
        self._is_whole = is_head

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece = next(self._rest)
        except StopIteration:
            self._is_whole = True
            raise
        if piece:
            self._request.begins()
        return piece

    def close(self) -> None:
        # Not asked for to the end: the client has gone.
        self._request.gone = not self._is_whole
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._request.ends()
