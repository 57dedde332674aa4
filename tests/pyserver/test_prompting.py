"""From a `Chat` to a prompt and a reader; templates are small ones of the families' shapes."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from transom_api import chat_template
from transom_api.chat import (
    Audio,
    Chat,
    Constraint,
    Image,
    Message,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
)
from transom_api.deltas import Delta
from transom_api.engine import ModelFacts
from transom_api.fields import InvalidField
from transom_api.prompting import ModelDefaults, NoTemplate, Plan, plan
from transom_api.session import Answer
from transom_models.errors import TransomError

FACTS = ModelFacts(4096, bos="<s>", eos="</s>")
SEES = ModelFacts(4096, image_marker="<img>")
TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}"
END = "<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
PLAIN = TURNS + END
HERMES = (
    "{% if tools %}{{ tools | tojson }}{% endif %}" + TURNS + "{% for c in m.tool_calls or [] %}"
    "<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}" + END
)
THINKS = PLAIN.replace("<assistant>", "<assistant><think>\n")
MISTRAL = (
    "{{ bos_token }}{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}{% endif %}" + TURNS +
    "{% for c in m.tool_calls or [] %}[TOOL_CALLS]{{ c.function | tojson }}{{ c.id }}{% endfor %}"
    "{% if m.role == 'tool' %}{{ m.tool_call_id }}{% endif %}" + END
)  # fmt: skip
OSS = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|start|>{{ m.role }}"
    "<|channel|>final<|message|>{{ m.content }}<|end|>{% endfor %}<|start|>assistant"
)
TEXT_ARGUMENTS = HERMES.replace("c.function | tojson", "c.function.name + c.function.arguments")
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN
)
WEATHER = Tool("weather", "The weather.", {"properties": {"city": {"type": "string"}}})
ADD = Tool("add")
ASKED = Message("user", (Text("Hi"),))
CALLED = (
    ASKED,
    Message("assistant", tool_calls=(ToolCall("call_7", "weather", '{"city": "Paris"}'),)),
    Message("tool", (Text("rain"),), tool_call_id="call_7"),
)


class TemplateRefused(TransomError):
    """As the host's."""


def render(template: str, messages: Sequence[dict[str, Any]], **rest: Any) -> str:
    try:
        compiled = chat_template.compile_template(template, lambda: datetime(2026, 1, 1))
        return chat_template.render(compiled, messages, **rest)
    except Exception as error:
        raise TemplateRefused(str(error)) from error


def planned(
    template: str | None = PLAIN,
    messages: Sequence[Message] = (ASKED,),
    facts: ModelFacts = FACTS,
    defaults: dict[str, Any] | None = None,
    **fields: Any,
) -> Plan:
    chat = Chat("m", tuple(messages), **fields)
    return plan(chat, ModelDefaults(template=template, **(defaults or {})), facts, render)


def prompt(*args: Any, **fields: Any) -> str:
    return planned(*args, **fields).request.prompt


def said(role: Role, text: str) -> Message:
    return Message(role, (Text(text),))


def answer(found: Plan, text: str) -> Answer:
    whole = Answer()
    deltas: list[Delta] = []
    reader = found.reader(0)
    for char in text:
        deltas += reader.feed(char)
    for delta in [*deltas, *reader.finish()]:
        whole.take(delta)
    return whole


def test_the_models_texts_come_first() -> None:
    defaults = {"system": "S", "messages": (("user", "a"), ("assistant", "b"))}
    opening = "<user>a<end><assistant>b<end><user>Hi<end><assistant>"
    assert prompt(defaults=defaults) == "<system>S<end>" + opening
    own = (said("system", "mine"), ASKED)
    assert prompt(messages=own, defaults=defaults) == "<system>mine<end>" + opening


def test_options_of_the_request_lie_over_the_models() -> None:
    request = planned(
        defaults={"parameters": {"temperature": 0.1, "stop": ("x",), "num_predict": 5}},
        options={"temperature": 0.7, "seed": 3},
        fallback_options={"top_p": 1.0, "temperature": 1.0},
        logit_bias={5: -1.0},
        choices=2,
        logprobs=True,
        top_logprobs=4,
    ).request
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (
        0.7,
        1.0,
        3,
    )
    assert (request.stop, request.max_tokens, request.choices) == (("x",), 5, 2)
    assert (request.logit_bias, request.logprobs) == (((5, -1.0),), 4)


