"""`transom rm NAME…`: models go, and the blobs that only they needed."""

import os

import click

from transom_cli.output import DOCUMENT, count_text, json_option, print_json, size_text
from transom_models.name import ModelName
from transom_server.settings.toml_file import read_config
from transom_server.store import ModelNotFound, open_store


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option(DOCUMENT)
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Remove models, and the blobs that no other model needs."""
    store = open_store(read_config(os.environ).models)
    wanted = []
    for text in names:
        # All or none: a typing error must not cost half of them.
        found = store.resolve(ModelName.parse(text))
        if found is None:
            raise ModelNotFound(f"no model {text} in the store; `transom list` shows what is")
        wanted.append(found)
    removed = {str(name): store.remove_model(name) for name in dict.fromkeys(wanted)}
    if as_json:
        print_json(
            [
                {"name": name, "blobs": row.blobs, "bytes": row.bytes}
                for name, row in removed.items()
            ]
        )
        return
    for name, row in removed.items():
        freed = f"{count_text(row.blobs, 'blob')}, {size_text(row.bytes)}"
        click.echo(f"removed {name}: {freed} freed")
