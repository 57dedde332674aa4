"""`transom import SOURCE`: a finished model into the store.

An OCI image layout (a folder or a tar), a bundle of ours, or a model of MLC's. Called by its verb,
which is a word of Python's: nothing can import this file by a statement, and nothing but
`transom_cli.main` has to.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from transom_cli.keeping import keep_folder
from transom_cli.output import LINES, LongWork, json_option, long_work
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.name import InvalidName, ModelName
from transom_models.work_folder import work_folder
from transom_server.exchange.bundle_import import INDEX_NAME
from transom_server.exchange.oci_layout import (
    LAYOUT_NAME,
    import_layout,
    layout_at,
    names_of,
    read_layout,
)
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store

GGUF_MAGIC: Final = b"GGUF"


class NotImportable(TransomError):
    """The source is something that another verb takes, or an option does not fit it."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came into the store: names and the digests of their tags."""

    models: tuple[tuple[ModelName, Digest], ...]
    notes: tuple[str, ...] = ()


@click.command("import")
@click.argument(
    "source", metavar="DIR|TAR", type=click.Path(exists=True, path_type=Path, readable=False)
)
@click.option("--name", help="Name in the store.  [default: the layout's, or the folder's]")
@click.option(
    "--source",
    "checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The GGUF that a bundle was compiled from, where the folder does not hold it.",
)
@click.option(
    "--library",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model library (.wasm), when an MLC folder does not hold just one.",
)
@json_option(LINES)
def command(
    source: Path, name: str | None, checkpoint: Path | None, library: Path | None, as_json: bool
) -> None:
    """Import a finished model: an OCI layout, a bundle, or MLC's format."""
    kind = _kind(source)
    if checkpoint is not None and kind != "bundle":
        raise NotImportable(f"{source} is no bundle, so there is nothing for --source to complete")
    if library is not None and kind != "mlc":
        raise NotImportable(f"{source} is no MLC folder, so there is nothing for --library to add")
    # A bad name is said before any work.
    model = None if kind == "layout" else _model_name(source, name)
    with long_work(as_json) as work:
        if model is None:
            imported = _import_layout(source, name, work)
        elif kind == "bundle":
            imported = Imported(((model, _import_bundle(source, model, checkpoint, work)),))
        else:
            imported = _import_mlc(source, model, library, work)
        work.end(_report(imported))
    if not as_json:
        _tell(imported)


def _kind(source: Path) -> str:
    if not source.is_dir():
        _refuse_gguf(source)
        return "layout"
    if (source / LAYOUT_NAME).exists():
        return "layout"
    return "bundle" if (source / INDEX_NAME).is_file() else "mlc"


def _refuse_gguf(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(GGUF_MAGIC)) == GGUF_MAGIC:
                raise NotImportable(
                    f"{path} is a checkpoint: `transom compile {path} --name NAME` makes a model "
                    "of it"
                )


def _import_layout(path: Path, name: str | None, work: LongWork) -> Imported:
    store = open_store(read_config(os.environ).models)
    store.remove_stale_partials()
    with layout_at(path) as source:
        models = read_layout(source)
        names = names_of(models, name, source.where)
        pairs = list(zip(names, models, strict=True))
        digests = import_layout(store, source, pairs, work.report, work.cancelled)
    return Imported(tuple(zip(names, digests, strict=True)))


def _import_bundle(
    folder: Path, model: ModelName, checkpoint: Path | None, work: LongWork
) -> Digest:
    files = {}
    if checkpoint is not None:
        work.progress.step("digest", checkpoint.stat().st_size)
        files[Digest.of_file(checkpoint)] = checkpoint
    return keep_folder(folder, str(model), work.progress, files)


def _import_mlc(folder: Path, model: ModelName, library: Path | None, work: LongWork) -> Imported:
    try:
        from transom_compile.mlc.seal import mlc_bundle
    except ModuleNotFoundError as error:
        raise NotImportable(
            f"MLC's format needs {error.name}; install it with: pip install 'transom[compile]'"
        ) from error
    with work_folder(Path(tempfile.gettempdir()), "transom-import-") as workspace:
        bundle, notes = mlc_bundle(folder, library, workspace, work.progress)
        index = keep_folder(bundle.folder, str(model), work.progress, bundle.files)
    return Imported(((model, index),), tuple(notes))


def _model_name(folder: Path, name: str | None) -> ModelName:
    """The name that was asked for, or the folder's."""
    if name is not None:
        return ModelName.parse(name)
    try:
        return ModelName.parse(folder.resolve().name)
    except InvalidName as error:
        raise InvalidName(f"{error}; choose one with --name") from None


def _report(imported: Imported) -> dict[str, Any]:
    models = [{"name": str(name), "index": str(index)} for name, index in imported.models]
    notes = list(imported.notes)
    # One model is the usual case; its keys stand alone.
    return {**models[0], "notes": notes} if len(models) == 1 else {"models": models, "notes": notes}


def _tell(imported: Imported) -> None:
    for note in imported.notes:
        click.echo(f"note: {note}", err=True)
    for name, index in imported.models:
        click.echo(f"{name} is in the store")
        click.echo(f"index {index}")
