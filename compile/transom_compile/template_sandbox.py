"""Chat templates rendered as Hugging Face renders them, in a child process under limits.

A template is outside input: it may loop for ever, eat memory or reach for Python's insides. Must
not know what is rendered or why.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# A template renders in milliseconds. Counted in processor time, so that a busy machine decides
# alike; the wall time is for systems without that limit and for a machine that swaps.
CPU_SECONDS = 10
TIMEOUT_SECONDS = 60
# An interpreter with Jinja2 maps about 100 MiB; a template needs kilobytes.
MEMORY_BYTES = 1024 * 1024 * 1024
# The longest published templates are below 50 KiB.
MAX_TEMPLATE_BYTES = 1024 * 1024

Message = dict[str, Any]


class RenderFailed(Exception):
    """The template cannot be rendered; the text is the reason."""


class Refused(TemplateError):
    """The template called `raise_exception`: a conversation that the model was not made for."""


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks an answer for training; it says its content."""

    tags = {"generation"}  # noqa: RUF012 (Jinja2's own interface)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def compile_template(template: str) -> Template:
    """Same whitespace rules, same helper functions as in `transformers`."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment.from_string(template)


def run_limited(module: str, question: dict[str, Any]) -> dict[str, Any]:
    """Ask `python -m module` (its main calls `answer`). Raises `RenderFailed`."""
    if len(question["template"].encode()) > MAX_TEMPLATE_BYTES:
        raise RenderFailed(f"it is longer than {MAX_TEMPLATE_BYTES} bytes")
    try:
        child = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RenderFailed(f"rendering took longer than {TIMEOUT_SECONDS} s") from None
    if child.returncode != 0:
        raise RenderFailed(f"rendering needed more than {CPU_SECONDS} s or too much memory")
    found: dict[str, Any] = json.loads(child.stdout)
    if "problem" in found:
        raise RenderFailed(str(found["problem"]))
    return found


def answer(respond: Callable[..., dict[str, Any]], expected: type[Exception]) -> None:
    """The child's main: a question on stdin, an answer on stdout. `expected` errors speak for
    themselves."""
    question = json.load(sys.stdin)
    _limit_resources()
    found: dict[str, Any]
    try:
        found = respond(**question)
    except expected as error:
        found = {"problem": str(error)}
    except Exception as error:
        # A template may raise anything: syntax errors, missing filters, type errors of its own.
        found = {"problem": reason_of(error)}
    json.dump(found, sys.stdout)


def reason_of(error: Exception) -> str:
    """One short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def render(
    template: Template,
    messages: Sequence[Message],
    *,
    bos: str,
    eos: str,
    reply_header: bool = True,
    tools: Sequence[Message] | None = None,
) -> str:
    """The prompt of a conversation. Raises `Refused`, or whatever the template provokes."""
    return template.render(
        messages=[dict(message) for message in messages],
        add_generation_prompt=reply_header,
        bos_token=bos,
        eos_token=eos,
        tools=None if tools is None else list(tools),
    )


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


def _strftime_now(form: str) -> str:
    # One day for all: what is derived from a template is the same tomorrow.
    return datetime(2025, 1, 1).strftime(form)


def _limit_resources() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        # Not every system has these limits; the parent's time limit still holds.
        return
