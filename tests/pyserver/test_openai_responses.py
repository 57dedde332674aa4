"""pytest tests/pyserver/test_openai_responses.py: bodies of /v1/responses, and events of answers.

Nothing runs: requests are read, and answers made of deltas, by hand.
"""

import base64
import contextlib
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transom_api.chat import Constraint, Image, Message, Text, Tool, ToolCall, ToolChoice
from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Delta,
    Ended,
    Logprobs,
    Reasoning,
    TokenLogprob,
    Usage,
)
from transom_api.engine import ContextOverflow, EngineFailed
from transom_api.fields import InvalidField
from transom_api.openai_responses.kept import KeptResponse
from transom_api.openai_responses.kept_responses import KeptResponses
from transom_api.openai_responses.request import ResponseRequest, read_response_request
from transom_api.openai_responses.writer import ResponseWriter
from transom_api.session import Answer

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"
PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "snow"}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "input": "hello", **fields}


def read(kept: KeptResponses | None = None, /, **fields: Any) -> ResponseRequest:
    return read_response_request(body(**fields), kept or KeptResponses())


def said(text: str) -> tuple[Text, ...]:
    return (Text(text),)


# What is honoured


def test_the_smallest_request() -> None:
    asked = read()
    assert asked.chat.messages == (Message("user", said("hello")),)
    assert (asked.chat.model, asked.chat.stream, asked.store) == ("tiny", False, True)
    assert asked.chat.options == {}


def test_options_have_the_core_s_names() -> None:
    options = read(max_output_tokens=5, temperature=0, top_p=0.5, top_k=3).chat.options
    assert options == {"num_predict": 5, "temperature": 0.0, "top_p": 0.5, "top_k": 3}


def test_instructions_are_the_first_message_of_this_one_only() -> None:
    asked = read(instructions="be brief")
    assert asked.chat.messages[0] == Message("system", said("be brief"))
    assert asked.messages == (Message("user", said("hello")),)


def test_messages_of_every_role() -> None:
    items = [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "1"}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "2", "annotations": []}],
        },
    ]
    assert read(input=items).chat.messages == (
        Message("system", said("be brief")),
        Message("user", said("1")),
        Message("assistant", said("2")),
    )


def test_a_last_item_of_the_model_is_gone_on_with() -> None:
    begun = {"role": "assistant", "content": "Once"}
    chat = read(input=[{"role": "user", "content": "?"}, begun]).chat
    assert (chat.continues_last, chat.must_continue) == (True, False)
    for fields, continues in (
        ({"continue_final_message": True}, (True, True)),
        ({"add_generation_prompt": False}, (True, True)),
        ({"continue_final_message": False}, (False, False)),
        ({"add_generation_prompt": True}, (False, False)),
    ):
        chat = read(input=[{"role": "user", "content": "?"}, begun], **fields).chat
        assert (chat.continues_last, chat.must_continue) == continues
    thought = {"type": "reasoning", "summary": [], "content": [text("hm")]}
    assert read(input=[{"role": "user", "content": "?"}, thought]).chat.continues_last
    # A call is over, and waits for its answer.
    assert not read(input=[{"role": "user", "content": "?"}, CALL]).chat.continues_last
    assert not read().chat.continues_last


def test_an_image_is_its_bytes() -> None:
    image = {"type": "input_image", "image_url": PNG_URL, "detail": "auto"}
    (message,) = read(input=[{"role": "user", "content": [image]}]).chat.messages
    assert message.parts == (Image(PNG),)


def test_what_the_model_did_is_one_message() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [text("hm")]}
    items = [
        {"role": "user", "content": "weather?"},
        thought,
        {"role": "assistant", "content": "I look."},
        CALL,
        {**CALL, "call_id": "call_2"},
        OUTPUT,
        {**OUTPUT, "call_id": "call_2", "output": [{"type": "input_text", "text": "rain"}]},
    ]
    calls = (ToolCall("call_1", "weather", "{}"), ToolCall("call_2", "weather", "{}"))
    assert read(input=items).chat.messages == (
        Message("user", said("weather?")),
        Message("assistant", said("I look."), "hm", calls),
        Message("tool", said("snow"), tool_call_id="call_1", name="weather"),
        Message("tool", said("rain"), tool_call_id="call_2", name="weather"),
    )


