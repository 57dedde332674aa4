"""What a plan holds an answer to, llama.cpp holds it to: random weights call tools all the same."""

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.fakes.tiny_gguf import tiny_llama
from transom_api import chat_template
from transom_api.chat import Chat, Constraint, Message, Text, Tool, ToolChoice
from transom_api.deltas import Delta
from transom_api.engine import GenerateRequest, LoadOptions, ModelFiles, Sampling, TokenEvent
from transom_api.prompting import ModelDefaults, plan
from transom_api.session import Answer
from transom_server.engines.llama_cpp import LlamaCpp

TURNS = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
HERMES = "{{ tools }}<tool_call>" + TURNS
UNITS = {"enum": ["celsius", "kelvin"]}
TOOLS = (
    Tool(
        "weather",
        "The weather.",
        {
            "properties": {"unit": {"$ref": "#/$defs/Unit"}, "soon": {"type": "boolean"}},
            "required": ["unit", "soon"],
            "additionalProperties": False,
            "$defs": {"Unit": UNITS},
        },
    ),
    Tool("nothing"),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    path = tmp_path_factory.mktemp("held") / "tiny.gguf"
    path.write_bytes(tiny_llama(metadata={"llama.context_length": 4096}).to_bytes())
    options = LoadOptions(threads=1, context_tokens=4096)
    engine = LlamaCpp(ModelFiles(str(path)), options, lambda: False)
    yield engine
    engine.close()


def render(template: str, messages: Any, **rest: Any) -> str:
    compiled = chat_template.compile_template(template, lambda: datetime(2026, 1, 1))
    return chat_template.render(compiled, messages, **rest)


def answer(engine: LlamaCpp, template: str = TURNS, **fields: Any) -> Answer:
    # JSON may have white space without end, and random weights like it.
    chars = " \t\n\r" if "tools" in fields else ""
    blank = {token: -math.inf for char in chars for token in engine.tokenize(char)}
    asked = (Message("user", (Text("Hi"),)),)
    chat = Chat("m", asked, options={"temperature": 0}, logit_bias=blank, **fields)
    planned = plan(chat, ModelDefaults(template=template), engine.facts, render)
    reader, whole = planned.reader(0), Answer()
    deltas: list[Delta] = []
    for event in engine.generate(planned.request, lambda: False):
        if isinstance(event, TokenEvent):
            deltas += reader.feed(event.text.decode())
    for delta in [*deltas, *reader.finish()]:
        whole.take(delta)
    return whole


@pytest.mark.parametrize("template", [TURNS, HERMES])
def test_a_named_tool_is_called(engine: LlamaCpp, template: str) -> None:
    choice = ToolChoice("required", "weather", parallel=False)
    whole = answer(engine, template, tools=TOOLS, tool_choice=choice)
    assert whole.content == ""
    (call,) = whole.calls
    assert call.name == "weather"
    arguments = json.loads(call.arguments)
    assert arguments["unit"] in UNITS["enum"]
    assert isinstance(arguments["soon"], bool)


def test_a_schema_of_several_tools_can_be_read(engine: LlamaCpp) -> None:
    bounded = (TOOLS[0], Tool("other", "", {"additionalProperties": False}))
    choice = ToolChoice("required", parallel=False)
    (call,) = answer(engine, tools=bounded, tool_choice=choice).calls
    assert call.name in ("weather", "other")
    json.loads(call.arguments)


def test_one_of_some_texts(engine: LlamaCpp) -> None:
    choices = ("yes", 'a "b"\\é')
    assert answer(engine, constraint=Constraint("choice", choices=choices)).content in choices


@pytest.mark.parametrize(
    "regex", [r"\d{2,4}-(ab|[^\w\s])", r"[]^\-a]{3}\.", r"^(?:x|yé)?[\w-]$", r"\x41\tB{2}\\\""]
)
def test_a_regular_expression(engine: LlamaCpp, regex: str) -> None:
    whole = answer(engine, constraint=Constraint("regex", text=regex))
    assert re.fullmatch(regex, whole.content), whole.content


def test_marks_that_are_special_tokens_are_shown(engine: LlamaCpp) -> None:
    """The grammar makes a model say one; without being preserved it has no text."""
    mark = "<|im_start|>"

    def said(*preserved: str) -> bytes:
        request = GenerateRequest(
            "Hi",
            Sampling(temperature=0),
            max_tokens=1,
            logit_bias=((engine.tokenize(mark)[0], 1000.0),),
            preserved=preserved,
        )
        return b"".join(
            event.text
            for event in engine.generate(request, lambda: False)
            if isinstance(event, TokenEvent)
        )

    assert said(mark) == mark.encode()
    assert said() == b""
