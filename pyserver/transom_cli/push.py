"""`transom push NAME [TARGET]`: a model of the store to a registry.

Arguments and what is printed; the work is `transom_server.transfer`'s.
"""

import os

import click

from transom_cli.output import LINES, json_option, long_work
from transom_cli.pull import MAX_CONNECTIONS, Rate
from transom_models.name import ModelName
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store
from transom_server.transfer.credentials import read_credentials
from transom_server.transfer.push import push
from transom_server.transfer.status import CONNECTIONS, TransferOptions


@click.command()
@click.argument("name")
@click.argument("target", required=False)
@click.option("--insecure", is_flag=True, help="Ask other machines over plain http, too.")
@click.option(
    "--connections",
    type=click.IntRange(1, MAX_CONNECTIONS),
    default=CONNECTIONS,
    show_default=True,
    help="How many at once.",
)
@click.option("--limit-rate", type=Rate(), help="Most bytes per second, as 500k or 10M.")
@json_option(LINES)
def command(
    name: str,
    target: str | None,
    insecure: bool,
    connections: int,
    limit_rate: int | None,
    as_json: bool,
) -> None:
    """Push a model to a registry.

    Under its own name, or as TARGET (host/namespace/model:tag). What the registry has is not sent.
    Stopped or cut off, the same command goes on where it was.
    """
    config = read_config(os.environ)
    source = ModelName.parse(name)
    destination = ModelName.parse(target) if target else source
    with long_work(as_json) as work:
        options = TransferOptions(
            insecure=insecure,
            connections=connections,
            bytes_per_second=limit_rate,
            cancelled=work.cancelled,
            credentials=read_credentials(os.environ),
        )
        push(
            open_store(config.models),
            source,
            options,
            work.report,
            target=destination,
            registry=config.registry,
        )
        work.end({"name": str(source), "target": str(destination)})
    if not as_json:
        click.echo(f"{source} is at {destination}" if target else f"{source} is pushed")
