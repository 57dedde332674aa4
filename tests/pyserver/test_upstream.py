"""Models of other servers: dialects, turns, failures, and servers that answer with anything."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.fakes.fake_upstream import DONE, HELLO, USAGE, FakeUpstream, Reply, chunk, event, said
from tests.waiting import wait_for
from transom_api.chat import Chat, Message, Text
from transom_api.engine import RequestCancelled
from transom_server.app import create_app
from transom_server.settings.config import Config, InvalidSetting
from transom_server.upstream.client import UpstreamFailed
from transom_server.upstream.health import Upstreams
from transom_server.upstream.server import Upstream
from transom_server.upstream.settings import UpstreamSetting, read_upstreams

ASKED = {"model": "big", "messages": [{"role": "user", "content": "Hi"}]}


def setting(fake: FakeUpstream, **fields: Any) -> UpstreamSetting:
    rows = [{"url": fake.url, "models": {"big": "theirs"}, "kind": "vllm", **fields}]
    return read_upstreams(rows, {}, Path())[0]


@pytest.fixture
def fakes() -> Iterator[list[FakeUpstream]]:
    """Two other servers that have the model."""
    with ExitStack() as stack:
        found = [stack.enter_context(FakeUpstream(["theirs"]).running()) for _ in range(2)]
        for fake in found:
            fake.replies["/v1/chat/completions"] = HELLO
        yield found


@pytest.fixture
def fake(fakes: list[FakeUpstream]) -> FakeUpstream:
    return fakes[0]


@pytest.fixture
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Makes clients of servers that have these as upstreams."""
    closes = []

    def make(*settings: UpstreamSetting) -> FlaskClient:
        config = Config.read({"TRANSOM_MODELS": str(tmp_path / "models")})
        app = create_app(config.changed(upstreams=settings))
        closes.append(app.extensions["transom_close"])
        return app.test_client()

    yield make
    for close in closes:
        close()


