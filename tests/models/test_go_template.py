"""Go templates in Jinja: the prompts that Go renders, and a clear refusal of all else.

`go_template_prompts.json` was written by Go 1.27's own text/template (`go_template_oracle.go`).
"""

# ruff: noqa: E501 (a template and what becomes of it stand side by side)

import json
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template

from tests.models.go_templates import CONVERSATIONS, TEMPLATES, cases, jinja_variables
from transom_api.chat_template import compile_template
from transom_models.modelfile import AmbiguousTemplate, UntranslatableTemplate, jinja_template
from transom_models.modelfile.go_template import MAX_TEMPLATE_CHARS, translate
from transom_models.modelfile.go_template.lexer import Action, Text, lex

HERE = Path(__file__).parent
PROMPTS: dict[str, dict[str, str]] = json.loads((HERE / "go_template_prompts.json").read_text())
WEB = HERE.parent / "web" / "translated-templates.json"


@cache
def compiled(go: str) -> Template:
    return compile_template(jinja_template(go), lambda: datetime(2025, 1, 1))


def prompt(go: str, *messages: tuple[str, str], **variables: Any) -> str:
    said = [{"role": role, "content": content} for role, content in messages]
    given = {"messages": said, "add_generation_prompt": True, "bos_token": "<s>"}
    return compiled(go).render(**{**given, **variables})


@pytest.mark.parametrize(("template", "conversation"), cases())
def test_a_prompt_is_what_go_makes_of_it(template: str, conversation: str) -> None:
    text = compiled(TEMPLATES[template]).render(**jinja_variables(conversation))
    assert text == PROMPTS[template][conversation]


def test_every_case_has_its_prompt_and_no_other() -> None:
    assert {(t, c) for t, prompts in PROMPTS.items() for c in prompts} == set(cases())


def test_the_page_s_copy_is_this_translation() -> None:
    """`translated-templates.json` is what the page's own renderer is tested on."""
    copy = json.loads(WEB.read_text())
    assert copy["conversations"] == {name: jinja_variables(name) for name in copy["conversations"]}
    for row in copy["templates"]:
        assert row["jinja"] == jinja_template(TEMPLATES[row["name"]]), row["name"]
        assert row["prompts"] == {name: PROMPTS[row["name"]][name] for name in row["prompts"]}


# Worked out by hand, so that the oracle is not its own judge.
@pytest.mark.parametrize(
    ("go", "expected"),
    [
        ("{{ .Prompt }}", "1A2"),
        ("{{ .Prompt }}|{{ .Response }}#", "1|A#2|"),
        ("{{ .System }}[{{ .Prompt }}]{{ .Response }}</s>", "S[1]A</s>[2]"),
        ("{{ if .First }}{{ .System }}!{{ end }}{{ .Prompt }};", "S!1;A2;"),
        ("a {{- .Prompt -}}\n b {{ .Response }}", "a1b Aa2b "),
        ("{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}", "system=S;user=1;assistant=A;user=2;"),
        ("{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}{{ end }}", "0S112A32"),
        ("{{ $x := 1 }}{{ range .Messages }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ range .Messages }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ range .Messages }}{{ if eq .Role \"user\" }}u{{ continue }}{{ end }}-{{ end }}", "-u-u"),
        ("{{ range .Messages }}{{ .Content }}{{ if eq .Role \"user\" }}{{ break }}{{ end }}{{ end }}", "S1"),
        ("{{ with .System }}{{ . }}{{ $.System }}{{ end }}{{ range .Tools }}x{{ else }}no{{ end }}{{ len .Messages }}", "SSno4"),
        ("{{/* a comment */}}{{ .Prompt }}{{- /* and another */ -}}\n", "1A2"),
    ],
)  # fmt: skip
def test_semantics_by_hand(go: str, expected: str) -> None:
    said = [("system", "S"), ("user", "1"), ("assistant", "A"), ("user", "2")]
    assert prompt(go, *said) == expected