def test_a_raw_prompt_is_left_alone() -> None:
    found = planned(None, raw_prompt="<s>Once", defaults={"system": "S"})
    assert found.request.prompt == "<s>Once"
    assert answer(found, "<think>a</think>").content == "<think>a</think>"


def test_without_a_template_nobody_knows_how_to_speak() -> None:
    with pytest.raises(NoTemplate, match="m has no chat template"):
        planned(None)


def test_a_template_of_the_request_may_be_gos() -> None:
    chat = Chat("m", (ASKED,), template="Q: {{ .Prompt }} A: ")
    assert plan(chat, ModelDefaults(), FACTS, render).request.prompt == "Q: Hi A: "


def test_what_a_tokenizer_writes_is_not_written_twice() -> None:
    facts = ModelFacts(10, bos="<s>", adds_bos=True)
    assert prompt(MISTRAL).startswith("<s><user>")
    assert prompt(MISTRAL, facts=facts).startswith("<user>")


def test_pictures_stand_where_they_are() -> None:
    parts = (Text("a"), Image(b"1"), Text("b"), Image(b"2"))
    found = planned(messages=[Message("user", parts)], facts=SEES).request
    assert (found.prompt, found.images) == ("<user>a<img>b<img><end><assistant>", (b"1", b"2"))


@pytest.mark.parametrize(
    ("parts", "facts", "problem"),
    [
        ((Image(b"1"),), FACTS, "sees no images"),
        ((Audio(b"1", "wav"),), SEES, "hears no sound"),
        ((Text("see <img>"), Image(b"1")), SEES, "would stand for a file"),
    ],
)
def test_what_a_model_cannot_take_is_refused(
    parts: tuple[Any, ...], facts: ModelFacts, problem: str
) -> None:
    with pytest.raises(InvalidField, match=problem):
        planned(messages=[Message("user", parts)], facts=facts)


def test_an_answer_that_was_begun_goes_on() -> None:
    begun = (ASKED, said("assistant", " The "))
    assert prompt(messages=begun, continues_last=True) == "<user>Hi<end><assistant> The "
    dropped = PLAIN.replace("in messages", "in messages if m.role != 'assistant'")
    assert prompt(dropped, begun, continues_last=True) == "<user>Hi<end><assistant> The "
    thinking = planned(messages=(ASKED, said("assistant", "<think>One")), continues_last=True)
    assert answer(thinking, " two</think>Four").content == "Four"


# Qwen's shape: the last message has its thoughts, or none between the marks.
SHOWS = (
    "{% for m in messages %}<{{ m.role }}>{% if loop.last and m.role == 'assistant' %}<think>\n"
    "{{ m.reasoning_content }}\n</think>\n\n{% endif %}{{ m.content.lstrip('\n') }}" + END
)


@pytest.mark.parametrize(
    ("template", "message", "expected"),
    [
        (PLAIN, Message("assistant"), "<user>Hi<end><assistant>"),
        (PLAIN, Message("assistant", (Text(" \n"),)), "<user>Hi<end><assistant>"),
        (PLAIN, Message("assistant", reasoning="So"), "<user>Hi<end><assistant>"),
        (PLAIN, Message("assistant", (Text("One"),), "So"), "<user>Hi<end><assistant>One"),
        (PLAIN, said("assistant", "<think>So</think>One"),
         "<user>Hi<end><assistant><think>So</think>One"),
        (THINKS, Message("assistant", reasoning="So"), "<user>Hi<end><assistant><think>\nSo"),
        (THINKS, said("assistant", "One"), "<user>Hi<end><assistant>One"),
        (THINKS, Message("assistant", (Text("One"),), "So"),
         "<user>Hi<end><assistant><think>\nSo\n</think>\n\nOne"),
        (SHOWS, Message("assistant", (Text("One"),), "So"),
         "<user>Hi<end><assistant><think>\nSo\n</think>\n\nOne"),
        (SHOWS, said("assistant", "<think>\nSo\n</think>\n\nOne"),
         "<user>Hi<end><assistant><think>\nSo\n\n</think>\n\nOne"),
        (SHOWS, Message("assistant", reasoning="So"), "<user>Hi<end><assistant><think>\nSo"),
        (OSS, said("assistant", "One"), "<|start|>user<|channel|>final<|message|>Hi<|end|>"
         "<|start|>assistant<|channel|>final<|message|>One"),
        (OSS, Message("assistant", reasoning="So"), "<|start|>user<|channel|>final<|message|>Hi"
         "<|end|><|start|>assistant<|channel|>analysis<|message|>So"),
    ],
)  # fmt: skip
def test_where_an_answer_goes_on(template: str, message: Message, expected: str) -> None:
    assert prompt(template, (ASKED, message), continues_last=True) == expected


