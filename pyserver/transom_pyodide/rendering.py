"""Chat templates in the page: compiled once, rendered here. The page ends the worker of one that
never ends (web/src/client/api-worker-host.ts)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from jinja2 import Template

from transom_api.chat_template import compile_template
from transom_api.template_answer import check_template, prompt_of, template_answer

# Loaded models are a handful.
TEMPLATES_KEPT: Final = 8


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    bos: str,
    eos: str,
    reply_header: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> str:
    """The prompt, as `chat_template.render` makes it. Raises `TemplateFailed`,
    `TemplateRefused`."""
    check_template(template)
    question = {
        "messages": messages,
        "bos": bos,
        "eos": eos,
        "reply_header": reply_header,
        "tools": tools,
        "variables": variables,
    }
    return prompt_of(template_answer(_compiled, template, question))


@lru_cache(maxsize=TEMPLATES_KEPT)
def _compiled(template: str) -> Template:
    return compile_template(template, datetime.now)
