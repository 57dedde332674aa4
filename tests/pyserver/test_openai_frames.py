"""pytest tests/pyserver/test_openai_frames.py: chunks and bodies are OpenAI's, to the byte."""

import base64
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from transom_api.chat import ToolCall
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
from transom_api.engine import ContextOverflow, Done, EngineFailed, SchemaRefused, TokenEvent
from transom_api.fields import InvalidField
from transom_api.openai import ModelEntry, describe, http_error, model_list
from transom_api.openai.chat import read_chat
from transom_api.openai.chat_writer import ChatWriter
from transom_api.openai.completions import CompletionWriter, read_completion
from transom_api.openai.embeddings import embeddings_body, read_embeddings
from transom_api.session import Answer, Session

HELLO = {"role": "user", "content": "hello"}
ADD = {"name": "add", "parameters": {"type": "object"}}
USAGE = Usage(10, 4, 6, 2, 0.5, 0.25, 0.125)
HEAD = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"tiny"'
HEAD += ',"system_fingerprint":null'
LOGPROBS = (
    Logprobs(
        TokenLogprob("é", -0.5, (195, 169)),
        (TokenLogprob("é", -0.5, (195, 169)), TokenLogprob("e", -math.inf, (101,))),
    ),
)
USAGE_JSON = {
    "prompt_tokens": 10,
    "completion_tokens": 6,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def chat_writer(**fields: Any) -> ChatWriter:
    return ChatWriter(read_chat({"model": "tiny", "messages": [HELLO], **fields}), "chatcmpl-1", 7)


def frames_of(writer: ChatWriter | CompletionWriter, deltas: Sequence[Delta]) -> list[str]:
    frames = writer.begin()
    for delta in deltas:
        frames += writer.write(delta)
    return b"".join([*frames, *writer.end()]).decode().split("\n\n")[:-1]


def chunk(rest: str) -> str:
    return f"data: {{{HEAD},{rest}}}"


def test_a_stream_byte_for_byte() -> None:
    deltas = [Reasoning(0, "hm"), Content(0, "Hé\n"), Ended(0, "stop", "END"), USAGE]
    row = '"choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]'
    assert frames_of(chat_writer(stream=True), deltas) == [
        chunk(row % ('{"role":"assistant","content":"","refusal":null}', "null")),
        chunk(row % ('{"reasoning_content":"hm"}', "null")),
        chunk(row % ('{"content":"Hé\\n"}', "null")),
        chunk(row % ("{}", '"stop","stop_reason":"END"')),
        "data: [DONE]",
    ]


def test_usage_comes_in_a_chunk_of_its_own_when_asked_for() -> None:
    writer = chat_writer(stream=True, stream_options={"include_usage": True})
    *before, usage, done = frames_of(writer, [Content(0, "a"), Ended(0, "length"), USAGE])
    assert all(json.loads(frame[6:])["usage"] is None for frame in before)
    found = json.loads(usage[6:])
    assert found["choices"] == []
    assert found["usage"] == USAGE_JSON
    assert found["timings"]["prompt_n"] == 6
    assert found["timings"]["prompt_ms"] == 250
    assert found["timings"]["predicted_per_second"] == 48
    assert done == "data: [DONE]"


def test_calls_come_in_pieces() -> None:
    writer = chat_writer(stream=True, tools=[{"type": "function", "function": ADD}])
    deltas = [
        CallBegins(0, 0, "c0", "add"),
        CallArguments(0, 0, '{"a":'),
        CallArguments(0, 0, "1}"),
        CallBegins(0, 1, "c1", "add"),
        Ended(0, "tool_calls"),
    ]
    rows = [json.loads(frame[6:])["choices"][0] for frame in frames_of(writer, deltas)[1:-1]]
    assert [row["delta"] for row in rows] == [
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "c0",
                    "type": "function",
                    "function": {"name": "add", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {
            "tool_calls": [
                {
                    "index": 1,
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "add", "arguments": ""},
                }
            ]
        },
        {},
    ]
    assert rows[-1]["finish_reason"] == "tool_calls"


def test_functions_of_old_are_answered_as_such() -> None:
    writer = chat_writer(stream=True, functions=[ADD])
    deltas = [CallBegins(0, 0, "c0", "add"), CallArguments(0, 0, "{}"), CallBegins(0, 1, "c1", "b")]
    rows = [
        json.loads(frame[6:])["choices"][0]
        for frame in frames_of(writer, [*deltas, Ended(0, "tool_calls")])[1:-1]
    ]
    assert [row["delta"] for row in rows] == [
        {"function_call": {"name": "add", "arguments": ""}},
        {"function_call": {"arguments": "{}"}},
        {},
    ]
    assert rows[-1]["finish_reason"] == "function_call"
    answer = Answer(calls=[ToolCall("c0", "add", "{}")], finish="tool_calls")
    choice = writer.body([answer], USAGE)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "add", "arguments": "{}"}
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "function_call"


