"""Compilers as child processes: side by side, stopped when nobody waits, honest when they fail."""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.compile.tiny_request import request_of
from tests.fakes.fake_compiler import FAKE_COMPILER
from tests.processes import children
from transom_compile import library_builds
from transom_compile.library_builds import (
    BuildFigures,
    LibraryBuildError,
    started_builds,
    worker_count,
)
from transom_compile.library_worker import Job


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)


def job(out: Path) -> Job:
    return Job(request_of(), out.parent, out, None)


def nobody(phase: str) -> None:
    del phase


def test_every_job_is_built_and_tells_its_phases(tmp_path: Path) -> None:
    heard: list[str] = []
    jobs = [(job(tmp_path / f"{number}.wasm"), heard.append) for number in range(5)]
    with started_builds(jobs) as futures:
        figures = [future.result(timeout=60) for future in futures]
    assert figures == [BuildFigures({"codegen": 0.5}, 1000)] * 5
    assert sorted(heard) == ["graph"] * 5 + ["link"] * 5
    assert len(list(tmp_path.glob("*.wasm"))) == 5


def test_no_job_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_builds, "COMPILER", ("there is no such program",))
    with started_builds([]) as futures:
        assert futures == []


@pytest.mark.parametrize(
    ("manners", "kind", "message"),
    [
        ("refuse", LibraryBuildError, "no linker here"),
        ("crash", RuntimeError, "ended with 1\ntvm: an internal error"),
    ],
)
def test_a_failure_says_why(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manners: str,
    kind: type[Exception],
    message: str,
) -> None:
    monkeypatch.setenv("FAKE_COMPILER", manners)
    with started_builds([(job(tmp_path / "a.wasm"), nobody)]) as (future,):
        with pytest.raises(kind, match=message):
            future.result(timeout=60)


def test_what_still_runs_at_the_end_of_the_block_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_COMPILER", "hang")
    heard: list[str] = []
    children: list[int] = []
    with started_builds([(job(tmp_path / "a.wasm"), heard.append)]) as (future,):
        wait_for(lambda: heard == ["graph"], future)
        children = child_processes()
        assert children
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert future.done()


def test_a_compiler_that_the_system_kills_is_a_user_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the kernel does when memory runs out."""
    monkeypatch.setenv("FAKE_COMPILER", "hang")
    heard: list[str] = []
    with started_builds([(job(tmp_path / "a.wasm"), heard.append)]) as (future,):
        wait_for(lambda: heard == ["graph"], future)
        for pid in child_processes():
            os.kill(pid, 9)
        with pytest.raises(LibraryBuildError, match=r"compiler of a\.wasm was killed.*memory"):
            future.result(timeout=60)


def test_there_are_no_more_compilers_than_cores_memory_or_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(library_builds, "_free_bytes", lambda: 100_000_000_000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert [worker_count(jobs) for jobs in range(4)] == [0, 1, 2, 2]
    monkeypatch.setattr(library_builds, "_free_bytes", lambda: 10)
    assert [worker_count(jobs) for jobs in range(4)] == [0, 1, 1, 1]


def wait_for(condition: Callable[[], bool], future: "Future[BuildFigures]") -> None:
    while not condition():
        assert not future.done()
        time.sleep(0.01)


def child_processes() -> list[int]:
    if not sys.platform.startswith("linux"):
        pytest.skip("looks into /proc")
    return children(os.getpid())
