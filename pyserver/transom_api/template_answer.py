"""A chat template that fails, or refuses, said in words for people. Pure: compiled templates are
given in.

The server renders in a process of its own, where a template may be ended, and passes on the answer;
the page renders in a worker, which it may end.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import Template

from transom_api.chat_template import Refused, reason_of, render
from transom_models.errors import TransomError

# The longest published templates are below 50 KiB.
MAX_TEMPLATE_BYTES: Final = 1024 * 1024
# A conversation of a million tokens is a few megabytes.
MAX_PROMPT_CHARS: Final = 16 * 1024 * 1024
# What a template says when it refuses is a sentence.
MAX_REFUSAL_CHARS: Final = 1000


class TemplateFailed(TransomError):
    """The model's chat template cannot be rendered."""


class TemplateRefused(TransomError):
    """The template refuses this conversation; the text is its own."""


def template_answer(
    compiled: Callable[[str], Template], template: str, question: Mapping[str, Any]
) -> dict[str, str]:
    """`{"prompt": …}`, `{"refused": …}` by the template itself, or the `{"problem": …}` it has.
    `question` are the arguments of `render`."""
    try:
        prompt = render(compiled(template), **question)
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


def check_template(template: str) -> None:
    """Raises `TemplateFailed` for one that nobody would compile."""
    if len(template.encode()) > MAX_TEMPLATE_BYTES:
        raise TemplateFailed(f"the model's chat template is longer than {MAX_TEMPLATE_BYTES} bytes")


def prompt_of(answer: Mapping[str, str]) -> str:
    """Of what `template_answer` gave. Raises `TemplateFailed`, `TemplateRefused`."""
    if "refused" in answer:
        raise TemplateRefused(f"the model's chat template refuses this: {answer['refused']}")
    if "problem" in answer:
        raise TemplateFailed(f"the model's chat template fails: {answer['problem']}")
    return answer["prompt"]
