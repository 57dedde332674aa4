"""Is the chat template one that the model can live with? Six conversations say so at compile time.

Wrong templates and missing stop tokens are what conversions get wrong most often: a model that
answers itself for ever, or never sees its system message. The template is rendered in a child
process under limits (template_sandbox.py); what a template refuses by itself (`raise_exception`)
is how the model was made, not a problem. Must not know shards, libraries or where notes are shown.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transom_api.tools import GENERIC, form_of
from transom_compile.template_sandbox import (
    Message,
    Refused,
    RenderFailed,
    answer,
    compile_template,
    reason_of,
    render,
    run_limited,
)
from transom_compile.tokenizers import Tokenizer, TokenType
from transom_models.errors import TransomError

TEMPLATE_KEY = "tokenizer.chat_template"
# Letters only, so that a template that trims or looks for tags leaves them alone.
SYSTEM, USER, REPLY, RESULT = "qzSystemqz", "qzUserqz", "qzReplyqz", "qzResultqz"
WHOSE = {USER: "user's", REPLY: "assistant's"}
FUNCTION, ARGUMENT, VALUE = "get_weather", "city", "qzParisqz"
TOOL: Message = {
    "type": "function",
    "function": {
        "name": FUNCTION,
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {ARGUMENT: {"type": "string", "description": "Its name."}},
            "required": [ARGUMENT],
        },
    },
}
# Mistral's templates want nine letters and digits.
CALL_ID = "abcDEF123"
# Characters of a prompt that a message quotes.
QUOTED = 40


class TemplateProblem(TransomError):
    """The checkpoint's chat template would make the model misbehave."""


