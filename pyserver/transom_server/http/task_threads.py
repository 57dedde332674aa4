"""Threads that answer requests: one more whenever none is free, and fewer again later.

A stream holds its thread for as long as a model writes. Knows waitress's dispatcher; knows no app.
"""

import threading
from collections.abc import Callable
from typing import Any, Final

from waitress.task import ThreadedTaskDispatcher

# These stay: a page and its pictures never wait for a thread to begin.
BASE_THREADS: Final = 16
# A thread that waits takes about 50 KiB, so these take 200 MiB; and what they cost in turns of
# Python's lock is more than two cores have. systemd lets a service have about as many.
MOST_THREADS: Final = 4096
# Until a thread without work ends; much longer than a page's requests are apart.
IDLE_SECONDS: Final = 10.0
# Of address space; memory is only what is touched. Python's 1,000 nested calls through C (`repr`,
# `sorted`, the JSON reader) take more than 1 MiB and less than 2, and running out is a crash.
STACK_BYTES: Final = 4 * 1024 * 1024


class TaskThreads(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress has no types
    """A dispatcher that grows with demand. `overloaded` gets the tasks that find no thread; it may
    not do their work in the thread that calls it."""

    def __init__(
        self,
        overloaded: Callable[[Any], None],
        *,
        base: int = BASE_THREADS,
        most: int = MOST_THREADS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        super().__init__()
        self._overloaded = overloaded
        self._base = base
        self._most = most
        self._idle_seconds = idle_seconds
        # Started, and not yet looking for work.
        self._starting = 0
        self.set_thread_count(base)

    @property
    def count(self) -> int:
        """Threads there are."""
        with self.lock:
            return len(self.threads)

    def add_task(self, task: Any) -> None:
        with self.lock:
            self.queue.append(task)
            idle = len(self.threads) - self.stop_count - self.active_count
            if len(self.queue) <= idle + self._starting or self._grow():
                self.queue_cv.notify()
                return
            self.queue.pop()
        self._overloaded(task)

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        before = threading.stack_size(STACK_BYTES)
        try:
            thread = threading.Thread(
                target=target, name=f"answering-{thread_no}", args=(thread_no,), daemon=True
            )
            thread.start()
        finally:
            threading.stack_size(before)
        self._starting += 1

    def handler_thread(self, thread_no: int) -> None:
        is_starting = True
        while True:
            with self.lock:
                # Not before it looks for work: in between it would be neither starting nor idle.
                if is_starting:
                    self._starting -= 1
                    is_starting = False
                if not self._waits_for_task():
                    self.threads.discard(thread_no)
                    self.thread_exit_cv.notify()
                    return
                task = self.queue.popleft()
            try:
                task.service()
            except BaseException:
                self.logger.exception("Exception when servicing %r", task)
            # Else a stream's last frames live on in a thread that waits.
            del task

    def _waits_for_task(self) -> bool:
        """Whether there is one; else the calling thread shall end, and counts as idle no more."""
        while not self.queue and self.stop_count == 0:
            self.active_count -= 1
            is_called = self.queue_cv.wait(self._idle_seconds)
            self.active_count += 1
            if not (is_called or self.queue or self.stop_count) and len(self.threads) > self._base:
                self.active_count -= 1
                return False
        if self.stop_count > 0:
            self.active_count -= 1
            self.stop_count -= 1
            return False
        return True

    def _grow(self) -> bool:
        """One thread more, if the cap and the system allow it. Needs the lock."""
        if self.stop_count or len(self.threads) >= self._most:
            return False
        number = next(number for number in range(self._most) if number not in self.threads)
        try:
            self.start_new_thread(self.handler_thread, number)
        except RuntimeError as error:  # the system's own limit
            self.logger.warning("%s: %d threads answer", error, len(self.threads))
            return False
        self.threads.add(number)
        self.active_count += 1
        return True
