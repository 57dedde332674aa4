"""pytest tests/pyserver/test_slots.py: who gets which slot, told by llama.cpp's log."""

import threading

import pytest

from tests.waiting import wait_for
from transom_api.engine import RequestCancelled
from transom_server.engines import slots as module
from transom_server.engines.slots import Lease, Slots, parallel_for, shared_chars

SECONDS = 10


def never() -> bool:
    return False


def take(slots: Slots, prompt: str = "", count: int = 1) -> Lease:
    return slots.take(prompt, count, never)


def numbers(lease: Lease) -> list[int]:
    return [slot.number for slot in lease.slots]


def begins(slots: Slots, slot: int, *, child: int = 0) -> None:
    slots.hear(f"0.1 I slot launch_slot_: id  {slot} | task 7 | processing, is_child = {child}")


def ends(slots: Slots, slot: int) -> None:
    slots.hear(f"0.2 I slot      release: id  {slot} | task 7 | stop processing: n_tokens = 3")


def is_full(slots: Slots) -> bool:
    """Whether another request has to wait."""
    asked = iter([False, False, True])
    try:
        lease = slots.take("", 1, lambda: next(asked))
    except RequestCancelled:
        return True
    slots.give_back(lease, refused=True)
    return False


def test_a_slot_is_free_when_the_log_says_so() -> None:
    slots = Slots(1)
    lease = take(slots)
    begins(slots, 0)
    assert is_full(slots)
    slots.give_back(lease)
    assert is_full(slots)
    ends(slots, 0)
    assert not is_full(slots)


def test_a_slot_whose_last_word_came_is_free_though_the_log_is_late() -> None:
    """Else whoever asks again at once would find another slot, which remembers nothing."""
    slots = Slots(2)
    first = take(slots, "abc")
    slots.give_back(first, finished=True)
    second = take(slots, "abcd")
    assert numbers(second) == numbers(first)
    number = second.first.number
    begins(slots, number)
    ends(slots, number)
    assert not second.first.begun
    slots.hear("0.1 E llg error: why")
    begins(slots, number)
    assert slots.fault(second, SECONDS) == "why"
    slots.give_back(second)
    take(slots)
    assert is_full(slots)
    ends(slots, number)
    assert not is_full(slots)


def test_a_request_that_was_refused_leaves_its_slot_at_once() -> None:
    slots = Slots(1)
    slots.give_back(take(slots), refused=True)
    assert not is_full(slots)


def test_one_that_nobody_knows_of_leaves_it_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def given_back(seconds: float) -> Slots:
        monkeypatch.setattr(module, "UNSURE_SECONDS", seconds)
        slots = Slots(1)
        slots.give_back(take(slots))
        return slots

    assert is_full(given_back(60))
    take(given_back(0.1))


def test_one_that_begins_late_has_its_slot_until_it_ends() -> None:
    slots = Slots(1)
    slots.give_back(take(slots))
    begins(slots, 0)
    assert is_full(slots)
    ends(slots, 0)
    assert not is_full(slots)


def test_a_prompt_goes_where_most_of_it_was_read() -> None:
    slots = Slots(3)
    first, second = take(slots, "abcdef"), take(slots, "xyz")
    for lease in (first, second):
        begins(slots, *numbers(lease))
        ends(slots, *numbers(lease))
        slots.give_back(lease)
    assert numbers(take(slots, "abcdefgh")) == numbers(first)
    third = take(slots, "unknown")
    # No conversation loses its slot while there is one that nobody used.
    assert numbers(third) not in (numbers(first), numbers(second))


def test_whoever_comes_first_is_served_first() -> None:
    slots = Slots(3)
    first = take(slots)
    order: list[str] = []

    def ask(name: str, count: int) -> None:
        take(slots, count=count)
        order.append(name)

    large = threading.Thread(target=ask, args=("large", 3))
    large.start()
    wait_for(lambda: len(slots._queue) == 1)
    small = threading.Thread(target=ask, args=("small", 1), daemon=True)
    small.start()
    wait_for(lambda: len(slots._queue) == 2)
    assert order == []  # it would fit, but the large one would wait for ever
    slots.give_back(first, refused=True)
    large.join(SECONDS)
    assert order == ["large"]


def test_a_schema_that_was_passed_over() -> None:
    slots = Slots(2)
    lease, other = take(slots), take(slots)
    slots.hear("0.1 E llg error: at 2(8): failed to compile JSON schema: why")
    begins(slots, *numbers(lease))
    begins(slots, *numbers(other))
    assert slots.fault(lease, SECONDS) == "at 2(8): failed to compile JSON schema: why"
    assert slots.fault(other, SECONDS) is None
    with pytest.raises(TimeoutError):
        Slots(1).fault(lease=take(slots := Slots(1)), patience=0.01)


def test_further_choices_are_guests_in_their_slots() -> None:
    slots = Slots(2)
    lease = take(slots, count=2)
    begins(slots, 1, child=1)
    begins(slots, 0)
    slots.give_back(lease)
    ends(slots, 0)
    taken = take(slots)
    assert numbers(taken) == [0]
    assert is_full(slots)
    ends(slots, 1)
    assert not is_full(slots)


def test_when_the_child_has_ended_nobody_waits() -> None:
    slots = Slots(1)
    lease = take(slots)
    begins(slots, 0)
    slots.give_back(lease)
    slots.hear("")
    assert not is_full(slots)
    assert slots.fault(take(slots), SECONDS) is None


def test_sizes() -> None:
    sizes = (1024, 4096, 4097, 8192, 16384, 131072)
    assert [parallel_for(size) for size in sizes] == [4, 4, 3, 2, 1, 1]
    assert shared_chars("abc", "abd") == 2
    assert shared_chars("", "a") == 0
    assert shared_chars("ab", "abc") == 2
