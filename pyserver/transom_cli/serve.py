"""`transom serve`: the store and the chat page over HTTP, until told to stop."""

import logging
import os
import signal
import threading
import webbrowser
from types import FrameType

import click

from transom_models.name import ModelName
from transom_server.access import bracketed
from transom_server.app import create_app
from transom_server.config import Config
from transom_server.routes.web import NOT_BUILT, find_web_dir
from transom_server.serving import Server
from transom_server.store import open_store


@click.command()
@click.option("--host", help="Address to listen on.  [default: TRANSOM_HOST, or 127.0.0.1]")
@click.option(
    "--port", help="Port to listen on; 0 takes a free one.  [default: TRANSOM_PORT, or 11435]"
)
@click.option(
    "--open",
    "model",
    metavar="[MODEL]",
    is_flag=False,
    flag_value="",
    help="Open the page in your browser, with MODEL when it is given.",
)
def command(host: str | None, port: str | None, model: str | None) -> None:
    """Serve the store and the chat page.

    Prints the address. One line per request goes to stderr. Ctrl-C stops.
    """
    config = Config.read(os.environ, host=host, port=port)
    store = open_store(config.models)
    query = ""
    if model:
        query = f"/?model={store.get_index(ModelName.parse(model)).name}"
    # A wrong bucket is said now, not by every answer.
    next(store.names(), None)
    store.remove_stale_partials()
    if find_web_dir(config.web_dir) is None:
        click.echo(f"note: {NOT_BUILT}", err=True)
    _log_requests()
    server = Server(create_app(config), config)
    signal.signal(signal.SIGTERM, _exit)
    click.echo(server.url + query)
    click.echo(f"serving {config.models} on {bracketed(config.host)}; Ctrl-C stops", err=True)
    if model is not None:
        # In a thread: a text browser would not give control back.
        address = (server.url + query,)
        threading.Thread(target=webbrowser.open, args=address, daemon=True).start()
    server.run()


def _log_requests() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("transom_server").setLevel(logging.INFO)


def _exit(number: int, frame: FrameType | None) -> None:
    """A polite kill is a good end."""
    raise SystemExit(0)