def test_a_template_that_wants_a_question_last_goes_on_all_the_same() -> None:
    wants = "{% if messages[-1].role != 'user' %}{{ raise_exception('no') }}{% endif %}" + PLAIN
    begun = (ASKED, said("assistant", "One "))
    assert prompt(wants, begun, continues_last=True) == "<user>Hi<end><assistant>One "


def test_what_is_new_is_read_as_it_is_meant() -> None:
    begun = (ASKED, said("assistant", "One"))
    # In the middle of words nothing is thought, and no call begins without a mark.
    going = planned(SHOWS, begun, continues_last=True)
    assert answer(going, "<think> two").content == "<think> two"
    going = planned(OSS, begun, continues_last=True)
    assert answer(going, " two<|return|>").content == " two"
    called = '{"name": "add", "parameters": {}}'
    llama = planned(PLAIN + "{# <|python_tag|> #}", begun, tools=(ADD,), continues_last=True)
    assert answer(llama, called).content == called
    # Thoughts go on until they end.
    for template in (THINKS, SHOWS):
        going = planned(template, (ASKED, Message("assistant", reasoning="So")),
                        continues_last=True)  # fmt: skip
        whole = answer(going, " it is</think>\n\nOne")
        assert (whole.reasoning, whole.content) == ("it is", "One")
    going = planned(OSS, (ASKED, Message("assistant", reasoning="So")), continues_last=True)
    whole = answer(going, " it is<|end|><|start|>assistant<|channel|>final<|message|>One")
    assert (whole.reasoning, whole.content) == (" it is", "One")


def test_what_is_held_is_what_is_new() -> None:
    held: dict[str, Any] = {"constraint": Constraint("json_object"), "continues_last": True}
    begun = (ASKED, said("assistant", "Here: "))
    assert prompt(messages=begun, **held).endswith("<assistant>Here: ")
    final = "<|start|>assistant<|channel|>final<|message|>"
    assert prompt(OSS, begun, **held).endswith(f"{final}Here: ")
    thought = (ASKED, Message("assistant", reasoning="So"))
    assert prompt(THINKS, thought, **held).endswith("<think>\nSo\n\n</think>\n\n")
    assert prompt(OSS, thought, **held).endswith(f"<|message|>So<|end|>{final}")
    forced = {"tools": (ADD,), "tool_choice": ToolChoice("required"), "continues_last": True}
    asked = prompt(OSS, begun, **forced)
    assert "<|message|>Here: <|end|><|start|>assistant<|channel|>commentary to=" in asked


def test_templates_are_told_what_was_asked_for() -> None:
    shown = "{{ enable_thinking }} {{ reasoning_effort }} {{ documents[0].text }} {{ extra }}"
    fields = {
        "thinks": True,
        "effort": "high",
        "documents": ({"text": "d"},),
        "template_variables": {"extra": 1},
    }
    assert prompt(shown, **fields) == "True high d 1"
    assert prompt(shown, **{**fields, "template_variables": {"enable_thinking": False, "extra": 2}}
                  ) == "False high d 2"  # fmt: skip


def test_gaps_are_filled_by_templates_that_can() -> None:
    fills = "<pre>{{ messages[-1].content }}<suf>{{ suffix }}<mid>"
    assert prompt(fills, raw_prompt="a", suffix="b") == "<pre>a<suf>b<mid>"
    with pytest.raises(InvalidField, match="fills no gaps"):
        prompt(raw_prompt="a", suffix="b")