def test_log_probabilities_have_bytes_and_no_infinity() -> None:
    writer = chat_writer(stream=True, logprobs=True, top_logprobs=2)
    frame = frames_of(writer, [Content(0, "é", LOGPROBS)])[1]
    assert json.loads(frame[6:])["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                    {"token": "e", "logprob": -9999.0, "bytes": [101]},
                ],
            }
        ],
        "refusal": None,
    }


def test_several_answers_begin_each() -> None:
    writer = chat_writer(stream=True, n=2)
    rows = [
        json.loads(frame[6:])["choices"][0]
        for frame in frames_of(writer, [Content(1, "b"), Content(0, "a")])[:-1]
    ]
    assert [(row["index"], row["delta"].get("content")) for row in rows] == [
        (0, ""),
        (1, ""),
        (1, "b"),
        (0, "a"),
    ]


def test_a_late_error_is_the_last_frame() -> None:
    [frame] = chat_writer(stream=True).fail(EngineFailed("it died"))
    assert frame == (
        b'data: {"error":{"message":"it died","type":"server_error","param":null,'
        b'"code":"engine_error"}}\n\n'
    )


def test_a_whole_body() -> None:
    writer = chat_writer(n=2, logprobs=True)
    answers = [
        Answer("Hi", "hm", logprobs=list(LOGPROBS), finish="length"),
        Answer(calls=[ToolCall("c0", "add", "{}")], finish="tool_calls"),
    ]
    body = dict(writer.body(answers, USAGE))
    assert body.pop("timings")["load_ms"] == 500
    first, second = body.pop("choices")
    assert body == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "tiny",
        "system_fingerprint": None,
        "usage": USAGE_JSON,
    }
    assert first["message"] == {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "reasoning_content": "hm",
    }
    assert (first["index"], first["finish_reason"]) == (0, "length")
    assert len(first["logprobs"]["content"]) == 1
    assert second == {
        "index": 1,
        "message": {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {"id": "c0", "type": "function", "function": {"name": "add", "arguments": "{}"}}
            ],
        },
        "logprobs": {"content": [], "refusal": None},
        "finish_reason": "tool_calls",
    }


def test_the_official_types_take_every_shape() -> None:
    """Strictly: its client itself takes anything."""
    asked = {"logprobs": True, "top_logprobs": 2, "stream": True}
    writer = chat_writer(**asked, stream_options={"include_usage": True})
    deltas = [
        Reasoning(0, "hm"),
        Content(0, "é", LOGPROBS),
        CallBegins(0, 0, "c0", "add"),
        CallArguments(0, 0, "{}"),
        Ended(0, "tool_calls"),
        USAGE,
    ]
    for frame in frames_of(writer, deltas)[:-1]:
        ChatCompletionChunk.model_validate_json(frame[6:])
    answer = Answer("é", "hm", [ToolCall("c0", "add", "{}")], list(LOGPROBS), "tool_calls")
    ChatCompletion.model_validate(writer.body([answer], USAGE))
    completion = completion_writer(logprobs=2)
    Completion.model_validate(completion.body([Answer("é", logprobs=list(LOGPROBS))], USAGE))
    asked_vectors = read_embeddings({"model": "tiny", "input": "x"})
    CreateEmbeddingResponse.model_validate(embeddings_body(asked_vectors, [[0.5]], 3))


