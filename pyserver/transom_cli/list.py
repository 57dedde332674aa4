"""`transom list`: what the store holds. Reads the store's folder; no server needed."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from transom_cli.output import DOCUMENT, json_option, print_json, print_table, size_text
from transom_models.errors import TransomError
from transom_server.config import Config
from transom_server.store import Store, StoredModel, open_store


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list. `size_bytes` counts every blob of the model once."""

    name: str
    digest: str
    platforms: tuple[str, ...]
    size_bytes: int
    modified: datetime

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "digest": self.digest,
            "platforms": list(self.platforms),
            "size_bytes": self.size_bytes,
            "modified": self.modified.isoformat(timespec="seconds"),
        }


@click.command()
@json_option(DOCUMENT)
def command(as_json: bool) -> None:
    """List the models of the store.

    SIZE counts every file of a model once; files that models share are on the disk once, too.
    """
    store = open_store(Config.read(os.environ).models)
    rows = []
    for model in store.list_models():
        try:
            rows.append(_row(store, model))
        except TransomError as error:
            # One damaged model must not hide the others.
            click.echo(f"model {model.name} is left out: {error}", err=True)
    if as_json:
        print_json([row.to_json() for row in rows])
    elif rows:
        _print_rows(rows)
    else:
        click.echo(f"no models in {_short(store.root)}; make one with: transom compile", err=True)


def _row(store: Store, model: StoredModel) -> Row:
    sizes = {part.digest: part.size for part in store.descriptors(model)}
    return Row(
        name=str(model.name),
        digest=str(model.digest),
        platforms=tuple(str(row.platform or "any") for row in model.index.manifests),
        size_bytes=sum(sizes.values()) + len(model.data),
        modified=datetime.fromtimestamp(model.modified, UTC),
    )


def _print_rows(rows: list[Row]) -> None:
    cells = [
        (
            row.name,
            ", ".join(row.platforms),
            size_text(row.size_bytes),
            f"{row.modified.astimezone():%Y-%m-%d %H:%M}",
        )
        for row in rows
    ]
    print_table(("NAME", "PLATFORMS", "SIZE", "MODIFIED"), cells)


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