@dataclass(frozen=True, slots=True)
class LintReport:
    """What the template does.

    `tool_format`: how the model writes a call, by name, or None. `system`: "supported", "not
    supported" (refused) or None without a template. `end_token_id`: what ends an assistant's turn.
    """

    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tool_format: str | None = None
    system: str | None = None
    end_token_id: int | None = None

    def to_json(self) -> dict[str, Any]:
        """`transom.template` of the chat config."""
        return {
            "system": self.system,
            "tools": self.tool_format or "none",
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class _Rendered:
    """One conversation: its prompt, or why there is none."""

    text: str | None = None
    refused: str | None = None
    failed: str | None = None

    @property
    def reason(self) -> str:
        return self.refused or self.failed or ""


@dataclass(slots=True)
class _Findings:
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_template(
    metadata: Mapping[str, Any], tokenizer: Tokenizer, *, force: bool = False
) -> LintReport:
    """`lint_template`; problems raise `TemplateProblem` unless `force` makes notes of them."""
    report = lint_template(metadata, tokenizer)
    if report.problems and not force:
        raise TemplateProblem(
            f"the chat template has a problem: {'; '.join(report.problems)} "
            "(--force compiles it as it is)"
        )
    return report


def lint_template(metadata: Mapping[str, Any], tokenizer: Tokenizer) -> LintReport:
    """Render the six standard conversations and look at them. Never raises for what it finds."""
    template = metadata.get(TEMPLATE_KEY)
    if not isinstance(template, str) or not template:
        return LintReport(notes=("no chat template: a base model, or one is missing",))
    question = {"template": template, "bos": tokenizer.text("bos"), "eos": tokenizer.text("eos")}
    try:
        found = run_limited(__name__, question)
    except RenderFailed as error:
        return LintReport(problems=(str(error),))
    rendered = {name: _Rendered(**row) for name, row in found.items()}
    findings = _Findings()
    _check_texts(rendered, findings)
    system = _check_system(rendered["system"], findings)
    end = _check_end(rendered, tokenizer, findings)
    tool_format = _check_tools(rendered, template, findings)
    return LintReport(tuple(findings.problems), tuple(findings.notes), tool_format, system, end)


def _check_texts(rendered: Mapping[str, _Rendered], findings: _Findings) -> None:
    for name, what, texts in (
        ("user", "a question", (USER,)),
        ("turns", "a conversation of several turns", (USER, REPLY, USER)),
    ):
        prompt = rendered[name]
        if prompt.text is None:
            findings.problems.append(f"{what} is not rendered: {prompt.reason}")
        elif missing := _first_missing(prompt.text, texts):
            findings.problems.append(f"{what} loses the {WHOSE[missing]} message")


def _first_missing(text: str, parts: Sequence[str]) -> str | None:
    """The first part that does not follow the ones before it."""
    for part in parts:
        _, found, text = text.partition(part)
        if not found:
            return part
    return None


def _check_system(prompt: _Rendered, findings: _Findings) -> str:
    if prompt.refused is not None:
        return "not supported"
    if prompt.text is None:
        findings.problems.append(f"a system message is not rendered: {prompt.reason}")
    elif SYSTEM not in prompt.text:
        findings.problems.append("a system message is dropped without a word")
    else:
        return "supported"
    return "not supported"


def _check_end(
    rendered: Mapping[str, _Rendered], tokenizer: Tokenizer, findings: _Findings
) -> int | None:
    """Id of the token that ends an assistant's turn; it has to be one."""
    if not tokenizer.stop_ids:
        findings.problems.append("the vocabulary names no token that ends an answer")
    closed = rendered["closed"].text or rendered["turns"].text
    if closed is None or REPLY not in closed:
        if rendered["turns"].text is not None:
            findings.problems.append("the assistant's message is lost")
        return None
    # Llama 2 and its like put a space before it.
    after = closed.rpartition(REPLY)[2].lstrip()
    if not after:
        findings.problems.append("nothing ends an assistant's turn, so the model never stops")
        return None
    found = _token_at_start(after, tokenizer)
    if found is None:
        shown = re.split(r"(?<=>)|\s", after, maxsplit=1)[0][:QUOTED]
        findings.problems.append(
            f"an assistant's turn ends with {shown!r}, which is no token of the vocabulary"
        )
    return found


def _token_at_start(text: str, tokenizer: Tokenizer) -> int | None:
    """The longest added token that `text` starts with."""
    added = (TokenType.CONTROL, TokenType.USER_DEFINED)
    found = [
        index
        for index, kind in enumerate(tokenizer.types)
        if kind in added and text.startswith(tokenizer.tokens[index])
    ]
    return max(found, key=lambda index: len(tokenizer.tokens[index]), default=None)


def _check_tools(
    rendered: Mapping[str, _Rendered], template: str, findings: _Findings
) -> str | None:
    offered, called = rendered["tools"], rendered["call"]
    if offered.text is None:
        findings.notes.append(f"tools: {offered.reason}")
        return None
    if FUNCTION not in offered.text:
        return None
    if called.text is None:
        findings.notes.append(f"a tool's result: {called.reason}")
    elif RESULT not in called.text:
        findings.problems.append("a tool's result is dropped without a word")
    # A template may say how to call without being able to repeat a call.
    form = form_of(template, called.text or offered.text)
    if form is GENERIC:
        findings.notes.append("tools are offered in a form that is not recognised")
        return None
    return form.name


def _conversations() -> dict[str, dict[str, Any]]:
    """Name -> how to render it. Two more forms of a call: arguments as text, no content at all."""
    user, system = {"role": "user", "content": USER}, {"role": "system", "content": SYSTEM}
    reply = {"role": "assistant", "content": REPLY}

    def call(arguments: object, content: str | None) -> list[Message]:
        function = {"name": FUNCTION, "arguments": arguments}
        calls = [{"id": CALL_ID, "type": "function", "function": function}]
        result = {"role": "tool", "name": FUNCTION, "tool_call_id": CALL_ID, "content": RESULT}
        return [user, {"role": "assistant", "content": content, "tool_calls": calls}, result]

    return {
        "user": {"messages": [user]},
        "system": {"messages": [system, user]},
        "turns": {"messages": [user, reply, user]},
        "closed": {"messages": [user, reply], "reply_header": False},
        "tools": {"messages": [user], "tools": [TOOL]},
        "call": {"messages": call({ARGUMENT: VALUE}, ""), "tools": [TOOL]},
        "call as text": {"messages": call(f'{{"{ARGUMENT}": "{VALUE}"}}', ""), "tools": [TOOL]},
        "call alone": {"messages": call({ARGUMENT: VALUE}, None), "tools": [TOOL]},
    }


def _render_all(template: str, bos: str, eos: str) -> dict[str, Any]:
    """The child: every conversation that can be rendered; one that cannot does not hide others."""
    compiled = compile_template(template)
    found: dict[str, dict[str, str]] = {}
    for name, conversation in _conversations().items():
        try:
            found[name] = {"text": render(compiled, bos=bos, eos=eos, **conversation)}
        except Refused as error:
            found[name] = {"refused": " ".join(str(error).split())[:200]}
        except Exception as error:
            found[name] = {"failed": reason_of(error)}
    other_calls = (found.pop("call as text"), found.pop("call alone"))
    if "text" not in found["call"]:
        found["call"] = next((row for row in other_calls if "text" in row), found["call"])
    return found


if __name__ == "__main__":
    answer(_render_all, RenderFailed)