def text(words: str) -> dict[str, Any]:
    return {"type": "reasoning_text", "text": words}


def test_tools_and_a_choice() -> None:
    other = {**WEATHER, "name": "other", "description": "more", "strict": True}
    chat = read(tools=[WEATHER, other], tool_choice={"type": "function", "name": "other"}).chat
    assert chat.tools[1] == Tool("other", "more", {"type": "object"}, True)
    assert chat.tool_choice == ToolChoice("required", "other", parallel=False)
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"name": "weather"}]}
    asked = read(tools=[WEATHER, other], tool_choice=allowed, parallel_tool_calls=False)
    assert [tool.name for tool in asked.chat.tools] == ["weather"]
    assert asked.chat.tool_choice == ToolChoice("required", parallel=False)
    assert [tool["name"] for tool in asked.repeated["tools"]] == ["weather", "other"]


@pytest.mark.parametrize(
    ("form", "constraint"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Constraint("json_object")),
        (
            {"type": "json_schema", "name": "x", "schema": {"type": "object"}},
            Constraint("json_schema", {"type": "object"}),
        ),
    ],
)
def test_an_answer_of_a_form(form: Any, constraint: Constraint | None) -> None:
    asked = read(text={"format": form, "verbosity": "low"})
    assert asked.chat.constraint == constraint
    assert asked.repeated["text"]["format"]["type"] == form["type"]
    assert asked.chat.template_variables == {"verbosity": "low"}


@pytest.mark.parametrize(
    ("reasoning", "thinks", "effort", "summarizes"),
    [
        ({}, None, None, False),
        ({"effort": "none"}, False, None, False),
        ({"effort": "high", "summary": "auto"}, True, "high", True),
    ],
)
def test_reasoning(
    reasoning: Any, thinks: bool | None, effort: str | None, summarizes: bool
) -> None:
    asked = read(reasoning=reasoning)
    assert (asked.chat.thinks, asked.chat.effort) == (thinks, effort)
    assert asked.summarizes == summarizes


def test_log_probabilities() -> None:
    chat = read(include=["message.output_text.logprobs"], top_logprobs=2).chat
    assert (chat.logprobs, chat.top_logprobs) == (True, 2)


def test_the_next_one_goes_on_with_the_last() -> None:
    store = KeptResponses()
    asked = read(store, instructions="be brief")
    writer = ResponseWriter(asked, "1", 1, store)
    writer.body([Answer(content="hi", calls=[ToolCall("call_1", "weather", "{}")])], Usage(1, 0, 1))
    following = read(store, previous_response_id="resp_1", input=[OUTPUT])
    assert following.chat.messages == (
        Message("user", said("hello")),
        Message("assistant", said("hi"), None, (ToolCall("call_1", "weather", "{}"),)),
        Message("tool", said("snow"), tool_call_id="call_1", name="weather"),
    )


def test_what_is_not_to_be_kept_is_not() -> None:
    store = KeptResponses()
    ResponseWriter(read(store, store=False), "1", 1, store).body([Answer()], Usage(1, 0, 1))
    assert store.get("resp_1") is None


# What is refused