class Plain:
    """A reader to whom everything is content."""

    def __init__(self, choice: int) -> None:
        self.choice = choice

    def feed(self, text: str) -> list[Delta]:
        return [Content(self.choice, text)]

    def finish(self) -> list[Delta]:
        return []


def test_a_session_ends_as_it_streams() -> None:
    """The same events make the same words both ways."""
    events = [
        TokenEvent((1,), "Hé".encode()[:2]),
        TokenEvent((2,), "Hé".encode()[2:] + b"!"),
        Done("length", 5, 1, 2, 0.1, 0.1),
    ]
    writer = chat_writer(stream=True, stream_options={"include_usage": True})
    session = Session(writer, Plain)
    frames = session.begin()
    for event in events:
        frames += session.feed(event)
    frames += session.end()
    rows = [json.loads(frame[6:]) for frame in frames[:-1]]
    words = [row["choices"][0]["delta"].get("content") or "" for row in rows if row["choices"]]
    assert "".join(words) == "Hé!" == session.body()["choices"][0]["message"]["content"]
    assert rows[-1]["usage"] == session.body()["usage"]
    assert rows[-2]["choices"][0]["finish_reason"] == "length"


def test_words_and_their_log_probabilities_come_together() -> None:
    writer = chat_writer(stream=True, logprobs=True)
    session = Session(writer, Plain)
    [frame] = session.feed(TokenEvent((1,), "é".encode(), logprobs=LOGPROBS))
    row = json.loads(frame[6:])["choices"][0]
    assert row["delta"] == {"content": "é"}
    assert len(row["logprobs"]["content"]) == 1
    # Half a character waits for the other half; what is known of its token does not.
    [frame] = session.feed(TokenEvent((2,), b"\xc3", logprobs=LOGPROBS))
    row = json.loads(frame[6:])["choices"][0]
    assert row["delta"] == {"content": ""}
    assert len(row["logprobs"]["content"]) == 1


class Thinker(Plain):
    """Reasons up to an empty line, which it holds back."""

    def __init__(self, choice: int) -> None:
        super().__init__(choice)
        self.thinks = True

    def feed(self, text: str) -> list[Delta]:
        if text == "\n":
            self.thinks = False
            return []
        return [Reasoning(self.choice, text) if self.thinks else Content(self.choice, text)]


def test_tokens_of_reasoning_are_counted() -> None:
    writer = chat_writer()
    session = Session(writer, Thinker, 2)
    for choice, text in ((0, "hm"), (1, "so"), (0, "\n"), (0, "Hi"), (1, "so")):
        session.feed(TokenEvent((7,), text.encode(), choice))
    for choice in (0, 1):
        session.feed(Done("stop", 5, 0, 3, 0.1, 0.1, choice))
    usage = session.body()["usage"]
    # The end of reasoning is a part of it.
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 4}
    assert usage["completion_tokens"] == 6


def completion_writer(**fields: Any) -> CompletionWriter:
    asked = read_completion({"model": "tiny", "prompt": "Once", **fields})
    return asked.writers("cmpl-1", 7)[-1]


def test_a_completion_stream_byte_for_byte() -> None:
    head = '"id":"cmpl-1","object":"text_completion","created":7,"model":"tiny"'
    head += ',"system_fingerprint":null'
    row = '"choices":[{"index":0,"text":%s,"logprobs":null,"finish_reason":%s}]'
    writer = completion_writer(stream=True, echo=True)
    assert frames_of(writer, [Content(0, " upon"), Ended(0, "stop"), USAGE]) == [
        "data: {" + head + "," + row % ('"Once"', "null") + "}",
        "data: {" + head + "," + row % ('" upon"', "null") + "}",
        "data: {" + head + "," + row % ('""', '"stop"') + "}",
        "data: [DONE]",
    ]


def test_the_last_chunk_has_figures_for_those_who_ask_for_no_usage() -> None:
    end = [Content(0, "a"), Ended(0, "stop"), Ended(1, "stop", usage=USAGE), USAGE]
    for writer, names in (
        (chat_writer(stream=True), {"timings"}),
        (completion_writer(stream=True), {"timings", "usage"}),
    ):
        *_, word, first, last = (json.loads(row[6:]) for row in frames_of(writer, end)[:-1])
        assert last.keys() - first.keys() == names
        assert word.keys() == first.keys()
        assert last["timings"]["predicted_n"] == USAGE.completion_tokens


