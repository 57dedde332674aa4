"""`transom key`: the API keys of this machine's server. A key itself is shown once, when made."""

import os
import re
import time

import click

from transom_cli.output import DOCUMENT, json_option, print_json, print_table, time_text
from transom_models.errors import TransomError
from transom_server.access.api_keys import (
    DEFAULT_SCOPES,
    MAX_DAYS,
    MAX_PER_MINUTE,
    SCOPES,
    ApiKey,
    create_key,
    keys_path,
    read_keys,
    revoke_key,
)

_RATE = re.compile(r"([0-9]{1,10})(?:/min)?")


class BadRate(TransomError):
    """What was given is no number per minute."""


@click.group(no_args_is_help=True)
def command() -> None:
    """Make, list and revoke API keys of the server.

    Once there is a key, the server asks every client for one (TRANSOM_KEYS).
    """


@command.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    help=f"What it is for; may be given several times.  [default: {', '.join(DEFAULT_SCOPES)}]",
)
@click.option("--rate", metavar="N[/min]", help="Most requests to models in a minute.")
@click.option("--tokens", metavar="N[/min]", help="Most tokens in a minute, prompts with them.")
@click.option(
    "--expires", type=click.IntRange(1, MAX_DAYS), metavar="DAYS", help="Days until it is none."
)
def create(
    name: str, scopes: tuple[str, ...], rate: str | None, tokens: str | None, expires: int | None
) -> None:
    """Make a key and print it, once."""
    secret = create_key(
        keys_path(os.environ),
        name,
        scopes=scopes or DEFAULT_SCOPES,
        requests_per_minute=_per_minute("--rate", rate),
        tokens_per_minute=_per_minute("--tokens", tokens),
        days=expires,
        now=time.time(),
    )
    click.echo(secret)
    click.echo(
        "this key is shown only once; clients send it as their API key, "
        "`transom run` from TRANSOM_API_KEY",
        err=True,
    )


@command.command("list")
@json_option(DOCUMENT)
def list_keys(as_json: bool) -> None:
    """List the keys, by name."""
    keys = sorted(read_keys(keys_path(os.environ)) or (), key=lambda key: key.name)
    if as_json:
        print_json([_row(key) for key in keys])
    elif not keys:
        click.echo("there is no key; make one with: transom key create NAME")
    else:
        headings = ("NAME", "SCOPES", "A MINUTE", "MADE", "EXPIRES")
        print_table(headings, [_cells(key) for key in keys])


@command.command()
@click.argument("name", metavar="NAME")
def revoke(name: str) -> None:
    """Make a key worthless, at once."""
    path = keys_path(os.environ)
    left = revoke_key(path, name)
    click.echo(f"revoked {name}")
    if not left:
        click.echo(
            "no key is left, and the server lets nobody in; make another, "
            f"or let all in with TRANSOM_KEYS=off, or by removing {path}",
            err=True,
        )


def _per_minute(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    match = _RATE.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= MAX_PER_MINUTE:
        raise BadRate(
            f"{option}: {text!r:.40} is not a number per minute from 1 to {MAX_PER_MINUTE}, as 60"
        )
    return int(match[1])


def _row(key: ApiKey) -> dict[str, object]:
    row = key.to_json()
    del row["sha256"]
    row["created"] = time_text(key.created)
    row["expires"] = None if key.expires is None else time_text(key.expires)
    return {"name": key.name, **row}


def _cells(key: ApiKey) -> tuple[str, ...]:
    limits = {"requests": key.requests_per_minute, "tokens": key.tokens_per_minute}
    shown = ", ".join(f"{most} {what}" for what, most in limits.items() if most is not None)
    scopes = ", ".join(scope for scope in SCOPES if scope in key.scopes)
    expires = "never" if key.expires is None else time_text(key.expires)[:10]
    return key.name, scopes, shown or "no limit", time_text(key.created)[:10], expires
