"""What a trace of Chromium says about the frames of one page.

Work is counted in time that its thread had the processor (`tdur`), so whoever else works on the
machine costs frames, not figures; caches that others emptied are still in them. Work on the page's
main thread is apart from what the compositor does with its result: without a graphics adapter that
is done by the processor, too, on threads of its own.
"""

import statistics
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

CATEGORIES: Final = (
    "devtools.timeline",
    "v8.execute",
    "disabled-by-default-devtools.timeline",
    "disabled-by-default-devtools.timeline.frame",
)
FRAME_MILLISECONDS: Final = 1000 / 60
_FRAME: Final = "BeginMainThreadFrame"
_PARTS: Final = {
    **dict.fromkeys(
        (
            "FunctionCall",
            "EvaluateScript",
            "RunMicrotasks",
            "TimerFire",
            "FireAnimationFrame",
            "FireIdleCallback",
        ),
        "script",
    ),
    "UpdateLayoutTree": "style",
    "Layout": "layout",
    **dict.fromkeys(("PrePaint", "Paint", "Layerize", "UpdateLayer", "Commit"), "paint"),
}
"""What an event of the main thread is part of; another one is part of what it lies in."""
PARTS: Final = ("script", "style", "layout", "paint", "other")


@dataclass(frozen=True)
class Frames:
    """Milliseconds, one of each frame of the main thread."""

    gaps: list[float]
    """By the clock, to the next one."""
    parts: dict[str, list[float]]
    """Work on the main thread, by `PARTS`; what a part waits for within itself is its own."""
    compositor: float
    """Work of the compositor's threads and of painting pixels, a frame; in the middle."""
    drawn: int
    dropped: int
    """Of the compositor's frames, those for which nothing new was there to be drawn at all."""

    @property
    def work(self) -> list[float]:
        return [sum(row) for row in zip(*self.parts.values(), strict=True)]


def read_frames(events: Sequence[Mapping[str, Any]]) -> Frames:
    """Of the page whose main thread had most frames. Raises ValueError where there are none."""
    threads = [_thread(event) for event in events if event.get("name") == _FRAME]
    if not threads:
        raise ValueError("the trace has no frames of a page")
    main = statistics.mode(threads)
    starts = sorted(e["ts"] for e in events if e.get("name") == _FRAME and _thread(e) == main)
    parts = {part: [0.0] * len(starts) for part in PARTS}
    for event, part, own in _own_times(e for e in events if _thread(e) == main):
        frame = bisect_right(starts, event["ts"]) - 1
        if frame >= 0:
            parts[part][frame] += own / 1000
    counts = Counter(e.get("name") for e in events if e.get("pid") == main[0])
    # What shows at least in part is drawn, too.
    whole = sum(
        e.get("name") == "DroppedFrame"
        and e.get("pid") == main[0]
        and not e.get("args", {}).get("hasPartialUpdate", False)
        for e in events
    )
    return Frames(
        gaps=[(later - one) / 1000 for one, later in pairwise(starts)],
        parts=parts,
        compositor=_compositor_milliseconds(events) / len(starts),
        drawn=counts["DrawFrame"],
        dropped=whole,
    )


def _thread(event: Mapping[str, Any]) -> tuple[int, int]:
    return event.get("pid", 0), event.get("tid", 0)


def _own_times(
    events: Iterable[Mapping[str, Any]],
) -> Iterable[tuple[Mapping[str, Any], str, float]]:
    """Each event of one thread with its part, and its microseconds less those of what is in it."""
    whole = [event for event in events if event.get("ph") == "X"]
    rows = sorted(whole, key=lambda event: (event["ts"], -event.get("dur", 0)))
    # A platform without clocks of threads has none at any event.
    has_clock = any("tdur" in event for event in rows)
    open_ones: list[int] = []
    own: list[float] = []
    part: list[str] = []
    for at, event in enumerate(rows):
        while open_ones and _end(rows[open_ones[-1]]) <= event["ts"]:
            open_ones.pop()
        above = open_ones[-1] if open_ones else None
        took = event.get("tdur", 0) if has_clock else event.get("dur", 0)
        if above is not None:
            own[above] -= took
        own.append(took)
        part.append(_PARTS.get(event["name"], "other" if above is None else part[above]))
        open_ones.append(at)
    return zip(rows, part, own, strict=True)


def _end(event: Mapping[str, Any]) -> float:
    return float(event["ts"] + event.get("dur", 0))


def _compositor_milliseconds(events: Sequence[Mapping[str, Any]]) -> float:
    """Tasks of the threads that put the page together, and of those that paint its tiles."""
    names = {
        _thread(event): event["args"]["name"]
        for event in events
        if event.get("ph") == "M" and event.get("name") == "thread_name"
    }
    composing = {"Compositor", "VizCompositorThread", "CrGpuMain"}
    microseconds: float = sum(
        event.get("tdur", 0)
        for event in events
        if event.get("name") == "RasterTask"
        or (event.get("name") == "RunTask" and names.get(_thread(event)) in composing)
    )
    return microseconds / 1000


def fitting(work: Sequence[float], most: float = FRAME_MILLISECONDS) -> float:
    """Percent of the frames whose work leaves them in time."""
    return 100 * sum(each <= most for each in work) / max(1, len(work))


def summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values) or [0.0]

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {"median": at(0.5), "95 %": at(0.95), "99 %": at(0.99), "most": ordered[-1]}
