"""What the API asks of the page's engine: choices, stops, log-probabilities and formats of a real
model.

The engine is the page's own, run in Node on Dawn and Mesa's llvmpipe. All requests run together.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import node_engine

LIBRARY = "program-f32-fallback.json"
"""Made for a CPU, which llvmpipe is."""
PROMPT = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n"
EOS = 2
GREEDY = {
    "temperature": 0,
    "topK": 40,
    "topP": 0.9,
    "minP": 0,
    "typicalP": 1,
    "repeatLastN": 64,
    "repeatPenalty": 1,
    "presencePenalty": 0,
    "frequencyPenalty": 0,
    "seed": 7,
}
WARM = {**GREEDY, "temperature": 1, "topK": 0, "topP": 1}
COLOUR = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}}

pytestmark = [pytest.mark.slow, pytest.mark.gpu, pytest.mark.timeout(900)]


def _asked(abort_after: int | None = None, **fields: Any) -> dict[str, Any]:
    request = {
        "model": "smollm2",
        "prompt": PROMPT,
        "sampling": GREEDY,
        "maxTokens": 6,
        "stop": [],
        "jsonSchema": None,
        "grammar": None,
        "stopTokenIds": [],
        "ignoreEos": False,
        "logitBias": [],
        "choices": 1,
        "logprobs": None,
        "preserved": [],
        **fields,
    }
    return {"request": request} | ({} if abort_after is None else {"abortAfter": abort_after})


def _tokens(row: dict[str, Any], choice: int = 0) -> list[dict[str, Any]]:
    events = row["events"]
    return [each for each in events if each["kind"] == "token" and each["choice"] == choice]


def _text(row: dict[str, Any], choice: int = 0) -> str:
    return "".join(each["text"] for each in _tokens(row, choice))


def _ids(row: dict[str, Any], choice: int = 0) -> list[int]:
    return [token for each in _tokens(row, choice) for token in each["tokenIds"]]


def _ends(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in row["events"] if each["kind"] == "done"]


def test_a_real_model_completes_as_the_api_asks(
    bundle: Path, web_build: Path, llvmpipe: dict[str, str], tmp_path: Path
) -> None:
    opened, rows = node_engine.complete(
        bundle,
        LIBRARY,
        [
            _asked(),
            # "Hello there. I'm here": the stop text lies across tokens.
            _asked(stop=["nowhere", "re. I"]),
            _asked(choices=2, sampling=WARM),
            _asked(sampling=WARM),
            _asked(sampling={**WARM, "seed": 8}),
            _asked(logprobs=3, maxTokens=2),
            _asked(jsonSchema={**COLOUR, "required": ["colour"]}, maxTokens=40),
            _asked(logitBias=[[EOS, 100]], preserved=["<|im_end|>"], logprobs=0),
            _asked(logitBias=[[EOS, 100]]),
            _asked(logitBias=[[EOS, 100]], ignoreEos=True, maxTokens=2),
            _asked(abort_after=2, maxTokens=-1),
            _asked(prompt="word " * 10_000),
        ],
        tmp_path,
        llvmpipe,
    )
    plain, stopped, two, one, other, likely, held, shown, ended, endless, aborted, long = rows

    assert opened["bos"] == "<|im_start|>"
    assert opened["eos"] == "<|im_end|>"
    assert (opened["addsBos"], opened["task"]) == (False, "generate")
    assert opened["vocabulary"] == 49152
    assert "message" in opened["template"]
    assert opened["parallel"] > 1

    assert all(row["error"] is None for row in rows[:-1])
    assert _text(plain).startswith("Hello there. I")
    (end,) = _ends(plain)
    assert (end["finishReason"], end["completionTokens"], end["stop"]) == ("length", 6, None)
    assert end["promptTokens"] == 12

    assert _text(stopped) == "Hello the"
    assert [(each["finishReason"], each["stop"]) for each in _ends(stopped)] == [("stop", "re. I")]

    # Choice number c takes seed + c, and the same seed says the same.
    assert _ids(two, 0) == _ids(one)
    assert _ids(two, 1) == _ids(other)
    assert _ids(one) != _ids(other)
    assert sorted(each["choice"] for each in _ends(two)) == [0, 1]

    for token in _tokens(likely):
        (row,) = token["logprobs"]
        assert bytes(row["chosen"]["bytes"]).decode() == token["text"] == row["chosen"]["text"]
        assert row["chosen"] == row["top"][0]
        assert len(row["top"]) == 3
        assert sum(math.exp(each["logprob"]) for each in row["top"]) <= 1

    assert json.loads(_text(held))["colour"] in ("red", "blue")

    assert (_text(shown), _ids(shown)) == ("<|im_end|>", [EOS])
    assert _tokens(shown)[0]["logprobs"][0]["chosen"]["logprob"] < -5
    assert (_text(ended), _ids(ended)) == ("", [EOS])
    assert [each["completionTokens"] for each in _ends(ended)] == [1]
    assert EOS not in _ids(endless)

    assert len(_tokens(aborted)) == 2
    assert _ends(aborted) == []

    assert long["error"]["code"] == "context-overflow"
    assert f"this model can hold {opened['contextTokens']}" in long["error"]["message"]