def test_a_token_is_told_by_its_number_where_that_is_known() -> None:
    known = Logprobs(TokenLogprob("a", -1.0, (97,), 7), (TokenLogprob("b", -2.0, (98,)),))
    body = completion_writer(logprobs=1).body([Answer("a", logprobs=[known])], USAGE)
    (row,) = body["choices"][0]["logprobs"]["content"]
    assert (row["id"], "id" in row["top_logprobs"][0]) == (7, False)


def test_completions_say_where_tokens_begin() -> None:
    rows = tuple(
        Logprobs(TokenLogprob(text, -1.0, ()), (TokenLogprob("x", -2.0, ()),))
        for text in (" up", "on")
    )
    expected = {
        "tokens": [" up", "on"],
        "token_logprobs": [-1.0, -1.0],
        "top_logprobs": [{"x": -2.0, " up": -1.0}, {"x": -2.0, "on": -1.0}],
        "text_offset": [0, 3],
        # In a chat's words, as llama-server tells them.
        "content": [
            {
                "token": token,
                "logprob": -1.0,
                "bytes": [],
                "top_logprobs": [{"token": "x", "logprob": -2.0, "bytes": []}],
            }
            for token in (" up", "on")
        ],
    }
    whole = completion_writer(logprobs=1).body([Answer(" upon", logprobs=list(rows))], USAGE)
    assert whole["choices"][0]["logprobs"] == expected
    writer = completion_writer(logprobs=1, stream=True)
    frames = frames_of(writer, [Content(0, " up", rows[:1]), Content(0, "on", rows[1:])])
    streamed = [json.loads(frame[6:])["choices"][0]["logprobs"] for frame in frames[:-1]]
    assert [row["text_offset"] for row in streamed] == [[0], [3]]
    bare = completion_writer(logprobs=0).body([Answer(" upon", logprobs=list(rows))], USAGE)
    assert bare["choices"][0]["logprobs"]["top_logprobs"] is None


def test_the_best_answers_are_given_first() -> None:
    def answer(text: str, *logprobs: float) -> Answer:
        rows = [Logprobs(TokenLogprob("x", logprob, ())) for logprob in logprobs]
        return Answer(text, logprobs=rows)

    writer = completion_writer(n=2, best_of=3)
    assert writer.chat.choices == 3
    assert writer.chat.logprobs
    # The mean decides: two good tokens beat one that is worse.
    answers = [answer("bad", -3), answer("long", -1, -1), answer("short", -1.5)]
    choices = writer.body(answers, USAGE)["choices"]
    assert [(row["index"], row["text"], row["logprobs"]) for row in choices] == [
        (0, "long", None),
        (1, "short", None),
    ]


