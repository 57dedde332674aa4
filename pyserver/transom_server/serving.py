"""The app on a socket (waitress): bind, run until stopped, end the threads. Knows no routes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from flask import Flask
from waitress import wasyncore
from waitress.utilities import Error

from transom_models.manifest import MAX_BLOB_BYTES
from transom_server.access import bracketed
from transom_server.config import ANY_ADDRESS, Config
from transom_server.key_door import Access
from transom_server.listening import CannotListen, listen, new_server
from transom_server.request_body import RECEIVE_BYTES, channel_class
from transom_server.store import Store
from transom_server.task_threads import TaskThreads

__all__ = ["CannotListen", "Server", "serving"]

# Of all headers together. Cookies of other programs on localhost take a few.
MAX_HEADER_BYTES: Final = 64 * 1024
# What is written and not yet taken, of one connection. It is never more than that in memory, and
# never in a file: whoever writes waits.
MAX_UNSENT_BYTES: Final = 1024 * 1024


class _Overloaded(Error):  # type: ignore[misc]  # waitress has no types
    code = 503
    reason = "Service Unavailable"


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
        self._end_app: Callable[[], None] = app.extensions["transom_close"]
        store: Store = app.extensions["transom_store"]
        access: Access = app.extensions["transom_access"]
        self._server.channel_class = channel_class(store.scratch, access.judge)
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

    def _refuse(self, channel: Any) -> None:
        """There is no thread for this request. It is told so by the main loop, which is free."""

        def say() -> None:
            if channel.connected and channel.requests:
                channel.requests[0].error = _Overloaded(
                    "all threads of this server are busy; try again in a moment"
                )
                channel.service()

        self._server.in_main_loop(say)

    def _close(self) -> None:
        # First the models: answers that wait for them end, and so do their threads.
        self._end_app()
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
