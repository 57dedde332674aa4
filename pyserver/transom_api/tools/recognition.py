"""Which form of calls a chat template speaks: looked at, not run."""

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
from transom_api.tools.qwen_coder import QWEN_CODER

_TOOLS: Final = re.compile(r"\btools\b")
# Something like `[name(argument=value)]`, in what a template tells the model or shows of a call.
_PYTHON_CALL: Final = re.compile(r"\[?\b\w+\(\w+ ?=")
_TOLD_PYTHON_CALL: Final = re.compile(r"\[\w+\(\w+ ?=")
_PARAMETERS: Final = re.compile(r"\"parameters\\?\": ?")


def form_of(template: str, called: str = "") -> Form:
    """The form of a template's family; the generic one where it knows of no tools, or of an unknown
    form. `called`: a call as the template shows it, where somebody rendered one."""
    if "<|channel|>" in template and ("<|message|>" in template or "functions." in template):
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
    if "<function=" in template:
        return QWEN_CODER
    if "<tool_call>" in template:
        return HERMES
    if _PYTHON_CALL.search(called) or _TOLD_PYTHON_CALL.search(template):
        return PYTHONIC
    if any(mark in template for mark in PYTHONIC.reader.openers):
        return PYTHONIC
    if "<|python_tag|>" in template or _PARAMETERS.search(template):
        return LLAMA
    return GENERIC
