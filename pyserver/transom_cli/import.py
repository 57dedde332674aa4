"""`transom import DIR`: a finished model into the store, one of MLC's or a bundle of ours.

Called by its verb, which is a word of Python's: nothing can import this file by a statement, and
nothing but `transom_cli.main` has to.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from transom_cli.keeping import keep_folder
from transom_compile.events import Events
from transom_compile.mlc.seal import mlc_bundle
from transom_compile.progress import Progress
from transom_compile.running import run_work
from transom_models.digest import Digest
from transom_models.name import InvalidName, ModelName
from transom_server.bundle_import import INDEX_NAME


@dataclass(frozen=True, slots=True)
class Imported:
    """What came into the store."""

    name: ModelName
    index: Digest
    notes: tuple[str, ...]


@click.command("import")
@click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option("--name", help="Name in the store.  [default: the folder's]")
@click.option(
    "--library",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model library (.wasm), when the folder does not hold just one.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, the result last.")
def command(folder: Path, name: str | None, library: Path | None, as_json: bool) -> None:
    """Import a finished model: MLC's format, or a bundle's folder."""
    model = _model_name(folder, name)

    def work(progress: Progress) -> Imported:
        if (folder / INDEX_NAME).is_file():
            return Imported(model, keep_folder(folder, str(model), progress), ())
        with tempfile.TemporaryDirectory(prefix="transom-import-") as workspace:
            bundle, notes = mlc_bundle(folder, library, Path(workspace), progress)
            index = keep_folder(bundle.folder, str(model), progress, bundle.files)
        return Imported(model, index, notes)

    sys.exit(run_work(work, _tell, as_json))


def _model_name(folder: Path, name: str | None) -> ModelName:
    """The name that was asked for, or the folder's; a bad one is said before any work."""
    if name is not None:
        return ModelName.parse(name)
    try:
        return ModelName.parse(folder.resolve().name)
    except InvalidName as error:
        raise InvalidName(f"{error}; choose one with --name") from None


def _tell(imported: Imported, events: Events | None) -> None:
    if events is not None:
        notes = list(imported.notes)
        events.end(
            "report", {"name": str(imported.name), "index": str(imported.index), "notes": notes}
        )
        return
    for note in imported.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{imported.name} is in the store")
    click.echo(f"index {imported.index}")
