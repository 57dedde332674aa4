"""`transom serve`: the store and the chat page over HTTP, until told to stop."""

import logging
import os
import signal
import threading
import webbrowser
from collections.abc import Callable, Mapping
from types import FrameType

import click

from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.access.key_door import Access
from transom_server.access.origins import bracketed
from transom_server.app import create_app
from transom_server.http.serving import Server
from transom_server.logs import event, start_log
from transom_server.routes.web import NOT_BUILT, find_web_dir
from transom_server.settings.config import Config, InvalidSetting
from transom_server.settings.table import SETTINGS
from transom_server.settings.toml_file import read_config, reload_config
from transom_server.store import open_store

_LOG = logging.getLogger("transom_server.serve")


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each row of the table."""
    for setting in reversed(SETTINGS):
        told = f"{setting.help.replace('`', '')}  [default: {setting.env}, or "
        command = click.option(
            setting.flag,
            setting.name,
            metavar=setting.name.rpartition("_")[2].upper(),
            help=f"{told}{setting.default or 'none'}]",
        )(command)
    return command


@click.command()
@click.option(
    "--open",
    "model",
    metavar="[MODEL]",
    is_flag=False,
    flag_value="",
    help="Open the page in your browser, with MODEL when it is given.",
)
@click.option(
    "--settings",
    metavar="FILE",
    help="File of settings.  [default: TRANSOM_SETTINGS, or transom.toml of the settings folder]",
)
@_with_settings
def command(model: str | None, **options: str | None) -> None:
    """Serve the store and the chat page.

    Prints the address; the log goes to stderr, one line per request. Ctrl-C or SIGTERM lets running
    answers end first, a second one cuts them. SIGHUP reads the settings again.
    """
    config = read_config(os.environ, **options)
    store = open_store(config.models)
    query = ""
    if model:
        query = f"/?model={store.get_index(ModelName.parse(model)).name}"
    # A wrong bucket is said now, not by every answer.
    next(store.names(), None)
    store.remove_stale_partials()
    if find_web_dir(config.web_dir) is None:
        click.echo(f"note: {NOT_BUILT}", err=True)
    _start_log(config)
    app = create_app(config)
    server = Server(app, config)
    server.on_reload = lambda: reload_settings(app.extensions["transom_access"], options)
    _heed_signals(server)
    click.echo(server.url + query)
    click.echo(f"serving {config.models} on {bracketed(config.host)}; Ctrl-C stops", err=True)
    if model is not None:
        # In a thread: a text browser would not give control back.
        address = (server.url + query,)
        threading.Thread(target=webbrowser.open, args=address, daemon=True).start()
    server.run()


def reload_settings(access: Access, options: Mapping[str, str | None]) -> None:
    """Read all settings again, and go on with what can be changed under way. The log tells."""
    try:
        config, changed, waiting = reload_config(os.environ, access.config, **options)
        # Also when nothing about it has changed: whoever moves the file away sends this signal.
        _start_log(config)
    except TransomError as error:
        event(_LOG, logging.ERROR, "settings are as before", reason=str(error))
        return
    access.config = config
    event(
        _LOG,
        logging.INFO,
        "settings read again",
        changed=",".join(changed) or "nothing",
        needs_restart=",".join(waiting) or None,
    )


def _heed_signals(server: Server) -> None:
    def end(number: int, frame: FrameType | None) -> None:
        server.end()

    def again(number: int, frame: FrameType | None) -> None:
        server.reload()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, again)


def _start_log(config: Config) -> None:
    try:
        start_log(config.log, config.log_level, config.log_file)
    except OSError as error:
        raise InvalidSetting(
            f"TRANSOM_LOG_FILE: cannot write {config.log_file}: {error.strerror}"
        ) from None
