"""pytest tests/pyserver/test_differential.py: what llama-server answers to the same requests.

The same build, the same file, the same questions: the same tokens, numbers and reasons, and at
least its fields. What differs on purpose is said in `EXCEPTIONS`.
"""

import base64
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.tiny_bert import tiny_bert
from tests.pyserver.native_models import put_native
from tests.pyserver.reference_server import Answerer, Event, reference
from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config
from transom_server.store import Store

pytestmark = pytest.mark.slow

CONTEXT: Final = 1024
PROMPT: Final = "Once upon a time there was a"
QUESTION: Final = [{"role": "user", "content": "Name three colours."}]
TALK: Final = [
    {"role": "system", "content": "You are a pirate."},
    {"role": "user", "content": "Hello!"},
    {"role": "assistant", "content": "Arr."},
    {"role": "user", "content": "Where is the gold?"},
]
# The defaults of the two differ (`docs/openai.md`), and so does what each remembers of a prompt.
SAME: Final = {
    "model": "smollm2",
    "max_tokens": 16,
    "temperature": 0,
    "top_k": 40,
    "top_p": 0.9,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_last_n": 64,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "cache_prompt": False,
}
# One that ends by itself, so that both end with `response.completed`; ours has no other name for
# the number of tokens here.
RESPONSE: Final = {"input": "What is 2+2? Answer short.", "max_output_tokens": 60, "max_tokens": 60}
SEEDED: Final = {"temperature": 0.9, "seed": 11}
COLOUR: Final = {"enum": ["red", "green", "blue"]}
# How a request is made to be interesting, beside what it asks.
VARIANTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "greedy": {},
    "seeded": SEEDED,
    "another seed": {**SEEDED, "seed": 12, "top_k": 0, "top_p": 1.0, "temperature": 1.5},
    "min_p": {**SEEDED, "min_p": 0.2, "typical_p": 0.7},
    "penalties": {"presence_penalty": 1.5, "frequency_penalty": 0.5, "repeat_penalty": 1.3},
    "forbidden": {"logit_bias": {"655": -100, "28": -100, "260": -100, "216": -100}},
    "wanted": {"logit_bias": {"655": 100}},
    "stop": {"max_tokens": 48, "stop": ["\n", ".", " the"]},
    "stop in a word": {"max_tokens": 48, "stop": ["irl", "ed"]},
    "one token": {"max_tokens": 1},
    "grammar": {"grammar": 'root ::= " yes" | " no"'},
}
_FINGERPRINT: Final = "their build's number, the same for every model; OpenAI allows null"
# Route, and path of a field of theirs that ours lacks or has otherwise -> why.
EXCEPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("/v1/completions", "system_fingerprint"): _FINGERPRINT,
    ("/v1/chat/completions", "system_fingerprint"): _FINGERPRINT,
    ("/v1/chat/completions", "choices[].delta.content"): "null before words; OpenAI says ''",
    ("/v1/responses", "completed_at"): "no clock in the core, and OpenAI has it for few",
    ("/v1/responses", "timings"): "OpenAI's events have no field beside the response",
}


@pytest.fixture(scope="module")
def theirs(smollm2: Path) -> Iterator[Answerer]:
    with reference(smollm2, CONTEXT) as server:
        yield server


@pytest.fixture(scope="module")
def ours(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answerer]:
    store = Store(tmp_path_factory.mktemp("differential") / "models")
    parameters = {"num_ctx": CONTEXT, "num_thread": 1}
    put_native(store, "smollm2", smollm2.read_bytes(), parameters=parameters)
    put_native(store, "bert", tiny_bert().to_bytes(), parameters={"num_thread": 1})
    ranker = tiny_bert(pooling=4, scores=True).to_bytes()
    put_native(store, "ranker", ranker, parameters={"num_thread": 1})
    config = Config.read({"TRANSOM_MODELS": str(store.root)}, port="0")
    with serving(create_app(config), config) as server:
        yield Answerer(server.url.removeprefix("http://"))


def of(ours: Answerer, theirs: Answerer, path: str, body: Mapping[str, Any]) -> tuple[Any, Any]:
    """Both whole answers, theirs first."""
    return theirs.ask(path, body), ours.ask(path, body)


