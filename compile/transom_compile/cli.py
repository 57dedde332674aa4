"""`transom compile FILE.gguf|FOLDER`: arguments, progress, one line per error.

Knows no step of the walk. What `--name` means (putting the bundle into a store) is handed in by
`transom_cli` as a callable; this package must not import the server.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from transom_compile.bundle import Bundle
from transom_compile.chat_config import DEFAULT_PREFILL_CHUNK
from transom_compile.events import Events
from transom_compile.libraries import VARIANTS
from transom_compile.pipeline import CompileOptions, CompileReport, compile_bundle
from transom_compile.plan import KnownSources, plan_compile
from transom_compile.prepare import Recipe
from transom_compile.progress import PhaseFigures, Progress
from transom_compile.rates import remember_rates
from transom_compile.running import run_work
from transom_compile.terminal import print_bundle, print_plan, print_report
from transom_models.errors import TransomError
from transom_models.work_folder import work_folder

if TYPE_CHECKING:
    from transom_compile.mlc.frontend import MlcReport

# Below this a phase's time says more about opening files than about speed.
MIN_MEASURED_BYTES = 16_000_000

# Takes a sealed bundle (its `--out` folder, or a temporary one) and the name it shall have.
Keep = Callable[[Bundle, str, Progress], None]
# Gives the runtime folder, or raises a `TransomError` that says how to get one.
FindRuntime = Callable[[], Path]


@dataclass(frozen=True, slots=True)
class House:
    """What the command asks of other rooms: a store to keep in, the runtime, known checkpoints."""

    keep: Keep | None = None
    find_runtime: FindRuntime | None = None
    known_sources: KnownSources | None = None


def compile_command(house: House | None = None) -> click.Command:
    """The click command; what `house` lacks is refused or left out."""
    rooms = house or House()

    @click.command("compile")
    @click.argument("source", type=click.Path(path_type=Path), metavar="FILE.gguf|FOLDER")
    @click.option("--name", help="Put the model into the store under this name, e.g. smollm2.")
    @click.option("--out", type=click.Path(path_type=Path), help="Write the bundle to this folder.")
    @click.option(
        "--frontend",
        type=click.Choice(["transom", "mlc"]),
        default="transom",
        show_default=True,
        help="mlc calls an installed mlc_llm, for architectures that Transom has not.",
    )
    @click.option("--plan", is_flag=True, help="Say sizes, memory, time and reuse; do nothing.")
    @click.option(
        "--quantize", metavar="SCHEME", help="Quantize with llama.cpp first, e.g. q4_k_m."
    )
    @click.option(
        "--imatrix",
        type=click.Path(path_type=Path),
        help="Importance matrix for --quantize.",
    )
    @click.option(
        "--adapter",
        type=click.Path(path_type=Path),
        help="Merge this LoRA first: a GGUF, or a PEFT folder.",
    )
    @click.option("--adapter-scale", type=float, default=1.0, show_default=True)
    @click.option("--force", is_flag=True, help="A chat template with problems is a note.")
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
        help="What `transom build runtime` wrote.",
    )
    @click.option(
        "--dump-dir", type=click.Path(path_type=Path), help="Write the IR after each phase here."
    )
    @click.option(
        "--json", "as_json", is_flag=True, help="One JSON object a line: events, then the report."
    )
    def command(
        source: Path,
        name: str | None,
        out: Path | None,
        frontend: str,
        plan: bool,
        quantize: str | None,
        imatrix: Path | None,
        adapter: Path | None,
        adapter_scale: float,
        force: bool,
        variants: str,
        context: int | None,
        prefill_chunk: int,
        runtime_dir: Path | None,
        dump_dir: Path | None,
        as_json: bool,
    ) -> None:
        """Compile a checkpoint into a bundle that runs in the browser."""
        options = CompileOptions(
            # MLC links its own.
            runtime_dir=_runtime(runtime_dir, rooms.find_runtime, plan or frontend == "mlc"),
            variants=tuple(part.strip() for part in variants.split(",")),
            context=context,
            prefill_chunk=prefill_chunk,
            dump_dir=dump_dir,
            recipe=Recipe(quantize, imatrix, adapter, adapter_scale),
            force=force,
        )
        if frontend == "mlc":
            if plan:
                raise click.UsageError("--plan knows nothing of --frontend mlc")
            sys.exit(run_mlc(source, options, out=out, name=name, keep=rooms.keep, json=as_json))
        if plan:
            sys.exit(run_plan(source, options, rooms.known_sources, as_json=as_json))
        sys.exit(run_compile(source, options, out=out, name=name, keep=rooms.keep, as_json=as_json))

    return command


def run_compile(
    source: Path,
    options: CompileOptions,
    *,
    out: Path | None = None,
    name: str | None = None,
    keep: Keep | None = None,
    as_json: bool = False,
) -> int:
    """Compile, keep, report; gives the exit code. Errors are one `error:` line on stderr.

    With a `name` and no `out` the bundle exists only in the store. With neither, it is written
    to the working directory as `<name of the source>-bundle`.
    """

    def make(out_dir: Path, progress: Progress) -> CompileReport:
        return compile_bundle(source, out_dir, options, progress)

    def work(progress: Progress) -> CompileReport:
        return _make_and_keep(make, source, out, name, keep, progress)

    def finish(report: CompileReport, events: Events | None) -> None:
        _remember(report)
        folder = _kept_folder(report.bundle, out, name)
        if events is not None:
            events.end("report", describe_report(report, folder))
        else:
            print_report(report, folder)

    return run_work(work, finish, as_json)


def run_mlc(
    source: Path,
    options: CompileOptions,
    *,
    out: Path | None = None,
    name: str | None = None,
    keep: Keep | None = None,
    json: bool = False,
) -> int:
    """The same by MLC's compiler."""
    from transom_compile.mlc.frontend import MlcReport, compile_bundle_with_mlc

    def make(out_dir: Path, progress: Progress) -> MlcReport:
        return compile_bundle_with_mlc(source, out_dir, options, progress)

    def work(progress: Progress) -> MlcReport:
        return _make_and_keep(make, source, out, name, keep, progress)

    def finish(report: MlcReport, events: Events | None) -> None:
        folder = _kept_folder(report.bundle, out, name)
        compiler = f"{report.compiler.package} {report.compiler.version}"
        if events is not None:
            events.end("report", describe_mlc_report(report, folder))
        else:
            print_bundle(report.bundle, folder, (f"compiled by {compiler}", *report.notes))

    return run_work(work, finish, json)


