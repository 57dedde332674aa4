"""Long work as an answer: its statuses as NDJSON lines, while a thread does it.

The work tells faster than a slow client reads: of two statuses about one thing only the last waits.
A client that goes away sets the work's `cancelled`. Knows Flask, and no work.
"""

import json
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final

from flask import Response, jsonify, request

from transom_models.errors import TransomError, public_text
from transom_server.transfer.status import SUCCESS, Report, Status

NDJSON: Final = "application/x-ndjson"
# How soon a client that went away is noticed.
POLL_SECONDS: Final = 0.25

Work = Callable[[Report, threading.Event], object]

_LOG = logging.getLogger(__name__)


def progress_answer(work: Work, stream: bool) -> Response:
    """Do the work in a thread. With `stream` every status is a line, and an error after the first
    is one too; without it the last status is the answer, and errors are raised."""
    gone: Callable[[], bool] = request.environ.get("waitress.client_disconnected", lambda: False)
    statuses = _statuses(work, gone)
    if not stream:
        *_, last = (Status(SUCCESS), *statuses)
        return _uncached(jsonify(_row(last)))
    # What goes wrong until here gets a status code of its own.
    first = next(statuses, Status(SUCCESS))
    response = Response(_lines(first, statuses), content_type=NDJSON)
    # Also where nobody read to the end: closing the generator ends the work.
    response.call_on_close(statuses.close)
    return _uncached(response)


def _lines(first: Status, rest: Iterator[Status]) -> Iterator[str]:
    yield _line(_row(first))
    try:
        for status in rest:
            yield _line(_row(status))
    except Exception as error:
        if not isinstance(error, TransomError):
            _LOG.error("%s failed", request.path, exc_info=error)
        yield _line({"error": public_text(error)})


class _Board:
    """What the work said and nobody heard yet, by what it is about."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, object], Status] = {}
        self._is_done = False
        self._error: BaseException | None = None

    def report(self, status: Status) -> None:
        with self._changed:
            self._waiting[status.text, status.digest] = status
            self._changed.notify()

    def finish(self, error: BaseException | None) -> None:
        with self._changed:
            self._is_done, self._error = True, error
            self._changed.notify()

    def take(self, seconds: float) -> tuple[list[Status], bool]:
        """What was said since, after a wait of at most so long, and whether the work is over.

        Raises the work's error once all that came before it was taken.
        """
        with self._changed:
            if not self._waiting and not self._is_done:
                self._changed.wait(seconds)
            taken = list(self._waiting.values())
            self._waiting.clear()
            if self._error is not None and not taken:
                raise self._error
            return taken, self._is_done and self._error is None


def _statuses(work: Work, gone: Callable[[], bool]) -> Generator[Status, None, None]:
    board, cancelled = _Board(), threading.Event()

    def run() -> None:
        try:
            work(board.report, cancelled)
        except BaseException as error:
            board.finish(error)
        else:
            board.finish(None)

    # Stopping the server must not wait for a download; a store stands being left at any moment.
    thread = threading.Thread(target=run, name="transom-work", daemon=True)
    thread.start()
    try:
        is_done = False
        while not is_done:
            taken, is_done = board.take(POLL_SECONDS)
            yield from taken
            if gone():
                cancelled.set()
    finally:
        cancelled.set()
        thread.join()


def _row(status: Status) -> dict[str, Any]:
    row: dict[str, Any] = {"status": status.text}
    if status.digest is not None:
        row["digest"] = str(status.digest)
    for key, value in (("total", status.total), ("completed", status.completed)):
        if value is not None:
            row[key] = value
    return row


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
