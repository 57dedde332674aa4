"""pytest tests/pyserver/test_template_process.py: chat templates, honest and hostile."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from transom_api import template_answer
from transom_api.chat_template import compile_template, render
from transom_api.template_answer import TemplateFailed, TemplateRefused
from transom_server.engines.template_process import TemplateProcess

HELLO = [{"role": "user", "content": "<Hällo> & \u2028"}]
PLAIN = "{{ bos_token }}{% for message in messages %}{{ message.content }}{% endfor %}"


@pytest.fixture(scope="module")
def templates() -> Iterator[TemplateProcess]:
    templates = TemplateProcess()
    yield templates
    templates.close()


def answer(templates: TemplateProcess, template: str) -> str:
    return templates.render(template, HELLO, bos="<s>", eos="</s>")


def test_a_template_gets_what_it_needs(templates: TemplateProcess) -> None:
    assert answer(templates, PLAIN) == "<s><Hällo> & \u2028"
    text = templates.render(
        "{{ eos_token }}{{ add_generation_prompt }}{{ enable_thinking }}",
        HELLO,
        bos="",
        eos="</s>",
        variables={"enable_thinking": False},
    )
    assert text == "</s>TrueFalse"


def test_helpers_are_those_of_transformers() -> None:
    template = compile_template(
        "{{ strftime_now('%Y-%m-%d') }} {{ tools | tojson }}\n"
        "{% generation %}{{ messages[0].content }}{% endgeneration %}",
        lambda: datetime(2031, 2, 3),
    )
    text = render(template, HELLO, bos="", eos="", tools=[{"name": "a<b"}])
    assert text == '2031-02-03 [{"name": "a<b"}]\n<Hällo> & \u2028'


def test_a_template_may_refuse(templates: TemplateProcess) -> None:
    with pytest.raises(TemplateRefused, match="refuses this: roles must alternate"):
        answer(templates, "{{ raise_exception('roles must\nalternate') }}")


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% if %}", "TemplateSyntaxError"),
        ("{{ messages.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ nothing.at.all }}", "UndefinedError"),
        ("{{ 'x' * 10**10 }}", "MemoryError"),
        ("{{ 'x' * (2**24 + 1) }}", "more than 16777216 characters"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
        ("x" * (template_answer.MAX_TEMPLATE_BYTES + 1), "longer than 1048576 bytes"),
    ],
    ids=["syntax", "insides", "change", "undefined", "memory", "output", "recursion", "length"],
)
def test_a_bad_template_is_one_error(
    templates: TemplateProcess, template: str, reason: str
) -> None:
    with pytest.raises(TemplateFailed, match=reason):
        answer(templates, template)
    assert answer(templates, PLAIN).startswith("<s>")


def test_one_that_never_ends_is_ended(templates: TemplateProcess) -> None:
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(TemplateFailed, match="takes too long"):
        answer(templates, loop)
    assert answer(templates, PLAIN).startswith("<s>")


def test_one_that_was_killed_starts_again(templates: TemplateProcess) -> None:
    answer(templates, PLAIN)
    assert templates._process is not None
    templates._process.kill()
    templates._process.wait()
    with pytest.raises(TemplateFailed):
        answer(templates, PLAIN)
    assert answer(templates, PLAIN).startswith("<s>")


def test_nothing_is_rendered_after_the_end() -> None:
    templates = TemplateProcess()
    answer(templates, PLAIN)
    templates.close()
    with pytest.raises(TemplateFailed, match="ending"):
        answer(templates, PLAIN)
