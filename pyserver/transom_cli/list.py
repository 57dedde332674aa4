"""`transom list`: what the store holds. Reads the store itself; no server needed."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from transom_cli.output import (
    DOCUMENT,
    age_text,
    json_option,
    print_json,
    print_table,
    printable,
    size_text,
    time_text,
)
from transom_models.errors import TransomError
from transom_models.licence import Licence
from transom_server.settings.toml_file import read_config
from transom_server.store import Store, StoredModel, open_store

# As many digits as Ollama shows: enough to tell models apart.
ID_CHARS: Final = 12


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list. `size_bytes` counts every blob of the model once; `licence` is None
    where nobody asked."""

    name: str
    digest: str
    platforms: tuple[str, ...]
    size_bytes: int
    modified: float
    licence: Licence | None

    def to_json(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "name": self.name,
            "digest": self.digest,
            "platforms": list(self.platforms),
            "size_bytes": self.size_bytes,
            "modified": time_text(self.modified),
        }
        if self.licence is not None:
            row["license"] = {
                "id": self.licence.id,
                "open": self.licence.open,
                "reason": self.licence.reason,
            }
        return row


@click.command()
@click.argument("prefix", default="")
@click.option("--licenses", is_flag=True, help="Say each model's licence.")
@json_option(DOCUMENT)
def command(prefix: str, licenses: bool, as_json: bool) -> None:
    """List the models of the store.

    Only names that begin with PREFIX, when it is given. SIZE counts every file of a model once;
    files that models share are on the disk once, too.
    """
    store = open_store(read_config(os.environ).models)
    rows = []
    for model in store.list_models():
        if not str(model.name).lower().startswith(prefix.lower()):
            continue
        try:
            rows.append(_row(store, model, licenses))
        except TransomError as error:
            # One damaged model must not hide the others.
            click.echo(printable(f"model {model.name} is left out: {error}"), err=True)
    if as_json:
        print_json([row.to_json() for row in rows])
    elif rows:
        _print_rows(rows)
    elif prefix:
        click.echo(f"no models named {printable(prefix)}… in {_short(store.location)}", err=True)
    else:
        click.echo(
            f"no models in {_short(store.location)}; "
            "get one with: transom pull, compile, create, import or adopt",
            err=True,
        )


def _row(store: Store, model: StoredModel, licenses: bool) -> Row:
    sizes = {part.digest: part.size for part in store.descriptors(model)}
    return Row(
        name=str(model.name),
        digest=str(model.digest),
        platforms=tuple(str(row.platform or "any") for row in model.index.manifests),
        size_bytes=sum(sizes.values()) + len(model.data),
        modified=model.modified,
        licence=_licence(store, model) if licenses else None,
    )


def _licence(store: Store, model: StoredModel) -> Licence:
    # Reads licence texts, which a plain list leaves alone.
    from transom_server.model.model_details import licence_of_model

    return licence_of_model(store, model)


def _print_rows(rows: list[Row]) -> None:
    headings = ["NAME", "ID", "SIZE", "MODIFIED", "PLATFORMS"]
    if rows[0].licence is not None:
        headings.append("LICENSE")
    cells = [
        (
            row.name,
            row.digest.partition(":")[2][:ID_CHARS],
            size_text(row.size_bytes),
            age_text(row.modified),
            ", ".join(row.platforms),
            *([] if row.licence is None else [str(row.licence)]),
        )
        for row in rows
    ]
    print_table(headings, cells)


def _short(location: str) -> str:
    home = str(Path.home())
    return f"~{location.removeprefix(home)}" if location.startswith(f"{home}/") else location
