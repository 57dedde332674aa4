"""Machine events: what a line says, and how seldom it is said."""

import json
from typing import Any

from transom_compile.events import PROGRESS_SECONDS, Events


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def listen() -> tuple[Events, Clock, list[dict[str, Any]]]:
    lines: list[dict[str, Any]] = []
    clock = Clock()

    def write(line: str) -> None:
        assert "\n" not in line
        lines.append(json.loads(line))

    return Events(write, clock), clock, lines


def test_a_step_tells_how_far_how_fast_and_how_long() -> None:
    events, clock, lines = listen()
    events.step("repack", 1000)
    clock.now += 2
    events.advance(400)
    assert lines == [
        {"event": "phase", "phase": "repack", "total_bytes": 1000},
        {
            "event": "progress",
            "phase": "repack",
            "done_bytes": 400,
            "total_bytes": 1000,
            "bytes_per_second": 200,
            "seconds_left": 3.0,
        },
    ]


def test_a_fast_step_is_told_at_its_end_only() -> None:
    events, clock, lines = listen()
    events.step("repack", 1000)
    for _ in range(100):
        clock.now += PROGRESS_SECONDS / 200
        events.advance(10)
    assert [line["event"] for line in lines] == ["phase"]
    events.step("texts")
    assert [line["event"] for line in lines] == ["phase", "progress", "phase"]
    assert lines[1]["done_bytes"] == 1000
    assert lines[1]["seconds_left"] == 0.0


def test_a_step_of_unknown_size_has_a_rate_but_no_end() -> None:
    events, clock, lines = listen()
    events.step("convert")
    clock.now += 1
    events.advance(50)
    assert lines[-1]["bytes_per_second"] == 50
    assert lines[-1]["total_bytes"] is None
    assert lines[-1]["seconds_left"] is None


def test_things_notes_and_the_last_line() -> None:
    events, _, lines = listen()
    events.step("libraries")
    events.items(1, 3)
    events.note("library-f32.wasm: link")
    events.end("error", {"message": "no"})
    assert lines[1:] == [
        {"event": "items", "phase": "libraries", "done": 1, "total": 3},
        {"event": "note", "phase": "libraries", "text": "library-f32.wasm: link"},
        {"event": "error", "message": "no"},
    ]


def test_bytes_before_any_step_are_not_counted() -> None:
    events, clock, lines = listen()
    clock.now += 10
    events.advance(10)
    assert lines == []
