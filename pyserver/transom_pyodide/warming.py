"""What Python does once, done before somebody waits for it: Jinja's first template makes its lexer,
and takes longer than all the rest of a first request."""

from typing import Final

from transom_pyodide.rendering import render

# What chat templates are made of.
_TEMPLATE: Final = (
    "{%- set ns = namespace(found=false) -%}"
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ bos_token }}{% endif %}"
    "{% set ns.found = true %}{{ '<|' + m.role + '|>' + m['content'] | trim }}{% endfor %}"
    "{% if add_generation_prompt and not tools %}{{ messages[-1].content[0:1] }}{% endif %}"
)


def warm_up() -> None:
    """Takes some ten milliseconds the first time."""
    render(_TEMPLATE, [{"role": "user", "content": "Hi"}], bos="", eos="")
