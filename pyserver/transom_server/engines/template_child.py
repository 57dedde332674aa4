"""The child of `template_process.py`: renders chat templates, a question a line, under limits.

Ends when stdin ends. Must not know models, stores or dialects.
"""

import json
import math
import sys
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from jinja2 import Template

from transom_api.chat_template import Refused, compile_template, reason_of, render

# A template renders in milliseconds. Counted in processor time, so that a busy machine decides
# alike.
CPU_SECONDS: Final = 5
# An interpreter with Jinja2 maps about 100 MiB; a long conversation is a few more.
MEMORY_BYTES: Final = 1024 * 1024 * 1024
# A conversation of a million tokens is a few megabytes.
MAX_PROMPT_CHARS: Final = 16 * 1024 * 1024
# What a template says when it refuses is a sentence.
MAX_REFUSAL_CHARS: Final = 1000
# Loaded models are a handful.
TEMPLATES_KEPT: Final = 8


def main() -> None:
    """Answer until the parent is gone."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(question: dict[str, Any]) -> dict[str, str]:
    """`{"prompt": …}`, `{"refused": …}` by the template itself, or the `{"problem": …}` it has."""
    _limit_resources()
    template = question.pop("template")
    try:
        prompt = render(_compiled(template), **question)
    except Refused as error:
        said = str(error)[:MAX_REFUSAL_CHARS]
        return {"refused": " ".join(said.split())}
    except RecursionError:
        return {"problem": "it calls itself without end"}
    except Exception as error:
        # A template may raise anything: syntax errors, missing filters, type errors of its own.
        return {"problem": reason_of(error)}
    if len(prompt) > MAX_PROMPT_CHARS:
        return {"problem": f"it makes a prompt of more than {MAX_PROMPT_CHARS} characters"}
    return {"prompt": prompt}


@lru_cache(maxsize=TEMPLATES_KEPT)
def _compiled(template: str) -> Template:
    return compile_template(template, datetime.now)


def _limit_resources() -> None:
    """So much processor time from now on, and so much memory in all."""
    try:
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = math.ceil(used.ru_utime + used.ru_stime) + CPU_SECONDS
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, most))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        # Not every system has these limits; the parent's time limit still holds.
        return


if __name__ == "__main__":
    main()
