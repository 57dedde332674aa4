"""`transom stop`: let go of a loaded model."""

import click

from transom_cli import output
from transom_cli.api_client import running_server


@click.command("stop")
@click.argument("name")
@output.json_option(output.DOCUMENT)
def command(name: str, as_json: bool) -> None:
    """Let go of a loaded model, and of its memory.

    A request that it answers is answered to its end. No error when it was not loaded.
    """
    running_server().post("/api/generate", {"model": name, "keep_alive": 0})
    if as_json:
        output.print_json({"name": name})
