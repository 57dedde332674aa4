"""`transom create NAME`: a model out of a Modelfile. Arguments and what is printed."""

import os
import sys
from pathlib import Path

import click

from transom_cli.creating import Wish, create
from transom_cli.output import LINES, json_option, long_work
from transom_models.errors import TransomError
from transom_models.modelfile import decode_modelfile, parse_modelfile
from transom_models.modelfile.modelfile import MAX_MODELFILE_CHARS
from transom_models.name import ModelName
from transom_server.model.creation import CannotCreate
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store
from transom_server.transfer.credentials import read_credentials
from transom_server.transfer.status import TransferOptions

_ROOMS = "transom_"


@click.command()
@click.argument("name")
@click.option(
    "-f",
    "--file",
    default="Modelfile",
    show_default=True,
    metavar="FILE",
    help="The Modelfile; - reads stdin.",
)
@click.option(
    "-q", "--quantize", metavar="TYPE", help="Quantize with llama.cpp first, e.g. q4_k_m."
)
@click.option("--force", is_flag=True, help="A chat template with problems is a note.")
@click.option("--accept-license", is_flag=True, help="Yes to terms of a base that is pulled.")
@json_option(LINES)
def command(
    name: str, file: str, quantize: str | None, force: bool, accept_license: bool, as_json: bool
) -> None:
    """Create a model from a Modelfile.

    FROM names a model, a GGUF file or a safetensors folder. A file or folder is compiled for the
    browser, too, unless the Modelfile says PLATFORM native.
    """
    target = ModelName.parse(name)
    text, folder = _read(file)
    modelfile = parse_modelfile(text)
    config = read_config(os.environ)
    store = open_store(config.models)
    store.remove_stale_partials()
    with long_work(as_json) as work:
        transfer = TransferOptions(
            accept_license=accept_license or config.accept_license,
            cancelled=work.cancelled,
            credentials=read_credentials(os.environ),
        )
        wish = Wish(target, modelfile, folder, quantize, force, config.registry, transfer)
        try:
            created = create(store, wish, work)
        except ModuleNotFoundError as error:
            # A module of ours that is missing is a fault of ours, not of the install.
            if error.name is None or error.name.startswith(_ROOMS):
                raise
            raise CannotCreate(
                f"this needs {error.name}: pip install 'transom[compile,quantize]', or say "
                "PLATFORM native in the Modelfile"
            ) from error
        work.end({"name": str(target), "index": str(created.index), "notes": created.notes})
    if as_json:
        return
    for note in created.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{target} is in the store")
    click.echo(f"index {created.index}")


def _read(file: str) -> tuple[str, Path]:
    """The Modelfile's text, and the folder that its relative paths count from."""
    if file == "-":
        return decode_modelfile(_capped(sys.stdin.buffer.read(4 * MAX_MODELFILE_CHARS + 1))), Path()
    path = Path(file)
    if path.is_dir():
        path = path / "Modelfile"
    try:
        with path.open("rb") as opened:
            data = opened.read(4 * MAX_MODELFILE_CHARS + 1)
    except FileNotFoundError:
        raise NoModelfile(f"there is no {path}; name one with -f, or - for stdin") from None
    return decode_modelfile(_capped(data)), path.parent


def _capped(data: bytes) -> bytes:
    # UTF-8 takes four bytes a character at most.
    if len(data) > 4 * MAX_MODELFILE_CHARS:
        raise NoModelfile(f"this is no Modelfile: it is over {4 * MAX_MODELFILE_CHARS} bytes")
    return data


class NoModelfile(TransomError):
    """There is no Modelfile to read."""
