"""pytest tests/pyserver/test_budget.py: what has to go so that a model fits; whose turn it is."""

from pathlib import Path

import pytest

from transom_server.engines.budget import Budget, Held, NeverFits, machine_bytes
from transom_server.engines.waiting import ClientOverShare, Overloaded, WaitingLine


def held(
    name: str, size: int, idle_since: float = 0.0, *, busy: bool = False, stays: bool = False
) -> Held[str]:
    return Held(name, name, size, busy, idle_since, stays)


def test_what_fits_moves_nobody() -> None:
    assert Budget(100).room("new", 60, [held("a", 40)]) == []


def test_the_one_unused_longest_goes_first_and_no_more_than_needed() -> None:
    loaded = [held("late", 40, 9), held("early", 30, 1), held("middle", 30, 5)]
    assert Budget(100).room("new", 20, loaded) == ["early"]
    assert Budget(100).room("new", 60, loaded) == ["early", "middle"]
    assert Budget(100).room("new", 100, loaded) == ["early", "middle", "late"]


def test_one_that_was_asked_to_stay_goes_last() -> None:
    loaded = [held("stays", 50, 1, stays=True), held("late", 50, 9)]
    assert Budget(100).room("new", 50, loaded) == ["late"]
    assert Budget(100).oldest(loaded) == "late"


def test_one_in_use_is_waited_for() -> None:
    loaded = [held("busy", 60, 1, busy=True), held("idle", 40, 9)]
    assert Budget(100).room("new", 50, loaded) is None
    assert Budget(100).room("new", 40, loaded) == ["idle"]


def test_a_pinned_one_never_goes() -> None:
    budget = Budget(100, frozenset({"pinned"}))
    loaded = [held("pinned", 60, 1), held("idle", 40, 9)]
    assert budget.room("new", 40, loaded) == ["idle"]
    assert budget.oldest([held("pinned", 60, 1)]) is None
    with pytest.raises(NeverFits, match="pinned models hold"):
        budget.room("new", 50, loaded)


def test_one_that_never_fits_says_what_helps() -> None:
    with pytest.raises(NeverFits) as caught:
        Budget(8_000_000_000).room("large", 12_345_678_900, [])
    text = str(caught.value)
    assert "large needs about 12.35 GB" in text
    assert "may take 8.00 GB (TRANSOM_MEMORY)" in text
    assert "num_ctx" in text
    assert "q8_0" in text
    assert "quantization" in text


def machine(root: Path, groups: str, **limits: str) -> int:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemFree: 5 kB\nMemTotal:    1000 kB\n")
    (root / "proc/self/cgroup").write_text(groups)
    for path, text in limits.items():
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return machine_bytes(root)


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("", {}, 1_024_000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "memory.max": "max\n"}, 1_024_000),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "700000\n"}, 700_000),
        ("0::/a\n", {"a/memory.max": "9000000\n"}, 1_024_000),
        ("0::/../x\n", {"memory.max": "5000\n"}, 5000),
        (
            "4:cpu,memory:/d\n3:cpuset:/\n",
            {"memory/d/memory.limit_in_bytes": "600000\n"},
            600_000,
        ),
    ],
    ids=["no groups", "no limit", "a parent's", "larger than the machine", "outside", "version 1"],
)
def test_what_a_machine_has(
    tmp_path: Path, groups: str, limits: dict[str, str], expected: int
) -> None:
    assert machine(tmp_path, groups, **limits) == expected


def test_a_machine_that_does_not_say(tmp_path: Path) -> None:
    assert machine_bytes(tmp_path) > 2**20


def order(line: WaitingLine, tickets: list[tuple[str, object]]) -> list[str]:
    """The clients in the order in which they are served."""
    waiting = dict(tickets)
    served = []
    while waiting:
        (name,) = (name for name, ticket in waiting.items() if line.is_next(ticket))  # type: ignore[arg-type]
        ticket = waiting.pop(name)
        line.served(ticket)  # type: ignore[arg-type]
        line.leave(ticket)  # type: ignore[arg-type]
        served.append(name)
    return served


def test_clients_take_turns() -> None:
    line = WaitingLine()
    tickets: list[tuple[str, object]] = [
        (f"a{number}", line.enter("a", "model", 0)) for number in range(4)
    ]
    tickets += [(f"b{number}", line.enter("b", "model", 0)) for number in range(2)]
    assert order(line, tickets) == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_whoever_comes_late_does_not_pass_everybody() -> None:
    line = WaitingLine()
    first = [line.enter("a", "model", 0) for _ in range(3)]
    for ticket in first[:2]:
        line.served(ticket)
        line.leave(ticket)
    late = [(f"b{number}", line.enter("b", "model", 0)) for number in range(2)]
    rest: list[tuple[str, object]] = [("a2", first[2]), *late]
    assert order(line, rest) in (["a2", "b0", "b1"], ["b0", "a2", "b1"])


def test_models_have_lines_of_their_own() -> None:
    line = WaitingLine()
    one, two = line.enter("a", "one", 0), line.enter("a", "two", 0)
    assert line.is_next(one)
    assert line.is_next(two)
    one.wants_room = two.wants_room = True
    assert line.may_make_room(one)
    assert not line.may_make_room(two)
    line.leave(one)
    assert line.may_make_room(two)
    assert len(line) == 1


def test_the_line_has_an_end_and_each_client_a_share() -> None:
    line = WaitingLine(most=4)
    tickets = [line.enter("a", "model", 0) for _ in range(2)]
    with pytest.raises(ClientOverShare, match="2 of your requests"):
        line.enter("a", "model", 0)
    line.enter("b", "model", 0)
    line.enter("c", "model", 0)
    with pytest.raises(Overloaded, match="TRANSOM_QUEUE") as caught:
        line.enter("d", "model", 0)
    assert not isinstance(caught.value, ClientOverShare)
    assert caught.value.retry_seconds > 0
    line.leave(tickets[0])
    line.enter("d", "model", 0)


def test_waiting_has_a_deadline() -> None:
    line = WaitingLine(patience_seconds=10)
    ticket = line.enter("a", "model", 100)
    line.check(ticket, 109)
    with pytest.raises(Overloaded, match="10 seconds"):
        line.check(ticket, 110)
