"""pytest tests/pyserver/test_anthropic_messages.py: bodies of /v1/messages, and events of answers.

Nothing runs: requests are read, and answers made of deltas, by hand.
"""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transom_api.anthropic.errors import error_body
from transom_api.anthropic.messages import read_count_tokens, read_messages
from transom_api.anthropic.writer import MessagesWriter
from transom_api.chat import Constraint, Image, Message, Text, Tool, ToolCall, ToolChoice
from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Delta,
    Ended,
    Reasoning,
    Usage,
)
from transom_api.engine import ContextOverflow, EngineFailed
from transom_api.fields import InvalidField
from transom_api.session import Answer

HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {"name": "weather", "description": "of a town", "input_schema": {"type": "object"}}
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"
USED = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"town": "Oulu"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "snow"}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "max_tokens": 9, "messages": HELLO, **fields}


def turns(*messages: tuple[str, Any]) -> tuple[Message, ...]:
    rows = [{"role": role, "content": content} for role, content in messages]
    return read_messages(body(messages=rows)).chat.messages


def said(text: str) -> tuple[Text, ...]:
    return (Text(text),)


def text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}]


def user(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


# What is honoured


def test_the_smallest_request() -> None:
    asked = read_messages(body())
    assert asked.chat.model == "tiny"
    assert asked.chat.messages == (Message("user", said("hello")),)
    assert asked.chat.options == {"num_predict": 9}
    assert (asked.chat.stream, asked.chat.thinks, asked.chat.continues_last) == (False, None, False)


def test_options_have_the_core_s_names() -> None:
    asked = read_messages(
        body(temperature=1, top_p=0.5, top_k=3, stop_sequences=["END"], stream=True)
    )
    assert asked.chat.options == {
        "num_predict": 9,
        "temperature": 1.0,
        "top_p": 0.5,
        "top_k": 3,
        "stop": ("END",),
    }
    assert asked.chat.stream
    assert asked.stop_sequences == ("END",)


def test_the_context_may_be_asked_for_as_in_openai_s_dialect() -> None:
    assert read_messages(body(), "64").chat.options["num_ctx"] == 64
    suffixed = read_messages(body(model="tiny:ctx=128"))
    assert suffixed.chat.options["num_ctx"] == 128
    assert (suffixed.chat.model, suffixed.model) == ("tiny", "tiny:ctx=128")


@pytest.mark.parametrize(
    "system", ["be brief", [{"type": "text", "text": "be brief", "cache_control": {}}]]
)
def test_a_system_text_is_the_first_message(system: Any) -> None:
    assert read_messages(body(system=system)).chat.messages[0] == Message(
        "system", said("be brief")
    )


def test_blocks_of_system_are_lines() -> None:
    blocks = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_messages(body(system=blocks)).chat.messages[0].text == "a\nb"


def test_a_system_message_in_the_middle() -> None:
    found = turns(("user", "1"), ("assistant", "2"), ("system", "3"), ("user", "4"))
    assert [message.role for message in found] == ["user", "assistant", "system", "user"]


def test_neighbours_of_one_role_are_one_turn() -> None:
    (only,) = turns(("user", "one"), ("user", [{"type": "text", "text": "two"}]))
    assert only.text == "one\n\ntwo"


def test_an_image_is_its_bytes() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(PNG).decode()}
    (message,) = turns(("user", [{"type": "image", "source": source}, *text("what is it?")]))
    assert message.parts == (Image(PNG), Text("what is it?"))


def test_a_document_of_text_is_text() -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "words"}
    document = {"type": "document", "source": source, "title": "A title", "citations": {}}
    (message,) = turns(("user", [document]))
    assert message.text == "A title\nwords\n"


def test_a_search_result_is_text() -> None:
    found = {"type": "search_result", "title": "T", "source": "S", "content": text("words")}
    (message,) = turns(("user", [found]))
    assert message.text == "T\nS\nwords\n"


