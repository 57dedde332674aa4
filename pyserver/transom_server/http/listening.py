"""The listening socket and the main loop over all connections. Knows waitress; knows no app."""

import errno
import logging
import resource
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from transom_models.errors import TransomError

# Those that the system accepts and this process has not yet seen: a thousand clients may come in
# one moment. The system has a limit of its own (`net.core.somaxconn`).
BACKLOG: Final = 4096
# Each turn of the main loop asks each connection what it waits for: ten milliseconds for so many.
MOST_CONNECTIONS: Final = 8192
# A connection has itself, a body or a blob on disk, and the child that writes its answer.
FILES_A_CONNECTION: Final = 3
# The store, the log, the models, whoever writes a blob.
OWN_FILES: Final = 256
# New connections that one turn takes in: those that are there shall not wait for a crowd.
ACCEPTED_A_TURN: Final = 64
# A client that takes nothing, or does not even acknowledge, for so long has gone.
STALLED_SECONDS: Final = 60
# After the system had no descriptor for a new connection.
ACCEPT_AGAIN_SECONDS: Final = 1.0

_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_LOG: Final = logging.getLogger(__name__)


class CannotListen(TransomError):
    """The address or port cannot be had."""


class ListeningServer(TcpWSGIServer):  # type: ignore[misc]  # waitress has no types
    """waitress's server, for thousands of connections."""

    _accept_again = 0.0
    after_turn: Callable[[], None] = staticmethod(lambda: None)

    def run(self) -> None:
        """Until all is closed; `after_turn` is called between two turns."""
        while self._map:
            wasyncore.poll2(self.adj.asyncore_loop_timeout, self._map)
            self.after_turn()

    def readable(self) -> bool:
        # First waitress's own: it also closes what is idle.
        return bool(super().readable()) and time.monotonic() >= self._accept_again

    def handle_accept(self) -> None:
        for _ in range(ACCEPTED_A_TURN):
            if len(self._map) >= self.adj.connection_limit:
                return
            try:
                accepted = self.accept()
                if accepted is None:
                    return
                connection, address = accepted
                self.set_socket_options(connection)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    _LOG.warning("no new connections for a moment: %s", error.strerror)
                    self._accept_again = time.monotonic() + ACCEPT_AGAIN_SECONDS
                # Else a client that has gone before it was greeted.
                return
            self.channel_class(self, connection, self.fix_addr(address), self.adj, map=self._map)

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            # Also in the middle of an answer, which would hold a model's slot for ever. At once:
            # the main loop hears nothing of a socket that is full.
            if channel.total_outbufs_len and channel.last_activity < now - STALLED_SECONDS:
                channel.will_close = True
                channel.handle_close()

    def busy_count(self) -> int:
        """Connections whose answers are not all sent."""
        channels = self.active_channels.values()
        return sum(bool(channel.requests or channel.total_outbufs_len) for channel in channels)

    def wake(self) -> None:
        """Have a turn end now. Only for the thread that runs the loop, as in a signal's handler."""
        if not self.trigger._closed:
            self.trigger._physical_pull()

    def close_listener(self) -> None:
        """No new connections; those that are there stay."""
        self.accepting = False
        wasyncore.dispatcher.close(self)

    def in_main_loop(self, work: Callable[[], None]) -> None:
        """Have `work` done by the thread that runs the loop, from any thread."""
        trigger = self.trigger
        # As `pull_trigger`, but under the lock: a thread's own pull in between would do the work,
        # which may close the trigger, and the byte would go to whatever has its number by then.
        with trigger.lock:
            trigger.thunks.append(work)
            trigger._physical_pull()


def socket_options() -> list[tuple[int, int, int]]:
    """For each connection: small frames at once, and clients that vanish are noticed."""
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    for name, value in (
        ("TCP_KEEPIDLE", STALLED_SECONDS // 2),
        ("TCP_KEEPINTVL", STALLED_SECONDS // 6),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", STALLED_SECONDS * 1000),
    ):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def connection_limit() -> int:
    """Connections this process has descriptors for; raises its soft limit as far as it helps."""
    wanted = OWN_FILES + FILES_A_CONNECTION * MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, (soft - OWN_FILES) // FILES_A_CONNECTION))


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `CannotListen`."""
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


def new_server(
    app: Any, sockets: dict[int, Any], listener: socket.socket, dispatcher: Any, **settings: Any
) -> ListeningServer:
    """A server on a socket that listens; `settings` are waitress's adjustments."""
    adjustments = Adjustments(
        sockets=[listener],
        asyncore_use_poll=True,
        backlog=BACKLOG,
        connection_limit=connection_limit(),
        # A client that vanishes is no error of ours; the request's own line says that it has gone.
        log_socket_errors=False,
        # `proxies` knows whose headers count.
        clear_untrusted_proxy_headers=False,
        **settings,
    )
    adjustments.socket_options = socket_options()
    return ListeningServer(
        app,
        sockets,
        True,
        listener,
        dispatcher=dispatcher,
        adj=adjustments,
        sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        bind_socket=False,
    )
