"""pytest tests/pyserver/test_openai_chat.py: each field of a chat body is honoured or refused."""

import base64
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.sounds import wav
from transom_api.chat import Audio, Chat, Constraint, Image, Message, Text, Tool, ToolCall
from transom_api.fields import InvalidField
from transom_api.openai.chat import ChatRequest, read_chat
from transom_api.openai.completions import read_completion
from transom_api.openai.embeddings import read_embeddings

HELLO = {"role": "user", "content": "hello"}
BODY: Mapping[str, Any] = {"model": "tiny", "messages": [HELLO]}
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
WAV = base64.b64encode(wav()).decode()
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def read(**fields: Any) -> ChatRequest:
    return read_chat({**BODY, **fields})


def chat(**fields: Any) -> Chat:
    return read(**fields).chat


def said(*messages: Mapping[str, Any]) -> tuple[Message, ...]:
    return chat(messages=list(messages)).messages


def test_the_least_body() -> None:
    asked = read()
    assert asked.model == "tiny"
    assert not asked.include_usage
    assert not asked.legacy_functions
    assert asked.chat == Chat(
        model="tiny",
        messages=(Message("user", (Text("hello"),)),),
        fallback_options={"temperature": 1.0, "top_p": 1.0},
    )


def test_null_is_as_good_as_absent() -> None:
    names = "temperature stop tools tool_choice response_format logit_bias n seed stream_options"
    assert read(**dict.fromkeys(names.split())) == read()


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"top_k": -1}, {"top_k": -1}),
        ({"min_p": 0.1}, {"min_p": 0.1}),
        ({"typical_p": 0.9}, {"typical_p": 0.9}),
        ({"repeat_penalty": 1.1}, {"repeat_penalty": 1.1}),
        ({"repetition_penalty": 1.1}, {"repeat_penalty": 1.1}),
        ({"repeat_last_n": 32}, {"repeat_last_n": 32}),
        ({"frequency_penalty": -2, "presence_penalty": 2},
         {"frequency_penalty": -2.0, "presence_penalty": 2.0}),
        ({"max_tokens": 7}, {"num_predict": 7}),
        ({"max_completion_tokens": 7.0}, {"num_predict": 7}),
        ({"max_tokens": 7, "max_completion_tokens": 7}, {"num_predict": 7}),
        ({"max_tokens": -1}, {"num_predict": -1}),
        ({"n_predict": 7}, {"num_predict": 7}),
        ({"num_predict": 7}, {"num_predict": 7}),
        ({"n_keep": 3}, {"num_keep": 3}),
        ({"seed": 42}, {"seed": 42}),
        ({"seed": -1}, {"seed": -1}),
        ({"seed": 2**63 - 1}, {"seed": (2**63 - 1) % (2**53 - 1)}),
        ({"stop": "END"}, {"stop": ("END",)}),
        ({"stop": ["a", "b"]}, {"stop": ("a", "b")}),
        ({"stop": []}, {}),
        ({"num_ctx": 8192}, {"num_ctx": 8192}),
        ({"options": {"num_ctx": 8192, "top_k": 5}}, {"num_ctx": 8192, "top_k": 5}),
        ({"options": {"num_ctx": 8192}, "num_ctx": 4096}, {"num_ctx": 4096}),
        ({"options": {"who_knows": 1}}, {}),
    ],
)  # fmt: skip
def test_options(fields: dict[str, Any], options: dict[str, Any]) -> None:
    assert chat(**fields).options == options


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({"n": 3}, {"choices": 3}),
        ({"n_cmpl": 3}, {"choices": 3}),
        ({"logit_bias": {"5": -100, "7": 1.5}}, {"logit_bias": {5: -100.0, 7: 1.5}}),
        ({"logprobs": True}, {"logprobs": True}),
        ({"logprobs": True, "top_logprobs": 20}, {"logprobs": True, "top_logprobs": 20}),
        ({"top_logprobs": 0}, {}),
        ({"stream": True}, {"stream": True}),
        ({"stop_token_ids": [2, 3]}, {"stop_token_ids": (2, 3)}),
        ({"ignore_eos": True}, {"ignore_eos": True}),
        ({"cache_prompt": False}, {"cache_prompt": False}),
        ({"keep_alive": "5m"}, {"keep_seconds": 300.0}),
        ({"keep_alive": 0}, {"keep_seconds": 0.0}),
        ({"reasoning_effort": "high"}, {"thinks": True, "effort": "high"}),
        ({"reasoning_effort": "none"}, {"thinks": False}),
        ({"reasoning": {"effort": "low"}}, {"thinks": True, "effort": "low"}),
        ({"reasoning": {"enabled": False}}, {"thinks": False}),
        ({"enable_thinking": False}, {"thinks": False}),
        (
            {"chat_template_kwargs": {"enable_thinking": False, "x": 1}},
            {"thinks": False, "template_variables": {"enable_thinking": False, "x": 1}},
        ),
        ({"documents": [{"title": "a", "text": "b"}, "c"]},
         {"documents": ({"title": "a", "text": "b"}, {"text": "c"})}),
        ({"chat_template": "{{ messages }}"}, {"template": "{{ messages }}"}),
        ({"add_generation_prompt": True}, {}),
    ],
)  # fmt: skip
def test_other_fields(fields: dict[str, Any], more: dict[str, Any]) -> None:
    expected = {name: getattr(chat(), name) for name in Chat.__slots__} | more
    assert chat(**fields) == Chat(**expected)