# Tokens, numbers and reasons


@pytest.mark.parametrize("name", VARIANTS)
def test_completions(ours: Answerer, theirs: Answerer, name: str) -> None:
    body = {**SAME, "prompt": PROMPT, **VARIANTS[name]}
    their, our = of(ours, theirs, "/v1/completions", body)
    assert choice(our, "text", "finish_reason") == choice(their, "text", "finish_reason")
    assert our["usage"].items() >= their["usage"].items()
    events = ours.events("/v1/completions", body)
    assert "".join(event["choices"][0]["text"] for event in events) == choice(their, "text")[0]
    assert events[-1]["choices"][0]["finish_reason"] == their["choices"][0]["finish_reason"]


@pytest.mark.parametrize("name", VARIANTS)
def test_chats(ours: Answerer, theirs: Answerer, name: str) -> None:
    body = {**SAME, "messages": QUESTION, **VARIANTS[name]}
    their, our = of(ours, theirs, "/v1/chat/completions", body)
    assert our["choices"][0]["message"]["content"] == their["choices"][0]["message"]["content"]
    assert choice(our, "finish_reason") == choice(their, "finish_reason")
    assert our["usage"].items() >= their["usage"].items()
    events = ours.events("/v1/chat/completions", body)
    words = [event["choices"][0]["delta"].get("content") or "" for event in events]
    assert "".join(words) == their["choices"][0]["message"]["content"]


def test_a_talk_becomes_the_same_prompt(ours: Answerer, theirs: Answerer) -> None:
    prompt = theirs.ask("/apply-template", {"messages": TALK})["prompt"]
    chat = ours.ask("/v1/chat/completions", {**SAME, "messages": TALK})
    text = theirs.ask("/completion", {**SAME, "prompt": prompt, "n_predict": 16})
    assert chat["choices"][0]["message"]["content"] == text["content"]
    assert chat["usage"]["prompt_tokens"] == text["tokens_evaluated"]


def test_the_same_tokens(ours: Answerer, theirs: Answerer) -> None:
    """Of the answer's text and of the tokens themselves, by the child's own route."""
    for more in ({}, SEEDED):
        body = {**SAME, "prompt": PROMPT, **more}
        tokens = theirs.ask("/completion", {**body, "n_predict": 16, "return_tokens": True})
        our = ours.ask("/v1/completions", body)
        assert choice(our, "text")[0] == tokens["content"]
        said = ours.ask("/detokenize", {"model": "smollm2", "tokens": tokens["tokens"]})
        assert said["content"] == tokens["content"]


def test_several_choices(ours: Answerer, theirs: Answerer) -> None:
    body = {**SAME, **SEEDED, "prompt": PROMPT, "n": 3}
    their, our = of(ours, theirs, "/v1/completions", body)
    rows = [sorted((row["index"], row["text"]) for row in each["choices"]) for each in (our, their)]
    assert rows[0] == rows[1]
    assert len({text for _, text in rows[0]}) == 3


def test_answers_that_are_held_to_a_schema(ours: Answerer, theirs: Answerer) -> None:
    schema = {"type": "object", "properties": {"colour": COLOUR}, "required": ["colour"]}
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    body = {**SAME, "messages": QUESTION, "response_format": form}
    their, our = of(ours, theirs, "/v1/chat/completions", body)
    # Of white space ours leaves less room than theirs.
    said = [json.loads(each["choices"][0]["message"]["content"]) for each in (our, their)]
    assert said[0] == said[1]


@pytest.mark.parametrize("more", [{}, SEEDED])
def test_logprobs(ours: Answerer, theirs: Answerer, more: Mapping[str, Any]) -> None:
    asked = {**SAME, **more, "messages": QUESTION, "logprobs": True, "top_logprobs": 4}
    their, our = of(ours, theirs, "/v1/chat/completions", asked)
    close(rows_of(our), rows_of(their))
    asked = {**SAME, **more, "prompt": PROMPT, "logprobs": 4}
    their, our = of(ours, theirs, "/v1/completions", asked)
    close(rows_of(our), rows_of(their))