def test_prompts_of_one_request_are_numbered_through() -> None:
    asked = read_completion({"model": "tiny", "prompt": ["a", "b"], "n": 2, "echo": True})
    assert [chat.raw_prompt for chat in asked.chats] == ["a", "b"]
    for writer in asked.writers("cmpl-1", 7):
        body = writer.body([Answer("1"), Answer("2")], USAGE)
    rows = [(row["index"], row["text"]) for row in body["choices"]]
    assert rows == [(0, "a1"), (1, "a2"), (2, "b1"), (3, "b2")]
    assert body["usage"]["total_tokens"] == 32


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt[0]"),
        ({"prompt": ["a", ""]}, "prompt[1]"),
        ({"prompt": ["a", 3.5]}, "prompt[1]"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": ["a", "b"], "stream": True}, "prompt"),
        ({"suffix": 3}, "suffix"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": 1, "echo": True}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_refused_completions(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read_completion({"model": "tiny", "prompt": "x", **fields})
    assert refused.value.param == param


def test_a_completion_is_constrained_and_sampled_as_a_chat() -> None:
    asked = read_completion(
        {"model": "tiny:ctx=512", "prompt": "x", "guided_regex": "a+", "top_k": 3, "seed": 1},
        None,
    )
    [chat] = asked.chats
    assert chat.constraint is not None
    assert (chat.model, chat.constraint.text) == ("tiny", "a+")
    assert chat.options == {"top_k": 3, "seed": 1, "num_ctx": 512}


@pytest.mark.parametrize(
    ("value", "inputs"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1], [2.0, 3]], ((1,), (2, 3))),
        (["a", [1]], ("a", (1,))),
    ],
)
def test_inputs_of_embeddings(value: object, inputs: tuple[object, ...]) -> None:
    assert read_embeddings({"model": "tiny", "input": value}).inputs == inputs


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [1, "a"]}, "input[1]"),
        ({"input": [[1, -1]]}, "input[0][1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
    ],
)
def test_refused_embeddings(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read_embeddings({"model": "tiny", "input": "x", **fields})
    assert refused.value.param == param


def test_vectors_are_cut_to_length_one_and_packed() -> None:
    asked = read_embeddings(
        {"model": "tiny", "input": "x", "dimensions": 2, "encoding_format": "base64"}
    )
    body = embeddings_body(asked, [[3.0, 4.0, 12.0]], 5)
    packed = base64.b64decode(body["data"][0]["embedding"])
    assert struct.unpack("<2f", packed) == pytest.approx((0.6, 0.8))
    assert body["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    with pytest.raises(InvalidField, match="only 1"):
        embeddings_body(asked, [[1.0]], 1)


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (InvalidField("n", "x"), 400, "invalid_request_error", "n", "invalid_value"),
        (
            ContextOverflow("too long"),
            400,
            "invalid_request_error",
            "messages",
            "context_length_exceeded",
        ),
        (
            SchemaRefused("no"),
            400,
            "invalid_request_error",
            "response_format",
            "invalid_schema",
        ),
        (EngineFailed("died"), 500, "server_error", None, "engine_error"),
        (ValueError("secret"), 500, "server_error", None, None),
    ],
)
def test_errors(
    error: Exception, status: int, kind: str, param: str | None, code: str | None
) -> None:
    found, body = describe(error)
    assert found == status
    assert set(body) == {"error"}
    row = body["error"]
    assert (row["type"], row["param"], row["code"]) == (kind, param, code)
    assert "secret" not in row["message"]


def test_models() -> None:
    row = {"id": "tiny", "object": "model", "created": 3, "owned_by": "library"}
    assert model_list([ModelEntry("tiny", 3, "library")]) == {"object": "list", "data": [row]}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((404, "MANIFEST_UNKNOWN", "x"), ("invalid_request_error", "model_not_found", "model")),
        ((404, "UNSUPPORTED", "x"), ("invalid_request_error", "unknown_url", None)),
        ((400, "UNSUPPORTED", "x", "n"), ("invalid_request_error", "invalid_value", "n")),
        ((400, "CONTEXT_LENGTH_EXCEEDED", "x"),
         ("invalid_request_error", "context_length_exceeded", "messages")),
        ((401, "UNAUTHORIZED", "x"), ("invalid_request_error", "invalid_api_key", None)),
        ((429, "TOOMANYREQUESTS", "x"), ("rate_limit_error", "rate_limit_exceeded", None)),
        ((503, "UNKNOWN", "x"), ("server_error", None, None)),
    ],
)  # fmt: skip
def test_errors_of_the_server(row: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    found = http_error(*row)["error"]
    assert (found["type"], found["code"], found["param"]) == expected
    assert found["message"] == "x"


class Stutterer(Plain):
    """Says each letter by itself."""

    def feed(self, text: str) -> list[Delta]:
        kinds = {True: Reasoning, False: Content}
        return [kinds[letter.isupper()](self.choice, letter) for letter in text]


def test_words_of_one_kind_are_one_frame() -> None:
    frames = Session(chat_writer(), Stutterer).feed(TokenEvent((1,), b"ABcdE"))
    deltas = [json.loads(frame[6:])["choices"][0]["delta"] for frame in frames]
    assert deltas == [
        {"reasoning_content": "AB"},
        {"content": "cd"},
        {"reasoning_content": "E"},
    ]