@pytest.mark.parametrize(
    "name",
    "user metadata store service_tier safety_identifier prompt_cache_key prompt_cache_retention "
    "verbosity prediction modalities never_heard_of".split(),
)
def test_what_changes_no_answer_is_passed_over(name: str) -> None:
    values: dict[str, Any] = {"store": True, "metadata": {"a": "b"}, "modalities": ["text"]}
    values |= {"prediction": {"type": "content", "content": "x"}}
    assert read(**{name: values.get(name, "low")}) == read()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 3}, "model"),
        ({"model": "tiny:ctx=0"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": 1.5}, "top_k"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"repetition_penalty": 1.1, "repeat_penalty": 1.2}, "repetition_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -2}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_completion_tokens"),
        ({"options": {"top_k": "x"}}, "options.top_k"),
        ({"options": []}, "options"),
        ({"seed": 0.5}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a", 3]}, "stop[1]"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 2, "n_cmpl": 3}, "n_cmpl"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"the": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5"),
        ({"logprobs": 3}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"continuous_usage_stats": True}},
         "stream_options.continuous_usage_stats"),
        ({"stop_token_ids": ["</s>"]}, "stop_token_ids[0]"),
        ({"stop_token_ids": [-1]}, "stop_token_ids[0]"),
        ({"keep_alive": "long"}, "keep_alive"),
        ({"reasoning_effort": "hard"}, "reasoning_effort"),
        ({"reasoning_effort": "none", "enable_thinking": True}, "reasoning_effort"),
        ({"reasoning": {"max_tokens": 5}}, "reasoning.max_tokens"),
        ({"reasoning_format": "none"}, "reasoning_format"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"documents": [3]}, "documents[0]"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"web_search_options": {"a": 1}}, "web_search_options"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"length_penalty": 2.0}, "length_penalty"),
        ({"min_tokens": 5}, "min_tokens"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"allowed_token_ids": [1]}, "allowed_token_ids"),
        ({"bad_words": ["x"]}, "bad_words"),
        ({"thinking_token_budget": 9}, "thinking_token_budget"),
        ({"priority": 1}, "priority"),
        ({"cache_salt": "x"}, "cache_salt"),
        ({"mirostat": 1}, "mirostat"),
        ({"dry_multiplier": 0.8}, "dry_multiplier"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
    ],
)  # fmt: skip
def test_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(**fields)
    assert refused.value.param == param
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_what_asks_for_nothing_is_not_refused() -> None:
    assert read(length_penalty=1.0, min_tokens=0, mirostat=0, echo=False, best_of=None) == read()


