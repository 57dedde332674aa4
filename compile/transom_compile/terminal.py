"""What a person sees of `transom compile` at its end: a table or a plan.

Knows reports and plans, no step of the walk; `bars.py` is what is seen meanwhile.
"""

import sys
from collections.abc import Sequence

import click
from rich.console import Console

from transom_compile.bundle import Bundle
from transom_compile.libraries import LibraryFigures
from transom_compile.pipeline import CompileReport
from transom_compile.plan import CompilePlan, VariantPlan


def print_report(report: CompileReport, folder: str | None) -> None:
    """Figures on stderr, where the bundle is on stdout. `folder` None: in the store alone."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for phase in report.phases:
        peak = phase.peak_rss_bytes / 1e6
        console.print(f"{phase.name:<12}{phase.seconds:8.2f} s   peak {peak:6.0f} MB")
    for library in report.libraries:
        console.print(
            f"{library.file_name:<26}{library.size_bytes / 1e6:6.2f} MB   {_cost(library)}"
        )
    print_bundle(report.bundle, folder, report.notes)


def print_bundle(bundle: Bundle, folder: str | None, notes: Sequence[str]) -> None:
    """Notes on stderr, where the bundle is on stdout."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for note in notes:
        console.print(f"note: {note}", markup=False)
    if folder is not None:
        click.echo(f"bundle in {folder}")
    click.echo(f"index {bundle.index_digest}")


def _cost(library: LibraryFigures) -> str:
    if library.cached:
        return "built before, taken from the cache"
    total = sum(library.seconds.values())
    link = library.seconds.get("link", 0.0)
    peak = library.peak_rss_bytes / 1e6
    return f"{total:.1f} s, of which the link {link:.1f} s   peak {peak:.0f} MB"


def print_plan(plan: CompilePlan) -> None:
    """The plan on stdout."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def row(name: str, text: str) -> None:
        console.print(f"{name:<14}{text}", markup=False)

    row("source", f"{plan.source} ({plan.format}, {_size(plan.source_bytes)})")
    row("architecture", plan.architecture)
    row("licence", plan.licence or "not stated; ask its publisher")
    row("context", f"{plan.context_window} tokens, of the model's {plan.trained_context}")
    if plan.made_bytes is not None:
        steps = ", ".join(plan.steps)
        row("GGUF", f"{_size(plan.made_bytes)}, made here ({steps}) and kept as the native model")
    row("shards", f"{plan.shard_count}, {_size(plan.stored_bytes)}")
    for variant in plan.variants:
        row(variant.name, _variant(variant))
    if plan.memory:
        console.print("memory in the browser, MB: weights + KV cache + scratch", markup=False)
        names = [name for name, _ in plan.memory[0].totals]
        console.print(f"{'  tokens':<14}" + "".join(f"{name:>22}" for name in names))
        for memory in plan.memory:
            cells = "".join(
                f"{f'{total.total_bytes / 1e6:.0f} (KV {total.kv_bytes / 1e6:.0f})':>22}"
                for _, total in memory.totals
            )
            console.print(f"  {memory.context:<12}{cells}", markup=False)
    row("reused", "; ".join(plan.reused) or "nothing")
    row("time", plan.time_text)
    for note in plan.notes:
        row("note", note)


def _variant(variant: VariantPlan) -> str:
    words = {True: "is in the cache", False: "to be built", None: "to be built or reused"}
    states = ", ".join(f"{library.name} {words[library.cached]}" for library in variant.libraries)
    return f"{_size(variant.download_bytes)} to download; {states}"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
