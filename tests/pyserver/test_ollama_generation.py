"""pytest tests/pyserver/test_ollama_generation.py: Ollama's requests and lines, no server."""

import base64
import itertools
import json
from typing import Any

import pytest

from transom_api.chat import Constraint, Image, Message, Text, Tool, ToolCall
from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Ended,
    Logprobs,
    Reasoning,
    TokenLogprob,
    Usage,
)
from transom_api.engine import EngineFailed, LoadOptions, Sampling
from transom_api.fields import InvalidField
from transom_api.ollama.chat import read_chat, read_generate
from transom_api.ollama.generation import MAX_KEEP_SECONDS, InvalidRequest, read_keep_alive
from transom_api.ollama.writer import OllamaWriter
from transom_api.options import load_options_of, max_tokens_of, sampling_of, stops_of
from transom_api.session import Answer

USER = {"role": "user", "content": "hello"}
SYSTEM = {"role": "system", "content": "be brief"}
NOW = "2031-02-03T04:05:06Z"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        (30, 30),
        (0.5, 0.5),
        ("0", 0),
        (0, 0),
        (-1, MAX_KEEP_SECONDS),
        ("-1m", MAX_KEEP_SECONDS),
        (10**30, MAX_KEEP_SECONDS),
        ("9999999999h", MAX_KEEP_SECONDS),
    ],
)
def test_keep_alive(value: object, seconds: float) -> None:
    assert read_keep_alive(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "5 m", "5x", "m", True, [], float("nan"), "1" * 40 + "s"])
