"""One answer on the terminal: asking the server, showing text as it comes, the figures after it.

Knows one request at a time; conversations are `chat_session`'s.
"""

import base64
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from transom_cli import output
from transom_cli.api_client import ApiClient
from transom_models.errors import TransomError

# A photograph of a telephone, twice over.
MAX_IMAGE_BYTES: Final = 32 * 1024 * 1024
# A path in a message: with a folder in it, quoted, or with its spaces escaped.
_IMAGE_PATH: Final = re.compile(
    r"""(?:'([^'\n]+\.(?:png|jpe?g|gif|bmp|webp))'|"([^"\n]+\.(?:png|jpe?g|gif|bmp|webp))"|"""
    r"""((?:[^\s'"\\]|\\.)+\.(?:png|jpe?g|gif|bmp|webp)))(?=\s|$)""",
    re.IGNORECASE,
)


class BadImage(TransomError):
    """A picture that a message names cannot be sent."""


@dataclass(slots=True)
class Settings:
    """What a person may set for the answers to come."""

    model: str
    keep_alive: str | None = None
    format: str | dict[str, Any] | None = None
    think: bool | None = None
    options: dict[str, Any] = field(default_factory=dict)
    verbose: bool = False
    word_wrap: bool = True

    def body(self) -> dict[str, Any]:
        """The fields of a request that stand for these."""
        fields: dict[str, Any] = {
            "model": self.model,
            "keep_alive": self.keep_alive,
            "format": self.format,
            "think": self.think,
            "options": self.options or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Typed:
    """Text as it comes. On a terminal, words do not break at the edge, and what would steer the
    terminal is replaced; elsewhere nothing is changed."""

    def __init__(self, wrap: bool, width: int | None, write: Callable[[str], object]) -> None:
        """`width` None: this is no terminal."""
        self._wrap = wrap and width is not None
        self._width = width
        self._write = write
        self._column = 0
        self._word = ""

    def show(self, text: str) -> None:
        """Print the next piece, but for a word that may not be whole."""
        if self._width is None:
            self._write(text)
            return
        text = _harmless(text)
        if not self._wrap:
            self._write(text)
            return
        for part in re.findall(r"\S+|\s", text):
            if not part.isspace():
                self._word += part
                continue
            self._put_word()
            if part == "\n":
                self._write("\n")
                self._column = 0
            elif self._column and self._column < self._width:
                self._write(part)
                self._column += 1

    def end(self) -> None:
        """Print what is left."""
        self._put_word()

    def _put_word(self) -> None:
        assert self._width is not None or not self._word
        if not self._word:
            return
        if self._column and self._column + len(self._word) >= (self._width or 0):
            self._write("\n")
            self._column = 0
        self._write(self._word)
        self._column += len(self._word)
        self._word = ""


def typed_on_stdout(word_wrap: bool) -> Typed:
    """For a person, or for whatever reads the pipe."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return Typed(word_wrap, width, _write)


def _write(text: str) -> None:
    # Not click's, which takes escape sequences out of what goes into a pipe.
    sys.stdout.write(text)
    sys.stdout.flush()


def show_answer(lines: Iterator[dict[str, Any]], settings: Settings, said: list[str]) -> None:
    """Print an answer as it comes; its pieces are in `said` too, whatever ends it."""
    typed = typed_on_stdout(settings.word_wrap)
    last: dict[str, Any] = {}
    try:
        for last in lines:
            text = last["message"]["content"] if "message" in last else last["response"]
            said.append(text)
            typed.show(text)
    finally:
        typed.end()
        if said:
            _write("\n")
    if last.get("done_reason") == "length":
        click.echo("(the answer ends here: num_predict or num_ctx is reached)", err=True)
    if settings.verbose:
        click.echo(figures(last), err=True)


def figures(last: dict[str, Any]) -> str:
    """Ollama's lines of `--verbose`, from the last line of an answer."""

    def seconds(name: str) -> float:
        return float(last.get(name, 0)) / 1e9

    def rate(count: str, duration: str) -> str:
        return f"{last.get(count, 0) / seconds(duration):.2f} tokens/s" if seconds(duration) else ""

    rows = (
        ("total duration", output.duration_text(seconds("total_duration"))),
        ("load duration", output.duration_text(seconds("load_duration"))),
        ("prompt eval count", f"{last.get('prompt_eval_count', 0)} tokens"),
        ("prompt eval duration", output.duration_text(seconds("prompt_eval_duration"))),
        ("prompt eval rate", rate("prompt_eval_count", "prompt_eval_duration")),
        ("eval count", f"{last.get('eval_count', 0)} tokens"),
        ("eval duration", output.duration_text(seconds("eval_duration"))),
        ("eval rate", rate("eval_count", "eval_duration")),
    )
    return "\n".join(f"{name + ':':<22}{value}".rstrip() for name, value in rows)


def find_images(text: str) -> tuple[str, list[str]]:
    """A message without the paths of pictures that are there, and the pictures, in base64.

    Raises `BadImage` for one that cannot be read.
    """
    images: list[str] = []

    def take(match: re.Match[str]) -> str:
        named = match[1] or match[2] or re.sub(r"\\(.)", r"\1", match[3])
        path = Path(named).expanduser()
        if not path.is_file():
            return match[0]
        try:
            size = path.stat().st_size
            if size > MAX_IMAGE_BYTES:
                raise BadImage(f"{path} has {size} bytes; a picture may have {MAX_IMAGE_BYTES}")
            images.append(base64.b64encode(path.read_bytes()).decode())
        except OSError as error:
            raise BadImage(f"cannot read {path}: {error.strerror}") from None
        return ""

    left = _IMAGE_PATH.sub(take, text)
    return (left.strip() if images else text), images


def load(server: ApiClient, settings: Settings) -> None:
    """Load the model, so that what is wrong with it is known before anything is typed."""
    body = settings.body()
    body.pop("format", None)
    server.post("/api/generate", body)


def _harmless(text: str) -> str:
    """Text of a model for a terminal: line ends and tabs, and else what can be seen."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for char in text.replace("\r\n", "\n")
    )
