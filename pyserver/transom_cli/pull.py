"""`transom pull NAME|URL`: a model from a registry, or a GGUF file from an address, into the store.

Arguments and what is printed; the work is `transom_server.transfer`'s.
"""

import os
import re
from typing import Final

import click

from transom_cli.output import LINES, json_option, long_work
from transom_models.name import ModelName
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store
from transom_server.transfer.credentials import read_credentials
from transom_server.transfer.gguf_url import is_url, name_of_url, pull_url
from transom_server.transfer.pull import pull
from transom_server.transfer.status import CONNECTIONS, TransferOptions

# Beyond this a host takes us for many.
MAX_CONNECTIONS: Final = 32
_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([kKmMgG]?)")
_UNITS: Final = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
# Slower than this, timeouts come before the bytes.
_SLOWEST: Final = 1_000


class Rate(click.ParamType[int]):
    """Bytes per second, in decimal units as sizes are shown: `500k`, `10M`, `1.5G`."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        match = _RATE.fullmatch(str(value))
        rate = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
        if rate < _SLOWEST:
            self.fail(f"{value!r} is no rate; write 500k, 10M or 1G bytes per second", param, ctx)
        return rate


@click.command()
@click.argument("model", metavar="NAME|URL")
@click.option("--name", help="Name in the store.  [default: the same, or the file's]")
@click.option("--insecure", is_flag=True, help="Ask other machines over plain http, too.")
@click.option(
    "--connections",
    type=click.IntRange(1, MAX_CONNECTIONS),
    default=CONNECTIONS,
    show_default=True,
    help="How many at once.",
)
@click.option("--limit-rate", type=Rate(), help="Most bytes per second, as 500k or 10M.")
@click.option("--accept-license", is_flag=True, help="Yes to terms that are not open.")
@json_option(LINES)
def command(
    model: str,
    name: str | None,
    insecure: bool,
    connections: int,
    limit_rate: int | None,
    accept_license: bool,
    as_json: bool,
) -> None:
    """Pull a model from a registry, or a GGUF file from an address.

    Stopped or cut off, the same command goes on where it was.
    """
    config = read_config(os.environ)
    store = open_store(config.models)
    source = None if is_url(model) else ModelName.parse(model)
    target = ModelName.parse(name) if name else source or name_of_url(model)
    with long_work(as_json) as work:
        options = TransferOptions(
            insecure=insecure,
            connections=connections,
            bytes_per_second=limit_rate,
            accept_license=accept_license or config.accept_license,
            cancelled=work.cancelled,
            credentials=read_credentials(os.environ),
        )
        if source is None:
            digest = pull_url(store, model, target, options, work.report)
        else:
            digest = pull(
                store, source, options, work.report, registry=config.registry, target=target
            )
        work.end({"name": str(target), "digest": str(digest)})
    if not as_json:
        click.echo(f"{target} is in the store")
