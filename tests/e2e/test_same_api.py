"""SmolLM2 asked twice for the same: of llama.cpp in `transom serve`, and of its page's own engine
on WebGPU. Words may differ; keys, types, order of frames, ends and the arithmetic of figures may
not.

tests/contract/api compares bytes, with an engine that is scripted.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from playwright.sync_api import Page, Playwright

from tests.contract.api.answers import Answer, said_in
from tests.contract.api.asking import Request
from tests.contract.api.checking import check_form, kinds
from tests.e2e.browser import open_chromium
from tests.e2e.commands import Server

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(1200)]

MODEL: Final = "smollm2"
SECONDS: Final = 600
GREEDY: Final[dict[str, Any]] = {"model": MODEL, "temperature": 0}
QUESTION: Final = [{"role": "user", "content": "What is the capital of France?"}]
CHAT: Final[dict[str, Any]] = GREEDY | {"messages": QUESTION}
# Whoever is held to it comes to an end.
CITY: Final = {
    "type": "object",
    "properties": {"c": {"enum": ["Paris", "Rome"]}},
    "required": ["c"],
}
PICK: Final = {"name": "pick", "description": "Picks a city.", "parameters": CITY}
# What a client goes by. The other texts are words of the model, ids and times.
LITERAL: Final = frozenset(
    "object type role status finish_reason stop_reason done_reason code param model reason".split()
)

ASKED: Final[Mapping[str, tuple[str, Any]]] = {
    "chat": ("/v1/chat/completions", CHAT | {"max_tokens": 4}),
    "chat streamed": (
        "/v1/chat/completions",
        CHAT | {"max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}},
    ),
    "log-probabilities": (
        "/v1/chat/completions",
        CHAT | {"max_tokens": 3, "logprobs": True, "top_logprobs": 20, "stream": True},
    ),
    "two answers": ("/v1/chat/completions", CHAT | {"max_tokens": 2, "n": 2}),
    "a stop text": ("/v1/chat/completions", CHAT | {"max_tokens": 16, "stop": " "}),
    "a choice": ("/v1/chat/completions", CHAT | {"guided_choice": ["yes", "no"]}),
    "a schema": (
        "/v1/chat/completions",
        CHAT | {"response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"enum": ["Paris", "Rome"]}}}},
    ),
    "a call": (
        "/v1/chat/completions",
        CHAT | {"stream": True, "tools": [{"type": "function", "function": PICK}],
                "tool_choice": {"type": "function", "function": {"name": "pick"}}},
    ),
    "too long": (
        "/v1/chat/completions",
        GREEDY | {"messages": [{"role": "user", "content": "a b " * 20_000}]},
    ),
    "completion": (
        "/v1/completions",
        GREEDY | {"prompt": "One, two,", "max_tokens": 4, "echo": True, "stream": True},
    ),
    "completion with log-probabilities": (
        "/v1/completions", GREEDY | {"prompt": "One, two,", "max_tokens": 3, "logprobs": 2},
    ),
    "messages": ("/v1/messages", CHAT | {"max_tokens": 4}),
    "messages streamed": ("/v1/messages", CHAT | {"max_tokens": 4, "stream": True}),
    "tokens counted": ("/v1/messages/count_tokens", {"model": MODEL, "messages": QUESTION}),
    "response": ("/v1/responses", GREEDY | {"input": "Hello", "max_output_tokens": 4}),
    "response streamed": (
        "/v1/responses", GREEDY | {"input": "Hello", "max_output_tokens": 4, "stream": True},
    ),
    "lines": (
        "/api/chat",
        {"model": MODEL, "messages": QUESTION, "options": {"temperature": 0, "num_predict": 4}},
    ),
    "generate": (
        "/api/generate",
        {"model": MODEL, "prompt": "Hello", "raw": True, "stream": False,
         "options": {"temperature": 0, "num_predict": 4}},
    ),
    "tokens": ("/tokenize", {"model": MODEL, "content": "Hello wörld 🚂", "add_special": True}),
    "no such model": ("/v1/chat/completions", CHAT | {"model": "nobody"}),
}  # fmt: skip
# Words for an answer that a limit ended.
CUT: Final = ("length", "max_tokens", "incomplete")


@pytest.fixture(scope="module")
def page(
    server: Server,
    playwright: Playwright,
    chromium: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Page]:
    profile = tmp_path_factory.mktemp("same-api")
    with open_chromium(playwright, chromium, profile) as context:
        page = context.new_page()
        page.goto(f"{server.address}/?model={MODEL}&where=browser")
        page.evaluate("() => window.transom.ready")
        yield page


@pytest.mark.parametrize("name", ASKED)
def test_the_same(name: str, server: Server, page: Page) -> None:
    path, body = ASKED[name]
    request = Request("POST", path, {"Content-Type": "application/json"}, json.dumps(body))
    theirs = ask_server(server, request)
    started = time.monotonic()
    ours = ask_page(page, request)
    print(f"\n{name}: {time.monotonic() - started:.1f} s in the page")
    assert ours.headers["transom-served-by"].startswith("browser; "), ours.headers
    assert (ours.status, ours.type) == (theirs.status, theirs.type), (ours.text, theirs.text)
    assert shape(ours.value) == shape(theirs.value), (ours.text[:4000], theirs.text[:4000])
    if ours.status == 200:
        check_form(request, ours)
        check_form(request, theirs)
    if ours.is_stream:
        assert kinds(ours) == kinds(theirs)
    if ours.status == 200 and path not in ("/tokenize", "/v1/messages/count_tokens"):
        print(repr(said_in(path, theirs).text), repr(said_in(path, ours).text))
        finish = said_in(path, ours).finish
        assert finish == said_in(path, theirs).finish
        (prompt, completion), (their_prompt, their_completion) = map(figures, (ours, theirs))
        assert prompt == their_prompt
        if finish[0] in CUT:
            assert completion == their_completion


def test_tokens_are_the_same(server: Server, page: Page) -> None:
    for name in ("tokens", "tokens counted"):
        path, body = ASKED[name]
        request = Request("POST", path, {"Content-Type": "application/json"}, json.dumps(body))
        numbers = [
            answer.value for answer in (ask_server(server, request), ask_page(page, request))
        ]
        for value in numbers:
            value.pop("max_model_len", None)  # each has a context of its own
        assert numbers[0] == numbers[1]


def ask_server(server: Server, request: Request) -> Answer:
    data = (request.body or "").encode()
    sent = urllib.request.Request(
        f"{server.address}{request.path}", data, dict(request.headers), method=request.method
    )
    try:
        response = urllib.request.urlopen(sent, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, response.read().decode())


def ask_page(page: Page, request: Request) -> Answer:
    row = page.evaluate(
        """async ([path, headers, body]) => {
            const response = await fetch(path, { method: "POST", headers, body });
            return {
                status: response.status,
                headers: Object.fromEntries(response.headers),
                text: await response.text(),
            };
        }""",
        [request.path.removeprefix("/"), request.headers, request.body],
    )
    return Answer(row["status"], row["headers"], row["text"])


def shape(value: Any, name: str = "") -> Any:
    """A value without what models, clocks and chance say; what follows itself counts once."""
    if isinstance(value, dict):
        return {key: shape(item, key) for key, item in value.items()}
    if isinstance(value, list):
        found: list[Any] = []
        for item in value:
            told = shape(item, name)
            if not found or found[-1] != told:
                found.append(told)
        return found
    if isinstance(value, bool) or value is None or name in LITERAL or value == "[DONE]":
        return value
    return "number" if isinstance(value, int | float) else "text"


def figures(answer: Answer) -> tuple[int, int]:
    """Tokens of the prompt and of the answer, as the last frame that has any tells them."""
    frames = answer.value if isinstance(answer.value, list) else [answer.value]
    words = (
        ("prompt_n", "predicted_n"),
        ("prompt_tokens", "completion_tokens"),
        ("input_tokens", "output_tokens"),
        ("prompt_eval_count", "eval_count"),
    )
    for frame in reversed(frames):
        if frame == "[DONE]":
            continue
        holder = frame.get("response") if isinstance(frame.get("response"), dict) else frame
        usage = holder.get("usage") or holder.get("timings") or holder
        for prompt, completion in words:
            if prompt in usage:
                # How much of it was known differs.
                known = usage.get("cache_read_input_tokens", 0) + usage.get("cache_n", 0)
                return usage[prompt] + known, usage[completion]
    raise AssertionError("nobody says how many tokens there were")