def test_no_keep_alive(value: object) -> None:
    with pytest.raises(InvalidRequest, match="keep_alive"):
        read_keep_alive(value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "must be an object, not a list"),
        ({}, "model: is missing"),
        ({"model": 1}, "model: must be a string, not a number"),
        ({"messages": {}}, "messages: must be a list"),
        ({"messages": [1]}, r"messages\[0\]: must be an object"),
        ({"messages": [{"role": "king"}]}, r"messages\[0\].role: 'king'"),
        ({"messages": [{"content": "a"}]}, r"messages\[0\].role: is missing"),
        ({"messages": [{"role": "user", "content": 1}]}, r"messages\[0\].content"),
        ({"messages": [{**USER, "images": ["?"]}]}, r"messages\[0\].images\[0\]: is no base64"),
        ({"messages": [{**USER, "images": ["UklGRg=="]}]}, "PNG, JPEG, GIF or BMP"),
        ({"messages": [{**USER, "images": [1]}]}, r"images\[0\]: must be a file in base64"),
        ({"messages": [{**USER, "tool_calls": [{}]}]}, r"tool_calls\[0\].function: is missing"),
        (
            {
                "messages": [
                    {**USER, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
                ]
            },
            r"tool_calls\[0\].function.arguments: must be an object",
        ),
        ({"stream": "no"}, "stream: must be true or false"),
        ({"format": "yaml"}, "format"),
        ({"think": "hard"}, "think: 'hard' is not one of low, medium, high, max"),
        ({"think": 1}, "think: must be true, false or a level"),
        ({"tools": [{}]}, r"tools\[0\].function: is missing"),
        ({"top_logprobs": 2}, "top_logprobs: there are none without logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs: must be from 0 to 20"),
        ({"truncate": True}, "truncate: .* larger num_ctx"),
        ({"shift": True}, "shift: .* larger num_ctx"),
        ({"options": []}, "options: must be an object"),
        ({"options": {"temperature": "hot"}}, "options.temperature: must be a number"),
        ({"keep_alive": "soon"}, "keep_alive"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: Any, reason: str) -> None:
    with pytest.raises(InvalidField, match=reason):
        read_chat({"model": "m", **body} if body else body)


def test_generate_refuses_too() -> None:
    with pytest.raises(InvalidField, match="context"):
        read_generate({"model": "m", "prompt": "p", "context": [1]})
    with pytest.raises(InvalidField, match="suffix: raw text has no gap"):
        read_generate({"model": "m", "prompt": "p", "raw": True, "suffix": "s"})


def test_empty_and_unknown_fields_ask_for_nothing() -> None:
    nothing = {"tools": [], "logprobs": False, "suffix": "", "truncate": False, "format": ""}
    nothing |= {"shift": False, "think": None}
    asked = read_chat(
        {"model": "m", "keep_alive": None, "new": 1, "options": {"new": 1}, **nothing}
    )
    assert asked.only_loads
    chat = asked.chat
    assert (chat.keep_seconds, chat.options, chat.stream) == (None, {}, True)
    assert (chat.thinks, chat.constraint, chat.logprobs) == (None, None, False)
    assert read_generate({"name": "m"}).only_loads


def test_options_are_checked_and_mapped() -> None:
    options = read_chat(
        {
            "model": "m",
            "options": {
                "temperature": 1,
                "seed": 2**32,
                "num_ctx": 8.0,
                "num_gpu": -1,
                "num_thread": 0,
                "num_predict": -2,
                "stop": "x",
            },
        }
    ).chat.options
    assert sampling_of(options) == Sampling(temperature=1.0, seed=1)
    assert load_options_of(options) == LoadOptions(context_tokens=8)
    server = LoadOptions(context_tokens=9, threads=4, parallel=2)
    filled = load_options_of(options, server)
    # 0 threads: the engine chooses, whatever the server's settings are.
    assert filled == LoadOptions(context_tokens=8, parallel=2)
    assert max_tokens_of(options) == -1
    assert stops_of(options) == ("x",)
    assert sampling_of({"seed": -5}).seed == -1


def test_a_conversation() -> None:
    data = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1"
    call = {"function": {"name": "add", "arguments": {"a": 1}}}
    chat = read_chat(
        {
            "model": "m",
            "messages": [
                SYSTEM,
                {**USER, "images": [base64.b64encode(data).decode()]},
                {"role": "assistant", "thinking": "hm", "tool_calls": [call]},
                {"role": "tool", "tool_name": "add", "content": "2"},
            ],
            "tools": [{"type": "function", "function": {"name": "add", "description": "sums"}}],
            "format": {"type": "object"},
            "think": "low",
            "logprobs": True,
            "top_logprobs": 3,
        }
    ).chat
    assert chat.messages == (
        Message("system", (Text("be brief"),)),
        Message("user", (Image(data), Text("hello"))),
        Message("assistant", reasoning="hm", tool_calls=(ToolCall("call_0", "add", '{"a": 1}'),)),
        Message("tool", (Text("2"),), name="add"),
    )
    assert chat.tools == (Tool("add", "sums"),)
    assert chat.constraint == Constraint("json_schema", {"type": "object"})
    assert (chat.thinks, chat.effort) == (True, "low")
    assert (chat.logprobs, chat.top_logprobs) == (True, 3)


def test_a_prompt() -> None:
    chat = read_generate(
        {"model": "m", "prompt": "p", "system": "s", "format": "json", "template": "t"}
    ).chat
    assert chat.messages == (Message("system", (Text("s"),)), Message("user", (Text("p"),)))
    assert (chat.template, chat.raw_prompt, chat.is_prompt) == ("t", None, True)
    assert chat.constraint == Constraint("json_object")
    raw = read_generate({"model": "m", "prompt": "p", "raw": True}).chat
    assert raw.raw_prompt == "p"
    assert read_generate({"model": "m", "prompt": "p", "suffix": "s"}).chat.suffix == "s"


def writer(kind: str = "generate", **body: Any) -> OllamaWriter:
    ticks = itertools.repeat(9)
    read = read_generate if kind == "generate" else read_chat
    return OllamaWriter(read({"model": "m", **body}), lambda: NOW, lambda: next(ticks))


def lines(frames: list[bytes]) -> list[dict[str, Any]]:
    assert all(frame.endswith(b"\n") and frame.count(b"\n") == 1 for frame in frames)
    return [json.loads(frame) for frame in frames]


USAGE = Usage(3, 1, 2, load_seconds=4e-9, prompt_seconds=0.5, completion_seconds=0.25)
FIGURES = {
    "total_duration": 9,
    "load_duration": 4,
    "prompt_eval_count": 3,
    "prompt_eval_duration": 500_000_000,
    "eval_count": 2,
    "eval_duration": 250_000_000,
}
START = {"model": "m", "created_at": NOW}


def test_lines_of_a_stream() -> None:
    answer = writer(prompt="p")
    assert answer.begin() == []
    assert lines(answer.write(Content(0, "é"))) == [{**START, "response": "é", "done": False}]
    thought = {**START, "response": "", "thinking": "hm", "done": False}
    assert lines(answer.write(Reasoning(0, "hm"))) == [thought]
    assert answer.write(Ended(0, "length")) == answer.write(USAGE) == []
    (last,) = lines(answer.end())
    assert last == {**START, "response": "", "done": True, "done_reason": "length", **FIGURES}
    assert lines(answer.fail(EngineFailed("why"))) == [{"error": "why"}]
    assert answer.nothing("unload")["done_reason"] == "unload"


def test_a_call_is_one_line() -> None:
    answer = writer("chat", messages=[USER])
    assert answer.write(CallBegins(0, 0, "a", "add")) == []
    assert answer.write(CallArguments(0, 0, '{"x":')) == []
    assert answer.write(CallArguments(0, 0, " 1}")) == []
    (first,) = lines(answer.write(CallBegins(0, 1, "b", "sub")))
    function = {"index": 0, "name": "add", "arguments": {"x": 1}}
    message = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "a", "function": function}],
    }
    assert first == {**START, "message": message, "done": False}
    # Broken off by the end of the answer.
    answer.write(CallArguments(0, 1, '{"x'))
    (second,) = lines(answer.write(Ended(0, "tool_calls")))
    assert second["message"]["tool_calls"][0]["function"]["arguments"] == {}
    answer.write(USAGE)
    assert lines(answer.end())[0]["done_reason"] == "stop"


def test_a_whole_answer_is_one_object() -> None:
    row = Logprobs(TokenLogprob("a", -0.5, (97,)), (TokenLogprob("a", -0.5, (97,)),))
    call = ToolCall("i", "add", '{"x": 1}')
    whole = Answer("ab", "hm", [call], [row], "tool_calls")
    body = writer("chat", messages=[USER], stream=False).body([whole], USAGE)
    assert body["message"] == {
        "role": "assistant",
        "content": "ab",
        "thinking": "hm",
        "tool_calls": [{"id": "i", "function": {"index": 0, "name": "add", "arguments": {"x": 1}}}],
    }
    chosen = {"token": "a", "logprob": -0.5, "bytes": [97]}
    assert body["logprobs"] == [{**chosen, "top_logprobs": [chosen]}]
    assert (body["done"], body["done_reason"], body["eval_count"]) == (True, "stop", 2)