def user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"model": None}, "model", "missing"),
        ({"input": None}, "input", "missing"),
        ({"input": []}, "input", "empty"),
        ({"input": 3}, "input", "list"),
        ({"input": [3]}, "input[0]", "object"),
        ({"input": [{}]}, "input[0].role", "missing"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0].content", "string"),
        ({"input": user({"type": "input_text"})}, "input[0].content[0].text", "missing"),
        ({"input": user({"type": "input_file"})}, "input[0].content[0].type", "input_text"),
        ({"input": user({"type": "video"})}, "input[0].content[0].type", "no place"),
        (
            {"input": user({"type": "input_image", "image_url": "http://localhost/x.png"})},
            "input[0].content[0].image_url",
            "data: URL",
        ),
        (
            {"input": user({"type": "input_image", "file_id": "x"})},
            "input[0].content[0].file_id",
            "base64",
        ),
        ({"input": [OUTPUT]}, "input[0].call_id", "no function_call"),
        ({"input": [CALL, {**OUTPUT, "output": None}]}, "input[1].output", "missing"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type", "the item itself"),
        ({"input": [{"type": "mcp_call"}]}, "input[0].type", "no place"),
        ({"previous_response_id": "resp_0"}, "previous_response_id", "no such response"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "give a function"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name", "two tools"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tool_choice": "any"}, "tool_choice", "not one of"),
        ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice.name", "none of"),
        ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice.type", "function"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.tools", "empty"),
        ({"text": {"format": {}}}, "text.format.type", "missing"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "not one of"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema", "missing"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "not one of"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode", "one mode"),
        ({"max_output_tokens": 0}, "max_output_tokens", "from 1"),
        ({"temperature": 1000}, "temperature", "1000"),
        ({"top_logprobs": 21}, "top_logprobs", "to 20"),
        ({"include": ["x"]}, "include[0]", "not known"),
        ({"metadata": {"a": 3}}, "metadata.a", "string"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "over 16"),
        ({"background": True}, "background", "client"),
        ({"conversation": "conv_1"}, "conversation", "previous_response_id"),
        ({"prompt": {"id": "x"}}, "prompt", "instructions"),
        ({"truncation": "auto"}, "truncation", "never cut"),
        ({"store": "no"}, "store", "true or false"),
    ],
)
def test_a_refusal_names_its_field(fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(**fields)
    assert refused.value.param == param
    assert says in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    "model input instructions tools tool_choice text reasoning max_output_tokens store stream "
    "previous_response_id include metadata top_logprobs truncation temperature prompt".split()
)
ITEM = st.dictionaries(
    st.sampled_from("type role content call_id name arguments output summary text".split()),
    st.sampled_from("message function_call function_call_output reasoning user assistant".split())
    | JSON,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, JSON, max_size=3), st.lists(ITEM, max_size=3))
def test_junk_is_refused_by_its_field(junk: dict[str, Any], items: list[Any]) -> None:
    for asked in ({"input": items, **junk}, body(**junk), body(input=items)):
        # Nothing else is raised.
        with contextlib.suppress(InvalidField):
            read_response_request(asked, KeptResponses())


# Answers


def events(frames: list[bytes]) -> list[dict[str, Any]]:
    found = []
    for frame in frames:
        event, data, *rest = frame.decode().split("\n")
        assert rest == ["", ""]
        value = json.loads(data.removeprefix("data: "))
        assert value["type"] == event.removeprefix("event: ")
        found.append(value)
    assert [value.pop("sequence_number") for value in found] == list(range(len(found)))
    return found


ANSWER: list[Delta] = [
    Reasoning(0, "hm"),
    Content(0, "I "),
    Content(0, "look."),
    CallBegins(0, 0, "call_1", "weather"),
    CallArguments(0, 0, '{"town":'),
    CallArguments(0, 0, '"Oulu"}'),
    CallBegins(0, 1, "call_2", "time"),
    CallArguments(0, 1, "{}"),
    Ended(0, "tool_calls"),
    Usage(20, 5, 9, reasoning_tokens=2),
]


def written(deltas: list[Delta], **fields: Any) -> list[dict[str, Any]]:
    writer = ResponseWriter(read(**fields), "t", 7, KeptResponses())
    frames = writer.begin()
    for delta in deltas:
        frames += writer.write(delta)
    return events(frames + writer.end())


def whole(deltas: list[Delta], **fields: Any) -> Mapping[str, Any]:
    answer = Answer()
    for delta in deltas[:-1]:
        answer.take(delta)
    usage = deltas[-1]
    assert isinstance(usage, Usage)
    return ResponseWriter(read(**fields), "t", 7, KeptResponses()).body([answer], usage)