def test_an_answer_is_ended_unless_it_is_to_be_continued() -> None:
    go = "U:{{ .Prompt }}\nA:{{ .Response }}</s>\n"
    said = [("user", "1"), ("assistant", "2")]
    assert prompt(go, *said) == "U:1\nA:2"
    assert prompt(go, *said, add_generation_prompt=False) == "U:1\nA:2</s>\n"
    assert prompt(go, ("user", "1"), add_generation_prompt=False) == "U:1\nA:"


def test_bos_is_written_where_the_tokenizer_would() -> None:
    assert prompt("{{ .Prompt }}", ("user", "1"), add_bos_token=True) == "<s>1"
    assert prompt("{{ .Prompt }}", ("user", "1")) == "1"


def test_content_in_parts_and_absent_content() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": None}]
    go = "{{ range .Messages }}<{{ .Content }}>{{ end }}"
    assert prompt(go, messages=messages) == "<ab><>"


def test_the_day_is_the_renderer_s() -> None:
    assert prompt("{{ currentDate }} {{ .Prompt }}", ("user", "1")) == "2025-01-01 1"


def test_thinking_has_the_names_of_hugging_face() -> None:
    go = "{{ .Think }} {{ .IsThinkSet }} {{ .ThinkLevel }} {{ .Prompt }}"
    assert prompt(go, ("user", "1")) == "false false  1"
    assert prompt(go, ("user", "1"), enable_thinking=False) == "false true  1"
    assert prompt(go, ("user", "1"), reasoning_effort="high") == "true true high 1"


def test_numbers_of_a_call_are_go_s() -> None:
    arguments = {"a": 5.0, "b": -2, "c": 0.5, "d": 10**14, "e": True}
    calls = [{"function": {"name": "f", "arguments": arguments}}]
    messages = [{"role": "assistant", "content": "", "tool_calls": calls}]
    go = "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments }}{{ end }}{{ end }}"
    expected = '{"a":5,"b":-2,"c":0.5,"d":100000000000000,"e":true}'
    assert prompt(go, messages=messages) == expected


def test_arguments_in_openai_s_form_are_shown_as_they_are() -> None:
    calls = [{"function": {"name": "f", "arguments": '{"a": 1}'}}]
    messages = [{"role": "assistant", "content": "", "tool_calls": calls}]
    go = "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments }}{{ end }}{{ end }}"
    assert prompt(go, messages=messages) == '{"a": 1}'


