"""pytest tests/pyserver/test_task_threads.py: threads come with demand, and go again."""

import json
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.waiting import wait_for
from transom_server.http.task_threads import TaskThreads

BASE, MOST = 2, 6


class Task:
    """Work that lasts until it is told to end."""

    def __init__(self, work: Callable[[], None] = lambda: None) -> None:
        self.begun, self.end, self.done = threading.Event(), threading.Event(), threading.Event()
        self._work = work

    def service(self) -> None:
        self.begun.set()
        self.end.wait(20)
        self._work()
        self.done.set()

    def cancel(self) -> None:
        self.done.set()


@pytest.fixture
def refused() -> list[Task]:
    return []


@pytest.fixture
def threads(refused: list[Task]) -> Iterator[TaskThreads]:
    found = TaskThreads(refused.append, base=BASE, most=MOST, idle_seconds=0.05)
    yield found
    found.shutdown(timeout=5)
    assert found.count == 0


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_one_more_whenever_none_is_free(threads: TaskThreads, refused: list[Task]) -> None:
    tasks = [Task() for _ in range(MOST)]
    for task in tasks:
        threads.add_task(task)
    # All at once, though none has ended.
    assert all(task.begun.wait(20) for task in tasks)
    assert threads.count == MOST
    late = Task()
    threads.add_task(late)
    assert refused == [late]
    assert not late.begun.is_set()
    for task in tasks:
        task.end.set()
    assert all(task.done.wait(20) for task in tasks)


def test_no_more_than_needed(refused: list[Task], switching: None) -> None:
    """A thread that has just begun is free, at every moment."""
    for _ in range(300):
        some = TaskThreads(refused.append, base=BASE, most=MOST)
        tasks = [Task() for _ in range(BASE)]
        for task in tasks:
            some.add_task(task)
            task.end.set()
        assert some.count == BASE
        some.shutdown(timeout=20)


def test_those_without_work_end_but_for_the_base(threads: TaskThreads) -> None:
    for _ in range(3):
        tasks = [Task() for _ in range(MOST)]
        for task in tasks:
            threads.add_task(task)
            task.end.set()
        assert all(task.done.wait(20) for task in tasks)
        wait_for(lambda: threads.count == BASE)
    again = Task()
    again.end.set()
    threads.add_task(again)
    assert again.done.wait(20)
    assert threads.count == BASE


def test_a_system_without_more_threads_refuses(
    threads: TaskThreads, refused: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [Task() for _ in range(BASE)]
    for task in tasks:
        threads.add_task(task)
    assert all(task.begun.wait(20) for task in tasks)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        late = Task()
        threads.add_task(late)
    assert refused == [late]
    assert threads.count == BASE
    # And once there is room again, all is as before.
    later = Task()
    threads.add_task(later)
    assert later.begun.wait(20)
    for task in (*tasks, later):
        task.end.set()


def test_a_task_that_fails_costs_no_thread(threads: TaskThreads) -> None:
    def fail() -> None:
        raise SystemExit("a task must not end the server")

    for work in (fail, lambda: None):
        task = Task(work)
        task.end.set()
        threads.add_task(task)
    assert task.done.wait(20)
    assert threads.count >= BASE


def test_a_stack_holds_what_python_lets_nest(threads: TaskThreads) -> None:
    """Too small a stack is a crash, not an exception."""

    class Nested:
        def __repr__(self) -> str:
            return "%r" % [self]

        def __call__(self, number: int) -> int:
            return sorted([number], key=self)[0]

    found = []

    def nest() -> None:
        for work in (
            lambda: json.loads("[" * 100_000),
            lambda: repr(Nested()),
            lambda: Nested()(1),
        ):
            with pytest.raises(RecursionError):
                work()
            found.append(work)

    before = threading.stack_size()
    tasks = [Task(nest) for _ in range(BASE + 1)]
    for task in tasks:
        task.end.set()
        threads.add_task(task)
    assert all(task.done.wait(60) for task in tasks)
    assert len(found) == 3 * len(tasks)
    assert threading.stack_size() == before
