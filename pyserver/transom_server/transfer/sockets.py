"""The open sockets of an HTTP client, to wake whoever waits on one from another thread.

A thread that waits for bytes cannot look at a flag. Knows urllib3's connections, and no HTTP.
"""

import socket
import threading
import weakref
from contextlib import suppress

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Sockets:
    """All open sockets of a client, so that another thread can wake those that wait on one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def shut_down(self) -> None:
        """Whoever reads or writes one of them gets its end at once."""
        with self._lock:
            for opened in self._open:
                # Gone already, or TLS that was shut down in order.
                with suppress(OSError):
                    socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def pool_classes(self) -> dict[str, type[HTTPConnectionPool]]:
        """urllib3's pools, with connections that tell of their sockets."""
        remember = self._remember

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                remember(self.sock)

        class Secure(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                remember(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def _remember(self, opened: object) -> None:
        if isinstance(opened, socket.socket):  # TLS inside a proxy's TLS is no socket
            with self._lock:
                self._open.add(opened)
