"""pytest tests/pyserver/test_object_lock.py: a lock between machines, made of objects in a bucket.

The bucket here is a dictionary with a clock; `SCALE` makes a minute 2.4 seconds.
"""

import random
import threading
import time
from collections.abc import Iterator

import pytest

from transom_server.store.object_lock import (
    DEAD_SECONDS,
    TTL_SECONDS,
    WAIT_SECONDS,
    ObjectLock,
)
from transom_server.store.storage import Entry

# Threads of a busy machine stand still for half a second, which must not look like death.
SCALE = 0.04


class FakeBucket:
    """What is put is listed from then on; a clock of its own, hours off; `down` refuses all."""

    def __init__(self, delay: float = 0) -> None:
        self._found: dict[str, tuple[bytes, float]] = {}
        self._delay = delay
        self.down = False
        self.forgetful = False

    def put(self, key: str, data: bytes) -> None:
        self._answer()
        self._found[key] = (data, time.monotonic() + 10_000)
        self._answer()

    def entries(self, prefix: str) -> Iterator[Entry]:
        self._answer()
        found = {} if self.forgetful else dict(self._found)
        self._answer()
        for key, (data, modified) in found.items():
            assert key.startswith(f"{prefix}/")
            yield Entry(key, len(data), modified)

    def delete(self, *keys: str) -> None:
        self._answer()
        for key in keys:
            self._found.pop(key, None)

    def read(self, key: str, first: int, count: int) -> bytes:
        self._answer()
        return self._found[key][0][first : first + count]

    def keys(self) -> list[str]:
        return sorted(self._found)

    def _answer(self) -> None:
        if self._delay:
            time.sleep(random.uniform(0, self._delay))
        if self.down:
            raise ConnectionResetError("gone")


def test_readers_share_and_leave_nothing() -> None:
    bucket = FakeBucket()
    here, there = ObjectLock(bucket, SCALE), ObjectLock(bucket, SCALE)
    with here.hold(exclusive=False), here.hold(exclusive=False), there.hold(exclusive=False):
        # One object a process.
        assert len(bucket.keys()) == 2
        here.check()
    assert bucket.keys() == []


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_writer_keeps_everybody_out_and_is_named(exclusive: bool) -> None:
    bucket = FakeBucket()
    here, there = ObjectLock(bucket, SCALE), ObjectLock(bucket, SCALE, wait_seconds=10)
    with here.hold(exclusive=True):
        with pytest.raises(OSError, match=r"in use by process \d+ on "):
            there.hold(exclusive=exclusive).__enter__()
        assert len(bucket.keys()) == 1
    with there.hold(exclusive=exclusive):
        pass
    assert bucket.keys() == []


def test_a_writer_waits_for_readers_and_lets_no_new_one_in() -> None:
    bucket, told = FakeBucket(), list[str]()
    reading, locks = threading.Event(), [ObjectLock(bucket, SCALE) for _ in range(3)]

    def write() -> None:
        with locks[1].hold(exclusive=True):
            told.append("wrote")

    def read_late() -> None:
        with locks[2].hold(exclusive=False):
            told.append("read late")

    threads = [threading.Thread(target=work) for work in (write, read_late)]
    with locks[0].hold(exclusive=False):
        for thread in threads:
            thread.start()
            while len(bucket.keys()) < 2:
                time.sleep(0.001)
            reading.wait(0.05)
        assert told == []
    for thread in threads:
        thread.join()
    assert told == ["wrote", "read late"]


@pytest.mark.parametrize("kind", ["shared", "exclusive"])
def test_the_lock_of_the_dead_runs_out_and_is_cleared_away(kind: str) -> None:
    bucket = FakeBucket()
    begun = time.monotonic()
    bucket.put(f"locks/{kind}/0123", b"not even JSON")
    with ObjectLock(bucket, SCALE).hold(exclusive=True):
        assert time.monotonic() - begun > (DEAD_SECONDS - 1) * SCALE
        assert len(bucket.keys()) == 1
    assert bucket.keys() == []


def test_a_living_holder_keeps_it_for_as_long_as_it_likes() -> None:
    bucket = FakeBucket()
    with ObjectLock(bucket, SCALE).hold(exclusive=False):
        time.sleep(2 * DEAD_SECONDS * SCALE)
        with pytest.raises(OSError, match="in use"):
            ObjectLock(bucket, SCALE, wait_seconds=10).hold(exclusive=True).__enter__()


def test_a_holder_that_cannot_renew_stops_before_others_begin() -> None:
    bucket, scale = FakeBucket(), SCALE
    lock = ObjectLock(bucket, scale)
    with lock.hold(exclusive=True):
        bucket.down = True
        lock.check()
        time.sleep(TTL_SECONDS * scale * 1.2)
        with pytest.raises(OSError, match="ran out"):
            lock.check()
        # Too late is too late: others may have begun.
        bucket.down = False
        time.sleep(TTL_SECONDS * scale)
        with pytest.raises(OSError, match="ran out"):
            lock.check()
    lock.check()


def test_a_bucket_that_does_not_list_what_was_put_holds_no_lock() -> None:
    bucket = FakeBucket()
    bucket.forgetful = True
    for exclusive in (True, False):
        with pytest.raises(OSError, match="does not list"):
            ObjectLock(bucket, SCALE).hold(exclusive=exclusive).__enter__()
    assert bucket.keys() == []


def test_an_unreachable_bucket_gives_no_lock() -> None:
    bucket = FakeBucket()
    bucket.down = True
    with pytest.raises(ConnectionResetError):
        ObjectLock(bucket, SCALE).hold(exclusive=False).__enter__()


def test_times_fit_each_other() -> None:
    assert TTL_SECONDS < DEAD_SECONDS < WAIT_SECONDS


def test_many_machines_never_meet() -> None:
    """Requests take random times: a writer is alone, and readers are alone with readers."""
    bucket, mutex = FakeBucket(delay=0.002), threading.Lock()
    inside = {"readers": 0, "writers": 0, "most readers": 0}
    broken: list[dict[str, int]] = []

    def machine(number: int) -> None:
        lock = ObjectLock(bucket, scale=0.1)
        for turn in range(6):
            exclusive = (number + turn) % 3 == 0
            kind = "writers" if exclusive else "readers"
            with lock.hold(exclusive=exclusive):
                with mutex:
                    inside[kind] += 1
                    inside["most readers"] = max(inside["most readers"], inside["readers"])
                    if inside["writers"] > 1 or (inside["writers"] and inside["readers"]):
                        broken.append(dict(inside))
                # Long enough that readers, who come by chance, meet.
                time.sleep(0.02)
                with mutex:
                    inside[kind] -= 1

    threads = [threading.Thread(target=machine, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    assert inside["most readers"] > 1
    assert bucket.keys() == []
