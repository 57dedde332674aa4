"""`transom cp SOURCE TARGET`: a second name for a model; no byte is copied."""

import os

import click

from transom_cli.output import DOCUMENT, json_option, print_json
from transom_models.name import ModelName
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store


@click.command()
@click.argument("source")
@click.argument("target")
@json_option(DOCUMENT)
def command(source: str, target: str, as_json: bool) -> None:
    """Give a model a second name."""
    first, second = ModelName.parse(source), ModelName.parse(target)
    digest = open_store(read_config(os.environ).models).copy_model(first, second)
    if as_json:
        print_json({"source": str(first), "target": str(second), "index": str(digest)})
    else:
        click.echo(f"{second} is {first}")
