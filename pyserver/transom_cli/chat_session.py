"""A conversation on the terminal: Ollama's commands, history, multi-line messages.

Lines come from a `LineReader` (`line_reader.py` is the one with a keyboard), answers from the
server. What is said stays in this process; `/save` makes a model of it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import click

from transom_cli import output
from transom_cli.api_client import ApiClient
from transom_cli.talk import Settings, find_images, load, show_answer
from transom_models.errors import TransomError
from transom_models.modelfile.parameters import InvalidParameter, known, parse_value

QUOTES: Final = '"""'

HELP: Final = """\
/set            change a setting (/? set)
/show           show facts about the model (/? show)
/load NAME      talk with another model
/save NAME      keep model, settings and conversation as a model
/clear          forget the conversation
/bye            end
/?, /help       this help
/? shortcuts    keys

Lines between \"\"\" and \"\"\" are one message. The path of a picture in a message sends it.
"""
HELP_SET: Final = """\
/set parameter NAME VALUE   an option as temperature, num_ctx, stop
/set system TEXT            the system message
/set history                keep what is typed in the history file
/set nohistory              do not
/set wordwrap               words do not break at the edge of the terminal
/set nowordwrap             they may
/set format json            answers are JSON
/set noformat               answers are text
/set verbose                figures after each answer
/set quiet                  none
/set think                  ask the model to reason first
/set nothink                ask it not to
"""
HELP_SHOW: Final = """\
/show info         family, size, context, licence
/show license      texts of the licences
/show modelfile    the Modelfile that makes it
/show parameters   its options, and those set here
/show system       the system message
/show template     the chat template
"""
HELP_SHORTCUTS: Final = """\
Ctrl-C     stop the answer; on an empty line, nothing
Ctrl-D     end
Up, Down   lines typed before
Ctrl-R     look for one
Ctrl-A, Ctrl-E   start and end of the line
Ctrl-W, Ctrl-K   delete the word before, the rest of the line
"""


class BadCommand(TransomError):
    """A line that begins with `/` and is no command."""


class LineReader(Protocol):
    """Where lines come from."""

    def read(self, prompt: str) -> str:
        """The next line. Raises `EOFError` at the end, `KeyboardInterrupt` on Ctrl-C."""
        ...

    def keep_history(self, keep: bool) -> None:
        """Whether lines from now on are remembered."""
        ...


class _End(Exception):
    """`/bye`."""


