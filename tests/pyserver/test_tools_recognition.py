"""The form of calls is seen in a template."""

import pytest

from tests.models.go_templates import TEMPLATES
from transom_api.tools import Form, form_of
from transom_models.modelfile import jinja_template

OFFERS = "{% if tools %}{{ tools | tojson }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{{ messages[0].content }}<tool_call>", "generic"),
        (OFFERS, "generic"),
        (OFFERS + "<tool_call>\n{{ call | tojson }}\n</tool_call>", "hermes"),
        (OFFERS + "<tool_call>\n<function={{ name }}>", "qwen-coder"),
        (OFFERS + "<|python_tag|>", "llama-json"),
        (OFFERS + """{{ '{"name": "' + name + '", "parameters": ' }}""", "llama-json"),
        (OFFERS + "[TOOL_CALLS][{{ call | tojson }}]", "mistral"),
        (OFFERS + "[TOOL_CALLS]{{ name }}[ARGS]{{ arguments }}", "mistral"),
        (OFFERS + "<|tool_call|>[{{ call | tojson }}]<|/tool_call|>", "phi"),
        (OFFERS + "<|start_of_role|><|tool_call|>", "granite"),
        (OFFERS + "<｜tool▁call▁begin｜>function```json", "deepseek"),  # noqa: RUF001
        (OFFERS + "<|channel|>commentary to=functions.f<|message|>", "gpt-oss"),
        ("<|channel|>analysis<|message|>", "gpt-oss"),
        (OFFERS + "Write [func_name1(param1=value, …), func_name2(…)]", "pythonic"),
        (OFFERS + "```tool_code", "pythonic"),
    ],
)
def test_the_form_of_a_template(template: str, name: str) -> None:
    assert form_of(template).name == name


@pytest.mark.parametrize(
    ("which", "name"),
    [("llama3.1 tools", "llama-json"), ("mistral tools", "mistral"), ("gemma", "generic")],
)
def test_the_form_of_ollamas_templates(which: str, name: str) -> None:
    assert form_of(jinja_template(TEMPLATES[which])).name == name


def test_a_rendered_call_tells_more_than_a_template() -> None:
    template = OFFERS + "{{ name }}({{ arguments }})"
    assert form_of(template).name == "generic"
    assert form_of(template, 'weather(city="Paris")').name == "pythonic"


def test_deepseek_and_mistral_have_two_forms_each() -> None:
    def form(text: str) -> Form:
        return form_of(OFFERS + text)

    assert form("[TOOL_CALLS]") is not form("[TOOL_CALLS][ARGS]")
    assert form("<｜tool▁call") is not form("<｜tool▁call```json")  # noqa: RUF001
