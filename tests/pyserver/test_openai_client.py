"""pytest tests/pyserver/test_openai_client.py: OpenAI's routes over a socket.

The official `openai` client asks; llama.cpp answers, with tiny random models. Where an answer has
to stop at a certain point, a fake engine gives it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionUserMessageParam

from tests.fakes.fake_engine import FakeLoader
from tests.fakes.tiny_gguf import TOKENS
from tests.pyserver.native_models import OPTIONS, put_native
from transom_api.engine import EngineFailed
from transom_server.app import create_app
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

SECONDS = 30
HELLO: ChatCompletionUserMessageParam = {"role": "user", "content": "hello"}
# Random weights would write spaces for ever inside an object.
SCHEMA = {"enum": ["yes", "no"]}


# As Hermes and Qwen have it.
CALLING = (
    "{% for tool in tools %}<tools>{{ tool | tojson }}</tools>{% endfor %}"
    "{% for m in messages %}[{{ m.role }}:{{ m.content }}"
    "{% for call in m.tool_calls %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}]"
    "{% endfor %}"
)
ADD: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openai") / "models"
    store = Store(folder)
    put_native(store, "tiny")
    template = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
    put_native(store, "mine", template=template, parameters={**OPTIONS, "num_ctx": 128})
    put_native(store, "me/own:q4", parameters={"num_thread": 1})
    put_native(store, "caller", template=CALLING)
    put_native(store, "filler", template="<a>{{ messages[-1].content }}<b>{{ suffix }}<c>")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running:
        yield running


def client_of(server: Server) -> openai.OpenAI:
    base = f"{server.url}/v1"
    return openai.OpenAI(base_url=base, api_key="none", timeout=SECONDS, max_retries=0)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with client_of(server) as client:
        yield client


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> FakeLoader:
    """Fake engines instead of llama.cpp, in servers made after this."""
    loader = FakeLoader("one", " two", " three")
    monkeypatch.setattr("transom_server.engines.choice.LlamaCpp", loader)
    return loader


@pytest.fixture
def faked(folder: Path, loader: FakeLoader) -> Iterator[openai.OpenAI]:
    config = Config.read({"TRANSOM_MODELS": str(folder)}, host="127.0.0.1", port="0")
    with serving(create_app(config), config) as running, client_of(running) as client:
        yield client


def post(client: openai.OpenAI, path: str, body: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{client.base_url}{path}", content=content, timeout=SECONDS)


# Chats


def test_a_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=[HELLO], max_tokens=5)
    assert (answer.object, answer.model) == ("chat.completion", "tiny")
    assert answer.id.startswith("chatcmpl-")
    (choice,) = answer.choices
    assert (choice.message.role, choice.finish_reason) == ("assistant", "length")
    assert choice.message.content
    assert answer.usage is not None
    # <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 5)


def test_tokens_are_counted_before(client: openai.OpenAI) -> None:
    answer = post(client, "chat/completions/input_tokens", {"model": "tiny", "messages": [HELLO]})
    assert answer.json() == {"object": "chat.input_tokens", "input_tokens": 20}


def test_a_stream_says_what_a_whole_answer_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="tiny", messages=[HELLO], max_tokens=5)
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=[HELLO],
            max_completion_tokens=5,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(words) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "length"
    usage = chunks[-1].usage
    assert usage is not None
    assert not chunks[-1].choices
    assert (usage.prompt_tokens, usage.completion_tokens) == (20, 5)
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_helper_for_streams_understands_it(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="tiny",
        messages=[HELLO],
        logprobs=True,
        top_logprobs=2,
        extra_body={"grammar": 'root ::= "yes"'},
    ) as stream:
        kinds = {event.type for event in stream}
        (choice,) = stream.get_final_completion().choices
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert choice.logprobs is not None
    assert choice.logprobs.content
    assert choice.message.content == "yes"


def test_several_answers(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "messages": [HELLO], "max_tokens": 4}
    answer = client.chat.completions.create(**asked, n=3, temperature=2, seed=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12
    texts = {0: "", 1: ""}
    for chunk in client.chat.completions.create(**asked, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts[0] == texts[1] != ""  # greedy, as this model's own parameters say


def test_log_probabilities(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=[HELLO], max_tokens=3, logprobs=True, top_logprobs=4
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 3
    for row in logprobs.content:
        assert row.logprob <= 0
        assert [top.logprob for top in row.top_logprobs] == sorted(
            (top.logprob for top in row.top_logprobs), reverse=True
        )
        # The model is greedy: the likeliest is the one that came.
        assert (row.top_logprobs[0].token, len(row.top_logprobs)) == (row.token, 4)
    said = b"".join(bytes(row.bytes or ()) for row in logprobs.content)
    assert said.decode(errors="replace") == answer.choices[0].message.content


def test_an_answer_in_a_schema(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=[HELLO],
        max_tokens=40,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
        },
    )
    assert json.loads(answer.choices[0].message.content or "") in ("yes", "no")


def test_a_grammar(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=[HELLO], extra_body={"grammar": 'root ::= "yes" | "no"'}
    )
    assert answer.choices[0].message.content in ("yes", "no")
    assert answer.choices[0].finish_reason == "stop"


def test_a_bias_decides(client: openai.OpenAI) -> None:
    def tokens(favourite: str) -> set[str]:
        answer = client.chat.completions.create(
            model="tiny",
            messages=[HELLO],
            max_tokens=3,
            logprobs=True,
            logit_bias={str(TOKENS.index(favourite)): 100},
        )
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        return {row.token for row in logprobs.content or ()}

    assert tokens("a") == {"a"}
    assert tokens("b") == {"b"}


def test_the_defaults_are_openais_where_the_model_says_nothing(
    faked: openai.OpenAI, loader: FakeLoader
) -> None:
    for model in ("me/own:q4", "mine"):
        faked.chat.completions.create(model=model, messages=[HELLO])
    own, greedy = (engine.requests[0].sampling for engine in loader.loaded)
    assert (own.temperature, own.top_p) == (1.0, 1.0)
    assert (greedy.temperature, greedy.top_p) == (0.0, 1.0)
    faked.chat.completions.create(model="mine", messages=[HELLO], temperature=0.5, stop=["x"])
    request = loader.loaded[-1].requests[-1]
    assert (request.sampling.temperature, request.stop) == (0.5, ("x",))


@pytest.mark.parametrize("way", ["suffix", "header", "field"])
def test_the_context_can_be_asked_for(faked: openai.OpenAI, loader: FakeLoader, way: str) -> None:
    asked: dict[str, Any] = {
        "suffix": {"model": "mine:ctx=96"},
        "header": {"model": "mine", "extra_headers": {"X-Transom-Context": "96"}},
        "field": {"model": "mine", "extra_body": {"num_ctx": 96}},
    }[way]
    answer = faked.chat.completions.create(messages=[HELLO], **asked)
    assert answer.model == asked["model"]
    assert [options.context_tokens for options in loader.options] == [96]


# Tools


@pytest.fixture
def calling(loader: FakeLoader) -> FakeLoader:
    """Engines that call a tool."""
    loader._pieces = (
        "Sure",
        ".<tool_",
        'call>\n{"name": "add", ',
        '"arguments": {"a": 1}}\n</tool_call>',
    )
    return loader


def test_a_loop_of_tools(calling: FakeLoader, faked: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "caller", "tools": [ADD]}
    answer = faked.chat.completions.create(messages=[HELLO], **asked)
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Sure."
    (call,) = choice.message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "add"
    assert json.loads(call.function.arguments) == {"a": 1}
    said: Any = choice.message.model_dump(exclude_none=True)
    result = {"role": "tool", "tool_call_id": call.id, "content": "2"}
    faked.chat.completions.create(messages=[HELLO, said, result], **asked)
    prompt = calling.loaded[-1].requests[-1].prompt
    assert '"name": "add"' in prompt
    assert "[tool:2]" in prompt


def test_calls_are_streamed(calling: FakeLoader, faked: openai.OpenAI) -> None:
    with faked.chat.completions.stream(model="caller", messages=[HELLO], tools=[ADD]) as stream:
        kinds = [event.type for event in stream]
        (choice,) = stream.get_final_completion().choices
    assert "tool_calls.function.arguments.done" in kinds
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Sure."
    (call,) = choice.message.tool_calls or ()
    assert json.loads(call.function.arguments) == {"a": 1}


def test_functions_of_old(calling: FakeLoader, faked: openai.OpenAI) -> None:
    answer = faked.chat.completions.create(
        model="caller", messages=[HELLO], functions=[ADD["function"]]
    )
    (choice,) = answer.choices
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert choice.message.function_call.name == "add"


# Completions


def test_a_gap_is_filled_where_the_template_says_how(
    faked: openai.OpenAI, loader: FakeLoader
) -> None:
    answer = faked.completions.create(model="filler", prompt="def f(", suffix="): pass")
    assert answer.choices[0].text == "one two three"
    assert loader.loaded[-1].requests[-1].prompt == "<a>def f(<b>): pass<c>"
    with pytest.raises(openai.BadRequestError) as refused:
        faked.completions.create(model="tiny", prompt="def f(", suffix="): pass")
    assert refused.value.param == "suffix"


def test_a_completion_goes_on_with_the_text(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "prompt": "hello", "max_tokens": 4}
    whole = client.completions.create(**asked)
    assert whole.object == "text_completion"
    assert whole.usage is not None
    # No template around it.
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (1, 4)
    echoed = client.completions.create(**asked, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in echoed) == "hello" + whole.choices[0].text
    with_logprobs = client.completions.create(**asked, logprobs=2)
    logprobs = with_logprobs.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs.tokens or ()) == len(logprobs.text_offset or ()) == 4


def test_prompts_in_one_request(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "max_tokens": 3}
    both = client.completions.create(**asked, prompt=["hello", "good"], n=2)
    alone = client.completions.create(**asked, prompt="good")
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.choices[2].text == both.choices[3].text == alone.choices[0].text
    assert both.usage is not None
    assert both.usage.completion_tokens == 12


def test_the_best_of_several(client: openai.OpenAI) -> None:
    answer = client.completions.create(
        model="tiny", prompt="hello", max_tokens=3, best_of=3, n=1, temperature=1
    )
    assert [choice.logprobs for choice in answer.choices] == [None]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 9


# Models


def test_models(client: openai.OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert names == {"tiny", "mine", "me/own:q4", "caller", "filler"}
    for name in names:
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.retrieve("nobody")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")


# Errors


def test_a_model_that_is_not_there(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nobody", messages=[HELLO])
    assert (missing.value.type, missing.value.code) == ("invalid_request_error", "model_not_found")


def test_a_bad_field_is_named(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tiny", messages=[HELLO], temperature=-1)
    assert (refused.value.param, refused.value.code) == ("temperature", "invalid_value")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"model": NaN}', b"[" * 10_000, b"\xff", b"1" * 5000]
)
def test_a_body_that_is_none(client: openai.OpenAI, body: bytes) -> None:
    answer = post(client, "chat/completions", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_half_a_character_is_no_text(client: openai.OpenAI) -> None:
    body = b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud83d"}]}'
    answer = post(client, "chat/completions", body)
    assert answer.status_code == 400


def test_an_overflow_is_said(client: openai.OpenAI) -> None:
    long: ChatCompletionUserMessageParam = {"role": "user", "content": "hello " * 500}
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="mine", messages=[long])
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (EngineFailed("it broke"), "it broke", "engine_error"),
        (KeyError("a secret"), "the server failed; its log says why", None),
    ],
)
def test_an_engine_that_dies_later_ends_the_stream_with_an_error(
    faked: openai.OpenAI,
    loader: FakeLoader,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    message: str,
    code: str | None,
) -> None:
    def broken(seconds: float) -> bool:
        raise error

    monkeypatch.setattr(loader.go, "wait", broken)
    stream = faked.chat.completions.create(model="tiny", messages=[HELLO], stream=True)
    assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "one"]
    with pytest.raises(openai.APIError, match=message) as late:
        next(stream)
    assert late.value.code == code


def test_other_addresses(client: openai.OpenAI) -> None:
    answer = post(client, "nothing", {})
    assert answer.status_code in (404, 405)
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("asked", "extra"),
    [
        (
            "authorization,content-type,x-stainless-lang",
            ", authorization,content-type,x-stainless-lang",
        ),
        ("x-api-key", ", x-api-key"),
        ("", ""),
        ("a: b", ""),
        ("x," * 70, ""),
    ],
)
def test_pages_may_send_what_their_clients_send(server: Server, asked: str, extra: str) -> None:
    headers = {
        "Origin": "http://localhost:5173",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    answer = httpx.options(f"{server.url}/v1/chat/completions", headers=headers)
    allowed = answer.headers["Access-Control-Allow-Headers"]
    assert allowed == "Content-Type, If-None-Match, If-Range, Range" + extra
    strange = httpx.options(
        f"{server.url}/v1/chat/completions", headers={**headers, "Origin": "http://evil.example"}
    )
    assert "Access-Control-Allow-Headers" not in strange.headers
