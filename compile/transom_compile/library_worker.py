"""A process that builds model libraries: jobs come on stdin, what happens goes to stdout.

TVM is imported here and nowhere above, so that the walk itself stays small and libraries are built
side by side. A job is a pickled `Job`; an answer is one JSON object a line: `{"phase": …}` while it
works, then `{"seconds": {…}, "peak_rss_bytes": …}` or `{"error": …}`. Ends with its stdin: nobody
waits for a library then. Runs as `python -m transom_compile.library_worker`.
"""

import json
import os
import pickle
import queue
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from transom_compile.library_request import LibraryRequest
from transom_compile.progress import peak_rss_bytes
from transom_models.errors import TransomError


@dataclass(frozen=True, slots=True)
class Job:
    """One library to build at `out`."""

    request: LibraryRequest
    runtime_dir: Path
    out: Path
    dump_dir: Path | None


def main() -> None:
    # What TVM or LLVM print must not land among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, jobs), daemon=True).start()

    def answer(body: dict[str, Any]) -> None:
        answers.write(json.dumps(body) + "\n")
        answers.flush()

    from transom_compile.lower import LibraryReport, build_library
    from transom_compile.program import build_program

    def build(job: Job) -> LibraryReport:
        def tell(phase: str) -> None:
            answer({"phase": phase})

        if job.request.product == "program":
            return build_program(job.request, job.out, dump_dir=job.dump_dir, progress=tell)
        return build_library(
            job.request, job.runtime_dir, job.out, dump_dir=job.dump_dir, progress=tell
        )

    while True:
        job = jobs.get()
        try:
            report = build(job)
            answer({"seconds": report.seconds, "peak_rss_bytes": peak_rss_bytes()})
        except TransomError as error:
            answer({"error": str(error)})


def _listen(stdin: BinaryIO, jobs: "queue.SimpleQueue[Job]") -> None:
    """Pass jobs on; at the end of stdin the process ends at once, in the middle of a build too."""
    try:
        while True:
            jobs.put(pickle.load(stdin))
    except (EOFError, pickle.UnpicklingError):
        os._exit(0)


if __name__ == "__main__":
    main()
