"""pytest tests/pyserver/test_ollama_generation.py: Ollama's requests and lines, no server."""

import base64
from typing import Any

import pytest

from transom_api.engine import Done, LoadOptions, Sampling, TokenEvent
from transom_api.ollama_generation import (
    MAX_KEEP_SECONDS,
    Answer,
    InvalidRequest,
    conversation,
    read_chat,
    read_generate,
    read_keep_alive,
)
from transom_api.options import load_options_of, max_tokens_of, sampling_of, stops_of
from transom_models.modelfile import InvalidParameter

USER = {"role": "user", "content": "hello"}
SYSTEM = {"role": "system", "content": "be brief"}
SEEDS = (("user", "1"), ("assistant", "2"))
SEEDED = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
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
        ([], "JSON object"),
        ({}, "model is missing"),
        ({"model": 1}, "model: must be a string, not int"),
        ({"messages": {}}, "messages: must be a list"),
        ({"messages": [1]}, r"messages\[0\]: must be an object"),
        ({"messages": [{"role": "king"}]}, r"messages\[0\].role: 'king'"),
        ({"messages": [{"role": "user", "content": 1}]}, r"messages\[0\].content"),
        ({"messages": [{**USER, "images": ["?"]}]}, "base64"),
        ({"messages": [{**USER, "images": ["UklGRg=="]}]}, "a PNG, JPEG, GIF or BMP file"),
        ({"stream": "no"}, "stream: must be true or false"),
        ({"format": "yaml"}, "format"),
        ({"think": True}, "think"),
        ({"think": "high"}, "think"),
        ({"tools": [{}]}, "tools"),
        ({"logprobs": True}, "logprobs"),
        ({"truncate": True}, "truncate"),
        ({"options": []}, "options: must be an object"),
        ({"keep_alive": "soon"}, "keep_alive"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(body: Any, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        read_chat({"model": "m", **body} if body else body)


@pytest.mark.parametrize("field", ["suffix", "context"])
def test_generate_refuses_too(field: str) -> None:
    with pytest.raises(InvalidRequest, match=field):
        read_generate({"model": "m", "prompt": "p", field: "x"})


def test_empty_and_unknown_fields_ask_for_nothing() -> None:
    nothing = {"tools": [], "logprobs": False, "suffix": "", "truncate": False, "format": ""}
    asked = read_chat(
        {"model": "m", "keep_alive": None, "new": 1, "options": {"new": 1}, **nothing}
    )
    assert asked.only_loads
    assert (asked.keep_seconds, asked.options, asked.stream) == (None, {}, True)


def test_options_are_checked_and_mapped() -> None:
    asked = read_chat(
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
    )
    assert sampling_of(asked.options) == Sampling(temperature=1.0, seed=1)
    assert load_options_of(asked.options) == LoadOptions(context_tokens=8)
    assert max_tokens_of(asked.options) == -1
    assert stops_of(asked.options) == ("x",)
    assert sampling_of({"seed": -5}).seed == -1
    with pytest.raises(InvalidParameter, match="temperature must be a number"):
        read_chat({"model": "m", "options": {"temperature": "hot"}})


def chat(*messages: dict[str, Any]) -> Any:
    return read_chat({"model": "m", "messages": list(messages)})


def test_the_models_own_texts_come_first() -> None:
    assert conversation(chat(USER), "own", SEEDS, None) == [
        {"role": "system", "content": "own"},
        *SEEDED,
        USER,
    ]
    assert conversation(chat(SYSTEM, USER), "own", SEEDS, None) == [SYSTEM, *SEEDED, USER]
    asked = read_generate({"model": "m", "prompt": "hello", "system": "be brief"})
    assert conversation(asked, "own", (), None) == [SYSTEM, USER]


def test_images_are_marks_in_front_of_their_message() -> None:
    data = b"\x89PNG\r\n\x1a\n"
    picture = base64.b64encode(data).decode()
    asked = chat(USER, {**USER, "images": [picture, picture]})
    assert asked.images == (data, data)
    rows = conversation(asked, None, (), "<mark>")
    assert [row["content"] for row in rows] == ["hello", "<mark><mark>hello"]
    assert all("images" not in row for row in rows)
    with pytest.raises(InvalidRequest, match="m sees no images"):
        conversation(asked, None, (), None)


def test_lines_of_a_stream() -> None:
    answer = Answer(read_generate({"model": "m", "prompt": "p"}))
    assert answer.line(TokenEvent((1,), "é".encode()), NOW) == {
        "model": "m",
        "created_at": NOW,
        "response": "é",
        "done": False,
    }
    done = Done("length", 3, 1, 2, 0.5, 0.25)
    assert answer.end(done, NOW, 9, 4) == {
        "model": "m",
        "created_at": NOW,
        "response": "",
        "done": True,
        "done_reason": "length",
        "total_duration": 9,
        "load_duration": 4,
        "prompt_eval_count": 3,
        "prompt_eval_duration": 500_000_000,
        "eval_count": 2,
        "eval_duration": 250_000_000,
    }


def test_a_whole_answer_is_one_object() -> None:
    body = {"model": "m", "messages": [USER], "stream": False}
    answer = Answer(read_chat(body))
    for piece in ("a", "b"):
        answer.line(TokenEvent((1,), piece.encode()), NOW)
    last = answer.end(Done("stop", 1, 0, 2, 0, 0), NOW, 9, 0)
    assert last["message"] == {"role": "assistant", "content": "ab"}
    assert answer.nothing("unload", NOW)["done_reason"] == "unload"