@pytest.mark.parametrize("body", [None, 3, "x", [], [BODY]])
def test_a_body_is_an_object(body: object) -> None:
    with pytest.raises(InvalidField, match="must be an object") as refused:
        read_chat(body)
    assert refused.value.param is None


@pytest.mark.parametrize(
    ("fields", "header", "tokens"),
    [
        ({}, "8192", 8192),
        ({"model": "tiny:ctx=4096"}, None, 4096),
        ({"model": "tiny:ctx=4096"}, "8192", 8192),
        ({"model": "tiny:ctx=4096", "num_ctx": 2048}, "8192", 2048),
        ({"options": {"num_ctx": 2048}}, "8192", 2048),
    ],
)
def test_the_context_in_every_way(fields: dict[str, Any], header: str | None, tokens: int) -> None:
    asked = read_chat({**BODY, **fields}, header)
    assert asked.chat.options == {"num_ctx": tokens}
    assert asked.chat.model == "tiny"
    assert asked.model == fields.get("model", "tiny")


@pytest.mark.parametrize("header", ["", "many", "0", "-1", "9" * 11, "٣"])
def test_a_bad_context_header(header: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read_chat(BODY, header)
    assert refused.value.param == "X-Transom-Context"


def test_a_tag_is_no_context() -> None:
    assert chat(model="me/tiny:q4").model == "me/tiny:q4"
    assert chat(model="me/tiny:q4:ctx=512").model == "me/tiny:q4"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"role": "system", "content": "x"}, Message("system", (Text("x"),))),
        ({"role": "developer", "content": "x"}, Message("system", (Text("x"),))),
        ({"role": "user", "content": "x", "name": "Ann"},
         Message("user", (Text("x"),), name="Ann")),
        ({"role": "user", "content": ""}, Message("user")),
        ({"role": "assistant", "content": "x", "reasoning_content": "y"},
         Message("assistant", (Text("x"),), reasoning="y")),
        ({"role": "assistant", "refusal": "no"}, Message("assistant", (Text("no"),))),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
         Message("assistant", (Text("no"),))),
        ({"role": "tool", "content": "4", "tool_call_id": "c1"},
         Message("tool", (Text("4"),), tool_call_id="c1")),
        ({"role": "tool", "content": [{"type": "text", "text": "4"}], "tool_call_id": "c1"},
         Message("tool", (Text("4"),), tool_call_id="c1")),
        ({"role": "user", "content": [
            {"type": "text", "text": "what is"},
            {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
            {"type": "image_url", "image_url": PNG_URL},
            {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}]},
         Message("user", (Text("what is"), Image(PNG), Image(PNG), Audio(wav(), "wav", 0.5)))),
        ({"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]},
         Message("assistant", tool_calls=(ToolCall("c1", "add", "{}"),))),
        ({"role": "assistant", "tool_calls": [
            {"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}]},
         Message("assistant", tool_calls=(ToolCall("c1", "add", '{"a": 1}'),))),
    ],
)  # fmt: skip
def test_messages(row: dict[str, Any], message: Message) -> None:
    assert said(row) == (message,)


def test_functions_of_old_have_calls_with_ids() -> None:
    call = {"role": "assistant", "function_call": {"name": "add", "arguments": "{}"}}
    answer = {"role": "function", "name": "add", "content": "4"}
    assert said(HELLO, call, answer)[1:] == (
        Message("assistant", tool_calls=(ToolCall("call_1", "add", "{}"),)),
        Message("tool", (Text("4"),), tool_call_id="call_1", name="add"),
    )


@pytest.mark.parametrize(
    ("row", "param"),
    [
        ("hello", ""),
        ({}, ".role"),
        ({"role": "king", "content": "x"}, ".role"),
        ({"role": "user"}, ".content"),
        ({"role": "user", "content": 3}, ".content"),
        ({"role": "user", "content": ["x"]}, ".content[0]"),
        ({"role": "user", "content": [{"type": "video_url"}]}, ".content[0].type"),
        ({"role": "system", "content": [{"type": "image_url"}]}, ".content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, ".content[0].text"),
        ({"role": "user", "content": [{"type": "image_url"}]}, ".content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "//x/y.png"}}]},
            ".content[0].image_url.url",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": PNG_URL + "?"}]},
            ".content[0].image_url",
        ),
        (
            {"role": "user", "content": [
                {"type": "input_audio", "input_audio": {"data": "é", "format": "wav"}}]},
            ".content[0].input_audio.data",
        ),
        ({"role": "tool", "content": "x"}, ".tool_call_id"),
        ({"role": "function", "content": "x"}, ".name"),
        ({"role": "assistant"}, ".content"),
        ({"role": "assistant", "audio": {"id": "x"}}, ".audio"),
        ({"role": "assistant", "tool_calls": [{"id": "x"}]}, ".tool_calls[0].function"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "a"}}]},
            ".tool_calls[0].id",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "x", "type": "custom"}]},
            ".tool_calls[0].type",
        ),
    ],
)  # fmt: skip
def test_refused_messages(row: object, param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        chat(messages=[HELLO, row])
    assert refused.value.param == f"messages[1]{param}"


def test_going_on_with_the_last_message() -> None:
    begun = {"role": "assistant", "content": "Once"}
    asked = chat(messages=[HELLO, begun], continue_final_message=True, add_generation_prompt=False)
    assert (asked.continues_last, asked.must_continue) == (True, True)
    asked = chat(messages=[HELLO, begun], add_generation_prompt=False)
    assert (asked.continues_last, asked.must_continue) == (True, True)
    asked = chat(messages=[HELLO, begun])
    assert (asked.continues_last, asked.must_continue) == (True, False)
    for another in ({"continue_final_message": False}, {"add_generation_prompt": True}):
        asked = chat(messages=[HELLO, begun], **another)
        assert (asked.continues_last, asked.must_continue) == (False, False)
    called = {"role": "assistant", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}  # fmt: skip
    assert not chat(messages=[HELLO, called]).continues_last
    with pytest.raises(InvalidField, match="begins a new message"):
        chat(messages=[HELLO, begun], continue_final_message=True, add_generation_prompt=True)


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, Constraint("json_object")),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}},
         Constraint("json_schema", schema=SCHEMA)),
        ({"response_format": {"type": "json_object", "schema": json.dumps(SCHEMA)}},
         Constraint("json_schema", schema=SCHEMA)),
        ({"response_format": {"type": "json_schema",
                              "json_schema": {"name": "a", "strict": True, "schema": SCHEMA}}},
         Constraint("json_schema", schema=SCHEMA)),
        ({"response_format": {"type": "json_schema", "schema": SCHEMA}},
         Constraint("json_schema", schema=SCHEMA)),
        ({"response_format": {"type": "grammar", "grammar": "root ::= [a]"}},
         Constraint("grammar", text="root ::= [a]")),
        ({"response_format": {"type": "regex", "regex": "a+"}}, Constraint("regex", text="a+")),
        ({"response_format": {"type": "regex", "value": "a+"}}, Constraint("regex", text="a+")),
        ({"grammar": "root ::= [a]"}, Constraint("grammar", text="root ::= [a]")),
        ({"grammar": ""}, None),
        ({"json_schema": SCHEMA}, Constraint("json_schema", schema=SCHEMA)),
        ({"guided_json": json.dumps(SCHEMA)}, Constraint("json_schema", schema=SCHEMA)),
        ({"guided_regex": "a+"}, Constraint("regex", text="a+")),
        ({"guided_choice": ["a", "b", "a"]}, Constraint("choice", choices=("a", "b"))),
        ({"guided_grammar": "root ::= [a]"}, Constraint("grammar", text="root ::= [a]")),
        ({"structured_outputs": {"choice": ["a"]}}, Constraint("choice", choices=("a",))),
        ({"structured_outputs": {"json": SCHEMA}}, Constraint("json_schema", schema=SCHEMA)),
        ({"structured_outputs": {"json_object": True}}, Constraint("json_object")),
        ({"structured_outputs": {}}, None),
        ({"structured_outputs": {"regex": "a+"}, "response_format": {"type": "text"}},
         Constraint("regex", text="a+")),
    ],
)  # fmt: skip
def test_constraints(fields: dict[str, Any], constraint: Constraint | None) -> None:
    assert chat(**fields).constraint == constraint


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "structural_tag"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
         "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": "{"}}},
         "response_format.json_schema.schema"),
        ({"response_format": {"type": "grammar"}}, "response_format.grammar"),
        ({"response_format": {"type": "regex"}}, "response_format.regex"),
        ({"guided_json": [1]}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["a", ""]}, "guided_choice"),
        ({"grammar": 3}, "grammar"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"json": {}, "regex": "a"}}, "structured_outputs.regex"),
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex"),
    ],
)  # fmt: skip
def test_refused_constraints(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(**fields)
    assert refused.value.param == param


def test_tools() -> None:
    function = {"name": "add", "description": "adds", "parameters": SCHEMA, "strict": True}
    asked = chat(tools=[{"type": "function", "function": function}])
    assert asked.tools == (Tool("add", "adds", SCHEMA, True),)
    assert (asked.tool_choice.mode, asked.tool_choice.name) == ("auto", None)


@pytest.mark.parametrize(
    ("choice", "mode", "name"),
    [
        ("none", "none", None),
        ("auto", "auto", None),
        ("required", "required", None),
        ({"type": "function", "function": {"name": "add"}}, "required", "add"),
        ({"type": "function", "name": "add"}, "required", "add"),
    ],
)
def test_tool_choice(choice: object, mode: str, name: str | None) -> None:
    found = chat(tools=[ADD], tool_choice=choice, parallel_tool_calls=False).tool_choice
    assert (found.mode, found.name, found.parallel) == (mode, name, False)
    # Of a function that is named, exactly one call is made.
    assert chat(tools=[ADD], tool_choice=choice).tool_choice.parallel is (name is None)


def test_functions_are_tools_of_old() -> None:
    asked = read(functions=[ADD["function"]], function_call={"name": "add"})
    assert asked.legacy_functions
    assert asked.chat.tools == (Tool("add", parameters={"type": "object"}),)
    choice = asked.chat.tool_choice
    assert (choice.mode, choice.name, choice.parallel) == ("required", "add", False)
    assert read(functions=[ADD["function"]], function_call="none").chat.tool_choice.mode == "none"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"function": {"name": "a", "parameters": 3}}]}, "tools[0].function.parameters"),
        ({"tools": [ADD, ADD]}, "tools[1]"),
        ({"tools": [ADD] * 513}, "tools"),
        ({"tool_choice": "any"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [ADD], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.type"),
        ({"tools": [ADD], "tool_choice": {"type": "function", "function": {"name": "b"}}},
         "tool_choice.function.name"),
        ({"tools": [ADD], "functions": [ADD["function"]]}, "tools"),
        ({"functions": [ADD["function"]], "function_call": "required"}, "function_call"),
        ({"function_call": {"name": "add"}}, "function_call.name"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ],
)  # fmt: skip
def test_refused_tools(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(**fields)
    assert refused.value.param == param


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["auto", "none", "function", "user", "assistant", "json_schema", PNG_URL])
)
NAMES = st.sampled_from(
    "model messages role content type text image_url url input_audio data format tool_calls id "
    "function name arguments tools tool_choice parameters functions function_call response_format "
    "json_schema schema grammar regex structured_outputs choice guided_json options num_ctx "
    "max_tokens seed stop n logit_bias logprobs top_logprobs stream stream_options include_usage "
    "stop_token_ids keep_alive reasoning reasoning_effort effort chat_template_kwargs documents "
    "prompt echo best_of suffix input encoding_format dimensions modalities 5".split()
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6)
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(NAMES, JUNK, max_size=8), st.booleans())
def test_junk_is_refused_by_its_field(junk: dict[str, Any], sound: bool) -> None:
    for reader, least in (
        (read_chat, BODY),
        (read_completion, {"model": "tiny", "prompt": "x"}),
        (read_embeddings, {"model": "tiny", "input": "x"}),
    ):
        # Anything else that is raised fails the test.
        with contextlib.suppress(InvalidField):
            reader({**junk, **least} if sound else junk)