def test_a_call_and_its_answer() -> None:
    thought = {"type": "thinking", "thinking": "look it up", "signature": "x"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    found = turns(
        ("user", "weather?"),
        ("assistant", [thought, hidden, *text("I look."), USED]),
        ("user", [RESULT, *text("and now?")]),
    )
    call = ToolCall("toolu_1", "weather", '{"town": "Oulu"}')
    assert found == (
        Message("user", said("weather?")),
        Message("assistant", said("I look."), "look it up", (call,)),
        Message("tool", said("snow"), tool_call_id="toolu_1", name="weather"),
        Message("user", said("and now?")),
    )


def test_a_tool_that_failed_says_so() -> None:
    failed = {**RESULT, "content": text("no such town"), "is_error": True}
    found = turns(("user", "weather?"), ("assistant", [USED]), ("user", [failed]))
    assert found[-1].text == "Error: no such town"


def test_the_model_s_last_turn_is_gone_on_with() -> None:
    rows = [*HELLO, {"role": "assistant", "content": "The best answer is ("}]
    assert read_messages(body(messages=rows)).chat.continues_last


def test_tools() -> None:
    spare = {**WEATHER, "name": "other", "strict": True, "input_examples": [{"town": "Oulu"}]}
    chat = read_messages(body(tools=[WEATHER, spare])).chat
    assert chat.tools == (
        Tool("weather", "of a town", {"type": "object"}),
        Tool("other", 'of a town\nExample: {"town": "Oulu"}', {"type": "object"}, True),
    )
    assert chat.tool_choice == ToolChoice()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "any"}, ToolChoice("required")),
        ({"type": "tool", "name": "weather"}, ToolChoice("required", "weather", parallel=False)),
        (
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": False},
            ToolChoice("required", "weather"),
        ),
        ({"type": "none"}, ToolChoice("none")),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            ToolChoice("required", parallel=False),
        ),
    ],
)
def test_tool_choice(choice: Any, expected: ToolChoice) -> None:
    assert read_messages(body(tools=[WEATHER], tool_choice=choice)).chat.tool_choice == expected


@pytest.mark.parametrize(
    ("thinking", "thinks", "omits"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, True, False),
        ({"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, True, True),
        ({"type": "adaptive"}, None, False),
        ({"type": "disabled"}, False, False),
    ],
)
def test_thinking(thinking: Any, thinks: bool | None, omits: bool) -> None:
    asked = read_messages(body(thinking=thinking, max_tokens=2000))
    assert (asked.chat.thinks, asked.omits_thinking) == (thinks, omits)
    budget = {"thinking_budget": 1024} if thinks else {}
    assert asked.chat.template_variables == budget


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_an_answer_of_a_schema(place: str) -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    value = {"format": form, "effort": "max"} if place == "output_config" else form
    chat = read_messages(body(**{place: value})).chat
    assert chat.constraint == Constraint("json_schema", {"type": "object"})
    assert chat.effort == ("max" if place == "output_config" else None)


def test_what_changes_nothing_is_passed_over() -> None:
    keep = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    extra: dict[str, Any] = {
        "metadata": {"user_id": "me"},
        "service_tier": "auto",
        "speed": "standard",
        "cache_control": {"type": "ephemeral"},
        "context_management": keep,
        "mcp_servers": [],
        "container": None,
        "never heard of": 1,
    }
    assert read_messages(body(**extra)) == read_messages(body())


def test_tokens_are_counted_of_the_same_body() -> None:
    asked = body(system="be brief", tools=[WEATHER])
    expected = read_messages(asked).chat
    del asked["max_tokens"]
    found = read_count_tokens(asked)
    assert (found.messages, found.tools) == (expected.messages, expected.tools)


# What is refused


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"model": None}, "model", "missing"),
        ({"model": 3}, "model", "string"),
        ({"max_tokens": None}, "max_tokens", "missing"),
        ({"max_tokens": 0}, "max_tokens", "from 1"),
        ({"max_tokens": True}, "max_tokens", "whole number"),
        ({"messages": None}, "messages", "empty"),
        ({"messages": "hello"}, "messages", "list"),
        ({"messages": [3]}, "messages[0]", "object"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "not one of"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"messages": user({"type": "text"})}, "messages[0].content[0].text", "missing"),
        ({"messages": user({"type": "video"})}, "messages[0].content[0].type", "no place"),
        ({"messages": user(USED)}, "messages[0].content[0].type", "tool_use"),
        ({"messages": user(RESULT)}, "messages[0].content[0].tool_use_id", "no tool_use"),
        (
            {"messages": [*HELLO, {"role": "assistant", "content": [USED]}]},
            "messages",
            "no tool_result",
        ),
        (
            {"messages": user({"type": "image", "source": {"type": "url", "url": "x"}})},
            "messages[0].content[0].source.type",
            "base64",
        ),
        (
            {"messages": user({"type": "image", "source": {"type": "base64", "data": "!"}})},
            "messages[0].content[0].source.data",
            "no base64",
        ),
        (
            {"messages": user({"type": "image", "source": {"type": "base64", "data": "AAAA"}})},
            "messages[0].content[0].source.data",
            "PNG",
        ),
        ({"messages": user({"type": "image"})}, "messages[0].content[0].source", "missing"),
        (
            {"messages": user({"type": "document", "source": {"type": "base64", "data": "x"}})},
            "messages[0].content[0].source.type",
            "PDF",
        ),
        ({"system": [{"type": "image"}]}, "system[0].type", "only text"),
        ({"system": 3}, "system", "list"),
        ({"temperature": "hot"}, "temperature", "hot"),
        ({"top_p": 2}, "top_p", "2"),
        ({"stop_sequences": [3]}, "stop_sequences[0]", "string"),
        ({"stop_sequences": ["x" * 5000]}, "stop_sequences", "256"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"tools": [{"type": "web_search_20250305"}]}, "tools[0].type", "custom tool"),
        ({"tools": [{"name": "a b", "input_schema": {}}]}, "tools[0].name", "letters"),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema", "missing"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name", "two tools"),
        ({"tools": [{**WEATHER, "defer_loading": True}]}, "tools[0].defer_loading", "searched"),
        ({"tool_choice": {"type": "any"}}, "tool_choice", "no tools"),
        ({"tool_choice": {}}, "tool_choice.type", "missing"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}},
            "tool_choice.name",
            "none of the tools",
        ),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens", "missing"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            "thinking.budget_tokens",
            "less than max_tokens",
        ),
        ({"thinking": {"type": "between_tools"}}, "thinking.type", "not one of"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort", "not one of"),
        ({"output_config": {"format": {"type": "x"}}}, "output_config.format.type", "not one of"),
        ({"output_format": {}}, "output_format.schema", "missing"),
        ({"container": "c"}, "container", "no containers"),
        ({"mcp_servers": [{}]}, "mcp_servers", "MCP"),
        ({"speed": "fast"}, "speed", "one speed"),
        ({"metadata": 3}, "metadata", "object"),
        (
            {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
            "context_management.edits[0].type",
            "never changed",
        ),
    ],
)
def test_a_refusal_names_its_field(fields: dict[str, Any], param: str, says: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read_messages(body(**fields))
    assert refused.value.param == param
    assert says in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(
    "model messages max_tokens system tools tool_choice thinking stop_sequences metadata stream "
    "output_config output_format container temperature top_k top_p speed cache_control".split()
)
BLOCK = st.dictionaries(
    st.sampled_from("type text source id name input content tool_use_id thinking title".split()),
    st.sampled_from("text image document tool_use tool_result thinking search_result".split())
    | JSON,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, JSON, max_size=3), st.lists(BLOCK, max_size=3))