class ChatSession:
    """What has been said and set."""

    def __init__(self, server: ApiClient, settings: Settings, reader: LineReader) -> None:
        self._server = server
        self._settings = settings
        self._reader = reader
        self._messages: list[dict[str, Any]] = []
        self._system: str | None = None
        self._commands: Mapping[str, Callable[[str], None]] = {
            "/set": self._set,
            "/show": self._show,
            "/load": self._load,
            "/save": self._save,
            "/clear": self._clear,
            "/bye": self._bye,
            "/exit": self._bye,
            "/?": self._help,
            "/help": self._help,
        }
        self._toggles: Mapping[str, Callable[[], None]] = {
            "history": lambda: reader.keep_history(True),
            "nohistory": lambda: reader.keep_history(False),
            "wordwrap": lambda: self._change(word_wrap=True),
            "nowordwrap": lambda: self._change(word_wrap=False),
            "noformat": lambda: self._change(format=None),
            "verbose": lambda: self._change(verbose=True),
            "quiet": lambda: self._change(verbose=False),
            "think": lambda: self._change(think=True),
            "nothink": lambda: self._change(think=False),
        }

    def run(self) -> None:
        """Read, answer, until `/bye` or Ctrl-D. An error is told, and the conversation goes on."""
        while True:
            try:
                self._take(self._read_message())
            except EOFError:
                click.echo()
                return
            except _End:
                return
            except KeyboardInterrupt:
                click.echo("\n(Ctrl-D or /bye ends)", err=True)
            except TransomError as error:
                click.echo(f"error: {output.error_text(error)}", err=True)

    def _read_message(self) -> str:
        """One line, or all lines from quotes to quotes."""
        line = self._reader.read(">>> ")
        before, quotes, rest = line.partition(QUOTES)
        opens = quotes and (not before.strip() or before.startswith("/set system "))
        if not opens or rest.rstrip().endswith(QUOTES):
            return before + rest.rstrip().removesuffix(QUOTES) if opens else line
        lines = [before + rest]
        while True:
            line = self._reader.read("... ")
            if line.rstrip().endswith(QUOTES):
                return "\n".join([*lines, line.rstrip().removesuffix(QUOTES)])
            lines.append(line)

    def _take(self, text: str) -> None:
        text = text.strip()
        if not text:
            return
        word, _, rest = text.partition(" ")
        command = self._commands.get(word)
        if command is not None:
            command(rest.strip())
        elif word.startswith("/") and "/" not in word[1:] and "." not in word:
            # A path is none.
            raise BadCommand(f"{word:.40} is no command; /? shows them")
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        """Send a message and print the answer; both stay in the conversation."""
        content, images = find_images(text)
        message: dict[str, Any] = {"role": "user", "content": content}
        if images:
            message["images"] = images
        system = [] if self._system is None else [{"role": "system", "content": self._system}]
        body = {
            **self._settings.body(),
            "messages": [*system, *self._messages, message],
        }
        said: list[str] = []
        lines = self._server.stream("/api/chat", body)
        try:
            show_answer(lines, self._settings, said)
        except KeyboardInterrupt:
            # What was said until then was said.
            if not said:
                click.echo()
        finally:
            lines.close()
            if said:
                self._messages += [message, {"role": "assistant", "content": "".join(said)}]

    # Commands

    def _set(self, text: str) -> None:
        name, _, value = text.partition(" ")
        value = value.strip()
        if name in self._toggles and not value:
            self._toggles[name]()
        elif name == "format" and value:
            if value != "json":
                raise BadCommand(f"/set format json is the only one, not {value:.40}")
            self._settings.format = value
        elif name == "system" and value:
            self._system = value
        elif name == "parameter" and value:
            self._set_parameter(*value.partition(" ")[::2])
        else:
            click.echo(HELP_SET, nl=False)
            return
        click.echo(f"{name} is set", err=True)

    def _set_parameter(self, name: str, text: str) -> None:
        try:
            texts = text.split() if known(name).repeatable else [text.strip()]
            values = [parse_value(name, part) for part in texts]
        except InvalidParameter as error:
            raise BadCommand(str(error)) from None
        if not values or not texts[0]:
            raise BadCommand(f"/set parameter {name} needs a value")
        if known(name).repeatable:
            self._settings.options[name] = texts
        else:
            self._settings.options[name] = values[0]

    def _change(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self._settings, name, value)

    def _show(self, what: str) -> None:
        if what not in ("info", "license", "modelfile", "parameters", "system", "template"):
            click.echo(HELP_SHOW, nl=False)
            return
        facts = self._server.post("/api/show", {"model": self._settings.model})
        if what == "info":
            text = info_text(facts)
        elif what == "system":
            text = self._system if self._system is not None else facts.get("system", "")
        elif what == "parameters":
            text = _parameters_text(facts.get("parameters", ""), self._settings.options)
        else:
            text = facts.get(what, "")
        # A model's texts are outside input; each line is made harmless.
        lines = [output.printable(line.replace("\t", "    ")) for line in text.splitlines()]
        click.echo("\n".join(lines) if text.strip() else f"the model has no {what}")

    def _load(self, name: str) -> None:
        if not name:
            raise BadCommand("/load needs the name of a model")
        before, self._settings.model = self._settings.model, name
        try:
            load(self._server, self._settings)
        except BaseException:
            self._settings.model = before
            raise
        self._messages.clear()
        click.echo(f"talking with {name}", err=True)

    def _save(self, name: str) -> None:
        if not name:
            raise BadCommand("/save needs a name for the model")
        body: dict[str, Any] = {"model": name, "from": self._settings.model}
        if self._system is not None:
            body["system"] = self._system
        if self._settings.options:
            body["parameters"] = self._settings.options
        if self._messages:
            body["messages"] = [
                {"role": message["role"], "content": message["content"]}
                for message in self._messages
            ]
        self._server.post("/api/create", body)
        click.echo(f"saved as {name}", err=True)

    def _clear(self, _: str) -> None:
        self._messages.clear()
        click.echo("the conversation is forgotten", err=True)

    def _bye(self, _: str) -> None:
        raise _End

    def _help(self, topic: str) -> None:
        pages = {"set": HELP_SET, "show": HELP_SHOW, "shortcuts": HELP_SHORTCUTS}
        click.echo(pages.get(topic.removeprefix("/"), HELP), nl=False)


def info_text(facts: dict[str, Any]) -> str:
    """What `/api/show` tells, in lines of name and value."""
    details = facts.get("details", {})
    info = facts.get("model_info", {})
    architecture = info.get("general.architecture") or details.get("family", "")
    rows = (
        ("architecture", architecture),
        ("parameters", details.get("parameter_size")),
        ("quantization", details.get("quantization_level")),
        ("context length", info.get(f"{architecture}.context_length")),
        ("embedding length", info.get(f"{architecture}.embedding_length")),
        ("capabilities", ", ".join(facts.get("capabilities", []))),
        ("licence", info.get("general.license")),
    )
    return "\n".join(f"{name + ':':<18}{value}" for name, value in rows if value)


def _parameters_text(own: str, options: Mapping[str, Any]) -> str:
    """The model's own lines, and those of this conversation."""
    if not options:
        return own
    here = "\n".join(f"{name} {value}" for name, value in options.items())
    return f"{own.rstrip()}\n\nset in this conversation:\n{here}".lstrip()


def converse(server: ApiClient, settings: Settings) -> None:
    """A conversation at the keyboard."""
    from transom_cli.line_reader import KeyboardReader

    ChatSession(server, settings, KeyboardReader()).run()
