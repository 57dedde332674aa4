"""The app on a socket (waitress): bind, run until stopped, end the threads. Knows no routes."""

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from flask import Flask
from waitress import create_server, wasyncore

from transom_models.errors import TransomError
from transom_models.manifest import MAX_BLOB_BYTES
from transom_server.access import bracketed
from transom_server.config import ANY_ADDRESS, Config
from transom_server.request_body import RECEIVE_BYTES, channel_class
from transom_server.store import Store

# The page downloads a few shards at once, and each download holds a thread while it is read.
THREADS: Final = 16
BACKLOG: Final = 128


class CannotListen(TransomError):
    """The address or port cannot be had."""


class Server:
    """An app that listens from the start, and answers once `run` is called."""

    def __init__(self, app: Flask, config: Config) -> None:
        listener = _listen(config.host, config.port)
        self._map: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._map,
            sockets=[listener],
            threads=THREADS,
            # The default holds a connection two minutes; a browser opens a new one at no cost.
            channel_timeout=60,
            ident=None,
            # Read on while a request is answered: only so a client that goes away is noticed.
            channel_request_lookahead=1,
            recv_bytes=RECEIVE_BYTES,
            # `request_body` has the limits, by address.
            max_request_body_size=MAX_BLOB_BYTES,
        )
        self._end_app: Callable[[], None] = app.extensions["transom_close"]
        store: Store = app.extensions["transom_store"]
        self._server.channel_class = channel_class(store.scratch, config.writable)
        self.port: int = listener.getsockname()[1]
        host = "localhost" if config.host in ANY_ADDRESS else bracketed(config.host)
        self.url = f"http://{host}:{self.port}"

    def run(self) -> None:
        """Answer until `stop`, Ctrl-C, or an exit raised by a signal handler."""
        try:
            self._server.run()
        finally:
            self._close()

    def stop(self) -> None:
        """End `run` from any thread: no new connections, running answers are cut."""
        trigger = self._server.trigger
        # As `pull_trigger`, but under the lock: a worker's own pull in between would run `_close`,
        # and the byte would go to whatever has the trigger's number by then.
        with trigger.lock:
            trigger.thunks.append(self._close)
            trigger._physical_pull()

    def _close(self) -> None:
        # First the models: answers that wait for them end, and so do their threads.
        self._end_app()
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=1)
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


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Else a restart within a minute finds its own port taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotListen(
                f"port {port} is taken (another `transom serve`?); choose one with --port"
            ) from None
        raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.setblocking(False)
    return listener
