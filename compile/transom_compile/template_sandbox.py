"""Chat templates rendered (`transom_api.chat_template`) in a child process under limits.

A template is outside input: it may loop for ever, eat memory or reach for Python's insides. Must
not know what is rendered or why.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jinja2 import Template

from transom_api import chat_template
from transom_api.chat_template import Message, Refused, reason_of, render

# A template renders in milliseconds. Counted in processor time, so that a busy machine decides
# alike; the wall time is for systems without that limit and for a machine that swaps.
CPU_SECONDS = 10
TIMEOUT_SECONDS = 60
# An interpreter with Jinja2 maps about 100 MiB; a template needs kilobytes.
MEMORY_BYTES = 1024 * 1024 * 1024
# The longest published templates are below 50 KiB.
MAX_TEMPLATE_BYTES = 1024 * 1024

__all__ = [
    "Message",
    "Refused",
    "RenderFailed",
    "answer",
    "compile_template",
    "reason_of",
    "render",
    "run_limited",
]


class RenderFailed(Exception):
    """The template cannot be rendered; the text is the reason."""


def compile_template(template: str) -> Template:
    """On one day for all: what is derived from a template is the same tomorrow."""
    return chat_template.compile_template(template, lambda: datetime(2025, 1, 1))


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


def _limit_resources() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        # Not every system has these limits; the parent's time limit still holds.
        return
