"""pytest tests/bench/test_frame_trace.py: what a trace says about a page's frames."""

from typing import Any

import pytest

from tests.bench.frame_trace import fitting, read_frames, summary

MAIN = {"pid": 7, "tid": 1}


def begins(at: int, **thread: int) -> dict[str, Any]:
    return {**(thread or MAIN), "name": "BeginMainThreadFrame", "ph": "I", "ts": at}


def did(name: str, at: int, dur: int, tdur: int, **thread: int) -> dict[str, Any]:
    return {
        **(thread or MAIN),
        "name": name,
        "ph": "X",
        "ts": at,
        "dur": dur,
        "tdur": tdur,
    }


def test_work_is_what_the_thread_had_of_the_processor_and_each_part_is_counted_once() -> None:
    frames = read_frames(
        [
            begins(1000),
            did("RunTask", 1000, 20_000, 10_000),
            did("FireAnimationFrame", 1100, 9000, 5000),
            did("FunctionCall", 1200, 8000, 4500),
            did("Layout", 1300, 3000, 1000),
            did("ParseHTML", 5000, 500, 400),
            did("Paint", 12_000, 3000, 2000),
            begins(41_000),
            did("RunTask", 41_000, 2000, 2000),
        ]
    )
    assert frames.gaps == [40.0]
    assert {part: times[0] for part, times in frames.parts.items()} == pytest.approx(
        {"script": 4.0, "style": 0.0, "layout": 1.0, "paint": 2.0, "other": 3.0}
    )
    assert frames.work == pytest.approx([10.0, 2.0])


def test_other_pages_and_threads_are_no_work_of_the_page() -> None:
    other = {"pid": 8, "tid": 1}
    frames = read_frames(
        [
            begins(1000),
            begins(20_000),
            begins(1000, **other),
            did("RunTask", 1000, 9000, 9000, **other),
            did("RunTask", 2000, 9000, 9000, pid=7, tid=2),
        ]
    )
    assert frames.work == [0.0, 0.0]


def test_the_compositor_and_the_pixels_are_counted_apart() -> None:
    compositor = {"pid": 7, "tid": 2}
    name = {"ph": "M", "name": "thread_name", "args": {"name": "Compositor"}}
    frames = read_frames(
        [
            {**compositor, **name},
            begins(1000),
            begins(20_000),
            did("RunTask", 1000, 4000, 2000, **compositor),
            did("RasterTask", 2000, 9000, 6000, pid=7, tid=3),
            {**compositor, "name": "DrawFrame", "ph": "I", "ts": 3000},
            {**compositor, "name": "DroppedFrame", "ph": "I", "ts": 4000},
            {
                **compositor,
                "name": "DroppedFrame",
                "ph": "I",
                "ts": 5000,
                "args": {"hasPartialUpdate": True},
            },
        ]
    )
    assert frames.compositor == pytest.approx(4.0)
    assert (frames.drawn, frames.dropped) == (1, 1)
    assert frames.work == [0.0, 0.0]


def test_a_trace_without_thread_clocks_is_read_by_the_clock() -> None:
    layout = did("Layout", 1500, 2000, 0)
    del layout["tdur"]
    frames = read_frames([begins(1000), layout])
    assert frames.parts["layout"] == [2.0]


def test_a_trace_without_frames_says_so() -> None:
    with pytest.raises(ValueError, match="no frames"):
        read_frames([did("RunTask", 0, 1, 1)])


def test_shares_and_places_in_order() -> None:
    assert fitting([1.0, 16.6, 16.7, 30.0]) == 50.0
    assert fitting([]) == 0.0
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "95 %": 3.0, "99 %": 3.0, "most": 3.0}
    assert summary([])["most"] == 0.0