def frames(text: str) -> list[Any]:
    lines = (line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_each_dialect_gets_its_own_words(fake: FakeUpstream, asked: Any) -> None:
    client = asked(setting(fake))
    chat = client.post("/v1/chat/completions", json=ASKED).get_json()
    assert chat["choices"][0]["message"]["content"] == "Hello"
    assert chat["choices"][0]["finish_reason"] == "stop"
    assert chat["usage"]["prompt_tokens"] == 7
    messages = client.post("/v1/messages", json={**ASKED, "max_tokens": 5}).get_json()
    assert messages["content"] == [{"type": "text", "text": "Hello"}]
    assert messages["usage"]["output_tokens"] == 2
    ollama = client.post("/api/chat", json=ASKED).get_data(as_text=True)
    lines = [json.loads(line) for line in ollama.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == "Hello"
    assert lines[-1]["eval_count"] == 2
    answer = client.post("/v1/responses", json={"model": "big", "input": "Hi"}).get_json()
    assert answer["output"][0]["content"][0]["text"] == "Hello"
    assert [body["model"] for body in fake.chats] == ["theirs"] * 4
    assert fake.chats[1]["max_tokens"] == 5


def test_calls_and_reasoning_come_through(fake: FakeUpstream, asked: Any) -> None:
    call = {"index": 0, "id": "call_9", "function": {"name": "look", "arguments": '{"a"'}}
    more = {"index": 0, "function": {"arguments": ":1}"}}
    fake.replies["/v1/chat/completions"] = Reply(
        [
            chunk({"reasoning_content": "Hm"}),
            chunk({"tool_calls": [call]}),
            chunk({"tool_calls": [more]}),
            chunk({}, "tool_calls"),
            USAGE,
            DONE,
        ]
    )
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    body = {**ASKED, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": False}
    client = asked(setting(fake))
    message = client.post("/v1/chat/completions", json=body).get_json()["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm"
    assert message["tool_calls"][0]["id"] == "call_9"
    assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    sent = fake.chats[0]
    assert sent["tool_choice"] == "required"
    assert sent["parallel_tool_calls"] is False
    assert sent["tools"][0]["function"]["name"] == "look"
    claude = {"name": "look", "input_schema": {"type": "object"}}
    body = {**ASKED, "max_tokens": 9, "tools": [claude]}
    blocks = client.post("/v1/messages", json=body).get_json()["content"]
    assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
    assert blocks[1]["input"] == {"a": 1}


def test_lists_have_the_model(fake: FakeUpstream, asked: Any) -> None:
    client = asked(setting(fake))
    wait_for(lambda: client.get("/v1/models").get_json()["data"][0]["created"] == 1000)
    place = fake.url.split("/")[2]
    assert client.get("/v1/models").get_json()["data"][0]["owned_by"] == place
    assert client.get("/v1/models/big").get_json()["id"] == "big"
    (tag,) = client.get("/api/tags").get_json()["models"]
    assert (tag["name"], tag["remote_model"]) == ("big:latest", "theirs")
    assert (tag["remote_host"], tag["capabilities"]) == (place, ["completion"])
    assert client.get("/api/ps").get_json()["models"][0]["model"] == "big:latest"
    assert client.post("/api/show", json={"model": "big"}).get_json()["remote_host"] == place
    assert client.get("/readyz").get_json()["upstreams"] == {place: "ok"}
    assert f'transom_upstream_up{{upstream="{place}"}} 1' in client.get("/metrics").text


def test_healthy_ones_take_turns(fakes: list[FakeUpstream], asked: Any) -> None:
    client = asked(*map(setting, fakes))
    for _ in range(4):
        assert client.post("/v1/chat/completions", json=ASKED).status_code == 200
    assert [len(fake.chats) for fake in fakes] == [2, 2]


@pytest.mark.parametrize(
    "fault",
    [
        Reply([], 500),
        Reply([], 401),
        said({"error": {"message": "no model"}}, 404),
        Reply([event({"error": {"message": "out of memory"}})]),
        Reply([]),
        Reply([b"data: nonsense\n\n"]),
        Reply([b"<html>"], kind="text/html"),
        Reply([b"x"], headers={"Content-Encoding": "gzip"}),
    ],
)
def test_before_the_first_token_the_next_one_answers(
    fakes: list[FakeUpstream], asked: Any, fault: Reply
) -> None:
    fakes[0].replies["/v1/chat/completions"] = fault
    client = asked(*map(setting, fakes))
    for _ in range(2):
        answer = client.post("/v1/chat/completions", json={**ASKED, "stream": True})
        assert answer.status_code == 200
        assert "lo" in answer.get_data(as_text=True)
    assert len(fakes[1].chats) == 2


def test_later_it_is_the_last_frame(fakes: list[FakeUpstream], asked: Any) -> None:
    fakes[0].replies["/v1/chat/completions"] = Reply([chunk({"content": "Hel"})])
    client = asked(setting(fakes[0]))
    text = client.post("/v1/chat/completions", json={**ASKED, "stream": True}).get_data(True)
    assert "middle of an answer" in frames(text)[-1]["error"]["message"]
    assert "[DONE]" not in text
    # Without a stream there is a status to say it by.
    wait_for(
        lambda: client.post("/v1/messages", json={**ASKED, "max_tokens": 1}).status_code == 502
    )


def test_nobody_left_is_one_line_that_names_them(fake: FakeUpstream, asked: Any) -> None:
    fake.replies["/v1/chat/completions"] = Reply([], 500)
    client = asked(setting(fake))
    answer = client.post("/api/chat", json=ASKED)
    assert answer.status_code == 502
    assert fake.url.split("/")[2] in answer.get_json()["error"]
    fake.replies["/v1/chat/completions"] = said({"error": {"message": "slow down"}}, 429)
    answer = client.post("/v1/chat/completions", json=ASKED)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_what_the_request_did_wrong_is_told_to_whoever_asked(
    fakes: list[FakeUpstream], asked: Any
) -> None:
    error = {"message": "top_p is odd", "param": "top_p"}
    fakes[0].replies["/v1/chat/completions"] = said({"error": error}, 400)
    client = asked(*map(setting, fakes))
    answer = client.post("/v1/chat/completions", json=ASKED)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == "top_p"
    assert fakes[1].chats == []
    long = {"message": "too long", "code": "context_length_exceeded"}
    fakes[0].replies["/v1/chat/completions"] = said({"error": long}, 400)
    client.post("/v1/chat/completions", json=ASKED)  # the other one's turn
    answer = client.post("/v1/chat/completions", json=ASKED)
    assert answer.get_json()["error"]["code"] == "context_length_exceeded"


def test_a_field_without_a_word_there_is_refused_by_name(fake: FakeUpstream, asked: Any) -> None:
    client = asked(setting(fake, kind="openai"))
    answer = client.post("/v1/chat/completions", json={**ASKED, "top_k": 5})
    assert answer.status_code == 400
    assert answer.get_json()["error"]["param"] == "top_k"
    answer = client.post("/api/chat", json={**ASKED, "options": {"num_ctx": 100}})
    assert "num_ctx" in answer.get_json()["error"]
    assert fake.chats == []


def test_vectors_scores_and_tokens(fake: FakeUpstream, asked: Any) -> None:
    rows = [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}]
    usage = {"prompt_tokens": 3}
    fake.replies["/v1/embeddings"] = said({"data": rows, "usage": usage})
    scores = [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.25}]
    fake.replies["/v1/rerank"] = said({"results": scores, "usage": usage})
    fake.replies["/tokenize"] = said({"tokens": [1, 2], "count": 2})
    fake.replies["/detokenize"] = said({"prompt": "ab"})
    client = asked(setting(fake))
    body = {"model": "big", "input": ["a", "b"]}
    data = client.post("/v1/embeddings", json=body).get_json()["data"]
    assert [row["embedding"] for row in data] == [[1.0, 0.0], [0.0, 1.0]]
    assert client.post("/api/embed", json=body).get_json()["prompt_eval_count"] == 3
    body = {"model": "big", "query": "q", "documents": ["a", "b"]}
    results = client.post("/v1/rerank", json=body).get_json()["results"]
    assert [row["index"] for row in results] == [1, 0]
    body = {"model": "big", "content": "ab"}
    assert client.post("/tokenize", json=body).get_json()["tokens"] == [1, 2]
    body = {"model": "big", "tokens": [1, 2]}
    assert client.post("/detokenize", json=body).get_json()["content"] == "ab"
    body = {**ASKED, "max_tokens": 1}
    assert client.post("/v1/messages/count_tokens", json=body).get_json()["input_tokens"] == 2


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"data": []}, "0 vectors"),
        ({"data": [{"embedding": ["x"]}]}, "no list of numbers"),
        ({"data": [{"index": [], "embedding": [1]}]}, "index"),
        ([1], "0 vectors"),
    ],
)
def test_vectors_that_lie_are_one_error(
    fake: FakeUpstream, asked: Any, body: Any, why: str
) -> None:
    fake.replies["/v1/embeddings"] = said(body)
    answer = asked(setting(fake)).post("/v1/embeddings", json={"model": "big", "input": "a"})
    assert answer.status_code == 502
    assert why in answer.get_json()["error"]["message"]


