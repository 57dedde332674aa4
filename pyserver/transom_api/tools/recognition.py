"""Which form of calls a chat template speaks: looked at, not rendered."""

import re
from typing import Final

from transom_api.tools.deepseek import DEEPSEEK, DEEPSEEK_FENCED
from transom_api.tools.form import Form
from transom_api.tools.generic import GENERIC
from transom_api.tools.gpt_oss import GPT_OSS
from transom_api.tools.hermes import HERMES
from transom_api.tools.llama import LLAMA
from transom_api.tools.mistral import MISTRAL, MISTRAL_NAMED
from transom_api.tools.phi import GRANITE, PHI
from transom_api.tools.pythonic import PYTHONIC

_TOOLS: Final = re.compile(r"\btools\b")
# Something like `name(argument=value)` between brackets, in what a template tells the model.
_PYTHON_CALL: Final = re.compile(r"\[\w+\(\w+ ?=")


def form_of(template: str) -> Form:
    """The form of a template's family; the generic one where it knows of no tools, or of an unknown
    form."""
    if "<|channel|>" in template and "<|message|>" in template:
        return GPT_OSS
    if _TOOLS.search(template) is None:
        return GENERIC
    if "<｜tool▁call" in template:  # noqa: RUF001
        return DEEPSEEK_FENCED if "```json" in template else DEEPSEEK
    if "[TOOL_CALLS]" in template:
        return MISTRAL_NAMED if "[ARGS]" in template else MISTRAL
    if "<|start_of_role|>" in template:
        return GRANITE
    if "<|tool_call|>" in template or "<|tool|>" in template:
        return PHI
    if "<tool_call>" in template and "<function=" not in template:
        return HERMES
    if "<|python_start|>" in template or "```tool_code" in template:
        return PYTHONIC
    if _PYTHON_CALL.search(template) or "<|tool_call_start|>" in template:
        return PYTHONIC
    if "<|python_tag|>" in template or re.search(r'"parameters\\?": ?', template):
        return LLAMA
    return GENERIC
