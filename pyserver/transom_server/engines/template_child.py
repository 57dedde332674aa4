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

from transom_api.chat_template import compile_template
from transom_api.template_answer import template_answer

# A template renders in milliseconds. Counted in processor time, so that a busy machine decides
# alike.
CPU_SECONDS: Final = 5
# An interpreter with Jinja2 maps about 100 MiB; a long conversation is a few more.
MEMORY_BYTES: Final = 1024 * 1024 * 1024
# Loaded models are a handful.
TEMPLATES_KEPT: Final = 8


def main() -> None:
    """Answer until the parent is gone."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(question: dict[str, Any]) -> dict[str, str]:
    """See `template_answer`."""
    _limit_resources()
    return template_answer(_compiled, question.pop("template"), question)


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