def test_tools_calls_and_results_reach_the_template() -> None:
    found = planned(HERMES, CALLED, tools=(WEATHER,))
    assert found.request.prompt.startswith('[{"type": "function", "function": {"name": "weather"')
    assert '{"name": "weather", "arguments": {"city": "Paris"}}' in found.request.prompt
    assert "<tool>rain" in found.request.prompt
    whole = answer(found, '<tool_call>{"name": "weather", "arguments": {}}</tool_call>')
    assert whole.calls == [ToolCall("call_1", "weather", "{}")]
    assert "<tool_call>" in found.request.preserved


def test_arguments_are_text_where_the_template_wants_text() -> None:
    assert 'weather{"city": "Paris"}' in prompt(TEXT_ARGUMENTS, CALLED)


def test_broken_arguments_of_an_earlier_call_go_on_as_they_are() -> None:
    broken = Message("assistant", tool_calls=(ToolCall("c", "weather", '{"city'),))
    assert '"arguments": "{\\"city"' in prompt(HERMES, (ASKED, broken))


def test_mistral_gets_ids_of_nine_letters() -> None:
    found = prompt(MISTRAL, CALLED, tools=(WEATHER,))
    first, second = found.partition("<tool>rain")[0][-14:-5], found.partition("<tool>rain")[2][:9]
    assert first == second
    assert first.isalnum()


def test_no_tools_where_none_may_be_called() -> None:
    found = planned(HERMES, tools=(WEATHER,), tool_choice=ToolChoice("none"))
    assert "weather" not in found.request.prompt
    text = '<tool_call>{"name": "weather"}</tool_call>'
    assert answer(found, text).content == text


@pytest.mark.parametrize("template", [PLAIN, NO_SYSTEM, "tools" + PLAIN])
def test_a_template_without_tools_is_told_in_words(template: str) -> None:
    found = planned(template, (*CALLED, said("user", "And?")), tools=(WEATHER,))
    text = found.request.prompt
    assert '"description": "The weather."' in text
    assert '{"tool_calls": [{"name": "weather", "arguments": {"city": "Paris"}}]}' in text
    assert "weather returned:\nrain" in text
    assert "<tool>" not in text
    whole = answer(found, '{"tool_calls": [{"name": "weather", "arguments": {"a": 1}}]}')
    assert [call.arguments for call in whole.calls] == ['{"a": 1}']
    assert answer(found, "It rains.").content == "It rains."


def test_a_call_that_is_required_is_begun_for_the_model() -> None:
    found = planned(
        HERMES, tools=(WEATHER, ADD), tool_choice=ToolChoice("required", name="weather")
    )
    assert found.request.prompt.endswith("<assistant><tool_call>\n")
    schema = found.request.json_schema
    assert schema is not None
    assert schema["properties"]["name"] == {"const": "weather"}
    assert schema["properties"]["arguments"]["properties"] == {"city": {"type": "string"}}
    whole = answer(found, '{"name": "weather", "arguments": {"city": "é"}}')
    assert (whole.content, whole.calls) == ("", [ToolCall("call_0", "weather", '{"city": "é"}')])


def test_required_is_any_of_the_tools() -> None:
    schema = planned(
        PLAIN, tools=(WEATHER, ADD), tool_choice=ToolChoice("required", parallel=False)
    ).request.json_schema
    assert schema is not None
    calls = schema["properties"]["tool_calls"]
    assert (calls["minItems"], calls["maxItems"]) == (1, 1)
    assert [row["properties"]["name"]["const"] for row in calls["items"]["anyOf"]] == [
        "weather",
        "add",
    ]


def test_gpt_oss_is_held_in_the_channel_where_it_answers() -> None:
    named = planned(OSS, tools=(ADD,), tool_choice=ToolChoice("required"))
    assert named.request.prompt.endswith("functions.add <|constrain|>json<|message|>")
    assert answer(named, '{"a": 1}').calls == [ToolCall("call_0", "add", '{"a": 1}')]
    held = planned(OSS, constraint=Constraint("json_object"))
    assert held.request.prompt.endswith("<|start|>assistant<|channel|>final<|message|>")
    assert answer(held, '{"a": 1}').content == '{"a": 1}'
    free = planned(OSS)
    text = "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>Yo"
    assert (answer(free, text).reasoning, answer(free, text).content) == ("Hm", "Yo")
    assert "<|channel|>" in free.request.preserved