THOUGHT = {
    "id": "rs_t00",
    "type": "reasoning",
    "status": "completed",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
}
PART = {"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}
SAID = {
    "id": "msg_t01",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [PART],
}
CALLED = {
    "id": "fc_t02",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"town":"Oulu"}',
}
CALLED_TOO = {
    **CALLED,
    "id": "fc_t03",
    "call_id": "call_2",
    "name": "time",
    "arguments": "{}",
}


def test_the_events_of_a_stream() -> None:
    found = written(ANSWER)
    created, progress, *middle, completed = found
    assert (created["type"], progress["type"]) == ("response.created", "response.in_progress")
    assert created["response"] == progress["response"]
    assert created["response"]["status"] == "in_progress"
    assert (created["response"]["output"], created["response"]["usage"]) == ([], None)
    added, part_added = "response.output_item.added", "response.content_part.added"
    done, part_done = "response.output_item.done", "response.content_part.done"
    arguments = "response.function_call_arguments"
    thought, message, call = (
        {"item_id": f"{name}_t{n:02}", "output_index": n}
        for n, name in enumerate(("rs", "msg", "fc"))
    )
    second = {"item_id": "fc_t03", "output_index": 3}
    thought |= {"content_index": 0}
    message |= {"content_index": 0}
    begun = {"status": "in_progress"}
    assert middle == [
        {
            "type": added,
            "output_index": 0,
            "item": {"id": "rs_t00", "type": "reasoning", **begun, "summary": []},
        },
        {"type": part_added, **thought, "part": {"type": "reasoning_text", "text": ""}},
        {"type": "response.reasoning_text.delta", **thought, "delta": "hm"},
        {"type": "response.reasoning_text.done", **thought, "text": "hm"},
        {"type": part_done, **thought, "part": {"type": "reasoning_text", "text": "hm"}},
        {"type": done, "output_index": 0, "item": THOUGHT},
        {"type": added, "output_index": 1, "item": {**SAID, **begun, "content": []}},
        {"type": part_added, **message, "part": {**PART, "text": ""}},
        {"type": "response.output_text.delta", **message, "delta": "I ", "logprobs": []},
        {"type": "response.output_text.delta", **message, "delta": "look.", "logprobs": []},
        {"type": "response.output_text.done", **message, "text": "I look.", "logprobs": []},
        {"type": part_done, **message, "part": PART},
        {"type": done, "output_index": 1, "item": SAID},
        {"type": added, "output_index": 2, "item": {**CALLED, **begun, "arguments": ""}},
        {"type": f"{arguments}.delta", **call, "delta": '{"town":'},
        {"type": f"{arguments}.delta", **call, "delta": '"Oulu"}'},
        {"type": f"{arguments}.done", **call, "name": "weather", "arguments": '{"town":"Oulu"}'},
        {"type": done, "output_index": 2, "item": CALLED},
        {"type": added, "output_index": 3, "item": {**CALLED_TOO, **begun, "arguments": ""}},
        {"type": f"{arguments}.delta", **second, "delta": "{}"},
        {"type": f"{arguments}.done", **second, "name": "time", "arguments": "{}"},
        {"type": done, "output_index": 3, "item": CALLED_TOO},
    ]
    assert completed["type"] == "response.completed"
    assert completed["response"]["status"] == "completed"
    assert completed["response"]["output"] == [THOUGHT, SAID, CALLED, CALLED_TOO]
    assert completed["response"]["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 29,
    }


@pytest.mark.parametrize("deltas", [ANSWER, [Ended(0, "stop"), Usage(1, 0, 0)]])
def test_a_whole_response_is_where_a_stream_ends(deltas: list[Delta]) -> None:
    assert whole(deltas) == written(deltas)[-1]["response"]


