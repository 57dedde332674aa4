"""A conversation in, an HTTP answer out: the one place where dialects meet models.

A dialect's route reads the body into a `Chat` and brings its `Writer`; this finds the model, runs
it, and streams frames or answers whole. What fails before the first frame is raised, so that it
gets a status; what fails later is the writer's last frame. Knows no dialect.
"""

import json
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import Final

from flask import Response, request

from transom_api.chat import Chat
from transom_api.deltas import Ended
from transom_api.engine import Cancelled, Done, RequestCancelled, TokenEvent
from transom_api.fields import InvalidField
from transom_api.json_body import read_json
from transom_api.prompting import Plan
from transom_api.session import Session, Unread, Writer
from transom_models.errors import TransomError, public_text
from transom_server.access.rate_limit import Tally
from transom_server.engines.native import Loaded
from transom_server.engines.waiting import Overloaded
from transom_server.http.request_body import MAX_BODY_BYTES
from transom_server.request_log import Request, this_request
from transom_server.upstream.routing import Models

JSON: Final = "application/json"

_LOG = logging.getLogger(__name__)


class Host:
    """Models of a store, for every dialect. Threads may share it."""

    def __init__(
        self,
        models: Models,
        charging: Callable[[], Callable[[int], None]] = lambda: lambda tokens: None,
    ) -> None:
        """`charging`, asked while the request is at hand, gives what is told of its tokens."""
        self.models = models
        self._charging = charging

    def answer(self, chat: Chat, writer: Writer) -> Response:
        """The answer of a model, as the writer frames it."""
        frames = self._frames(chat, writer, client_gone())
        if not chat.stream:
            *_, last = frames
            return uncached(Response(last, content_type=JSON))
        # What goes wrong until here gets a status of its own.
        first = next(frames)
        response = Response(_stream(first, frames, writer), content_type=writer.content_type)
        # The generator has begun, so closing it lets go of the model, read to its end or not.
        response.call_on_close(frames.close)
        # For proxies that would collect the stream first.
        response.headers["X-Accel-Buffering"] = "no"
        return uncached(response)

    def _frames(
        self, chat: Chat, writer: Writer, cancelled: Cancelled
    ) -> Generator[bytes, None, None]:
        """Frames of a stream; without one, the whole body as the only frame."""
        session: Session | None = None
        seconds, begun = 0.0, False
        charge, tally, log = self._charging(), Tally(), this_request()
        with (
            closing(self.models.converse(chat, cancelled)) as events,
            _told(tally, charge, log, cancelled),
        ):
            for event in events:
                # Only a model that is there has a name that may be logged.
                log.model = chat.model
                if isinstance(event, Loaded):
                    seconds = event.seconds
                    continue
                if isinstance(event, Plan):
                    session = Session(writer, event.reader, chat.choices)
                    session.loaded(seconds)
                    continue
                if isinstance(event, TokenEvent | Done):
                    assert session is not None
                    tally.feed(event)
                    known, make = event.prompt_tokens, partial(session.feed, event)
                    if isinstance(event, Done):
                        log.finish = event.finish_reason
                else:
                    session = session or Session(writer, Unread, chat.choices)
                    tally.pass_on(event)
                    known, make = 0, partial(session.pass_on, event)
                    if isinstance(event, Ended):
                        log.finish = event.reason
                # Only now is it certain that there is an answer.
                frames = [] if begun else session.begin(known)
                begun = True
                frames += make()
                if chat.stream and frames:
                    yield b"".join(frames)
        assert session is not None
        if chat.stream:
            yield b"".join(session.end())
        else:
            yield json.dumps(session.body(), ensure_ascii=False, separators=(",", ":")).encode()


@contextmanager
def _told(
    tally: Tally, charge: Callable[[int], None], log: Request, gone: Cancelled
) -> Iterator[None]:
    """What was taken is told at the end, also of an answer that nobody read to its end."""
    try:
        yield
    except RequestCancelled:
        log.finish = "cancelled"
        if gone():
            raise
        # The client is there, so it is the server that goes.
        raise Overloaded("the server is ending; ask again in a moment") from None
    except Exception:
        log.finish = "error"
        raise
    finally:
        if tally.tokens:
            log.prompt_tokens, log.completion_tokens = tally.prompt, tally.completion
        charge(tally.tokens)


def read_body() -> object:
    """The request as JSON, whatever type it says it is. Raises `InvalidField`."""
    request.max_content_length = MAX_BODY_BYTES
    data = request.get_data(cache=False)
    try:
        return read_json(data)
    except ValueError as error:
        raise InvalidField(None, f"the body is not JSON: {error}") from None


def client_gone() -> Cancelled:
    """Whether the connection of this request is closed; other servers than ours cannot tell."""
    gone: Callable[[], bool] | None = request.environ.get("waitress.client_disconnected")
    return gone or (lambda: False)


def uncached(response: Response) -> Response:
    """An answer that is nobody else's."""
    response.headers["Cache-Control"] = "no-store"
    return response


def _stream(first: bytes, rest: Iterator[bytes], writer: Writer) -> Iterator[bytes]:
    yield first
    try:
        yield from rest
    except RequestCancelled:
        return
    except Exception as error:
        # A stream that only breaks off would look like a bad network.
        exception = None if isinstance(error, TransomError) else error
        _LOG.error("an answer broke off: %s", public_text(error), exc_info=exception)
        yield b"".join(writer.fail(error))
