"""How answers leave: files by the kernel's own hand (`sendfile`), and nobody starves the others.

A thread that answers with a file sends it itself for as long as the client keeps up; the rest for
slow clients is the main loop's, which goes on to the next connection after each piece. Knows
waitress's channels; knows no routes.
"""

import errno
import os
import select
import time
from collections.abc import Callable
from typing import Any, Final

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import WSGITask

from transom_server.http.file_part import FilePart

# What is sent at once: under a millisecond of the main loop's time, which serves all.
TURN_BYTES: Final = 1024 * 1024
# A client that takes nothing for so long is slow: a thread is dearer than a place in the main loop.
PATIENCE_SECONDS: Final = 0.25
# What `sendfile` says where a file or a system cannot do it.
_CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ETIMEDOUT})
_BROKEN: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL


class SentFile(ReadOnlyFileBasedBuffer):  # type: ignore[misc]  # waitress has no types
    """A file on its way out: waitress's buffer, which the kernel can read by itself."""

    def __init__(self, file: Any, block_size: int = 32768) -> None:
        super().__init__(file, block_size)
        place = file.place() if isinstance(file, FilePart) and hasattr(os, "sendfile") else None
        self._descriptor, self._offset = place or (-1, 0)
        self._callbacks: list[Callable[[], None]] = []

    def on_close(self, callback: Callable[[], None]) -> None:
        """`callback` hears when the last byte is sent, or will never be."""
        self._callbacks.append(callback)

    def send_to(self, channel: HTTPChannel, count: int, do_close: bool) -> int:
        """Send some of the next `count` bytes; gives how many, 0 when the socket is full."""
        if self._descriptor >= 0:
            socket = channel.socket.fileno()
            try:
                sent = os.sendfile(socket, self._descriptor, self._offset, min(count, self.remain))
            except BlockingIOError:
                return 0
            except OSError as error:
                if error.errno in _GONE:
                    if do_close:
                        channel.handle_close()
                    return 0
                if error.errno not in _CANNOT:
                    raise
                # Read and written, then, from where it stopped.
                origin = self.file.place()[1]
                self.file.seek(self._offset - origin, os.SEEK_CUR)
                self._descriptor = -1
            else:
                if sent == 0:
                    raise OSError(errno.EIO, "the file is shorter than it was")
                self._offset += sent
                self.remain -= sent
                return sent
        chunk = self.get(min(count, channel.sendbuf_len))
        if not chunk:
            raise OSError(errno.EIO, "the file is shorter than it was")
        number: int = channel.send(chunk, do_close=do_close)
        if number:
            self.skip(number)
        return number

    def close(self) -> None:
        self._descriptor = -1
        super().close()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class SendingTask(WSGITask):  # type: ignore[misc]
    """A request whose answer may be a file."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ["wsgi.file_wrapper"] = SentFile
        return environ


class SendingChannel(HTTPChannel):  # type: ignore[misc]
    """A connection."""

    task_class = SendingTask
    will_close: bool
    total_outbufs_len: int
    # A thread is sending a file: the main loop leaves the connection alone.
    _is_sending = False

    def readable(self) -> bool:
        return not self._is_sending and bool(super().readable())

    def writable(self) -> bool:
        if self._is_sending:
            return bool(self.will_close)
        return bool(super().writable())

    def write_soon(self, data: Any) -> int:
        if not isinstance(data, SentFile):
            return int(super().write_soon(data))
        self._is_sending = True
        try:
            size = int(super().write_soon(data))
            self._send_while_taken()
        finally:
            self._is_sending = False
        return size

    def _send_while_taken(self) -> None:
        """Send from the thread that answers, until all is sent or the client is slow."""
        poll = select.poll()
        with self.outbuf_lock:
            if not self.connected:
                raise ClientDisconnected
            poll.register(self.socket.fileno(), select.POLLOUT)
        while self.total_outbufs_len and not self.will_close:
            events = poll.poll(PATIENCE_SECONDS * 1000)
            if not events:
                return
            if events[0][1] & _BROKEN:
                self.will_close = True
                self.server.pull_trigger()
                return
            # Under the lock: closed sockets' numbers go to new connections.
            with self.outbuf_lock:
                if not self.connected:
                    raise ClientDisconnected
                self._flush_exception(self._flush_some, do_close=False)

    def _flush_some(self, do_close: bool = True) -> bool:
        """As waitress's, but a turn's share only, and files go by `sendfile`."""
        left, total = TURN_BYTES, 0
        while left > 0:
            buffer = self.outbufs[0]
            size = len(buffer)
            if size == 0:
                # The last one takes what is written next.
                if len(self.outbufs) == 1:
                    break
                self.outbufs.pop(0).close()
                continue
            if isinstance(buffer, SentFile):
                sent = buffer.send_to(self, min(size, left), do_close)
            else:
                sent = self.send(buffer.get(min(self.sendbuf_len, left)), do_close=do_close)
                if sent:
                    buffer.skip(sent, True)
            if not sent:
                break
            self.total_outbufs_len -= sent
            left -= sent
            total += sent
        # Also when this turn's share is used up exactly: a file's end is told at once.
        while len(self.outbufs) > 1 and not len(self.outbufs[0]):
            self.outbufs.pop(0).close()
        if total:
            self.last_activity = time.time()
        return total > 0