def test_a_response_repeats_its_request() -> None:
    response = whole(
        [Ended(0, "stop"), Usage(1, 0, 0)],
        instructions="be brief",
        metadata={"a": "b"},
        temperature=0.5,
        max_output_tokens=9,
        tools=[WEATHER],
        user="me",
    )
    assert (response["id"], response["object"], response["created_at"]) == ("resp_t", "response", 7)
    assert response["instructions"] == "be brief"
    assert response["metadata"] == {"a": "b"}
    assert (response["temperature"], response["max_output_tokens"]) == (0.5, 9)
    assert (response["tool_choice"], response["parallel_tool_calls"]) == ("auto", True)
    assert response["tools"] == [{**WEATHER, "description": None, "strict": False}]
    assert (response["user"], response["store"], response["model"]) == ("me", True, "tiny")


def test_an_answer_that_was_cut_is_incomplete() -> None:
    deltas: list[Delta] = [Content(0, "I lo"), Ended(0, "length"), Usage(1, 0, 2)]
    *_, item, last = written(deltas)
    assert item["item"]["status"] == "incomplete"
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert whole(deltas) == last["response"]


def test_thoughts_as_a_summary() -> None:
    deltas: list[Delta] = [Reasoning(0, "h"), Reasoning(0, "m"), Ended(0, "stop"), Usage(1, 0, 2)]
    found = written(deltas, reasoning={"summary": "auto"})
    assert [value["type"] for value in found[2:-1]] == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
    ]
    (item,) = found[-1]["response"]["output"]
    assert item["summary"] == [{"type": "summary_text", "text": "hm"}]


def test_log_probabilities_come_with_their_words() -> None:
    row = Logprobs(TokenLogprob("I", -0.5, (73,)), (TokenLogprob("U", float("-inf"), (85,)),))
    marker = Logprobs(TokenLogprob("<think>", -0.5, (60,)))
    deltas: list[Delta] = [
        Content(0, "", (marker,)),
        Content(0, "I"),
        Content(0, "", (row,)),
        Ended(0, "stop"),
        Usage(1, 0, 2),
    ]
    found = written(deltas, include=["message.output_text.logprobs"], top_logprobs=1)
    (delta,) = [value for value in found if value["type"] == "response.output_text.delta"]
    top = {"token": "U", "bytes": [85], "logprob": -9999.0}
    expected = {"token": "I", "bytes": [73], "logprob": -0.5, "top_logprobs": [top]}
    assert (delta["delta"], delta["logprobs"]) == ("I", [expected])
    assert found[-1]["response"]["output"][0]["content"][0]["logprobs"] == [expected]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ContextOverflow("too long"), "invalid_prompt", "too long"),
        (EngineFailed("it broke"), "server_error", "it broke"),
        (ValueError("a path"), "server_error", "the server failed; its log says why"),
    ],
)
def test_an_error_in_the_middle(error: Exception, code: str, says: str) -> None:
    writer = ResponseWriter(read(), "t", 7, KeptResponses())
    frames = [*writer.begin(), *writer.write(Content(0, "I ")), *writer.fail(error)]
    *_, event, failed = events(frames)
    assert event == {"type": "error", "code": code, "message": says, "param": None}
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": code, "message": says}


# What is kept


def kept(words: str) -> KeptResponse:
    return KeptResponse({}, (Message("user", said(words)),))


def test_the_longest_unused_response_goes_first() -> None:
    store = KeptResponses(most=2)
    store.put("a", kept("1"))
    store.put("b", kept("2"))
    assert store.get("a") is not None
    store.put("c", kept("3"))
    assert [name for name in "abc" if store.get(name)] == ["a", "c"]


def test_large_responses_make_room() -> None:
    store = KeptResponses(most_bytes=10)
    store.put("a", kept("x" * 6))
    store.put("b", kept("x" * 6))
    assert [name for name in "ab" if store.get(name)] == ["b"]
    store.put("c", kept("x" * 11))
    assert [name for name in "abc" if store.get(name)] == []
    store.put("d", kept("x" * 10))
    assert store.delete("d")
    assert not store.delete("d")
    store.put("e", kept("x" * 10))
    assert store.get("e") is not None