class _Report(Protocol):
    @property
    def bundle(self) -> Bundle: ...


R = TypeVar("R", bound=_Report)


def _make_and_keep(
    make: Callable[[Path, Progress], R],
    source: Path,
    out: Path | None,
    name: str | None,
    keep: Keep | None,
    progress: Progress,
) -> R:
    """A bundle where it is wanted: a folder, the store, or both."""
    if name is None:
        stem = source.name if source.is_dir() else source.stem
        return make(out or Path(f"{stem}-bundle"), progress)
    if keep is None:
        raise TransomError("--name needs a store; use --out to write a folder")
    if out is not None:
        report = make(out, progress)
        keep(report.bundle, name, progress)
        return report
    with work_folder(Path(tempfile.gettempdir()), "transom-compile-") as folder:
        report = make(folder / "bundle", progress)
        keep(report.bundle, name, progress)
    return report


def _kept_folder(bundle: Bundle, out: Path | None, name: str | None) -> str | None:
    """None: the bundle is in the store alone."""
    return None if name is not None and out is None else str(bundle.folder)


def run_plan(
    source: Path,
    options: CompileOptions,
    known_sources: KnownSources | None = None,
    *,
    as_json: bool = False,
) -> int:
    """Print what a compile would do; gives the exit code."""

    def show(plan: Any, events: Events | None) -> None:
        if events is not None:
            events.end("plan", plan.to_json())
        else:
            print_plan(plan)

    return run_work(lambda _: plan_compile(source, options, known_sources), show, as_json)


def describe_report(report: CompileReport, folder: str | None) -> dict[str, Any]:
    """The report as plain data. `folder` None: the bundle is in the store alone."""
    return {
        "index": str(report.bundle.index_digest),
        "folder": folder,
        "source_bytes": report.source_bytes,
        "stored_bytes": report.stored_bytes,
        "manifests": {str(row.platform): str(row.digest) for row in report.bundle.index.manifests},
        "phases": _describe_phases(report.phases),
        "libraries": [
            {
                "name": library.file_name,
                "size_bytes": library.size_bytes,
                "cached": library.cached,
                "seconds": {name: round(cost, 3) for name, cost in library.seconds.items()},
                "peak_rss_bytes": library.peak_rss_bytes,
            }
            for library in report.libraries
        ],
        "cached_libraries": [library.file_name for library in report.libraries if library.cached],
        "notes": list(report.notes),
    }


def describe_mlc_report(report: "MlcReport", folder: str | None) -> dict[str, Any]:
    """The same of a bundle that MLC's compiler made."""
    return {
        "index": str(report.bundle.index_digest),
        "folder": folder,
        "manifests": {str(row.platform): str(row.digest) for row in report.bundle.index.manifests},
        "phases": _describe_phases(report.phases),
        "compiler": {"package": report.compiler.package, "version": report.compiler.version},
        "notes": list(report.notes),
    }


def _describe_phases(phases: Sequence[PhaseFigures]) -> list[dict[str, Any]]:
    return [
        {
            "name": phase.name,
            "seconds": round(phase.seconds, 3),
            "peak_rss_bytes": phase.peak_rss_bytes,
        }
        for phase in phases
    ]


def _remember(report: CompileReport) -> None:
    """This machine's speed, for the next plan."""
    if report.stored_bytes < MIN_MEASURED_BYTES:
        return
    built = [library for library in report.libraries if not library.cached]
    seconds = {phase.name: phase.seconds for phase in report.phases}
    rates = {
        name: report.source_bytes / seconds[name]
        for name in ("convert", "merge", "quantize")
        if seconds.get(name)
    }
    if not built and seconds["repack"]:
        # Beside compilers it is slower than it can be.
        rates["repack"] = report.stored_bytes / seconds["repack"]
    cost = [sum(library.seconds.values()) for library in built]
    with suppress(OSError):
        # A cache that cannot be written to costs the next plan its figures, not this compile.
        remember_rates(rates, sum(cost) / len(cost) if cost else None)


def _runtime(chosen: Path | None, find: FindRuntime | None, is_plan: bool) -> Path:
    if chosen is not None:
        return chosen
    if find is None:
        raise click.UsageError("Missing option '--runtime-dir'.")
    try:
        return find()
    except TransomError:
        if not is_plan:
            raise
        # A plan says that it has to be built.
        return Path("runtime-not-built")
