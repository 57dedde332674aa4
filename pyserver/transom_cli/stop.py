"""`transom stop`: let go of a loaded model."""

import click

from transom_cli.api_client import running_server
from transom_cli.output import DOCUMENT, json_option, print_json


@click.command("stop")
@click.argument("name")
@json_option(DOCUMENT)
def command(name: str, as_json: bool) -> None:
    """Let go of a loaded model, and of its memory.

    A request that it answers is answered to its end. No error when it was not loaded.
    """
    running_server().post("/api/generate", {"model": name, "keep_alive": 0})
    if as_json:
        print_json({"name": name})
