"""One conversation's HTTP answer, from what an engine says to bytes. Driven by push, so that a
thread of the server's and an event loop in the page host it alike:

    answering = Answering(chat, writer)
    answering.loaded(seconds)           # how long the model took to load
    answering.planned(plan)             # what the engine is asked
    data = answering.feed(event)        # for each TokenEvent and Done; b"" while nothing is said
    data = answering.end()

What fails before the first bytes has an HTTP status (`statuses`); what fails later is `fail(error)`
as the last bytes. Without streaming all of it comes from `end`. Pure.
"""

from typing import Final

from transom_api.chat import Chat
from transom_api.deltas import Delta, Ended
from transom_api.engine import Done, TokenEvent
from transom_api.json_text import JSON, json_bytes
from transom_api.prompting import Plan
from transom_api.session import Session, Unread, Writer

NO_STORE: Final = ("Cache-Control", "no-store")
# For proxies that would collect the stream first.
UNBUFFERED: Final = ("X-Accel-Buffering", "no")


class Answering:
    """See the module."""

    def __init__(self, chat: Chat, writer: Writer) -> None:
        self.finish: str | None = None
        """Why the last answer ended."""
        self._chat, self._writer = chat, writer
        self._session: Session | None = None
        self._seconds = 0.0
        self._begun = False
        self._open = chat.choices

    @property
    def is_over(self) -> bool:
        """Whether all choices have ended."""
        return self._open == 0

    @property
    def is_one_piece(self) -> bool:
        """Whether all of the answer comes at its end."""
        return not self._chat.stream

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Of the answer, whose status is 200."""
        if not self._chat.stream:
            return (("Content-Type", JSON), NO_STORE)
        return (("Content-Type", self._writer.content_type), NO_STORE, UNBUFFERED)

    def loaded(self, seconds: float) -> None:
        """How long the model took to load; 0 when it was there."""
        self._seconds = seconds

    def planned(self, plan: Plan) -> None:
        """Who reads the answer."""
        self._session = Session(self._writer, plan.reader, self._chat.choices)
        self._session.loaded(self._seconds)

    def feed(self, event: TokenEvent | Done) -> bytes:
        """Frames of an event, after `planned`."""
        session = self._session
        assert session is not None
        if isinstance(event, Done):
            self.finish = event.finish_reason
            self._open -= 1
        # Only now is it certain that there is an answer.
        frames = [] if self._begun else session.begin(event.prompt_tokens)
        self._begun = True
        frames += session.feed(event)
        return b"".join(frames) if self._chat.stream else b""

    def pass_on(self, delta: Delta) -> bytes:
        """Frames of a piece that another server has told apart already; instead of `feed`."""
        session = self._session
        if session is None:
            session = self._session = Session(self._writer, Unread, self._chat.choices)
        if isinstance(delta, Ended):
            self.finish = delta.reason
            self._open -= 1
        frames = [] if self._begun else session.begin(0)
        self._begun = True
        frames += session.pass_on(delta)
        return b"".join(frames) if self._chat.stream else b""

    def end(self) -> bytes:
        """The end of the stream, or the whole answer."""
        session = self._session
        assert session is not None
        if self._chat.stream:
            return b"".join(session.end())
        return json_bytes(session.body())

    def fail(self, error: Exception) -> bytes:
        """Frames that say what went wrong, after others went out: a stream that only breaks off
        would look like a bad network."""
        return b"".join(self._writer.fail(error))
