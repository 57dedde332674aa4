"""pytest tests/pyserver/test_answering.py: an engine's events in, an HTTP answer's bytes out."""

import json

import pytest

from transom_api.answering import Answering
from transom_api.chat import Chat, Message, Text
from transom_api.deltas import Content, Ended, Usage
from transom_api.engine import Done, EngineFailed, ModelFacts, TokenEvent
from transom_api.openai.chat import ChatRequest
from transom_api.openai.chat_writer import ChatWriter
from transom_api.prompting import ModelDefaults, Plan, plan

FACTS = ModelFacts(context_tokens=64)
DEFAULTS = ModelDefaults(template="{{ messages[0].content }}")


def chat(**fields: object) -> Chat:
    return Chat("tiny", (Message("user", (Text("hi"),)),), **fields)  # type: ignore[arg-type]


def planned(asked: Chat) -> Plan:
    return plan(asked, DEFAULTS, FACTS, lambda *_, **__: "hi")


def answering(asked: Chat) -> Answering:
    found = Answering(asked, ChatWriter(ChatRequest(asked, "tiny", False, False), "chatcmpl-1", 5))
    found.loaded(2.0)
    found.planned(planned(asked))
    return found


def token(text: str, choice: int = 0) -> TokenEvent:
    return TokenEvent((1,), text.encode(), choice)


def done(choice: int = 0) -> Done:
    return Done("stop", 3, 0, 1, 0.5, 0.25, choice)


def frames(data: bytes) -> list[str]:
    return [part.removeprefix("data: ") for part in data.decode().split("\n\n") if part]


def test_a_stream_begins_with_the_first_event_and_ends_once() -> None:
    one = answering(chat(stream=True))
    first, last, end = one.feed(token("a")), one.feed(done()), one.end()
    assert [json.loads(each)["choices"][0]["delta"] for each in frames(first)] == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "a"},
    ]
    assert len(frames(last)) == 1
    assert end == b"data: [DONE]\n\n"
    assert one.headers == (
        ("Content-Type", "text/event-stream; charset=utf-8"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),
    )


def test_without_streaming_all_comes_at_the_end() -> None:
    one = answering(chat())
    assert [one.feed(token("a")), one.feed(token("b")), one.feed(done())] == [b"", b"", b""]
    body = json.loads(one.end())
    assert body["choices"][0]["message"]["content"] == "ab"
    assert body["timings"]["load_ms"] == 2000.0
    assert one.headers[0] == ("Content-Type", "application/json")


def test_half_a_character_waits_for_its_other_half() -> None:
    one = answering(chat(stream=True))
    one.feed(TokenEvent((1,), "ä".encode()[:1]))
    data = one.feed(TokenEvent((2,), "ä".encode()[1:]))
    assert json.loads(frames(data)[-1])["choices"][0]["delta"] == {"content": "ä"}


def test_it_is_over_when_all_choices_are() -> None:
    one = answering(chat(choices=2))
    one.feed(done(1))
    assert (one.is_over, one.finish) == (False, "stop")
    one.feed(done(0))
    assert one.is_over


def test_what_fails_late_is_the_last_frame() -> None:
    one = answering(chat(stream=True))
    one.feed(token("a"))
    (frame,) = frames(one.fail(EngineFailed("it broke")))
    assert json.loads(frame)["error"]["message"] == "it broke"


@pytest.mark.parametrize("stream", [True, False])
def test_pieces_of_another_server_need_no_plan(stream: bool) -> None:
    asked = chat(stream=stream)
    one = Answering(asked, ChatWriter(ChatRequest(asked, "tiny", False, False), "chatcmpl-1", 5))
    said = one.pass_on(Content(0, "a")) + one.pass_on(Ended(0, "length"))
    said += one.pass_on(Usage(3, 0, 1)) + one.end()
    assert b'"finish_reason":"length"' in said
    assert (one.is_over, one.finish) == (True, "length")
