"""`transom build …`: make the things that are built once. Prints; the work is done elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from transom_build.errors import ToolchainError
from transom_build.pyodide import build_pyodide
from transom_build.runtime import BuildProgress, RuntimeBuild, build_runtime

AROUND = Path(__file__).resolve().parents[2]
"""The source tree that this room lies in, unless it is installed."""


class _Failure(click.ClickException):
    """A ToolchainError on its way out: one line on stderr, exit code 2 as for all user errors."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.format_message()}", file=file, err=file is None)


@click.group()
def build() -> None:
    """Build what is built once, with tools from PyPI only."""


@build.command()
@click.option("--force", is_flag=True, help="Build even when the cache has it.")
def runtime(force: bool) -> None:
    """Compile TVM's web runtime to wasm (once; about two and a half minutes on two cores).

    The result goes into the cache folder (TRANSOM_CACHE, or the platform's own) and is found there
    by `transom compile`.
    """
    console = Console(stderr=True)
    try:
        if console.is_terminal:
            built = _build_with_bar(console, force)
        else:
            built = build_runtime(_print_steps, force=force)
    except ToolchainError as error:
        raise _Failure(str(error)) from error
    how = "was there already" if built.cached else f"built in {built.seconds:.0f} s"
    click.echo(f"wasm runtime {how}: {built.directory}")


@build.command()
@click.option(
    "--out",
    "output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write; build/dist/pyodide of this checkout unless told.",
)
@click.option("--sources", is_flag=True, help="Ship Python sources, do not compile them.")
def pyodide(output: Path | None, sources: bool) -> None:
    """Put together Python for the page: Pyodide, our packages, Jinja2 (seconds).

    Needs a checkout (the current folder, where Transom is installed) and its npm packages.
    `npm run build` takes the result into the page.
    """
    checkout = AROUND if (AROUND / "pyproject.toml").is_file() else Path.cwd()
    try:
        built = build_pyodide(
            checkout,
            output or checkout / "build" / "dist" / "pyodide",
            lambda line: click.echo(line, err=True),
            bytecode=not sources,
        )
    except ToolchainError as error:
        raise _Failure(str(error)) from error
    for name, size in built.files.items():
        click.echo(f"{size:>12,} bytes  {name}", err=True)
    kind = "bytecode" if built.has_bytecode else "sources"
    total = sum(built.files.values())
    click.echo(
        f"Python for the page ({kind}, {total / 1e6:.1f} MB) built in {built.seconds:.0f} s: "
        f"{built.directory}"
    )


def _build_with_bar(console: Console, force: bool) -> RuntimeBuild:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("of about {task.fields[estimate]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("looking at the sources", total=None, estimate="two minutes")

        def show(progress: BuildProgress) -> None:
            share = progress.done_seconds / progress.usual_seconds
            bar.update(
                task,
                description=", ".join(name.rsplit("/", 1)[-1] for name in progress.running),
                total=1.0,
                completed=share,
                estimate=f"{progress.usual_seconds / 60:.1f} min",
            )

        return build_runtime(show, force=force)


def _print_steps(progress: BuildProgress) -> None:
    """For logs: one line per finished step."""
    if progress.finished is not None:
        percent = 100 * progress.done_seconds / progress.usual_seconds
        click.echo(
            f"{progress.finished} done, {percent:.0f} % after {progress.elapsed_seconds:.0f} s",
            err=True,
        )
