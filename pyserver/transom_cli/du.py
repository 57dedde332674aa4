"""`transom du [NAME…]`: what models take, each stored byte counted once."""

import os

import click

from transom_cli.output import DOCUMENT, json_option, print_json, print_table, size_text
from transom_models.name import ModelName
from transom_server.settings.toml_file import read_config
from transom_server.store import ModelNotFound, ModelUsage, Usage, open_store


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option(DOCUMENT)
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Say what each model takes, shared and of its own.

    OWN is needed by no other model: what `transom rm` would free. Bytes that models share are
    stored once.
    """
    store = open_store(read_config(os.environ).models)
    usage = store.usage()
    rows = _chosen(usage, names)
    for name, reason in usage.unreadable:
        click.echo(f"model {name} is left out: {reason}", err=True)
    if as_json:
        print_json(
            {
                "models": [_to_json(row) for row in rows],
                "total_bytes": sum(row.total for row in usage.models),
                "stored_bytes": usage.stored,
                "unused_bytes": usage.unused,
            }
        )
        return
    cells = [(str(row.name), *map(size_text, (row.total, row.shared, row.own))) for row in rows]
    if cells:
        print_table(("NAME", "TOTAL", "SHARED", "OWN"), cells, right=("TOTAL", "SHARED", "OWN"))
    _print_sum(usage)


def _chosen(usage: Usage, names: tuple[str, ...]) -> list[ModelUsage]:
    if not names:
        return list(usage.models)
    by_name = {row.name.folded: row for row in usage.models}
    rows = []
    for text in names:
        name = ModelName.parse(text)
        if name.folded in by_name:
            rows.append(by_name[name.folded])
        elif name.folded not in {other.folded for other, _ in usage.unreadable}:
            raise ModelNotFound(f"no model {name} in the store; `transom list` shows what is")
    return rows


def _print_sum(usage: Usage) -> None:
    apart = sum(row.total for row in usage.models)
    used = usage.stored - usage.unused
    click.echo(f"all models: {size_text(apart)} one by one, {size_text(used)} stored")
    if usage.unused:
        click.echo(f"no model needs {size_text(usage.unused)} more; `transom gc` removes it")


def _to_json(row: ModelUsage) -> dict[str, str | int]:
    return {
        "name": str(row.name),
        "total_bytes": row.total,
        "shared_bytes": row.shared,
        "own_bytes": row.own,
    }
