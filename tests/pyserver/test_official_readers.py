"""pytest tests/pyserver/test_official_readers.py: any answer, read by the official clients.

The clients of Anthropic and OpenAI put a stream together by their own rules. Whatever a model says,
in whatever pieces, that has to be what the same answer is as a whole.
"""

import json
from typing import Any

import anthropic
import httpx2
import openai
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transom_api.anthropic.messages import read_messages
from transom_api.anthropic.writer import MessagesWriter
from transom_api.deltas import (
    CallArguments,
    CallBegins,
    Content,
    Delta,
    Ended,
    Finish,
    Reasoning,
    Usage,
)
from transom_api.openai_responses.kept_responses import KeptResponses
from transom_api.openai_responses.request import read_response_request
from transom_api.openai_responses.writer import ResponseWriter
from transom_api.session import Answer, Writer

PIECES = st.lists(st.text(min_size=1, max_size=5), max_size=3)
ARGUMENTS = st.dictionaries(
    st.text(max_size=4), st.text(max_size=4) | st.integers(0, 9), max_size=3
)
CALLS = st.lists(st.tuples(st.sampled_from(["weather", "time"]), ARGUMENTS), max_size=3)
FINISHES: st.SearchStrategy[Finish] = st.sampled_from(["stop", "length"])


@st.composite
def answers(draw: st.DrawFn) -> list[Delta]:
    deltas: list[Delta] = [Reasoning(0, piece) for piece in draw(PIECES)]
    deltas += [Content(0, piece) for piece in draw(PIECES)]
    calls = draw(CALLS)
    for number, (name, arguments) in enumerate(calls):
        deltas.append(CallBegins(0, number, f"call_{number}", name))
        text = json.dumps(arguments, ensure_ascii=draw(st.booleans()))
        cut = draw(st.integers(0, len(text)))
        deltas += [CallArguments(0, number, piece) for piece in (text[:cut], text[cut:]) if piece]
    finish: Finish = "tool_calls" if calls else draw(FINISHES)
    return [*deltas, Ended(0, finish), Usage(20, 5, 9, reasoning_tokens=2)]


def streamed(writer: Writer, deltas: list[Delta]) -> bytes:
    frames = writer.begin()
    for delta in deltas:
        frames += writer.write(delta)
    return b"".join(frames + writer.end())


def whole(writer: Writer, deltas: list[Delta]) -> Any:
    answer = Answer()
    for delta in deltas[:-1]:
        answer.take(delta)
    usage = deltas[-1]
    assert isinstance(usage, Usage)
    return writer.body([answer], usage)


def answering(content: bytes) -> httpx2.Client:
    """A client to which each request brings these events."""
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers=headers, content=content)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def plain(value: Any) -> Any:
    """Without what OpenAI's client adds to a stream."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: plain(item) for name, item in value.items() if not name.startswith("parsed")}


FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(answers())
def test_anthropic_s_client(deltas: list[Delta]) -> None:
    hello: anthropic.types.MessageParam = {"role": "user", "content": "hello"}
    asked = read_messages({"model": "tiny", "max_tokens": 9, "messages": [hello]})

    def writer() -> MessagesWriter:
        return MessagesWriter(asked, "msg_1")

    with (
        answering(streamed(writer(), deltas)) as transport,
        anthropic.Anthropic(api_key="none", http_client=transport) as client,
        client.messages.stream(model="tiny", max_tokens=9, messages=[hello]) as stream,
    ):
        found = stream.get_final_message()
    expected = anthropic.types.Message.model_validate(whole(writer(), deltas))
    assert [block.to_dict() for block in found.content] == [
        block.to_dict() for block in expected.content
    ]
    assert (found.stop_reason, found.usage) == (expected.stop_reason, expected.usage)


@FEW
@given(answers())
def test_openai_s_client(deltas: list[Delta]) -> None:
    asked = read_response_request({"model": "tiny", "input": "hello"}, KeptResponses())

    def writer() -> ResponseWriter:
        return ResponseWriter(asked, "1", 7, KeptResponses())

    texts: list[str] = []
    with (
        answering(streamed(writer(), deltas)) as transport,
        openai.OpenAI(api_key="none", http_client=transport) as client,
        client.responses.stream(model="tiny", input="hello") as stream,
    ):
        for event in stream:
            if event.type == "response.output_text.delta":
                texts.append(event.delta)
                # Put together by the client.
                assert event.snapshot == "".join(texts)
            last = event
    assert last.type in ("response.completed", "response.incomplete")
    expected = openai.types.responses.Response.model_validate(whole(writer(), deltas))
    output = last.response.to_dict()["output"]
    assert plain(output) == plain(expected.to_dict()["output"])
    assert (last.response.status, last.response.usage) == (expected.status, expected.usage)
    assert last.response.output_text == "".join(texts)