def test_junk_is_refused_by_its_field(junk: dict[str, Any], blocks: list[Any]) -> None:
    for role in ("user", "assistant"):
        sent = {"messages": [{"role": role, "content": blocks}], **junk}
        for asked in (sent, body(**sent), body(messages=sent["messages"])):
            # Nothing else is raised.
            with contextlib.suppress(InvalidField):
                read_messages(asked)


# Answers


def events(frames: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for frame in frames:
        event, data, *rest = frame.decode().split("\n")
        assert rest == ["", ""]
        kind = event.removeprefix("event: ")
        value = json.loads(data.removeprefix("data: "))
        assert value["type"] == kind
        found.append((kind, value))
    return found


ANSWER: list[Delta] = [
    Reasoning(0, "well"),
    Reasoning(0, "…"),
    Content(0, "I "),
    Content(0, "look."),
    Content(0, ""),
    CallBegins(0, 0, "toolu_1", "weather"),
    CallArguments(0, 0, '{"town":'),
    CallArguments(0, 0, '"Oulu"}'),
    CallBegins(0, 1, "toolu_2", "time"),
    CallArguments(0, 1, "{}"),
    Ended(0, "tool_calls"),
    Usage(20, 5, 9, reasoning_tokens=2),
]


def written(deltas: list[Delta], **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    writer = MessagesWriter(read_messages(body(**fields)), "msg_1")
    frames = writer.begin()
    for delta in deltas:
        frames += writer.write(delta)
    return events(frames + writer.end())


def test_the_events_of_a_stream() -> None:
    start, ping, *blocks, delta, stop = written(ANSWER)
    usage = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
    assert start[1]["message"] == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "tiny",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, **usage, "service_tier": "standard"},
    }
    assert ping == ("ping", {"type": "ping"})
    started, delta_of, stopped = "content_block_start", "content_block_delta", "content_block_stop"
    thinking = {"type": "thinking", "thinking": "", "signature": ""}
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    assert [
        (kind, value["index"], value.get("content_block", value.get("delta")))
        for kind, value in blocks
    ] == [
        (started, 0, thinking),
        (delta_of, 0, {"type": "thinking_delta", "thinking": "well"}),
        (delta_of, 0, {"type": "thinking_delta", "thinking": "…"}),
        (delta_of, 0, {"type": "signature_delta", "signature": ""}),
        (stopped, 0, None),
        (started, 1, {"type": "text", "text": ""}),
        (delta_of, 1, {"type": "text_delta", "text": "I "}),
        (delta_of, 1, {"type": "text_delta", "text": "look."}),
        (stopped, 1, None),
        (started, 2, call),
        (delta_of, 2, {"type": "input_json_delta", "partial_json": '{"town":'}),
        (delta_of, 2, {"type": "input_json_delta", "partial_json": '"Oulu"}'}),
        (stopped, 2, None),
        (started, 3, {**call, "id": "toolu_2", "name": "time"}),
        (delta_of, 3, {"type": "input_json_delta", "partial_json": "{}"}),
        (stopped, 3, None),
    ]
    assert delta[1]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert delta[1]["usage"] == {
        "input_tokens": 15,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 5,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 2},
    }
    assert stop == ("message_stop", {"type": "message_stop"})


