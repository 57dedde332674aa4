"""pytest tests/pyserver/test_responses_client.py: /v1/responses over a socket.

The official `openai` client asks; llama.cpp answers, with tiny random models.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pydantic
import pytest

from tests.fakes.fake_engine import FakeLoader
from tests.fakes.tiny_gguf import tiny_llama
from tests.pyserver.native_models import OPTIONS, put_native
from transom_api.engine import EngineFailed
from transom_server.app import create_app
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 30
LONG = tiny_llama(metadata={"llama.context_length": 8192}).to_bytes()
# The likeliest token goes on with spaces for ever.
AT_RANDOM = {"temperature": 50, "seed": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("responses") / "models"
    store = Store(folder)
    put_native(store, "tiny")
    put_native(store, "long", LONG, parameters={**OPTIONS, "num_ctx": 4096})
    template = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
    put_native(store, "mine", template=template, parameters={**OPTIONS, "num_ctx": 256})
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


def client_of(server: Server) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="none", timeout=SECONDS, max_retries=0
    )


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with client_of(server) as client:
        yield client


def test_a_response(client: openai.OpenAI) -> None:
    response = client.responses.create(model="tiny", input="hello", max_output_tokens=5)
    assert (response.object, response.model) == ("response", "tiny")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output_text
    assert response.usage is not None
    # <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n
    assert (response.usage.input_tokens, response.usage.output_tokens) == (20, 5)


def test_a_stream_says_what_a_whole_response_says(client: openai.OpenAI) -> None:
    whole = client.responses.create(model="tiny", input="hello", max_output_tokens=5)
    with client.responses.stream(model="tiny", input="hello", max_output_tokens=5) as stream:
        events = list(stream)
    assert [event.type for event in events][:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == whole.output_text


def test_a_response_is_gone_on_with(client: openai.OpenAI) -> None:
    first = client.responses.create(model="mine", input="hello", max_output_tokens=2)
    second = client.responses.create(
        model="mine", input="more", max_output_tokens=2, previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    assert first.usage is not None
    assert second.usage is not None
    # [assistant:…][user:more]
    assert second.usage.input_tokens > first.usage.input_tokens + 15
    own = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "more"},
    ]
    sent = client.responses.create(
        model="mine",
        input=own,  # type: ignore[arg-type]  # the client's types want a list of its own
        max_output_tokens=2,
    )
    assert sent.output_text == second.output_text


def test_a_response_can_be_had_again_and_removed(client: openai.OpenAI) -> None:
    response = client.responses.create(model="tiny", input="hello", max_output_tokens=2)
    again = client.responses.retrieve(response.id)
    assert again.to_dict() == response.to_dict()
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError, match="no such response"):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(response.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="tiny", input="x", previous_response_id=response.id)
    assert refused.value.param == "previous_response_id"


def test_a_response_that_is_not_to_be_kept(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="tiny", input="hello", max_output_tokens=2, store=False
    )
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_streamed_response_is_kept(client: openai.OpenAI) -> None:
    stream = client.responses.create(model="tiny", input="hi", max_output_tokens=2, stream=True)
    first, *_ = list(stream)
    assert first.type == "response.created"
    assert client.responses.retrieve(first.response.id).status == "incomplete"


def test_log_probabilities(client: openai.OpenAI) -> None:
    response = client.responses.create(
        model="tiny",
        input="hello",
        max_output_tokens=3,
        top_logprobs=2,
        include=["message.output_text.logprobs"],
    )
    (item,) = response.output
    assert item.type == "message"
    (part,) = item.content
    assert part.type == "output_text"
    assert part.logprobs is not None
    assert [len(row.top_logprobs) for row in part.logprobs] == [2, 2, 2]


class Sky(pydantic.BaseModel):
    colour: Literal["blue", "grey"]


def test_an_answer_of_a_schema(client: openai.OpenAI) -> None:
    response = client.responses.parse(
        model="tiny",
        input="hello",
        text_format=Sky,
        extra_body=AT_RANDOM,
    )
    assert response.status == "completed"
    assert response.output_parsed is not None
    assert response.output_parsed.colour in ("blue", "grey")


SKY: openai.types.responses.FunctionToolParam = {
    "type": "function",
    "name": "sky",
    "description": "The colour of the sky over a town.",
    "parameters": {
        "type": "object",
        "properties": {"town": {"enum": ["Oulu", "Rome"]}},
        "required": ["town"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_answers(client: openai.OpenAI, stream: bool) -> None:
    asked: Any = "what colour is it?"
    before: str | None = None
    for choice in ("required", {"type": "function", "name": "sky"}):
        fields: dict[str, Any] = {
            "model": "long",
            "input": asked,
            "tools": [SKY],
            "tool_choice": choice,
            "parallel_tool_calls": False,
            "previous_response_id": before,
            "extra_body": AT_RANDOM,
        }
        if stream:
            with client.responses.stream(**fields) as events:
                response = events.get_final_response()
        else:
            response = client.responses.create(**fields)
        assert response.status == "completed"
        (call,) = response.output
        assert call.type == "function_call"
        assert call.name == "sky"
        assert json.loads(call.arguments)["town"] in ("Oulu", "Rome")
        before = response.id
        asked = [{"type": "function_call_output", "call_id": call.call_id, "output": "blue"}]
    last = client.responses.create(
        model="long", input=asked, tools=[SKY], previous_response_id=before, max_output_tokens=3
    )
    assert last.status == "incomplete"


def test_tokens_are_counted(client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(model="tiny", input="hello")
    assert counted.object == "response.input_tokens"
    # <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n
    assert counted.input_tokens == 20


def test_a_refusal_says_the_field(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="tiny", input="x", tools=[{"type": "web_search"}])
    assert refused.value.param == "tools[0].type"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_there(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody", input="x", stream=stream)


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b"[" * 100_000])
def test_a_body_that_is_none(server: Server, sent: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/responses", content=sent, timeout=SECONDS)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_engine_that_breaks_in_the_middle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = FakeLoader("one", " two")
    monkeypatch.setattr("transom_server.engines.choice.LlamaCpp", loader)
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    loader.go.clear()
    with serving(create_app(config), config) as server, client_of(server) as client:
        stream = client.responses.create(model="tiny", input="x", stream=True)
        next(stream)

        def broken() -> bool:
            raise EngineFailed("it broke")

        monkeypatch.setattr(loader.go, "wait", lambda _: broken())
        *_, error, failed = stream
        assert error.type == "error"
        assert error.message == "it broke"
        assert failed.type == "response.failed"
        assert failed.response.error is not None
        assert failed.response.error.code == "server_error"
