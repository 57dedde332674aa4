"""`transom compile FILE.gguf`: arguments, progress on the terminal, one line per error.

Knows no step of the walk. What `--name` means (putting the bundle into a store) is handed in by
`transom_cli` as a callable; this package must not import the server.
"""

import json
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

from transom_compile.bundle import Bundle
from transom_compile.chat_config import DEFAULT_PREFILL_CHUNK
from transom_compile.libraries import VARIANTS, LibraryFigures
from transom_compile.pipeline import CompileOptions, CompileReport, compile_bundle
from transom_compile.progress import Progress, Silent
from transom_models.errors import TransomError

EXIT_USER_ERROR = 2
# 128 + SIGINT, as a shell counts it.
EXIT_INTERRUPTED = 130

# Takes a sealed bundle (its `--out` folder, or a temporary one) and the name it shall have.
Keep = Callable[[Bundle, str], None]

PHASE_TITLES = {
    "read": "Reading the header",
    "digest": "Digest of the checkpoint",
    "texts": "Tokenizer and chat template",
    "repack": "Repacking weights",
    "libraries": "Model libraries",
    "seal": "Sealing the bundle",
}


def compile_command(
    keep: Keep | None = None, default_runtime_dir: Path | None = None
) -> click.Command:
    """The click command; `keep` gives `--name` a meaning, without it the option is refused."""

    @click.command("compile")
    @click.argument("checkpoint", type=click.Path(path_type=Path), metavar="FILE.gguf")
    @click.option("--name", help="Put the model into the store under this name, e.g. smollm2.")
    @click.option("--out", type=click.Path(path_type=Path), help="Write the bundle to this folder.")
    @click.option(
        "--variant",
        "variants",
        default=",".join(VARIANTS),
        show_default=True,
        help="Compute types to build libraries for, separated by commas.",
    )
    @click.option(
        "--context", type=int, help="Context window in tokens.  [default: the model's, up to 4096]"
    )
    @click.option("--prefill-chunk", type=int, default=DEFAULT_PREFILL_CHUNK, show_default=True)
    @click.option(
        "--runtime-dir",
        type=click.Path(path_type=Path),
        default=default_runtime_dir,
        required=default_runtime_dir is None,
        help="What `transom build runtime` wrote.",
    )
    @click.option(
        "--dump-dir", type=click.Path(path_type=Path), help="Write the IR after each phase here."
    )
    @click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
    def command(
        checkpoint: Path,
        name: str | None,
        out: Path | None,
        variants: str,
        context: int | None,
        prefill_chunk: int,
        runtime_dir: Path,
        dump_dir: Path | None,
        as_json: bool,
    ) -> None:
        """Compile a checkpoint into a bundle that runs in the browser."""
        options = CompileOptions(
            runtime_dir=runtime_dir,
            variants=tuple(part.strip() for part in variants.split(",")),
            context=context,
            prefill_chunk=prefill_chunk,
            dump_dir=dump_dir,
        )
        sys.exit(run_compile(checkpoint, options, out=out, name=name, keep=keep, as_json=as_json))

    return command


def run_compile(
    checkpoint: Path,
    options: CompileOptions,
    *,
    out: Path | None = None,
    name: str | None = None,
    keep: Keep | None = None,
    as_json: bool = False,
) -> int:
    """Compile, keep, report; gives the exit code. Errors are one `error:` line on stderr.

    With a `name` and no `out` the bundle exists only in the store. With neither, it is written
    beside the working directory's name of the checkpoint: `<stem>-bundle`.
    """
    try:
        with _terminate_as_interrupt():
            if name is not None and keep is None:
                raise TransomError("--name needs a store; use --out to write a folder")
            if name is None or keep is None:
                report = _compile(checkpoint, out or Path(f"{checkpoint.stem}-bundle"), options)
            elif out is not None:
                report = _compile(checkpoint, out, options)
                keep(report.bundle, name)
            else:
                with tempfile.TemporaryDirectory(prefix="transom-compile-") as folder:
                    report = _compile(checkpoint, Path(folder) / "bundle", options)
                    keep(report.bundle, name)
    except TransomError as error:
        return _fail(str(error), EXIT_USER_ERROR)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", EXIT_USER_ERROR)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was kept", EXIT_INTERRUPTED)
    kept_in = str(report.bundle.folder) if out is not None or name is None else None
    if as_json:
        click.echo(json.dumps(describe_report(report, kept_in)))
    else:
        _print_report(report, kept_in)
    return 0


def describe_report(report: CompileReport, folder: str | None) -> dict[str, Any]:
    """The report as plain data. `folder` None: the bundle is in the store alone."""
    return {
        "index": str(report.bundle.index_digest),
        "folder": folder,
        "manifests": {str(row.platform): str(row.digest) for row in report.bundle.index.manifests},
        "phases": [
            {
                "name": phase.name,
                "seconds": round(phase.seconds, 3),
                "peak_rss_bytes": phase.peak_rss_bytes,
            }
            for phase in report.phases
        ],
        "libraries": [
            {
                "name": library.file_name,
                "size_bytes": library.size_bytes,
                "cached": library.cached,
                "seconds": {name: round(cost, 3) for name, cost in library.seconds.items()},
            }
            for library in report.libraries
        ],
        "cached_libraries": [library.file_name for library in report.libraries if library.cached],
        "notes": list(report.notes),
    }


def _compile(checkpoint: Path, out: Path, options: CompileOptions) -> CompileReport:
    console = Console(stderr=True)
    if not console.is_terminal:
        return compile_bundle(checkpoint, out, options, Silent())
    with RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        return compile_bundle(checkpoint, out, options, _Bars(bars))


class _Bars(Progress):
    """Progress as rich bars: one line per step, rate and time left where the size is known."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._title = ""

    def step(self, name: str, total_bytes: int | None = None) -> None:
        self._finish()
        self._title = PHASE_TITLES.get(name, name)
        self._task = self._bars.add_task(self._title, total=total_bytes)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, count)

    def note(self, text: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, description=f"{self._title} ({text})")

    def _finish(self) -> None:
        if self._task is not None:
            done = next(task for task in self._bars.tasks if task.id == self._task)
            self._bars.update(
                self._task, description=self._title, total=done.completed, completed=done.completed
            )


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """A polite kill cleans up as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _fail(message: str, code: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return code


def _cost(library: LibraryFigures) -> str:
    if library.cached:
        return "built before, taken from the cache"
    total = sum(library.seconds.values())
    return f"{total:.1f} s, of which the link {library.seconds.get('link', 0.0):.1f} s"


def _print_report(report: CompileReport, folder: str | None) -> None:
    console = Console(stderr=True, highlight=False)
    for phase in report.phases:
        peak = phase.peak_rss_bytes / 1e6
        console.print(f"{phase.name:<12}{phase.seconds:8.2f} s   peak {peak:6.0f} MB")
    for library in report.libraries:
        console.print(
            f"{library.file_name:<26}{library.size_bytes / 1e6:6.2f} MB   {_cost(library)}"
        )
    for note in report.notes:
        console.print(f"note: {note}")
    if folder is not None:
        click.echo(f"bundle in {folder}")
    click.echo(f"index {report.bundle.index_digest}")
