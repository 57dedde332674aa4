"""A conversation in, an HTTP answer out, over Flask: gets tokens from models and moves bytes.

What the bytes are is `transom_api.answering`'s business. What fails before the first frame is
raised, so that it gets a status; what fails later is the writer's last frame. Knows no dialect.
"""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager

from flask import Response, request

from transom_api.answering import Answering
from transom_api.chat import Chat
from transom_api.engine import Cancelled, Done, RequestCancelled, TokenEvent
from transom_api.prompting import Plan
from transom_api.session import Writer
from transom_models.errors import TransomError, public_text
from transom_server.access.rate_limit import Tally
from transom_server.engines.native import Loaded
from transom_server.engines.waiting import Overloaded
from transom_server.request_log import Request, this_request
from transom_server.upstream.routing import Models

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
        answering = Answering(chat, writer)
        frames = self._frames(chat, answering, client_gone())
        if not chat.stream:
            *_, last = frames
            return Response(last, headers=answering.headers)
        # What goes wrong until here gets a status of its own.
        first = next(frames)
        response = Response(_stream(first, frames, answering), headers=answering.headers)
        # The generator has begun, so closing it lets go of the model, read to its end or not.
        response.call_on_close(frames.close)
        return response

    def _frames(
        self, chat: Chat, answering: Answering, cancelled: Cancelled
    ) -> Generator[bytes, None, None]:
        """Frames of a stream; without one, the whole body as the only frame."""
        charge, tally, log = self._charging(), Tally(), this_request()
        with (
            closing(self.models.converse(chat, cancelled)) as events,
            _told(tally, charge, log, cancelled),
        ):
            for event in events:
                # Only a model that is there has a name that may be logged.
                log.model = chat.model
                if isinstance(event, Loaded):
                    answering.loaded(event.seconds)
                    continue
                if isinstance(event, Plan):
                    answering.planned(event)
                    continue
                if isinstance(event, TokenEvent | Done):
                    tally.feed(event)
                    frames = answering.feed(event)
                else:
                    tally.pass_on(event)
                    frames = answering.pass_on(event)
                log.finish = answering.finish
                if frames:
                    yield frames
        yield answering.end()


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


def client_gone() -> Cancelled:
    """Whether the connection of this request is closed; other servers than ours cannot tell."""
    gone: Callable[[], bool] | None = request.environ.get("waitress.client_disconnected")
    return gone or (lambda: False)


def uncached(response: Response) -> Response:
    """An answer that is nobody else's."""
    response.headers["Cache-Control"] = "no-store"
    return response


def _stream(first: bytes, rest: Iterator[bytes], answering: Answering) -> Iterator[bytes]:
    yield first
    try:
        yield from rest
    except RequestCancelled:
        return
    except Exception as error:
        # A stream that only breaks off would look like a bad network.
        exception = None if isinstance(error, TransomError) else error
        _LOG.error("an answer broke off: %s", public_text(error), exc_info=exception)
        yield answering.fail(error)