def test_thoughts_that_are_not_shown() -> None:
    thinking = {"type": "adaptive", "display": "omitted"}
    found = written([Reasoning(0, "secret"), Content(0, "x"), Ended(0, "stop")], thinking=thinking)
    assert "secret" not in str(found)
    kinds = [value.get("content_block", {}).get("type") for _, value in found]
    assert [kind for kind in kinds if kind] == ["thinking", "text"]


@pytest.mark.parametrize(
    ("ended", "tokens", "expected"),
    [
        (Ended(0, "stop"), 5, ("end_turn", None)),
        (Ended(0, "stop", "END"), 5, ("stop_sequence", "END")),
        # One of the model's own.
        (Ended(0, "stop", "<|im_end|>"), 5, ("end_turn", None)),
        (Ended(0, "length"), 9, ("max_tokens", None)),
        (Ended(0, "length"), 5, ("model_context_window_exceeded", None)),
        (Ended(0, "tool_calls"), 5, ("tool_use", None)),
    ],
)
def test_why_an_answer_stopped(ended: Ended, tokens: int, expected: tuple[str, str | None]) -> None:
    usage = Usage(20, 5, tokens)
    *_, delta, _ = written([ended, usage], stop_sequences=["END"])
    assert tuple(delta[1]["delta"].values()) == expected
    answer = Answer(content="x", finish=ended.reason, stop=ended.stop)
    writer = MessagesWriter(read_messages(body(stop_sequences=["END"])), "msg_1")
    whole = writer.body([answer], usage)
    assert (whole["stop_reason"], whole["stop_sequence"]) == expected


def test_a_whole_message() -> None:
    answer = Answer()
    for delta in ANSWER:
        answer.take(delta)
    whole = MessagesWriter(read_messages(body()), "msg_1").body([answer], Usage(20, 5, 9))
    assert whole["content"] == [
        {"type": "thinking", "thinking": "well…", "signature": ""},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"town": "Oulu"}},
        {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
    ]
    assert whole["stop_reason"] == "tool_use"
    assert (whole["usage"]["input_tokens"], whole["usage"]["output_tokens"]) == (15, 9)


def test_arguments_that_were_cut_off_are_none() -> None:
    answer = Answer(calls=[ToolCall("toolu_1", "weather", '{"town": "Ou')], finish="length")
    whole = MessagesWriter(read_messages(body()), "msg_1").body([answer], Usage(20, 0, 9))
    assert whole["content"][0]["input"] == {}
    assert whole["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ContextOverflow("too long"), "invalid_request_error", "too long"),
        (EngineFailed("it broke"), "api_error", "it broke"),
        (ValueError("a path of this machine"), "api_error", "the server failed; its log says why"),
    ],
)
def test_an_error_in_the_middle(error: Exception, kind: str, says: str) -> None:
    writer = MessagesWriter(read_messages(body()), "msg_1")
    ((name, value),) = events(writer.fail(error))
    assert name == "error"
    assert value["error"] == {"type": kind, "message": says}


@pytest.mark.parametrize(
    ("status", "given", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (404, 404, "not_found_error"),
        (405, 405, "invalid_request_error"),
        (413, 413, "request_too_large"),
        (429, 429, "rate_limit_error"),
        (500, 500, "api_error"),
        (502, 502, "api_error"),
        (503, 529, "overloaded_error"),
    ],
)
def test_errors_have_anthropic_s_status(status: int, given: int, kind: str) -> None:
    found = error_body(status, "why", "req_1")
    error = {"type": kind, "message": "why"}
    assert found == (given, {"type": "error", "error": error, "request_id": "req_1"})
