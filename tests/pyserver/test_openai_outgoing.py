"""What another server is asked, and what its bytes are read as. Pure."""

import json
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transom_api.chat import Chat, Constraint, Image, Message, Text, ToolCall
from transom_api.deltas import Content, Ended, TokenLogprob, Usage
from transom_api.fields import InvalidField
from transom_api.openai.chat import read_chat
from transom_api.openai.completions import read_completion
from transom_api.openai.incoming import BadAnswer, ChunkReader, EventReader, ReportedError
from transom_api.openai.outgoing import Kind, counting, embedding, outgoing

OBJECT = {"type": "object", "properties": {}}
PNG = b"\x89PNG\r\n\x1a\n"


def user(*parts: Any) -> Message:
    return Message("user", parts or (Text("Hi"),))


def chat(**fields: Any) -> Chat:
    return Chat(**{"model": "m", "messages": (user(),), **fields})


def test_our_own_reader_takes_what_is_sent_to_another_transom() -> None:
    body = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be kind"},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "4"},
            {"role": "assistant", "content": "So"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": OBJECT}}],
        "tool_choice": "none",
        "temperature": 0.5,
        "top_k": 3,
        "repeat_last_n": 5,
        "num_ctx": 512,
        "max_tokens": 9,
        "stop": ["a", "b"],
        "seed": 4,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"5": 1.5},
        "stop_token_ids": [7],
        "ignore_eos": True,
        "cache_prompt": False,
        "keep_alive": 60,
        "lora": [{"id": 0, "scale": 0.5}],
        "reasoning_effort": "low",
        "chat_template_kwargs": {"custom": 1},
        "documents": [{"text": "d"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    }
    first = read_chat(body).chat
    sent = outgoing(first, "m", "transom")
    assert sent.path == "chat/completions"
    again = read_chat(sent.body).chat
    for name in Chat.__slots__:
        if name not in ("stream", "template_variables"):
            assert getattr(again, name) == getattr(first, name), name


def test_a_text_stays_a_text() -> None:
    (first,) = read_completion({"model": "m", "prompt": "Once", "logprobs": 2, "suffix": "!"}).chats
    sent = outgoing(first, "m", "vllm")
    assert sent.path == "completions"
    assert (sent.body["prompt"], sent.body["suffix"], sent.body["logprobs"]) == ("Once", "!", 2)


def test_pictures_and_ollamas_way_to_answer_calls() -> None:
    call = ToolCall("call_0", "look", "{}")
    messages = (
        user(Image(PNG), Text("What?")),
        Message("assistant", tool_calls=(call,)),
        Message("tool", (Text("a cat"),), name="look"),
    )
    rows = outgoing(chat(messages=messages), "m", "openai").body["messages"]
    assert rows[0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBO")
    assert rows[2]["tool_call_id"] == "call_0"


@pytest.mark.parametrize(
    ("kind", "fields", "param"),
    [
        ("openai", {"options": {"top_k": 1}}, "top_k"),
        ("openai", {"options": {"num_ctx": 1}}, "num_ctx"),
        ("vllm", {"options": {"repeat_last_n": 1}}, "repeat_last_n"),
        ("vllm", {"options": {"num_ctx": 1}}, "num_ctx"),
        ("openai", {"ignore_eos": True}, "ignore_eos"),
        ("openai", {"continues_last": True, "must_continue": True}, "continue_final_message"),
        ("openai", {"documents": ({"a": 1},)}, "documents"),
        ("openai", {"constraint": Constraint("regex", text="a")}, None),
        ("vllm", {"suffix": "x"}, "suffix"),
        ("vllm", {"lora": ((0, 1.0),)}, "lora"),
    ],
)
def test_what_has_no_word_is_refused(kind: Kind, fields: Any, param: str | None) -> None:
    with pytest.raises(InvalidField) as caught:
        outgoing(chat(**fields), "m", kind)
    assert caught.value.param == param


def test_what_asks_for_nothing_is_left_out() -> None:
    options = {"num_predict": -1, "seed": -1, "repeat_penalty": 1.0, "typical_p": 1.0}
    body = outgoing(chat(options=options), "m", "openai").body
    assert body.keys() == {"model", "stream", "stream_options", "messages"}


def test_thinking_in_each_kind() -> None:
    assert outgoing(chat(thinks=False), "m", "openai").body["reasoning_effort"] == "none"
    body = outgoing(chat(thinks=True, effort="high"), "m", "vllm").body
    assert body["reasoning_effort"] == "high"
    assert body["chat_template_kwargs"]["enable_thinking"] is True


def test_counting_and_cutting_are_for_those_who_can() -> None:
    with pytest.raises(InvalidField):
        counting(chat(), "m", "openai")
    assert counting(chat(), "m", "vllm").path == "../tokenize"
    assert "stream" not in counting(chat(), "m", "transom").body
    body = embedding("m", ["a", (1, 2)], cuts=True, kind="vllm").body
    assert (body["input"], body["truncate_prompt_tokens"]) == (["a", [1, 2]], -1)
    # The others refuse what is too long.
    assert "truncate_prompt_tokens" not in embedding("m", ["a"], cuts=True, kind="openai").body


@given(st.data())
def test_events_are_the_same_however_they_are_cut(data: st.DataObject) -> None:
    stream = b': note\r\ndata: {"a": 1}\n\nevent: x\ndata: b\ndata: \xc3\xa4\r\n\r\ndata:[DONE]\n\n'
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = EventReader()
    edges = [0, *cuts, len(stream)]
    found = [each for start, end in pairwise(edges) for each in reader.feed(stream[start:end])]
    assert found == ['{"a": 1}', "b\nä", "[DONE]"]


def test_an_event_has_an_end() -> None:
    reader = EventReader(100)
    assert list(reader.feed(b"data: 1234\n" * 25)) == []
    with pytest.raises(BadAnswer):
        list(reader.feed(b"data: 1234\n"))


def test_a_completion_with_logprobs() -> None:
    row = {"index": 0, "text": "ab", "finish_reason": "length", "stop_reason": None}
    row["logprobs"] = {
        "tokens": ["ab"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"ab": -0.5, "c": -1}],
        "text_offset": [0],
    }
    reader = ChunkReader(1, str)
    words, ended = reader.feed(_chunk(row))
    assert isinstance(words, Content)
    assert words.logprobs[0].top[1] == TokenLogprob("c", -1.0, (99,))
    assert ended == Ended(0, "length")
    # Nobody told: a piece is a token.
    assert reader.finish() == Usage(0, 0, 1)


def test_choices_end_one_by_one() -> None:
    reader = ChunkReader(2, str)
    reader.feed(_chunk({"index": 1, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}))
    with pytest.raises(BadAnswer, match="middle"):
        reader.finish()
    assert reader.feed(_chunk({"index": 1, "delta": {"content": "late"}})) == []


def test_calls_that_are_mixed_are_refused() -> None:
    reader = ChunkReader(1, lambda: "id")
    for index in (0, 1):
        call = {"index": index, "function": {"name": "f"}}
        reader.feed(_chunk({"index": 0, "delta": {"tool_calls": [call]}}))
    call = {"index": 0, "function": {"arguments": "{}"}}
    with pytest.raises(BadAnswer, match="mixed"):
        reader.feed(_chunk({"index": 0, "delta": {"tool_calls": [call]}}))


WORDS = [
    *("choices", "index", "delta", "text", "content", "reasoning", "tool_calls", "function"),
    *("name", "arguments", "id", "finish_reason", "stop_reason", "logprobs", "tokens", "usage"),
    *("token_logprobs", "top_logprobs", "token", "logprob", "bytes", "timings", "error"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner),
    max_leaves=20,
)


@given(JSON, st.dictionaries(st.sampled_from(WORDS), JSON))
def test_anything_is_pieces_or_one_error(value: Any, row: Any) -> None:
    for each in (value, {"choices": [row]}, {"choices": [{"index": 0, "delta": row}]}):
        reader = ChunkReader(1, lambda: "id")
        try:
            reader.feed(json.dumps(each))
            reader.finish()
        except (BadAnswer, ReportedError):
            continue


def _chunk(row: Any) -> str:
    return json.dumps({"choices": [row]})


def test_a_last_message_of_the_model() -> None:
    messages = (user(), Message("assistant", (Text("Once"),)))
    goes_on = {"continue_final_message": True, "add_generation_prompt": False}
    anew = {"add_generation_prompt": True}
    for kind, fields, expected in (
        ("transom", {"continues_last": True}, goes_on),
        ("vllm", {"continues_last": True}, goes_on),
        # OpenAI's own has no word for it, and does with such a message what it does.
        ("openai", {"continues_last": True}, {}),
        ("transom", {}, anew),
        ("vllm", {}, {}),
    ):
        body = outgoing(chat(messages=messages, **fields), "m", cast(Kind, kind)).body
        assert {
            name: body[name] for name in body if "final" in name or "prompt" in name
        } == expected
