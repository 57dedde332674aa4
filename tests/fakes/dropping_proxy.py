"""A TCP proxy that counts what clients send, and can cut connections in the middle of it.

A fake of a bad line, not of a registry: what comes through is a real client's and server's.
"""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class DroppingProxy:
    """Passes bytes on to 127.0.0.1:`port`. `sent_bytes` counts those of clients."""

    def __init__(self, port: int) -> None:
        self.target_port = port
        self.sent_bytes = 0
        self.connections = 0
        self._cut_every: int | None = None
        self._at: tuple[int, Callable[[], None]] | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def cut_every(self, count: int | None) -> None:
        """Cut each connection once its client has sent `count` bytes; None: no more."""
        self._cut_every = count

    def at(self, count: int, action: Callable[[], None]) -> None:
        """Once clients have sent `count` bytes, call `action`; the last of them go nowhere."""
        self._at = (count, action)

    def close(self) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._accepting.join()
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._ended.is_set():
            client, _ = self._listener.accept()
            if self._ended.is_set():
                client.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._pass_on, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", self.target_port)) as server:
                self._pump(client, server)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        sent = 0
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            while not self._ended.is_set():
                for key, _ in selector.select(0.1):
                    data = key.fileobj.recv(64 * 1024)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is server:
                        client.sendall(data)
                        continue
                    sent += len(data)
                    if not self._let_through(len(data), sent):
                        # A reset, as of a machine that is gone: nothing more is delivered.
                        client.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                        return
                    server.sendall(data)

    def _let_through(self, count: int, of_connection: int) -> bool:
        with self._lock:
            self.sent_bytes += count
            if self._at is not None and self.sent_bytes >= self._at[0]:
                action, self._at = self._at[1], None
                action()
                return False
        return self._cut_every is None or of_connection < self._cut_every


@contextmanager
def dropping_proxy(port: int) -> Iterator[DroppingProxy]:
    """A proxy in front of a port of this machine, for as long as the block runs."""
    proxy = DroppingProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
