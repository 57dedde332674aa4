"""Ctrl-C and a polite kill, both as `KeyboardInterrupt`, so that work cleans up after itself."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interruptible(tell: Callable[[], None] = lambda: None) -> Iterator[None]:
    """In the block SIGINT and SIGTERM call `tell`, which may warn other threads, and raise
    `KeyboardInterrupt`. Signals that are ignored stay so; outside the main thread nothing is
    changed, as Python allows no more."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        tell()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            # `nohup` and a shell's background jobs ignore Ctrl-C on purpose.
            if handler is not signal.SIG_IGN:
                signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
