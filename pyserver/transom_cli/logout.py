"""`transom logout REGISTRY`: forgets a login."""

import os

import click

from transom_server.transfer.credentials import credentials_path, remove_login


@click.command()
@click.argument("registry", metavar="HOST[:PORT]")
def command(registry: str) -> None:
    """Log out of a registry.

    Forgets what `transom login` kept.
    """
    if remove_login(credentials_path(os.environ), registry):
        click.echo(f"logged out of {registry}")
    else:
        click.echo(f"there was no login for {registry}")
