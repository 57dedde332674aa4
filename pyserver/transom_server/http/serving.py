"""The app on a socket (waitress): bind, run until stopped, end with grace. Knows no routes.

server.end()   a first signal: no new connections or requests; answers that run have `grace`
               seconds, then each ends with its dialect's error
server.end()   a second one: at once
server.reload()
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from flask import Flask
from waitress import wasyncore

from transom_models.manifest import MAX_BLOB_BYTES
from transom_server.access.key_door import Access
from transom_server.access.origins import bracketed
from transom_server.http.listening import CannotListen, listen, new_server
from transom_server.http.refusals import NoThread
from transom_server.http.request_body import RECEIVE_BYTES, channel_class
from transom_server.http.task_threads import TaskThreads
from transom_server.logs import event
from transom_server.settings.config import ANY_ADDRESS, Config
from transom_server.store import Store

__all__ = ["CannotListen", "Server", "serving"]

# Of all headers together. Cookies of other programs on localhost take a few.
MAX_HEADER_BYTES: Final = 64 * 1024
# What is written and not yet taken, of one connection. It is never more than that in memory, and
# never in a file: whoever writes waits.
MAX_UNSENT_BYTES: Final = 1024 * 1024


# For the error that ends an answer which has run out of grace.
LAST_WORDS_SECONDS: Final = 3.0

_LOG = logging.getLogger(__name__)


class Server:
    """An app that listens from the start, and answers once `run` is called."""

    def __init__(self, app: Flask, config: Config) -> None:
        listener = listen(config.host, config.port)
        self._map: dict[int, Any] = {}
        self._threads = TaskThreads(self._refuse)
        self._server = new_server(
            app,
            self._map,
            listener,
            self._threads,
            # The default holds a connection two minutes; a browser opens a new one at no cost.
            channel_timeout=60,
            ident=None,
            # Read on while a request is answered: only so a client that goes away is noticed.
            channel_request_lookahead=1,
            recv_bytes=RECEIVE_BYTES,
            max_request_header_size=MAX_HEADER_BYTES,
            # `request_body` has the limits, by address.
            max_request_body_size=MAX_BLOB_BYTES,
            outbuf_high_watermark=MAX_UNSENT_BYTES,
            # More than the mark and one write, so that nothing overflows into a file.
            outbuf_overflow=MAX_BLOB_BYTES,
        )
        self._server.after_turn = self._after_turn
        self._close_models: Callable[[], None] = app.extensions["transom_close"]
        self._ending: threading.Event = app.extensions["transom_ending"]
        self._models_end: threading.Thread | None = None
        # What signals ask for, done by the main loop between two turns.
        self._ends_wanted = 0
        self._reload_wanted = False
        self._deadline = math.inf
        self.on_reload: Callable[[], None] = lambda: None
        store: Store = app.extensions["transom_store"]
        self._access: Access = app.extensions["transom_access"]
        self._server.channel_class = channel_class(store.scratch, self._access.judge)
        self.port: int = listener.getsockname()[1]
        host = "localhost" if config.host in ANY_ADDRESS else bracketed(config.host)
        self.url = f"http://{host}:{self.port}"

    @property
    def thread_count(self) -> int:
        """Threads that answer, or wait to."""
        return self._threads.count

    def run(self) -> None:
        """Answer until `stop`, Ctrl-C, or an exit raised by a signal handler."""
        try:
            self._server.run()
        finally:
            self._close()

    def stop(self) -> None:
        """End `run` from any thread: no new connections, running answers are cut."""
        self._server.in_main_loop(self._close)

    def end(self) -> None:
        """End `run` with grace, or at once when asked again. For signal handlers too: takes no
        lock."""
        self._ends_wanted += 1
        self._server.wake()

    def reload(self) -> None:
        """Have `on_reload` called. For signal handlers too."""
        self._reload_wanted = True
        self._server.wake()

    def _after_turn(self) -> None:
        if self._reload_wanted:
            self._reload_wanted = False
            self.on_reload()
        if not self._ends_wanted:
            return
        now = time.monotonic()
        if not self._ending.is_set():
            self._ending.set()
            self._deadline = now + self._access.config.grace
            self._server.close_listener()
            event(_LOG, logging.INFO, "ending", answers=self._server.busy_count())
        if self._ends_wanted > 1 or not self._server.busy_count():
            self._close()
        elif now >= self._deadline and self._models_end is None:
            event(_LOG, logging.WARNING, "answers are cut", answers=self._server.busy_count())
            # Elsewhere: what they still have to say goes out through this loop.
            self._models_end = threading.Thread(target=self._end_models, name="models-end")
            self._deadline = math.inf
            self._models_end.start()
        elif now >= self._deadline:
            self._close()

    def _end_models(self) -> None:
        try:
            self._close_models()
        finally:
            self._deadline = time.monotonic() + LAST_WORDS_SECONDS

    def _refuse(self, channel: Any) -> None:
        """There is no thread for this request. It is told so by the main loop, which is free."""

        def say() -> None:
            if channel.connected and channel.requests:
                channel.requests[0].error = NoThread()
                channel.service()

        self._server.in_main_loop(say)

    def _close(self) -> None:
        # First the models: answers that wait for them end, and so do their threads.
        self._ending.set()
        if self._models_end is not None:
            self._models_end.join()
        self._close_models()
        self._threads.shutdown(cancel_pending=True, timeout=1)
        for channel in list(self._server.active_channels.values()):
            # Closed as the loop does it: a thread may be sending yet, and numbers are used again.
            channel.handle_close()
        wasyncore.close_all(self._map, ignore_all=True)


@contextmanager
def serving(app: Flask, config: Config) -> Iterator[Server]:
    """A server in a thread, for as long as the block runs."""
    server = Server(app, config)
    thread = threading.Thread(target=server.run, name="transom-server")
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
