"""`transom`: finds the verb, runs it, and turns errors into one line and an exit code.

A verb's file is imported only when the verb is used: `transom list` must not wait for TVM, nor fail
for want of it. Knows of a verb its name, one line of help, and the extra with its packages.
"""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import click

from transom_cli.output import error_text
from transom_cli.stored_name import StoredName
from transom_models.errors import TransomError

EXIT_USER_ERROR: Final = 2
# 128 + SIGINT, as a shell counts it.
EXIT_INTERRUPTED: Final = 130

_ROOMS: Final = "transom_"


@dataclass(frozen=True, slots=True)
class Verb:
    """A row of `transom --help`. The file `transom_cli/<verb>.py` (`_` for `-`) has the
    command as `command`."""

    help: str
    extra: str


VERBS: Final[Mapping[str, Verb]] = MappingProxyType(
    {
        "compile": Verb("Compile a checkpoint into a bundle that runs in the browser.", "compile"),
        "import": Verb(
            "Import a finished model: an OCI layout, a bundle, or MLC's format.", "server"
        ),
        "export": Verb("Export the page and models as plain files.", "server"),
        "run": Verb("Talk with a model.", "native,server"),
        "ps": Verb("List the models that are loaded.", "server"),
        "stop": Verb("Let go of a loaded model, and of its memory.", "server"),
        "serve": Verb("Serve the store and the chat page.", "server"),
        "key": Verb("Make, list and revoke API keys of the server.", "server"),
        "pull": Verb("Pull a model from a registry, or a GGUF file from an address.", "server"),
        "push": Verb("Push a model to a registry.", "server"),
        "login": Verb("Log in to a registry.", "server"),
        "logout": Verb("Log out of a registry.", "server"),
        "create": Verb("Create a model from a Modelfile.", "compile,quantize,server"),
        "show": Verb("Show what a model is.", "server"),
        "cp": Verb("Give a model a second name.", "server"),
        "rm": Verb("Remove models, and the blobs that no other model needs.", "server"),
        "list": Verb("List the models of the store.", "server"),
        "verify": Verb("Check every byte of the store, or of some models.", "server"),
        "gc": Verb("Remove blobs that no model needs.", "server"),
        "du": Verb("Say what each model takes, shared and of its own.", "server"),
        "adopt": Verb("Adopt the models of an Ollama store, by hard link.", "server"),
        "ask": Verb("Ask a model one question, in a headless browser.", "browser,server"),
        "verify-model": Verb(
            "Compare a model's browser libraries with llama.cpp.", "verify,server"
        ),
        "completion": Verb("Print a script that completes verbs and names in a shell.", "server"),
        "build": Verb("Build what is built once, with tools from PyPI only.", "build"),
    }
)


# Other words for verbs, as people of Ollama know them.
ALIASES: Final[Mapping[str, str]] = MappingProxyType({"ls": "list"})
# Arguments that name models of the store; a shell completes them.
_NAME_ARGUMENTS: Final = frozenset({"model", "models", "name", "names", "source", "prefix"})


class MissingPackages(TransomError):
    """A verb needs packages that this install lacks."""


class _Verbs(click.Group):
    """A group that knows its commands by name and loads one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = ALIASES.get(cmd_name, cmd_name)
        return load_verb(verb) if verb in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in VERBS.items()])


def load_verb(name: str) -> click.Command:
    """The command of a verb. Raises `MissingPackages`."""
    try:
        command = importlib.import_module(f"transom_cli.{name.replace('-', '_')}").command
    except ModuleNotFoundError as error:
        # A module of ours that is missing is a fault of ours, not of the install.
        if error.name is None or error.name.startswith(_ROOMS):
            raise
        raise MissingPackages(
            f"`transom {name}` needs {error.name}; "
            f"install it with: pip install 'transom[{VERBS[name].extra}]'"
        ) from error
    assert isinstance(command, click.Command)
    for parameter in command.params:
        if parameter.name in _NAME_ARGUMENTS and parameter.type is click.STRING:
            if isinstance(parameter, click.Argument):
                parameter.type = StoredName()
    return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="transom")
def cli() -> None:
    """Run open language models on your own hardware, first of all in the browser."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; gives the exit code. User errors are one `error:` line on stderr."""
    try:
        result = cli.main(arguments, prog_name="transom", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _fail(error, error.exit_code)
    except BrokenPipeError:
        # `transom list | head`: whoever reads has enough. Nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail(error, EXIT_INTERRUPTED)
    except (TransomError, OSError) as error:
        return _fail(error, EXIT_USER_ERROR)


def main() -> None:
    """The console script."""
    sys.exit(run())


def _fail(error: BaseException, code: int) -> int:
    click.echo(f"error: {error_text(error)}", err=True)
    return code