def test_messages(ours: Answerer, theirs: Answerer) -> None:
    for more in ({}, {"stop_sequences": ["2."], "max_tokens": 40}):
        body = {**SAME, "messages": QUESTION, **more}
        their, our = of(ours, theirs, "/v1/messages", body)
        assert our["content"] == their["content"]
        if "stop_sequences" in more:
            # Theirs knows no stop text here, and says that the model ended by itself.
            assert (our["stop_reason"], our["stop_sequence"]) == ("stop_sequence", "2.")
        else:
            assert our["stop_reason"] == their["stop_reason"] == "max_tokens"
        read = [
            each["usage"]["input_tokens"] + each["usage"]["cache_read_input_tokens"]
            for each in (our, their)
        ]
        assert read[0] == read[1]
        assert our["usage"]["output_tokens"] == their["usage"]["output_tokens"]
        events = [each.events("/v1/messages", body) for each in (ours, theirs)]
        kinds = [[event["type"] for event in each] for each in events]
        assert once(kinds[0], without="ping") == once(kinds[1])
        counts = of(ours, theirs, "/v1/messages/count_tokens", body)
        assert counts[0] == counts[1]


def test_responses(ours: Answerer, theirs: Answerer) -> None:
    body = {**SAME, **RESPONSE}
    their, our = of(ours, theirs, "/v1/responses", body)
    texts = [each["output"][0]["content"][0]["text"] for each in (our, their)]
    assert texts[0] == texts[1]
    for name in ("input_tokens", "output_tokens", "total_tokens"):
        assert our["usage"][name] == their["usage"][name]


@pytest.mark.parametrize(
    "text", ["Hello  there", "<|im_start|>user", "naïve 🙂 数", "", "\n\n\t x", "a" * 300]
)
def test_tokens(ours: Answerer, theirs: Answerer, text: str) -> None:
    for more in ({}, {"add_special": True}, {"parse_special": False}):
        body = {"model": "smollm2", "content": text, **more}
        their, our = of(ours, theirs, "/tokenize", body)
        assert our["tokens"] == their["tokens"]
    tokens = {"model": "smollm2", "tokens": their["tokens"]}
    their, our = of(ours, theirs, "/detokenize", tokens)
    assert our["content"] == their["content"]


def test_embeddings(ours: Answerer, tmp_path: Path) -> None:
    path = tmp_path / "bert.gguf"
    path.write_bytes(tiny_bert().to_bytes())
    body = {"model": "bert", "input": ["the cat sat", "a dog runs"]}
    with reference(path, 64, task="embed") as theirs:
        their, our = of(ours, theirs, "/v1/embeddings", body)
        assert has(our, their, "/v1/embeddings") == []
        assert our["usage"] == their["usage"]
        for mine, other in zip(our["data"], their["data"], strict=True):
            assert mine["embedding"] == pytest.approx(other["embedding"], abs=1e-6)
        packed = of(ours, theirs, "/v1/embeddings", {**body, "encoding_format": "base64"})
        vectors = [[floats(row["embedding"]) for row in each["data"]] for each in packed]
        assert vectors[0] == [pytest.approx(vector, abs=1e-6) for vector in vectors[1]]


def test_rerank(ours: Answerer, tmp_path: Path) -> None:
    path = tmp_path / "ranker.gguf"
    path.write_bytes(tiny_bert(pooling=4, scores=True).to_bytes())
    documents = ["the cat sat on the mat", "a dog runs fast", "the sea is blue"]
    body = {"model": "ranker", "query": "the cat", "documents": documents}
    with reference(path, 64, task="rerank") as theirs:
        for more in ({}, {"top_n": 2}):
            their, our = of(ours, theirs, "/v1/rerank", {**body, **more})
            assert has(our, their, "/v1/rerank") == []
            assert our["usage"] == their["usage"]
            scores = [
                {row["index"]: row["relevance_score"] for row in each["results"]}
                for each in (our, their)
            ]
            assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_prompt_that_does_not_fit(ours: Answerer, theirs: Answerer) -> None:
    body = {**SAME, "prompt": "word " * 2000}
    assert [each.send("/v1/completions", body)[0] for each in (ours, theirs)] == [400, 400]


