"""Bars on a terminal: one line per step, with rate and time left where the size is known.

The one set of columns for everything that takes long: `transom compile` here, transfers in
`transom_cli/output.py`. Knows no step and no report.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from transom_compile.progress import Progress, Silent

PHASE_TITLES = {
    "convert": "Converting to GGUF",
    "convert weights": "Converting weights",
    "merge": "Merging the adapter",
    "quantize": "Quantizing (llama.cpp)",
    "read": "Reading the header",
    "repack": "Repacking weights",
    "texts": "Tokenizer and chat template",
    "libraries": "Model libraries",
    "seal": "Sealing the bundle",
    "md5": "Checking MLC's md5",
    "digest": "Digest of every file",
    "keep": "Into the store",
    "mlc convert": "MLC converts the weights",
    "mlc config": "MLC writes the config",
    "mlc compile": "MLC compiles the library",
}


@contextmanager
def bars() -> Iterator[Progress]:
    """A `Progress` on the terminal; a silent one where stderr is none."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silent()
        return
    with rich_bars(console) as rich:
        yield Bars(rich)


def rich_bars(console: Console) -> RichProgress:
    """Rich's live display with our columns; use it as a context manager."""
    return RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        _UntilDone(BarColumn()),
        _WhenMoving(DownloadColumn()),
        _WhenMoving(TransferSpeedColumn()),
        TimeElapsedColumn(),
        _WhenMoving(TimeRemainingColumn()),
        console=console,
    )


class _WhenMoving(ProgressColumn):
    """A column that is blank where a step has no bytes to count."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        return self._column(task) if self._is_shown(task) else Text("")

    def _is_shown(self, task: Task) -> bool:
        return bool(task.total or task.completed)


class _UntilDone(_WhenMoving):
    """The same, but shown for as long as such a step runs: a bar that only says so."""

    def _is_shown(self, task: Task) -> bool:
        return super()._is_shown(task) or not task.finished


class Bars(Progress):
    """Progress as rich bars: one line per step, rate and time left where the size is known."""

    def __init__(self, rich: RichProgress) -> None:
        self._rich = rich
        self._task: TaskID | None = None
        self._title, self._count, self._text = "", "", ""

    def step(self, name: str, total_bytes: int | None = None) -> None:
        self._finish()
        self._title, self._count, self._text = PHASE_TITLES.get(name, name), "", ""
        self._task = self._rich.add_task(self._title, total=total_bytes)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._rich.advance(self._task, count)

    def items(self, done: int, total: int) -> None:
        self._count = f" {done} of {total}"
        self._describe()

    def note(self, text: str) -> None:
        self._text = f" ({text})" if text else ""
        self._describe()

    def _describe(self) -> None:
        if self._task is not None:
            description = self._title + self._count + self._text
            self._rich.update(self._task, description=description)

    def _finish(self) -> None:
        if self._task is not None:
            done = next(task for task in self._rich.tasks if task.id == self._task)
            self._rich.update(
                self._task,
                description=self._title + self._count,
                total=done.completed,
                completed=done.completed,
            )
