"""`transom ask MODEL QUESTION`: one answer from the real page in a headless browser.

Arguments and what is printed: the answer on stdout as it comes, progress and one line of figures on
stderr. Driving the browser is `browser_page`'s, finding one is `chromium`'s.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from transom_cli.browser_page import ChatPage, PageError, open_page
from transom_cli.chromium import Adapter, find_chromium
from transom_cli.output import size_text
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.routes.web import NOT_BUILT, find_web_dir
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store

# Else the page runs the GGUF on the processor, where it finds no adapter.
_ON_WEBGPU: Final = "&engine=webgpu"
# The page's words for a machine whose graphics adapter cannot be used.
_NO_ADAPTER: Final = frozenset({"no-webgpu", "no-adapter", "adapter-too-small"})


class PageNotBuilt(TransomError):
    """There is no page to ask."""


@click.command()
@click.argument("model")
@click.argument("question")
@click.option("--url", help="Ask the page of this server, instead of starting one.")
@click.option("--chromium", help="Browser to drive.  [default: CHROMIUM, or the first one found]")
@click.option(
    "--adapter",
    type=click.Choice(["auto", "swiftshader"]),
    default="auto",
    show_default=True,
    help="swiftshader runs WebGPU on the CPU; auto does so where there is no graphics adapter.",
)
@click.option("--max-tokens", type=click.IntRange(min=1), default=256, show_default=True)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=900,
    show_default=True,
    help="Seconds for everything.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(
    model: str,
    question: str,
    url: str | None,
    chromium: str | None,
    adapter: str,
    max_tokens: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask a model one question, in a headless browser.

    The most likely answer, the same each time (temperature 0).
    """
    browser = find_chromium(chromium, os.environ)
    deadline = time.monotonic() + timeout
    options = {"temperature": 0, "maxTokens": max_tokens}
    with (
        _page_address(model, url) as address,
        _ready(address, browser, adapter, deadline) as (page, load),
    ):
        typed = _Typed(silent=as_json)
        answer = page.ask(question, options, typed.show)
        typed.end(answer["text"])
    if as_json:
        click.echo(json.dumps({"load": load, "answer": answer}))
    else:
        click.echo(figures(load, answer), err=True)


@contextmanager
def _page_address(model: str, url: str | None) -> Iterator[str]:
    """Where the page with the model is: at a server that runs, or at one of our own."""
    if url is not None:
        yield f"{url.rstrip('/')}/?model={quote(model)}{_ON_WEBGPU}"
        return
    config = read_config(os.environ, host="127.0.0.1", port="0", keys="off")
    name = open_store(config.models).get_index(ModelName.parse(model)).name
    if find_web_dir(config.web_dir) is None:
        raise PageNotBuilt(NOT_BUILT)
    with serving(create_app(config), config) as server:
        yield f"{server.url}/?model={quote(str(name))}{_ON_WEBGPU}"


@contextmanager
def _ready(
    address: str, browser: Path | None, adapter: str, deadline: float
) -> Iterator[tuple[ChatPage, dict[str, Any]]]:
    """A page that can answer, and its LoadReport; on the CPU where there is no other adapter."""
    if adapter == "auto":
        try:
            with _loaded(address, browser, "hardware", deadline) as ready:
                yield ready
            return
        except PageError as error:
            if error.code not in _NO_ADAPTER:
                raise
        click.echo("no graphics adapter for WebGPU here; using SwiftShader, on the CPU", err=True)
    with _loaded(address, browser, "swiftshader", deadline) as ready:
        yield ready


@contextmanager
def _loaded(
    address: str, browser: Path | None, adapter: Adapter, deadline: float
) -> Iterator[tuple[ChatPage, dict[str, Any]]]:
    with open_page(address, browser, adapter, deadline) as page:
        bar = _LoadLine()
        try:
            load = page.wait_until_ready(bar.show)
        finally:
            bar.end()
        yield page, load


class _LoadLine:
    """Progress of loading: one line that is written over on a terminal, else one per phase."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def show(self, progress: dict[str, Any]) -> None:
        """Take the page's LoadProgress."""
        text = progress_text(progress) if self._terminal else str(progress["phase"])
        if text == self._last:
            return
        self._last = text
        if self._terminal:
            # Back to the first column, and clear what the longer line before left.
            click.echo(f"\r\x1b[Kloading: {text}", err=True, nl=False)
        else:
            click.echo(f"loading: {text}", err=True)

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._last:
            click.echo("\r\x1b[K", err=True, nl=False)


class _Typed:
    """The answer as it comes, on stdout."""

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._shown = 0

    def show(self, text: str) -> None:
        """Print what is new of the answer so far."""
        if not self._silent and len(text) > self._shown:
            click.echo(text[self._shown :], nl=False)
            self._shown = len(text)

    def end(self, text: str) -> None:
        """Print the rest of the whole answer."""
        self.show(text)
        if not self._silent:
            click.echo()


def progress_text(progress: dict[str, Any]) -> str:
    """The page's LoadProgress in words: phase, bytes, rate, time left, pipelines."""
    parts = [str(progress["phase"])]
    if progress["totalBytes"]:
        parts.append(f"{size_text(progress['doneBytes'])} of {size_text(progress['totalBytes'])}")
    if progress["bytesPerSecond"]:
        parts.append(f"{size_text(int(progress['bytesPerSecond']))}/s")
    if progress["secondsLeft"]:
        parts.append(f"{progress['secondsLeft']:.0f} s left")
    if 0 < progress["pipelineFraction"] < 1:
        parts.append(f"pipelines {progress['pipelineFraction']:.0%}")
    return ", ".join(parts)


def figures(load: dict[str, Any], answer: dict[str, Any]) -> str:
    """One line: adapter, compute dtype, schedule, seconds to load, speeds, tokens."""
    adapter = load["adapter"]
    name = " ".join(
        dict.fromkeys(
            adapter[key] for key in ("vendor", "architecture", "description") if adapter[key]
        )
    )
    return (
        f"{name or 'unnamed adapter'}{' (on the CPU)' if adapter['isFallback'] else ''}, "
        f"{load['computeDtype']}, schedule {load['schedule']}, "
        f"loaded in {load['loadSeconds']:.1f} s, "
        f"prefill {answer['prefillTokensPerSecond']:.2f} tok/s, "
        f"decode {answer['decodeTokensPerSecond']:.2f} tok/s, "
        f"{answer['promptTokens']} + {answer['completionTokens']} tokens"
    )