def conversation(upstream: Upstream, cancelled: Any = lambda: False) -> Any:
    chat = Chat("big", (Message("user", (Text("Hi"),)),))
    return closing(upstream.converse(chat, "big", cancelled))


def test_who_goes_away_closes_the_connection(fake: FakeUpstream) -> None:
    fake.replies["/v1/chat/completions"] = Reply([chunk({"content": "Hel"})], holds=True)
    gone = threading.Event()
    with conversation(Upstream(setting(fake)), gone.is_set) as deltas:
        next(deltas)
        gone.set()
        with pytest.raises(RequestCancelled):
            next(deltas)
    assert fake.gone.wait(10)


def test_closing_an_answer_closes_the_connection(fake: FakeUpstream) -> None:
    fake.replies["/v1/chat/completions"] = Reply([chunk({"content": "Hel"})], holds=True)
    with conversation(Upstream(setting(fake))) as deltas:
        next(deltas)
    assert fake.gone.wait(10)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(forever=b": still here\n\n" * 100), "nothing came|longer than"),
        (Reply(forever=b"data: " + b"x" * 65536), "longer than"),
        (Reply(forever=b"x" * 65536), "longer than"),
        (Reply(holds=True), "nothing came"),
        (Reply([chunk({"content": 5})]), "content"),
        (Reply([chunk({"content": "a"}, index=7)]), "index"),
        (Reply([chunk({}, "content_filter")]), "content_filter"),
        (Reply([event([1])]), "no JSON object"),
        (Reply([b'data: {"choices": ' + b"[" * 100_000 + b"\n\n"]), "no JSON object"),
        (Reply([], 302, headers={"Location": "http://192.0.2.1/"}), "302"),
    ],
)
def test_hostile_streams_end(
    fake: FakeUpstream, reply: Reply, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transom_server.upstream.server.MAX_STREAM_BYTES", 64 * 1024 * 1024)
    fake.replies["/v1/chat/completions"] = reply
    # Only one that is silent has to be waited for, and no other may seem so on a busy machine.
    timeout = 1 if reply.holds else 60
    with conversation(Upstream(setting(fake, timeout=timeout))) as deltas:
        with pytest.raises(UpstreamFailed, match=why):
            list(deltas)


def test_one_that_is_down_is_passed_over_until_it_is_back(fake: FakeUpstream) -> None:
    listed = fake.replies["/v1/models"]
    fake.replies["/v1/models"] = Reply([], 503)
    upstreams = Upstreams([setting(fake)])
    with closing(upstreams):
        (upstream,) = upstreams.all
        wait_for(lambda: upstream.fault is not None)
        assert list(upstreams.well("big")) == []
        fake.replies["/v1/models"] = listed
        wait_for(lambda: upstream.fault is None)
        assert list(upstreams.well("big")) == [upstream]


def test_one_that_lost_the_model_is_passed_over(fake: FakeUpstream) -> None:
    upstream = Upstream(setting(fake))
    upstream.look()
    assert upstream.fault_of("big") is None
    fake.replies["/v1/models"] = said({"data": [{"id": "another"}]})
    upstream.look()
    assert "no model theirs" in (upstream.fault_of("big") or "")
    assert upstream.fault is None


def test_the_key_is_sent_and_never_told(
    fake: FakeUpstream, asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rows = [{"url": fake.url, "models": {"big": "theirs"}, "key_env": "K"}]
    (secret,) = read_upstreams(rows, {"K": "s3cret"}, Path())
    assert "s3cret" not in repr(secret)
    fake.replies["/v1/chat/completions"] = said({"error": {"message": "key refused"}}, 401)
    answer = asked(secret).post("/v1/chat/completions", json=ASKED)
    assert "s3cret" not in answer.text + caplog.text
    assert "Bearer s3cret" in fake.keys


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"models": ["a"]}, "url"),
        ({"url": "ftp://x", "models": ["a"]}, "url"),
        ({"url": "http://x/v1"}, "models"),
        ({"url": "http://x/v1", "models": []}, "models"),
        ({"url": "http://x/v1", "models": {"a b": "c"}}, "models"),
        ({"url": "http://x/v1", "models": ["a"], "kind": "tgi"}, "kind"),
        ({"url": "http://x/v1", "models": ["a"], "key": "abc"}, "key"),
        ({"url": "http://x/v1", "models": ["a"], "key_env": "NOT_SET"}, "NOT_SET"),
        ({"url": "http://x/v1", "models": ["a"], "key_env": "K"}, "plain http"),
        ({"url": "https://x/v1", "models": ["a"], "timeout": 0}, "timeout"),
        (5, "upstream"),
    ],
)
def test_settings_that_cannot_be_meant(row: Any, why: str) -> None:
    with pytest.raises(InvalidSetting, match=why):
        read_upstreams([row], {"K": "key"}, Path())
