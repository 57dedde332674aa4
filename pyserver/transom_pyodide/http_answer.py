"""One HTTP answer over a channel: its head when there is something to say, its frames, its errors
in the dialect of its address. Knows no engine.
"""

import asyncio
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from transom_api.answering import NO_STORE, Answering
from transom_api.dialects import dialect_of, error_of
from transom_api.engine import EngineError, RequestCancelled
from transom_api.json_text import JSON, json_bytes
from transom_api.operations import Json
from transom_api.reading import HttpRequest
from transom_api.statuses import param_of, status_of
from transom_models.errors import TransomError, public_text
from transom_pyodide.errors import (
    PAGE_STATUSES,
    RETRY_SECONDS,
    Busy,
    EngineSaid,
    HttpError,
    ModelNotFound,
    OnlyServers,
)
from transom_pyodide.wire import Channel

Headers = tuple[tuple[str, str], ...]
# What clients make up; nothing that needs quoting anywhere.
_SANE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
# A server with more models, memory or means may succeed. The rest is wrong with the request.
_ELSEWHERE: Final = (EngineSaid, EngineError, ModelNotFound, OnlyServers)


# Of an answer that is one piece, the head goes out ahead of it so long after its first token:
# browsers tell only then of a client that has left, and wait for a head five minutes at most. What
# breaks before still gets its status, or a server's answer.
HEAD_SECONDS: Final = 2.0


class HttpAnswer:
    """`asked` is the request without its body."""

    def __init__(
        self, method: str, target: str, headers: Sequence[Sequence[str]], channel: Channel
    ) -> None:
        path, _, query = target.partition("?")
        self.method, self.path = method, _unquoted(path)
        self.asked = HttpRequest(
            query=_query(query),
            headers={name.lower(): value for name, value in headers},
        )
        self._channel = channel
        self._answering: Answering | None = None
        self._has_head = False
        self._ahead: asyncio.TimerHandle | None = None
        given = self.asked.headers.get("x-request-id", "")
        self._id = given if _SANE_ID.fullmatch(given) else f"req_{os.urandom(12).hex()}"

    def begins(self, answering: Answering) -> None:
        """What `more` brings is of this one."""
        self._answering = answering

    def speaks(self) -> None:
        """There is a first token, whether anything is written yet or not."""
        if self._ahead is None and not self._has_head:
            loop = asyncio.get_running_loop()
            self._ahead = loop.call_later(HEAD_SECONDS, self._head_of_answering)

    def over(self) -> None:
        """Nobody is answered any more."""
        if self._ahead is not None:
            self._ahead.cancel()

    def more(self, data: bytes) -> None:
        """More of the answer; its head goes before the first."""
        if not data:
            return
        self._head_of_answering()
        self._channel.write(data.decode())

    def end(self) -> None:
        self._channel.end()

    def say(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole answer; to HEAD, all but its body."""
        self._head(status, headers)
        if body and self.method != "HEAD":
            self._channel.write(body.decode())
        self._channel.end()

    def say_json(self, value: Json, status: int = 200, headers: Headers = ()) -> None:
        self.say(status, (("Content-Type", JSON), NO_STORE, *headers), json_bytes(value))

    def fail(self, error: Exception) -> None:
        """An error in the words of the dialect: in the stream, where there is one, else with a
        status; to whoever else may succeed, where there is somebody."""
        shown = _shown(error)
        if not isinstance(shown, TransomError):
            # Our own fault, for whoever looks into the browser's console.
            traceback.print_exception(error, file=sys.stderr)
        if self._has_head:
            assert self._answering is not None
            if self._answering.is_one_piece:
                # No client would look for an error in it.
                print(f"An answer broke off: {public_text(shown)}", file=sys.stderr)
                self._channel.break_off()
                return
            self._channel.write(self._answering.fail(shown).decode())
            self._channel.end()
            return
        status, headers, body = self._error(shown)
        if isinstance(shown, TransomError) and not isinstance(error, _ELSEWHERE):
            self.say(status, headers, body)
            return
        wire = {"code": _code_of(error), "message": public_text(shown)}
        text = "" if self.method == "HEAD" else body.decode()
        self._channel.refuse(json.dumps(wire), status, self._headers(headers), text)

    def _error(self, error: Exception) -> tuple[int, Headers, bytes]:
        more: Headers = ()
        status, code = status_of(error, PAGE_STATUSES)
        if isinstance(error, HttpError):
            status, code = error.status, "UNSUPPORTED"
            if error.methods:
                more = (("Allow", ", ".join(error.methods)),)
        elif isinstance(error, Busy):
            more = (("Retry-After", str(RETRY_SECONDS)),)
        dialect = dialect_of(self.path, says_anthropic=self.asked.says_anthropic)
        message, param = public_text(error), param_of(error)
        status, body, kind = error_of(dialect, status, code, message, param, self._id)
        return status, (("Content-Type", kind), NO_STORE, *more), body

    def _head_of_answering(self) -> None:
        if not self._has_head:
            assert self._answering is not None
            self._head(200, self._answering.headers)

    def _head(self, status: int, headers: Headers) -> None:
        self._has_head = True
        self._channel.head(status, self._headers(headers))

    def _headers(self, headers: Headers) -> str:
        found = [*headers, ("X-Content-Type-Options", "nosniff"), ("x-request-id", self._id)]
        if self.path.startswith("/v1/messages"):
            found.append(("request-id", self._id))
        return json.dumps(found)


def _unquoted(path: str) -> str:
    if "%" not in path:
        return path
    # Few addresses need it, and it is long to load.
    from urllib.parse import unquote

    return unquote(path, errors="replace")


def _query(text: str) -> dict[str, str]:
    """Of several values of one name the first counts."""
    if not text:
        return {}
    from urllib.parse import parse_qsl

    return dict(reversed(parse_qsl(text, keep_blank_values=True)))


def _shown(error: Exception) -> Exception:
    """What the client is told of."""
    if not isinstance(error, EngineSaid):
        return error
    if isinstance(error.error, RequestCancelled):
        # Not by us, who would have let go of the client.
        return Busy("the page has stopped this; ask again in a moment")
    return error.error


def _code_of(error: Exception) -> str:
    """The page's word for it."""
    if isinstance(error, EngineSaid):
        return error.code
    if isinstance(error, ModelNotFound):
        return "model-not-found"
    if isinstance(error, OnlyServers):
        return "invalid-request"
    return "engine-crashed" if isinstance(error, EngineError) else "internal"
