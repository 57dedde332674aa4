"""pytest tests/pyserver/test_anthropic_client.py: /v1/messages over a socket.

The official `anthropic` client asks; llama.cpp answers, with tiny random models.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from tests.fakes.fake_engine import FakeLoader
from tests.fakes.pictures import png
from tests.fakes.tiny_gguf import tiny_llama
from tests.fakes.tiny_projector import tiny_projector
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
HELLO: anthropic.types.MessageParam = {"role": "user", "content": "hello"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("anthropic") / "models"
    store = Store(folder)
    put_native(store, "tiny")
    put_native(store, "long", LONG, parameters={**OPTIONS, "num_ctx": 4096})
    template = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
    put_native(store, "mine", template=template, parameters={**OPTIONS, "num_ctx": 128})
    put_native(store, "seeing", projector=tiny_projector().to_bytes())
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


def client_of(server: Server) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="none", timeout=SECONDS, max_retries=0)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    with client_of(server) as client:
        yield client


def test_a_message(client: anthropic.Anthropic) -> None:
    message = client.messages.create(model="tiny", max_tokens=5, messages=[HELLO])
    assert (message.type, message.role, message.model) == ("message", "assistant", "tiny")
    assert message.id.startswith("msg_")
    assert message.stop_reason == "max_tokens"
    (block,) = message.content
    assert block.type == "text"
    assert block.text
    assert message.usage.output_tokens == 5
    # <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n
    cached = message.usage.cache_read_input_tokens
    assert cached is not None
    assert message.usage.input_tokens + cached == 20


def test_a_stream_says_what_a_whole_message_says(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(model="tiny", max_tokens=5, messages=[HELLO])
    with client.messages.stream(model="tiny", max_tokens=5, messages=[HELLO]) as stream:
        first, *others = stream
        streamed = stream.get_final_message()
    assert first.type == "message_start"
    # How long the prompt is, it says before the first word.
    assert first.message.usage.to_dict()["input_tokens"] == 20
    assert others[-1].type == "message_stop"
    assert [block.to_dict() for block in streamed.content] == [
        block.to_dict() for block in whole.content
    ]
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("max_tokens", 5)
    cached = streamed.usage.cache_read_input_tokens
    assert cached is not None
    assert streamed.usage.input_tokens + cached == 20


def test_system_and_turns_reach_the_template(client: anthropic.Anthropic) -> None:
    short = client.messages.create(model="mine", max_tokens=1, messages=[HELLO])
    long = client.messages.create(
        model="mine",
        max_tokens=1,
        system=[{"type": "text", "text": "be brief"}],
        messages=[HELLO, {"role": "assistant", "content": "well"}, HELLO],
    )

    def prompt_tokens(message: anthropic.types.Message) -> int:
        return message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)

    # [system:be brief] and [assistant:well][user:hello]
    assert prompt_tokens(long) > prompt_tokens(short) + 20


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    turns: list[anthropic.types.MessageParam] = [
        HELLO,
        {"role": "assistant", "content": "well"},
        HELLO,
    ]
    for messages in ([HELLO], turns):
        counted = client.messages.count_tokens(
            model="mine", system="be brief", messages=messages
        ).input_tokens
        message = client.messages.create(
            model="mine", max_tokens=1, system="be brief", messages=messages
        )
        cached = message.usage.cache_read_input_tokens or 0
        assert counted == message.usage.input_tokens + cached
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="nobody", messages=[HELLO])


def test_a_stop_sequence_is_named(client: anthropic.Anthropic) -> None:
    first = client.messages.create(model="tiny", max_tokens=40, messages=[HELLO]).content[0]
    assert first.type == "text"
    stop = next(letter for letter in first.text if letter.isascii() and letter.isprintable())
    message = client.messages.create(
        model="tiny", max_tokens=40, messages=[HELLO], stop_sequences=["never said", stop]
    )
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)


def test_a_prompt_longer_than_the_context(client: anthropic.Anthropic) -> None:
    long: anthropic.types.MessageParam = {"role": "user", "content": "word " * 500}
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(model="mine", max_tokens=1, messages=[long])
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_there(client: anthropic.Anthropic, stream: bool) -> None:
    with pytest.raises(anthropic.NotFoundError) as refused:
        client.messages.create(model="nobody", max_tokens=5, messages=[HELLO], stream=stream)
    assert refused.value.type == "not_found_error"


def test_a_refusal_says_the_field(client: anthropic.Anthropic) -> None:
    url: anthropic.types.ImageBlockParam = {
        "type": "image",
        "source": {"type": "url", "url": "http://localhost/cat.png"},
    }
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(
            model="tiny", max_tokens=5, messages=[{"role": "user", "content": [url]}]
        )
    body = refused.value.body
    assert isinstance(body, dict)
    assert body["type"] == "error"
    assert body["error"]["message"].startswith("messages[0].content[0].source.type: ")


def test_an_answer_of_a_schema(client: anthropic.Anthropic) -> None:
    schema = {
        "type": "object",
        "properties": {"sky": {"enum": ["blue", "grey"]}},
        "required": ["sky"],
        "additionalProperties": False,
    }
    message = client.messages.create(
        model="tiny",
        max_tokens=100,
        messages=[HELLO],
        extra_body=AT_RANDOM,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    (block,) = message.content
    assert block.type == "text"
    assert json.loads(block.text)["sky"] in ("blue", "grey")
    assert message.stop_reason == "end_turn"


SKY: anthropic.types.ToolParam = {
    "name": "sky",
    "description": "The colour of the sky over a town.",
    "input_schema": {
        "type": "object",
        "properties": {"town": {"enum": ["Oulu", "Rome"]}},
        "required": ["town"],
        "additionalProperties": False,
    },
}


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_answers(client: anthropic.Anthropic, stream: bool) -> None:
    messages = [HELLO]
    choices: list[anthropic.types.ToolChoiceParam] = [
        {"type": "any", "disable_parallel_tool_use": True},
        {"type": "tool", "name": "sky", "disable_parallel_tool_use": True},
    ]
    for choice in choices:
        fields: dict[str, Any] = {
            "model": "long",
            "max_tokens": 150,
            "messages": messages,
            "tools": [SKY],
            "tool_choice": choice,
            "extra_body": AT_RANDOM,
        }
        if stream:
            with client.messages.stream(**fields) as events:
                message = events.get_final_message()
        else:
            message = client.messages.create(**fields)
        assert message.stop_reason == "tool_use"
        (call,) = message.content
        assert call.type == "tool_use"
        assert call.name == "sky"
        assert call.input["town"] in ("Oulu", "Rome")
        answer: anthropic.types.ToolResultBlockParam = {
            "type": "tool_result",
            "tool_use_id": call.id,
            "content": "blue",
        }
        messages += [message_param(message), {"role": "user", "content": [answer]}]
    last = client.messages.create(model="long", max_tokens=3, messages=messages, tools=[SKY])
    assert last.usage.output_tokens == 3


def message_param(message: anthropic.types.Message) -> anthropic.types.MessageParam:
    return {"role": "assistant", "content": message.content}


def picture(seed: int) -> anthropic.types.ImageBlockParam:
    data = base64.b64encode(png(seed)).decode()
    return {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": data},
    }


def test_a_picture(client: anthropic.Anthropic) -> None:
    def asked(seed: int) -> anthropic.types.MessageParam:
        return {"role": "user", "content": [picture(seed), {"type": "text", "text": "and?"}]}

    def look(seed: int) -> anthropic.types.Message:
        return client.messages.create(model="seeing", max_tokens=20, messages=[asked(seed)])

    assert len({str(look(seed).content) for seed in range(6)}) > 1
    counted = client.messages.count_tokens(model="seeing", messages=[asked(0)])
    usage = look(0).usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_a_model_that_sees_nothing(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="sees no images"):
        client.messages.create(
            model="tiny", max_tokens=5, messages=[{"role": "user", "content": [picture(0)]}]
        )


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b'"x"', b"[" * 100_000])
def test_a_body_that_is_none(server: Server, sent: bytes) -> None:
    answer = httpx.post(f"{server.url}/v1/messages", content=sent, timeout=SECONDS)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_engine_that_breaks_in_the_middle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = FakeLoader("one", " two")
    monkeypatch.setattr("transom_server.engines.choice.LlamaCpp", loader)
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    loader.go.clear()
    with serving(create_app(config), config) as server, client_of(server) as client:
        stream = client.messages.create(model="tiny", max_tokens=5, messages=[HELLO], stream=True)
        kinds = [next(stream).type for _ in range(3)]
        assert kinds == ["message_start", "content_block_start", "content_block_delta"]

        def broken() -> bool:
            raise EngineFailed("it broke")

        monkeypatch.setattr(loader.go, "wait", lambda _: broken())
        with pytest.raises(anthropic.APIStatusError, match="it broke"):
            list(stream)
