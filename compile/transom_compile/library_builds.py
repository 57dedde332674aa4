"""Compilers as child processes: several libraries at once, none of them in this process's memory.

Knows the worker's protocol (`library_worker`), and nothing of what a library is.
"""

import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from transom_compile import library_worker
from transom_compile.library_worker import Job
from transom_models.errors import TransomError

# A compiler with its link holds 600 MB; one for each core leaves room on any machine that has as
# many gigabytes as cores.
BYTES_PER_WORKER = 1_000_000_000
COMPILER = (sys.executable, "-m", library_worker.__name__)


class LibraryBuildError(TransomError):
    """A library could not be built, for a reason that the user can do something about."""


@dataclass(frozen=True, slots=True)
class BuildFigures:
    """What a build cost: seconds by compiler phase, the most memory its process ever held."""

    seconds: Mapping[str, float]
    peak_rss_bytes: int


Tell = Callable[[str], None]


@contextmanager
def started_builds(jobs: Sequence[tuple[Job, Tell]]) -> Iterator[list[Future[BuildFigures]]]:
    """Build `jobs` in the background, each with who hears of its compiler phases (in a thread).

    Gives one future per job; at the end of the block, whatever still runs is killed.
    """
    waiting: queue.SimpleQueue[tuple[Job, Tell, Future[BuildFigures]]] = queue.SimpleQueue()
    futures = []
    for job, tell in jobs:
        future: Future[BuildFigures] = Future()
        futures.append(future)
        waiting.put((job, tell, future))
    workers = [_Worker() for _ in range(worker_count(len(jobs)))]
    threads = [threading.Thread(target=_drive, args=(worker, waiting)) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        yield futures
    finally:
        with suppress(queue.Empty):
            while True:
                waiting.get_nowait()
        for worker in workers:
            worker.kill()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        for worker in workers:
            worker.close()


def worker_count(jobs: int) -> int:
    """How many compilers run side by side: by jobs, cores and the memory that is free now."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(min(jobs, 1), min(jobs, cores or 1, _free_bytes() // BYTES_PER_WORKER))


def _free_bytes() -> int:
    try:
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError):
        return BYTES_PER_WORKER


def _drive(
    worker: "_Worker", waiting: "queue.SimpleQueue[tuple[Job, Tell, Future[BuildFigures]]]"
) -> None:
    """One worker's thread: the next job, until there is none."""
    with suppress(queue.Empty):
        while True:
            job, tell, future = waiting.get_nowait()
            try:
                future.set_result(worker.build(job, tell))
            except BaseException as error:
                future.set_exception(error)


class _Worker:
    """One compiler process, started with its first job."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._killed = False

    def build(self, job: Job, tell: Tell) -> BuildFigures:
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            pickle.dump(job, process.stdin)
            process.stdin.flush()
        for line in process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if "phase" in answer:
                tell(answer["phase"])
            elif "error" in answer:
                raise LibraryBuildError(answer["error"])
            else:
                return BuildFigures(answer["seconds"], answer["peak_rss_bytes"])
        raise self._explain(process, job)

    def kill(self) -> None:
        """End the process and the linker it may be running."""
        with self._lock:
            self._killed = True
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """After `kill`, when no thread reads from the process any more."""
        if self._process is None or self._errors is None:
            return
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._lock:
            if self._killed:
                raise LibraryBuildError("the build was stopped")
            if self._process is None:
                errors = tempfile.TemporaryFile()
                try:
                    self._process = subprocess.Popen(
                        COMPILER,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        # What this process can import, its child can.
                        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                        # Ctrl-C is for this process, which then ends the whole group.
                        start_new_session=True,
                    )
                except BaseException:
                    errors.close()
                    raise
                self._errors = errors
            return self._process

    def _explain(self, process: "subprocess.Popen[bytes]", job: Job) -> Exception:
        """Why the process ended without an answer."""
        code = process.wait()
        if code == -signal.SIGKILL:
            return LibraryBuildError(
                f"the compiler of {job.out.name} was killed; it needs about "
                f"{BYTES_PER_WORKER // 10**6} MB of memory"
            )
        assert self._errors is not None
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        return RuntimeError(f"the compiler of {job.out.name} ended with {code}\n{text[-8000:]}")