def test_four_at_once_say_what_each_says_alone(ours: Answerer, theirs: Answerer) -> None:
    """Ours at once, theirs one after the other."""
    bodies = [{**SAME, "prompt": f"Number {number}. {PROMPT}"} for number in range(8)]
    alone = [choice(theirs.ask("/v1/completions", body), "text") for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: ours.ask("/v1/completions", body), bodies))
    assert [choice(answer, "text") for answer in answers] == alone


# Fields


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/completions", {"prompt": PROMPT, "logprobs": 2}),
        ("/v1/chat/completions", {"messages": QUESTION, "logprobs": True, "top_logprobs": 2}),
        ("/v1/messages", {"messages": QUESTION}),
        ("/v1/responses", RESPONSE),
    ],
)
def test_fields(ours: Answerer, theirs: Answerer, path: str, more: Mapping[str, Any]) -> None:
    """Each of theirs is in ours, with a value of the same type: of the body and of the frames."""
    body = {**SAME, **more}
    their, our = of(ours, theirs, path, body)
    assert has(our, their, path) == []
    for asked in ({}, {"stream_options": {"include_usage": True}}):
        if asked and "completions" not in path:
            continue
        frames = [grouped(each.events(path, {**body, **asked})) for each in (ours, theirs)]
        missing = [
            f"{kind}: {row}"
            for kind, events in frames[1].items()
            for row in has(frames[0].get(kind, []), events, path)
        ]
        assert missing == []


def test_fields_of_tokens(ours: Answerer, theirs: Answerer) -> None:
    for path, more in (("/tokenize", {"content": PROMPT}), ("/detokenize", {"tokens": [1, 5]})):
        their, our = of(ours, theirs, path, {"model": "smollm2", **more})
        assert has(our, their, path) == []


# Looking at answers


def choice(answer: Mapping[str, Any], *names: str) -> list[Any]:
    return [answer["choices"][0][name] for name in names]


def rows_of(answer: Mapping[str, Any]) -> list[list[tuple[int, str, float]]]:
    """Of each token of the answer, it and those in its place: id, text, log-probability."""
    return [
        [(each["id"], each["token"], each["logprob"]) for each in (row, *row["top_logprobs"])]
        for row in answer["choices"][0]["logprobs"]["content"]
    ]


def close(
    one: Sequence[Sequence[tuple[int, str, float]]],
    other: Sequence[Sequence[tuple[int, str, float]]],
) -> None:
    """Like `==`, for numbers that were computed twice."""
    names = [[[each[:2] for each in row] for row in rows] for rows in (one, other)]
    numbers = [[each[2] for row in rows for each in row] for rows in (one, other)]
    assert names[0] == names[1]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-3)


def once(kinds: Sequence[str], without: str = "") -> list[str]:
    """The events in order, those of one kind in a row as one: how words are cut is nobody's."""
    shown = [kind for kind in kinds if kind != without]
    return [kind for number, kind in enumerate(shown) if kind not in shown[number - 1 : number]]


def floats(text: str) -> list[float]:
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def grouped(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Events by their type; those of OpenAI's chats and completions are of one."""
    found: dict[str, list[Event]] = {}
    for event in events:
        found.setdefault(str(event.get("type", "")), []).append(event)
    return found


def has(ours: Any, theirs: Any, route: str) -> list[str]:
    """What of theirs ours has not."""
    mine = paths(ours)
    return [
        f"{path}: {kinds}, ours {mine.get(path, 'lacks it')}"
        for path, kinds in paths(theirs).items()
        if not kinds <= mine.get(path, set()) and not is_known(route, path)
    ]


def is_known(route: str, path: str) -> bool:
    """Whether it is an exception, or a field of one."""
    return any(route == of and f"{path}.".startswith(f"{at}.") for of, at in EXCEPTIONS)


def paths(value: Any) -> dict[str, set[str]]:
    """Type of each value, by its path; those of all items of a list together."""
    found: dict[str, set[str]] = {}

    def walk(value: Any, path: str) -> None:
        kind = {int: "number", float: "number"}.get(type(value), type(value).__name__)
        found.setdefault(path, set()).add(kind)
        if isinstance(value, dict):
            for name, each in value.items():
                walk(each, f"{path}.{name}".removeprefix("."))
        elif isinstance(value, list):
            for each in value:
                walk(each, f"{path}[]")

    for each in value if isinstance(value, list) else [value]:
        walk(each, "")
    return found
