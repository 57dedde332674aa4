"""`transom login REGISTRY`: tries a login and, if it is let in, keeps it for pull and push."""

import os
import sys

import click

from transom_cli.output import DOCUMENT, json_option, print_json
from transom_models.errors import TransomError
from transom_server.transfer.auth import ForeignTokenHost, check_login
from transom_server.transfer.credentials import Login, credentials_path, save_login
from transom_server.transfer.http_client import HttpClient
from transom_server.transfer.status import TransferOptions

# A password or token; registries' tokens are a few KiB.
MAX_PASSWORD_CHARS = 64 * 1024


class NoPassword(TransomError):
    """There is nobody to ask for a password."""


@click.command()
@click.argument("registry", metavar="HOST[:PORT]")
@click.option("-u", "--username", help="Else it is asked for.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option(
    "--token-host",
    "token_hosts",
    multiple=True,
    metavar="HOST",
    help="A host, beside the registry, that may see the login to give out tokens.",
)
@click.option("--insecure", is_flag=True, help="Ask other machines over plain http, too.")
@json_option(DOCUMENT)
def command(
    registry: str,
    username: str | None,
    password_stdin: bool,
    token_hosts: tuple[str, ...],
    insecure: bool,
    as_json: bool,
) -> None:
    """Log in to a registry.

    The login is kept in a file that only you can read, and shown to that registry alone.
    """
    interactive = sys.stdin.isatty()
    if not interactive and not (username and password_stdin):
        raise NoPassword("nobody is here to ask: give --username and --password-stdin")
    username = username or click.prompt("Username", err=True)
    if password_stdin:
        password = sys.stdin.read(MAX_PASSWORD_CHARS).rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, err=True)
    hosts = tuple(host.lower() for host in token_hosts)
    try:
        login = _checked(registry, Login(username, password, hosts), insecure)
    except ForeignTokenHost as error:
        question = f"{registry} has its logins checked by {error.host}. Send yours there?"
        if not interactive or not click.confirm(question, err=True):
            raise
        login = _checked(registry, Login(username, password, (*hosts, error.host)), insecure)
    path = credentials_path(os.environ)
    save_login(path, registry, login)
    if as_json:
        print_json({"registry": registry, "username": username, "file": str(path)})
    else:
        click.echo(f"logged in to {registry} as {username}; kept in {path}")


def _checked(registry: str, login: Login, insecure: bool) -> Login:
    with HttpClient(TransferOptions(insecure=insecure)) as http:
        check_login(http, registry, login, insecure)
    return login
