"""`transom run`: talk with a model, by llama.cpp. One prompt, a pipe, or a conversation.

Arguments and which of the three it is; answers are `talk`'s, conversations `chat_session`'s.
"""

import json
import os
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import click

from transom_cli import output
from transom_cli.api_client import ApiClient, ServerError, any_server
from transom_cli.talk import Settings, find_images, load, show_answer
from transom_models.name import DEFAULT_HOST, ModelName
from transom_server.settings.toml_file import read_config


@click.command("run")
@click.argument("name")
@click.argument("prompt", nargs=-1)
@click.option("--keepalive", metavar="TIME", help="How long the model stays loaded, as 5m.")
@click.option("--verbose", is_flag=True, help="Print figures after each answer.")
@click.option("--format", "form", metavar="FORM", help='"json", or a JSON schema.')
@click.option("--nowordwrap", is_flag=True, help="Let words break at the edge of the terminal.")
@click.option(
    "--think",
    metavar="true|false",
    type=click.BOOL,
    help="Whether the model is asked to reason first, where its template knows how.",
)
@click.option("--insecure", is_flag=True, help="Pull over plain HTTP when the model is missing.")
@output.json_option("Print the whole answer with its figures, as one JSON document.")
def command(
    name: str,
    prompt: tuple[str, ...],
    keepalive: str | None,
    verbose: bool,
    form: str | None,
    nowordwrap: bool,
    think: bool | None,
    insecure: bool,
    as_json: bool,
) -> None:
    """Talk with a model.

    With PROMPT, or with text on stdin, one answer; both are joined, stdin first. Else a
    conversation. A model that is missing is pulled first. Uses the server that runs (TRANSOM_HOST,
    TRANSOM_PORT), or is one for as long as it takes.
    """
    ModelName.parse(name)
    settings = Settings(
        name,
        keep_alive=keepalive,
        format=_format(form),
        think=think,
        verbose=verbose,
        word_wrap=not nowordwrap,
    )
    piped = "" if sys.stdin.isatty() else sys.stdin.read()
    text = " ".join(part for part in (piped, *prompt) if part)
    is_conversation = sys.stdin.isatty() and not prompt
    if as_json and is_conversation:
        raise click.UsageError("--json needs a PROMPT")
    with any_server() as server:
        _load_or_pull(server, settings, insecure)
        if is_conversation:
            from transom_cli.chat_session import converse

            converse(server, settings)
        elif text:
            _answer_once(server, settings, text, as_json)


def _answer_once(server: ApiClient, settings: Settings, text: str, as_json: bool) -> None:
    prompt, images = find_images(text)
    body = {**settings.body(), "prompt": prompt}
    if images:
        body["images"] = images
    if as_json:
        output.print_json(server.post("/api/generate", body))
    else:
        show_answer(server.stream("/api/generate", body), settings, [])


def _load_or_pull(server: ApiClient, settings: Settings, insecure: bool) -> None:
    try:
        load(server, settings)
    except ServerError as error:
        if error.status != HTTPStatus.NOT_FOUND or not _can_pull(settings.model):
            raise
        _pull(server, settings.model, insecure)
        load(server, settings)


def _can_pull(name: str) -> bool:
    """Whether it is said where the model could come from."""
    return bool(read_config(os.environ).registry) or ModelName.parse(name).host != DEFAULT_HOST


@dataclass(frozen=True, slots=True)
class _Status:
    """A line of the server's pull, in the words of `output`."""

    text: str
    digest: str | None
    total: int | None
    completed: int | None


def _pull(server: ApiClient, name: str, insecure: bool) -> None:
    with output.long_work() as work:
        lines = server.stream("/api/pull", {"model": name, "insecure": insecure})
        for line in lines:
            work.report(
                _Status(
                    str(line.get("status", "")),
                    line.get("digest"),
                    line.get("total"),
                    line.get("completed"),
                )
            )


def _format(text: str | None) -> str | dict[str, Any] | None:
    if text is None or text == "json":
        return text
    try:
        schema = json.loads(text)
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise click.UsageError(f'--format {text!r:.40}: write "json" or a JSON schema')
    return schema
