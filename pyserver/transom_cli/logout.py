"""`transom logout REGISTRY`: forgets a login."""

import os

import click

from transom_cli.output import DOCUMENT, json_option, print_json
from transom_server.transfer.credentials import credentials_path, remove_login


@click.command()
@click.argument("registry", metavar="HOST[:PORT]")
@json_option(DOCUMENT)
def command(registry: str, as_json: bool) -> None:
    """Log out of a registry.

    Forgets what `transom login` kept.
    """
    removed = remove_login(credentials_path(os.environ), registry)
    if as_json:
        print_json({"registry": registry, "removed": removed})
    elif removed:
        click.echo(f"logged out of {registry}")
    else:
        click.echo(f"there was no login for {registry}")
