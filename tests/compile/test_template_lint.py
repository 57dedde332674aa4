"""Six conversations tell a template that a model can live with from one that it cannot."""

from typing import Any

import pytest

from tests.fakes.tiny_gguf import CHATML, tokenizer_metadata
from transom_compile import template_sandbox
from transom_compile.template_lint import (
    LintReport,
    TemplateProblem,
    check_template,
    lint_template,
)
from transom_compile.tokenizers import convert_tokenizer

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + CHATML
)
DROPS_SYSTEM = CHATML.replace("{% for message in messages %}", "{% for message in messages "
                              "if message['role'] != 'system' %}")  # fmt: skip
ENDS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}END{% endfor %}"
TOOL_TURN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}"
    "{% for call in m.tool_calls or [] %}{% set function = call.function %}CALL{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
)


def lint(template: str | None, **changes: Any) -> LintReport:
    metadata = tokenizer_metadata() | {"tokenizer.chat_template": template}
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    return lint_template(metadata, convert_tokenizer(metadata))


def with_tools(call: str) -> str:
    return "{% if tools %}{{ tools | tojson }}{% endif %}" + TOOL_TURN.replace("CALL", call)


def test_chatml_is_fine() -> None:
    assert lint(CHATML) == LintReport(system="supported", end_token_id=2)


def test_a_base_model_has_no_template_and_no_problem() -> None:
    report = lint(None)
    assert report.problems == ()
    assert "base model" in report.notes[0]


def test_a_refused_system_message_is_how_the_model_was_made() -> None:
    report = lint(NO_SYSTEM)
    assert (report.problems, report.system) == ((), "not supported")


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% if", "TemplateSyntaxError"),
        (DROPS_SYSTEM, "a system message is dropped without a word"),
        ("{{ raise_exception('never') }}", "a question is not rendered: never"),
        ("{{ messages[0].nothing.more }}", "a question is not rendered: UndefinedError"),
        ("{{ messages[-1].content }}<|im_end|>", "several turns loses the assistant's message"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "the model never stops"),
        (ENDS.replace("END", "<|eot|> "), "ends with '<|eot|>', which is no token"),
        (ENDS.replace("END", "\n###"), "ends with '###', which is no token"),
    ],
)
def test_a_problem_is_named(template: str, problem: str) -> None:
    assert problem in "; ".join(lint(template).problems)


def test_an_end_of_turn_that_is_a_token_stops_the_answer() -> None:
    assert lint(ENDS.replace("END", " <|endoftext|>")).end_token_id == 0


def test_a_vocabulary_without_an_end_is_a_problem() -> None:
    tokens = ["<a>", "<b>", "<c>", *tokenizer_metadata()["tokenizer.ggml.tokens"][3:]]
    report = lint(ENDS.replace("END", "<c>"), tokens=tokens, eos_token_id=None)
    assert report.problems == ("the vocabulary names no token that ends an answer",)
    assert report.end_token_id == 2


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("<tool_call>\n{{ function | tojson }}\n</tool_call>", "hermes"),
        ('{{ \'{"name": "\' + function.name + \'", "parameters": \' }}'
         "{{ function.arguments | tojson }}}", "llama-json"),
        ("[TOOL_CALLS][{{ function | tojson }}]", "mistral"),
        ("<|tool_call|>[{{ function | tojson }}]<|/tool_call|>", "phi"),
        ("{% if '<|start_of_role|>' %}{% endif %}<|tool_call|>{{ function | tojson }}", "granite"),
        ("<｜tool▁calls▁begin｜>{{ function.name }}", "deepseek"),  # noqa: RUF001
        ("<|channel|>commentary to=functions.{{ function.name }}", "gpt-oss"),
        ("{{ function.name }}({% for key, value in function.arguments | items %}"
         "{{ key }}={{ value | tojson }}{% endfor %})", "pythonic"),
        ("<function={{ function.name }}>", "qwen-coder"),
    ],
)  # fmt: skip
def test_the_form_of_a_tool_call_is_recognised(call: str, name: str) -> None:
    report = lint(with_tools(call))
    assert (report.tool_format, report.problems) == (name, ())


def test_a_form_that_nobody_knows_is_said() -> None:
    report = lint(with_tools("(call {{ function.name }})"))
    assert report.tool_format is None
    assert "not recognised" in report.notes[0]


def test_arguments_may_have_to_be_text() -> None:
    call = "{{ '<tool_call>' + function.arguments }}"
    assert lint(with_tools(call)).tool_format == "hermes"


def test_a_lost_result_is_a_problem() -> None:
    template = with_tools("<tool_call>").replace(
        "in messages %}", "in messages if m.role != 'tool' %}"
    )
    assert lint(template).problems == ("a tool's result is dropped without a word",)


def test_generation_marks_and_dates_are_understood() -> None:
    marked = CHATML.replace(
        "+ message['content']", "}}{% generation %}{{ message['content'] "
    ).replace("+ '<|im_end|>'", "}}{% endgeneration %}{{ '<|im_end|>'")
    assert lint("{{ strftime_now('%Y') }}" + marked).problems == ()


def test_a_template_that_loops_for_ever_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_sandbox, "TIMEOUT_SECONDS", 2)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    assert "longer than 2 s" in lint(loop).problems[0]


def test_problems_are_errors_unless_forced() -> None:
    metadata = tokenizer_metadata() | {"tokenizer.chat_template": DROPS_SYSTEM}
    tokenizer = convert_tokenizer(metadata)
    with pytest.raises(TemplateProblem, match=r"dropped without a word \(--force"):
        check_template(metadata, tokenizer)
    assert check_template(metadata, tokenizer, force=True).problems
