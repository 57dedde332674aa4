"""A model's chat template: from messages to a prompt, as Hugging Face renders it.

A template is outside input. The sandbox keeps it from Python's insides and from changing what it is
given; it does not keep it from looping or from eating memory, so whoever renders a template that
nobody vouches for does it where that can be ended. Pure: the clock is given in.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = Mapping[str, Any]


class Refused(TemplateError):
    """The template called `raise_exception`: a conversation that the model was not made for."""


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks an answer for training; it says its content."""

    tags = {"generation"}  # noqa: RUF012 (Jinja2's own interface)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compile_template(template: str, now: Callable[[], datetime]) -> Template:
    """Same whitespace rules, same helper functions as in `transformers`."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: now().strftime(form)
    return environment.from_string(template)


def render(
    template: Template,
    messages: Sequence[Message],
    *,
    bos: str,
    eos: str,
    reply_header: bool = True,
    tools: Sequence[Message] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> str:
    """The prompt of a conversation. `variables` are further names that templates know, as
    `enable_thinking`. Raises `Refused`, or whatever the template provokes."""
    return template.render(
        {
            **(variables or {}),
            "messages": [dict(message) for message in messages],
            "add_generation_prompt": reply_header,
            "bos_token": bos,
            "eos_token": eos,
            "tools": None if tools is None else list(tools),
        }
    )


def reason_of(error: Exception) -> str:
    """What a template provoked, in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Hugging Face's filter: plain JSON, where Jinja2's own escapes <, > and & for HTML.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise Refused(message)
