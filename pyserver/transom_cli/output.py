"""What every verb prints: sizes, times, tables, JSON, errors, and the progress of long work.

stdout is for results, stderr for everything said meanwhile. Progress is a bar with rate and time
left on a terminal, one plain line per phase elsewhere, and JSON lines (docs/formats/events.md)
where they are asked for. Light: neither rich nor another room is loaded before it is needed. Knows
no store, no transfer and no model.
"""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from transom_models.errors import TransomError

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from transom_compile.events import Events
    from transom_compile.progress import Pace, Progress

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
# Rich shows as many lines as the terminal has, and the oldest ones of them.
FINISHED_SHOWN: Final = 4
_AGES: Final = (
    ("year", 365 * DAY),
    ("month", 30 * DAY),
    ("week", 7 * DAY),
    ("day", DAY),
    ("hour", HOUR),
    ("minute", MINUTE),
)


# Words


def size_text(size_bytes: int) -> str:
    """A size in decimal units, as disks and downloads are sold."""
    size, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def duration_text(seconds: float) -> str:
    """A time span in its two largest units: `0.4 s`, `45 s`, `3 min 12 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"


def time_text(seconds: float) -> str:
    """Unix seconds for programs: ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def age_text(modified: float, now: float | None = None) -> str:
    """How long ago `modified` was, both Unix seconds: `5 minutes ago`, as Ollama says it."""
    age = (time.time() if now is None else now) - modified
    for unit, seconds in _AGES:
        if age >= seconds:
            count = int(age // seconds)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def count_text(count: int, thing: str) -> str:
    """`1 blob`, `2 blobs`."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def printable(text: str) -> str:
    """Text from outside as one line that cannot steer a terminal (escapes, right-to-left marks)."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


# Errors


def error_text(error: BaseException) -> str | None:
    """The one line for a person; None for what is no user's fault and shows a traceback."""
    match error:
        case click.ClickException():
            text = error.format_message() + _hint(error)
        case TransomError():
            text = str(error)
        case click.Abort() | KeyboardInterrupt():
            text = "interrupted"
        case OSError():
            where = f": {error.filename}" if error.filename else ""
            text = f"{error.strerror or error}{where}"
        case _:
            return None
    return printable(" ".join(text.split()))


def _hint(error: click.ClickException) -> str:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f" (see: {error.ctx.command_path} --help)"
    return ""


# Results


def print_json(value: Any) -> None:
    """One JSON document on stdout, indented."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()
) -> None:
    """Columns on stdout, as wide as they must be; those named in `right` end at one edge."""
    lines = [tuple(headings), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            cell.rjust(width) if heading in right else cell.ljust(width)
            for cell, width, heading in zip(line, widths, headings, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


def json_option(help_text: str) -> Callable[[Any], Any]:
    """The `--json` of a verb; the function gets it as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


DOCUMENT: Final = "Print one JSON document."
LINES: Final = "One JSON object a line: events, then the report."


# Long work


class StatusLike(Protocol):
    """What long work tells: `Status` of transom_server. Sizes in bytes; no total: just a text."""

    @property
    def text(self) -> str: ...
    @property
    def digest(self) -> object | None: ...
    @property
    def total(self) -> int | None: ...
    @property
    def completed(self) -> int | None: ...


class _Sink(Protocol):
    def report(self, status: StatusLike) -> None: ...


class LongWork:
    """How a long verb speaks, from any thread, until `end` says how it went."""

    def __init__(
        self, sink: "_Sink", progress: "Progress", events: "Events | None", as_json: bool
    ) -> None:
        self._sink, self._events = sink, events
        self.progress = progress
        """For work that tells the compile room's `Progress`."""
        self.as_json = as_json
        self.cancelled = threading.Event()
        """Set by Ctrl-C and a polite kill, before `KeyboardInterrupt` is raised in the main
        thread; loops in other threads look at it."""
        self._lock = threading.Lock()

    def report(self, status: StatusLike) -> None:
        """Take the next `Status`."""
        with self._lock:
            self._sink.report(status)

    def end(self, report: Mapping[str, Any]) -> None:
        """With `--json` the last line, `report`; else nothing: the verb prints its own words."""
        if self._events is not None:
            self._events.end("report", report)


@contextmanager
def long_work(as_json: bool = False) -> Iterator[LongWork]:
    """Progress for the block. Errors go on to `transom_cli.main`, which prints them and ends; with
    `as_json` they are the last line on stdout as well. A polite kill is a Ctrl-C."""
    from transom_compile.progress import Silent

    with ExitStack() as stack:
        if as_json:
            from transom_compile.events import Events

            events = Events(click.echo)
            work = LongWork(_EventLines(click.echo), events, events, True)
            stack.enter_context(_last_line(events))
        elif sys.stderr.isatty():
            from rich.console import Console

            from transom_compile.bars import Bars, rich_bars

            rich = stack.enter_context(rich_bars(Console(stderr=True)))
            statuses = _Bars(rich)
            stack.callback(statuses.end)
            work = LongWork(statuses, Bars(rich), None, False)
        else:
            work = LongWork(_Lines(), Silent(), None, False)
        stack.enter_context(_cancellable(work.cancelled))
        yield work


@contextmanager
def _last_line(events: "Events") -> Iterator[None]:
    """Say on stdout, too, what ended the work."""
    try:
        yield
    except BaseException as error:
        message = error_text(error)
        if message is not None:
            events.end("error", {"message": message})
        raise


@contextmanager
def _cancellable(cancelled: threading.Event) -> Iterator[None]:
    """Ctrl-C sets `cancelled`; whatever error the threads then end with is still a Ctrl-C."""
    from transom_compile.interrupts import interruptible

    with interruptible(cancelled.set):
        try:
            yield
        except Exception:
            if cancelled.is_set():
                raise KeyboardInterrupt from None
            raise


class _Lines:
    """One line per phase: for logs and pipes."""

    def __init__(self) -> None:
        self._said: set[tuple[str, object]] = set()

    def report(self, status: StatusLike) -> None:
        if (status.text, status.digest) in self._said:
            return
        self._said.add((status.text, status.digest))
        size = "" if status.total is None else f" ({size_text(status.total)})"
        click.echo(printable(status.text) + size, err=True)


class _Bars:
    """A bar for each blob that moves, a spinner for what has no size.

    A model may have hundreds of blobs: only the last finished ones stay on the screen.
    """

    def __init__(self, rich: "RichProgress") -> None:
        self._rich = rich
        self._tasks: dict[tuple[str, object], TaskID] = {}
        self._spinning: TaskID | None = None
        self._finished: deque[TaskID] = deque()
        self._ended: set[TaskID] = set()

    def report(self, status: StatusLike) -> None:
        key = (status.text, status.digest)
        task = self._tasks.get(key)
        if task is None:
            self.end()
            # Bytes that are there already are no speed: a task may begin in the middle.
            task = self._rich.add_task(
                printable(status.text), total=status.total, completed=status.completed or 0
            )
            self._tasks[key] = task
            if status.total is None:
                self._spinning = task
        elif status.total is not None:
            self._rich.update(task, total=status.total, completed=status.completed or 0)
        if status.total is not None and status.completed == status.total:
            self._finish(task)

    def _finish(self, task: "TaskID") -> None:
        if task in self._ended:
            return
        self._ended.add(task)
        self._finished.append(task)
        if len(self._finished) > FINISHED_SHOWN:
            self._rich.update(self._finished.popleft(), visible=False)

    def end(self) -> None:
        """What had no size is over: the next began, or all did end."""
        if self._spinning is not None:
            self._rich.update(self._spinning, total=0, completed=0)
            self._spinning = None


class _Moving:
    """A blob on its way, as event lines tell of it."""

    def __init__(self, pace: "Pace", first: int, now: float) -> None:
        self.pace, self.first, self.told_at = pace, first, now
        self.told = first


class _EventLines:
    """`phase` and `progress` lines; phases of one transfer overlap, so each names its digest."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._moving: dict[tuple[str, object], _Moving] = {}

    def report(self, status: StatusLike) -> None:
        from transom_compile.events import PROGRESS_SECONDS
        from transom_compile.progress import Pace

        key, now, done = (status.text, status.digest), self._clock(), status.completed or 0
        moving = self._moving.get(key)
        if moving is None:
            left = None if status.total is None else status.total - done
            moving = self._moving[key] = _Moving(Pace(left, now), done, now)
            self._line("phase", status, total_bytes=status.total)
        if status.completed is None:
            return
        moving.pace.done = done - moving.first
        is_end = done == status.total
        if done != moving.told and (is_end or now - moving.told_at >= PROGRESS_SECONDS):
            moving.told, moving.told_at = done, now
            rate, seconds = moving.pace.rate(now), moving.pace.seconds_left(now)
            self._line(
                "progress",
                status,
                done_bytes=done,
                total_bytes=status.total,
                bytes_per_second=None if rate is None else round(rate),
                seconds_left=None if seconds is None else round(seconds, 1),
            )

    def _line(self, event: str, status: StatusLike, **body: Any) -> None:
        line: dict[str, Any] = {"event": event, "phase": status.text}
        if status.digest is not None:
            line["digest"] = str(status.digest)
        self._write(json.dumps({**line, **body}, ensure_ascii=False))
