"""`transom ps`: the models that the running server has loaded."""

import time
from datetime import datetime
from typing import Any, Final

import click

from transom_cli import output
from transom_cli.api_client import find_server

# Longer than anybody sets: the server's "for ever" is 292 years.
FOREVER_SECONDS: Final = 100 * 365 * output.DAY
SHOWN_DIGEST_CHARS: Final = 12


@click.command("ps")
@output.json_option(output.DOCUMENT)
def command(as_json: bool) -> None:
    """List the models that are loaded.

    SIZE is the memory that the model's process has now. Without a running server none is loaded.
    """
    server = find_server()
    models = server.get("/api/ps")["models"] if server is not None else []
    if as_json:
        output.print_json(models)
    elif models:
        output.print_table(
            ("NAME", "ID", "SIZE", "CONTEXT", "UNTIL"), [_row(model) for model in models]
        )
    else:
        words = "no model is loaded" if server is not None else "no server runs"
        click.echo(f"{words}; load one with: transom run", err=True)


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    return (
        model["name"],
        model["digest"][:SHOWN_DIGEST_CHARS],
        output.size_text(model["size"]),
        str(model["context_length"]),
        until_text(datetime.fromisoformat(model["expires_at"]).timestamp() - time.time()),
    )


def until_text(seconds: float) -> str:
    """When a model is let go of."""
    if seconds > FOREVER_SECONDS:
        return "forever"
    return f"{output.duration_text(seconds)} from now" if seconds > 0 else "now"