def test_typescript_types_of_tools() -> None:
    go = (
        "{{ range .Messages }}{{ end }}{{ range .Tools }}{{ range $n, $p := "
        ".Function.Parameters.Properties }}{{ $n }}: {{ toTypeScriptType $p }};{{ end }}{{ end }}"
    )
    kinds = {
        "a": {"type": "integer"},
        "b": {"type": ["string", "null"]},
        "c": {"anyOf": [{"type": "array"}, {"type": "object"}]},
        "d": {},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": kinds}}}
    expected = "a: number;b: string | null;c: any[] | Record<string, any>;d: any;"
    assert prompt(go, ("user", "1"), tools=[tool]) == expected


@pytest.mark.parametrize(
    ("go", "line", "says"),
    [
        ("a\nb {{ .Promt }}", 2, "did you mean .Prompt?"),
        ("{{ .Context }}", 1, "a root has no .Context"),
        ("{{ .Prompt", 1, "not closed by }}"),
        ("{{ if .Prompt }}\n", 1, "never closed by {{ end }}"),
        ("x\n{{ end }}", 2, "no block is open"),
        ("{{ else }}", 1, "no block is open"),
        ("{{ if .Prompt }}{{ else }}{{ else }}{{ end }}", 1, "a second else"),
        ("{{ if .Prompt }}{{ else range }}{{ end }}", 1, "else takes if, with or nothing"),
        ("{{ if }}{{ end }}", 1, "a value is missing"),
        ("{{ break }}", 1, "break outside of range"),
        ("{{ /* late */ }}", 1, "no meaning in an action"),
        ("{{/* open }}", 1, "comment is not closed"),
        ("{{ .Prompt | html }}", 1, "a prompt is not HTML"),
        ("{{ js .Prompt }}", 1, "a prompt is not JavaScript"),
        ("{{ urlquery .Prompt }}", 1, "a prompt is not a URL"),
        ("{{ call .Prompt }}", 1, "can be called"),
        ("{{ println .Prompt }}", 1, "use print"),
        ("{{ yesterdayDate }} {{ .Prompt }}", 1, "today's date only"),
        ("{{ upper .Prompt }}", 1, "upper is not a function"),
        ("{{ printf \"%q\" .Prompt }}", 1, "with %q"),
        ("{{ printf \"%5s\" .Prompt }}", 1, "with %5"),
        ("{{ printf \"%d\" .Prompt }}", 1, "with %d"),
        ("{{ printf \"%s\" }}{{ .Prompt }}", 1, "too few values"),
        ("{{ printf \"a\" .Prompt }}", 1, "too many values"),
        ("{{ printf .Prompt }}", 1, "a quoted text"),
        ("{{ eq .Prompt 1 }}", 1, "cannot compare a text with a whole number"),
        ("{{ range .Messages }}{{ eq . 1 }}{{ end }}", 1, "cannot compare a message"),
        ("{{ lt .Prompt \"b\" }}", 1, "two numbers"),
        ("{{ gt (len .Prompt) 5 }}", 1, "counts the bytes"),
        ("{{ slice .Prompt 1 2 }}", 1, "by bytes"),
        ("{{ len .Think }}{{ .Prompt }}", 1, "a boolean has no length"),
        ("{{ index .Messages \"a\" }}", 1, "cannot be indexed"),
        ("{{ range .Prompt }}{{ end }}", 1, "range over a text"),
        ("{{ range $i, $n := 3 }}{{ end }}{{ .Prompt }}", 1, "gives one variable"),
        ("{{ .Messages }}", 1, "a list of messages cannot be shown"),
        ("{{ range .Messages }}{{ . }}{{ end }}", 1, "cannot be shown"),
        ("{{ . }}{{ .Prompt }}", 1, "cannot be shown"),
        ("{{ range .Messages }}{{ json .ToolCalls }}{{ end }}", 1, "no fixed JSON"),
        ("{{ range .Messages }}{{ .Name }}{{ end }}", 1, "a message has no .Name"),
        ("{{ .Prompt 1 }}", 1, "only a function takes a value"),
        ("{{ eq .Prompt nil }}", 1, "nil cannot be said"),
        ("{{ eq .Prompt }}", 1, "another number of values"),
        ("{{ $x }}{{ .Prompt }}", 1, "$x is not declared"),
        ("{{ if .Prompt }}{{ $x := 1 }}{{ end }}{{ $x }}", 1, "$x is not declared"),
        ("{{ $x = 1 }}{{ .Prompt }}", 1, "$x is not declared"),
        ("{{ $x := . }}{{ $x.Prompt }}", 1, "use $"),
        ("{{ template \"a\" . }}{{ .Prompt }}", 1, "no template 'a'"),
        ("{{ define \"a\" }}{{ template \"a\" . }}{{ end }}{{ template \"a\" . }}", 1, "calls itself"),
        ("{{ define \"a\" }}{{ .Prompt }}{{ end }}{{ template \"a\" }}", 1, "wants a value"),
        ("{{ define \"a\" }}{{ end }}{{ define \"a\" }}{{ end }}{{ .Prompt }}", 1, "defined twice"),
        ("{{ (eq .Prompt \"a\" }}", 1, "a parenthesis is open"),
        ("{{ eq .Prompt \"a\") }}", 1, "a ) too many"),
        ("{{ .Prompt .Prompt}}", 1, "only a function"),
        ("{{ \"\\xff\" }}{{ .Prompt }}", 1, "cannot be said"),
        ("{{ '\\nb' }}{{ .Prompt }}", 1, "not one character"),
        ("{{ " + "9" * 5000 + " }}{{ .Prompt }}", 1, "is not a number"),
        ("{{ 9223372036854775808 }}{{ .Prompt }}", 1, "is too large"),
        ("{{ 1e999 }}{{ .Prompt }}", 1, "is too large"),
        ("{{ .Prompt; }}", 1, "';' has no meaning"),
        ("{{ \"a\".B }}{{ .Prompt }}", 1, "has no fields"),
        ("{{ if .Prompt }}" * 60, 1, "more than 32 deep"),
        ("{{ range .Messages }}" * 13, 1, "ranges are nested more than 12 deep"),
        ("{{ not " + "(" * 60 + ".Prompt" + ")" * 60 + " }}", 1, "more than 32 deep"),
        ("{{ if .Prompt }}" + "{{ else if .Prompt }}" * 60 + "{{ end }}", 1, "more than 32 deep"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_with_its_line(go: str, line: int, says: str) -> None:
    with pytest.raises(UntranslatableTemplate) as caught:
        translate(go)
    assert says in str(caught.value)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"template line {line}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_lines_count_from_the_modelfile_s() -> None:
    with pytest.raises(UntranslatableTemplate, match=r"template line 12: \{\{ \.Nope \}\}"):
        jinja_template("{{ .Prompt }}\n\n{{ .Nope }}", first_line=10)


def test_templates_that_would_grow_without_end_are_refused() -> None:
    with pytest.raises(UntranslatableTemplate, match="over the cap of 65536"):
        translate("{{ .Prompt }}" + "x" * MAX_TEMPLATE_CHARS)
    call = '{{ template "big" . }}'
    big = '{{ define "big" }}' + "\n" * 60_000 + "{{ .Prompt }}{{ end }}"
    with pytest.raises(UntranslatableTemplate, match="its Jinja has over"):
        translate(big + call * 100)
    # Each field doubles the expression: 2^40 of them would be.
    loops = "{{ range .Messages }}{{ range .ToolCalls }}"
    with pytest.raises(UntranslatableTemplate, match="too many fields"):
        translate(loops + "{{ .Function.Arguments.x" + ".a" * 40 + " }}{{ end }}{{ end }}")
    # Thirty names, each called twice by the next: a thousand million parts.
    go = '{{ define "t0" }}{{ .Prompt }}{{ end }}' + "".join(
        f'{{{{ define "t{n}" }}}}{{{{ template "t{n - 1}" . }}}}{{{{ template "t{n - 1}" . }}}}'
        "{{ end }}"
        for n in range(1, 30)
    )
    with pytest.raises(UntranslatableTemplate, match="parts once"):
        translate(go + '{{ template "t29" . }}')


def test_templates_that_call_each_other_cannot_nest_deeper_than_one() -> None:
    for opening, says in (("{{ range $.Messages }}", "ranges"), ("{{ if .Messages }}" * 4, "deep")):
        ends = "{{ end }}" * opening.count("{{")
        go = '{{ define "t0" }}x{{ end }}' + "".join(
            f'{{{{ define "t{n}" }}}}{opening}{{{{ template "t{n - 1}" $ }}}}{ends}{{{{ end }}}}'
            for n in range(1, 20)
        )
        with pytest.raises(UntranslatableTemplate, match=says):
            translate(go + '{{ template "t19" . }}{{ .Messages }}')


def test_the_deepest_template_is_one_that_jinja_takes() -> None:
    jump = "{{ if eq .Role `user` }}{{ continue }}{{ end }}"
    go = ("{{ range $.Messages }}" + jump) * 12 + "{{ if .Role }}" * 16 + "{{ .Content }}"
    assert prompt(go + "{{ end }}" * 28, ("system", "deep")) == "deep"
    turns = "{{ if .Prompt }}{{ if true }}" * 15 + "{{ .Response }}" + "{{ end }}x" * 30
    assert prompt(turns, ("user", "1"), ("assistant", "A"), ("user", "2")) == "A" + "x" * 30


@pytest.mark.parametrize(
    "text",
    [
        "{% for message in messages %}{{ message.content }}{% endfor %}",
        "{%- if tools %}x{%- endif %}",
        "{{ bos_token }}{{ messages[0]['content'] }}",
        jinja_template("{{ .Prompt }}{{ '{' }}"),
        jinja_template(TEMPLATES["braces and quotes"]),
    ],
)
def test_jinja_is_left_alone(text: str) -> None:
    assert jinja_template(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{% if x %}{% endif %}\n{{ .Prompt }}", r"\(line 1\) and Go's '{{ .' \(line 2\)"),
        ("no marks at all", "shows no message"),
        ("", "shows no message"),
    ],
)
def test_what_could_be_either_is_not_guessed(text: str, says: str) -> None:
    with pytest.raises(AmbiguousTemplate, match=says):
        jinja_template(text)


# Pieces that mean something to Go or to Jinja, in any order.
_PIECES = st.sampled_from(
    [
        *("{{", "}}", "{{- ", " -}}", "{%", "%}", "{#", "#}", "{{ .Prompt }}", "{{ if .System }}"),
        *("{{ end }}", "{{ else }}", "{{ range .Messages }}", ".Role", " ", '"', "\\", "'", "`"),
        *(":=", "=", "|", "(", ")", "/*", "*/", "-", "3", "ä", "\t", "{", "}", "-}}", "$x", "\n"),
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(_PIECES, max_size=25).map("".join))
def test_any_text_is_translated_or_refused(text: str) -> None:
    try:
        jinja = translate(text)
    except UntranslatableTemplate as error:
        refusal = str(error)
        assert refusal.startswith("template line ")
        assert len(refusal.splitlines()) == 1
    else:
        # Whatever came through is a template that Jinja takes, and is told from Go's.
        compile_template(jinja, datetime.now)
        assert jinja_template(jinja) == jinja


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="{%#}\"'\\\n\t -ab<|>\u2028ä\r", max_size=40).filter(lambda t: "{{" not in t)
)
def test_text_outside_of_actions_is_kept_to_the_letter(text: str) -> None:
    go = text + "{{ .Prompt }}" + text + "{{ .Response }}"
    if (text + "{{").find("{{") < len(text):  # a brace at the end makes another opening
        return
    # Jinja itself makes \n of every line end in a template, but not of an escaped one.
    assert prompt(go, ("user", "x")) == text + "x" + text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.text(alphabet="ab \n", max_size=5), st.booleans(), st.booleans())))
def test_the_lexer_trims_as_go_does(parts: list[tuple[str, bool, bool]]) -> None:
    source = "".join(
        text + ("{{- " if left else "{{ ") + f".F{number}" + (" -}}" if right else " }}")
        for number, (text, left, right) in enumerate(parts)
    )
    expected: list[str] = []
    trims = False
    for number, (text, left, right) in enumerate(parts):
        kept = text.lstrip() if trims else text
        kept = kept.rstrip() if left else kept
        expected += [kept] if kept else []
        expected.append(f".F{number}")
        trims = right
    found = [item.text if isinstance(item, Text) else item.tokens[0].text for item in lex(source)]
    assert found == expected
    lines = [item.line for item in lex(source) if isinstance(item, Action)]
    assert lines == sorted(lines)


def test_the_conversations_are_all_used() -> None:
    assert set(CONVERSATIONS) == {conversation for _, conversation in cases()}
