"""`transom adopt DIR`: the models of an Ollama store, without a copy."""

import os
from pathlib import Path
from typing import Any

import click

from transom_cli.output import LINES, count_text, json_option, long_work, printable, size_text
from transom_server.exchange.adoption import Adoption, adopt
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store


@click.command()
@click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--dry-run", is_flag=True, help="Read and hash; write nothing.")
@json_option(LINES)
def command(folder: Path, dry_run: bool, as_json: bool) -> None:
    """Adopt the models of an Ollama store, by hard link.

    DIR holds `blobs` and `manifests`. Every blob is hashed first; models with a damaged one are
    left out by name. Either store may then drop a model without harm to the other.
    """
    store = open_store(read_config(os.environ).models)
    with long_work(as_json) as work:
        adoption = adopt(store, folder, work.report, dry_run=dry_run, cancelled=work.cancelled)
        work.end(_to_json(adoption, dry_run))
    if not as_json:
        _print(adoption, dry_run)


def _to_json(adoption: Adoption, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "models": [
            {
                "name": str(model.name),
                "source": model.source,
                "digest": str(model.digest),
                "bytes": model.bytes,
                "new": model.is_new,
            }
            for model in adoption.models
        ],
        "skipped": [{"source": name, "reason": reason} for name, reason in adoption.skipped],
        "linked_bytes": adoption.linked,
        "copied_bytes": adoption.copied,
        "there_bytes": adoption.there,
    }


def _print(adoption: Adoption, dry_run: bool) -> None:
    for name, reason in adoption.skipped:
        click.echo(printable(f"skipped {name}: {reason}"), err=True)
    for model in adoption.models:
        state = "" if model.is_new else ", here already"
        click.echo(f"{model.name} ({size_text(model.bytes)}{state})")
    would = "would adopt" if dry_run else "adopted"
    new = sum(model.is_new for model in adoption.models)
    click.echo(f"{would} {count_text(new, 'model')}: {_bytes(adoption)}")
    if adoption.copied:
        click.echo("note: what lies on another disk, or is another person's, was copied", err=True)


def _bytes(adoption: Adoption) -> str:
    parts = {"linked": adoption.linked, "copied": adoption.copied, "here before": adoption.there}
    return ", ".join(f"{size_text(size)} {how}" for how, size in parts.items() if size) or "nothing"