def test_gpt_oss_takes_words_or_thoughts_beside_a_call() -> None:
    refuses = (
        "{% for m in messages %}{% if m.tool_calls and m.content and m.thinking %}"
        "{{ raise_exception('both') }}{% endif %}{{ m.thinking }}{% endfor %}" + OSS
    )
    call = (ToolCall("c", "add", "{}"),)
    both = Message("assistant", (Text("I add."),), reasoning="Hm", tool_calls=call)
    assert "I add." in prompt(refuses, (ASKED, both))
    assert "Hm" in prompt(refuses, (ASKED, Message("assistant", reasoning="Hm", tool_calls=call)))


def test_what_ends_an_answer_is_not_shown() -> None:
    found = planned("<|python_tag|>" + HERMES.replace("<tool_call>", ""), tools=(ADD,))
    assert "<|python_tag|>" in found.request.preserved
    assert "<|eot_id|>" not in found.request.preserved


def test_thinking_that_the_prompt_opens_is_reasoning() -> None:
    whole = answer(planned(THINKS), "Hm\n</think>\n\nFour")
    assert (whole.reasoning, whole.content) == ("Hm", "Four")


def test_an_answer_that_is_held_is_not_thought_about() -> None:
    found = planned(THINKS, constraint=Constraint("json_schema", {"type": "object"}))
    assert found.request.prompt.endswith("<assistant><think>\n\n</think>\n\n")
    assert found.request.json_schema == {"type": "object"}
    assert answer(found, "{}").content == "{}"


def test_shared_parts_of_schemas_keep_apart() -> None:
    def tool(name: str, kind: str, place: str) -> Tool:
        part = {"properties": {"x": {"$ref": f"{place}/X"}}, "$defs": {"X": {"type": kind}}}
        return Tool(name, "", part)

    # litellm leaves the # out.
    tools = (tool("f", "string", "#/$defs"), tool("g", "number", "/$defs"))
    schema = planned(
        PLAIN,
        tools=tools,
        constraint=Constraint("json_schema", {"$ref": "#/$defs/X", "$defs": {"X": {}}}),
    ).request.json_schema
    assert schema is not None
    assert schema["$defs"] == {
        "0_X": {"type": "string"},
        "1_X": {"type": "number"},
        "answer_X": {},
    }
    assert schema["anyOf"][1] == {"$ref": "#/$defs/answer_X"}
    assert '"#/$defs/1_X"' in json.dumps(schema)
    assert tools[0].parameters["$defs"] == {"X": {"type": "string"}}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tool_choice": ToolChoice("required", "f"), "tools": (ADD,)}, "'f' is not one of"),
        ({"tool_choice": ToolChoice("required")}, "there are no tools"),
        (
            {
                "tool_choice": ToolChoice("required"),
                "tools": (ADD,),
                "constraint": Constraint("json_object"),
            },
            "held to a format",
        ),
        ({"tools": (ADD,), "constraint": Constraint("regex", text="a")}, "no room for calls"),
    ],
)
def test_what_cannot_be_both_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidField, match=problem):
        planned(HERMES, **fields)


def test_ids_are_given_in_or_counted_beside_those_there_are() -> None:
    text = '<tool_call>{"name": "add"}{"name": "add"}</tool_call>'
    chat = Chat("m", (ASKED,), tools=(ADD,))
    found = plan(chat, ModelDefaults(template=HERMES), FACTS, render, lambda: "mine")
    assert [call.id for call in answer(found, text).calls] == ["mine", "mine"]
    earlier = Message("assistant", tool_calls=(ToolCall("call_1", "add", "{}"),))
    counted = planned(HERMES, (ASKED, earlier), tools=(ADD,))
    assert [call.id for call in answer(counted, text).calls] == ["call_2", "call_3"]
