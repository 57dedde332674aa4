"""Tool calls of every family of models: how they are told of tools, and how their calls are read.

A family is a file with its reader and its `Form`; `recognition` finds the form of a template. Must
not know dialects, engines or how prompts are rendered.
"""

from transom_api.tools.form import Forced, Form
from transom_api.tools.generic import GENERIC, calls_schema, instructions, written_out
from transom_api.tools.gpt_oss import GPT_OSS
from transom_api.tools.mistral import MISTRAL, MISTRAL_NAMED
from transom_api.tools.reader import NewId, Offer
from transom_api.tools.recognition import form_of

__all__ = [
    "GENERIC",
    "GPT_OSS",
    "MISTRAL",
    "MISTRAL_NAMED",
    "Forced",
    "Form",
    "NewId",
    "Offer",
    "calls_schema",
    "form_of",
    "instructions",
    "written_out",
]
