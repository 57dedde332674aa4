"""The `transom` package of web/python, with a fetch that is a fake: what it sends, and reads."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def _package() -> Iterator[None]:
    """It is no part of the distribution: its wheel is for browsers."""
    sys.path.insert(0, str(ROOT / "web" / "python"))
    yield
    sys.path.remove(str(ROOT / "web" / "python"))
    for name in [name for name in sys.modules if name.split(".")[0] == "transom"]:
        del sys.modules[name]


class FakeAnswer:
    def __init__(self, status: int, pieces: list[bytes]) -> None:
        self.status = status
        self._pieces = pieces
        self.given = 0
        self.is_closed = False

    async def text(self) -> str:
        return b"".join(self._pieces).decode()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self._pieces:
                self.given += 1
                yield piece
        finally:
            self.is_closed = True


class FakeFetch:
    """Gives what it was told, in order, and keeps what it was asked."""

    def __init__(self, *answers: FakeAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, object]] = []

    async def __call__(
        self, method: str, address: str, headers: Mapping[str, str], body: str | None
    ) -> FakeAnswer:
        assert headers == ({} if body is None else {"Content-Type": "application/json"})
        self.asked.append((method, address, None if body is None else json.loads(body)))
        return self.answers.pop(0)


def _json(value: object, status: int = 200) -> FakeAnswer:
    return FakeAnswer(status, [json.dumps(value).encode()])


def _chunk(text: str) -> bytes:
    event = {"choices": [{"delta": {"content": text}}]}
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


async def _all(words: AsyncGenerator[str, None]) -> list[str]:
    return [word async for word in words]


def test_load_then_chat() -> None:
    import transom

    whole = _chunk("Hal") + b": a comment\r\n\r\n" + _chunk("lo 🌉") + b"data: [DONE]\n\n"
    # Cut inside a line, and inside a character.
    cut = whole.index("🌉".encode())
    fetch = FakeFetch(
        _json({"done": True}),
        _json({"capabilities": ["completion"], "model_info": {"llama.context_length": 2048}}),
        FakeAnswer(200, [whole[:9], whole[9 : cut + 1], whole[cut + 1 :]]),
    )
    transom.use("http://127.0.0.1:1/", fetch)
    model = asyncio.run(transom.load("smollm2"))
    assert model == transom.Model("smollm2", ("completion",), 2048, None)
    pieces = asyncio.run(_all(transom.chat("Hi", temperature=0)))
    assert pieces == ["Hal", "lo 🌉"]
    asked = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}]}
    assert fetch.asked == [
        ("POST", "http://127.0.0.1:1/api/generate", {"model": "smollm2", "stream": False}),
        ("POST", "http://127.0.0.1:1/api/show", {"model": "smollm2"}),
        (
            "POST",
            "http://127.0.0.1:1/v1/chat/completions",
            {**asked, "temperature": 0, "stream": True},
        ),
    ]


def test_a_loop_that_is_left_stops_the_model() -> None:
    import transom

    answer = FakeAnswer(200, [_chunk(str(number)) for number in range(100)])
    transom.use("http://h", FakeFetch(answer))

    async def first() -> str:
        words = transom.chat("Hi", model="m")
        async for word in words:
            await words.aclose()
            return word
        raise AssertionError

    assert asyncio.run(first()) == "0"
    assert answer.is_closed
    assert answer.given == 1


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (_json({"error": {"message": "no model x"}}, 404), 404, "no model x"),
        (_json({"error": "plain words"}, 400), 400, "plain words"),
        (FakeAnswer(404, [b"<html>"]), 404, "HTTP 404: nobody answers for the API here"),
        (FakeAnswer(200, [_chunk("a")]), 0, "the answer broke off"),
        (FakeAnswer(200, [b'data: {"error": {"message": "gone"}}\n\n']), 0, "gone"),
    ],
)
def test_refusals_have_the_words_of_the_api(answer: FakeAnswer, status: int, words: str) -> None:
    import transom

    transom.use("http://h", FakeFetch(answer))
    with pytest.raises(transom.TransomError, match=words) as caught:
        asyncio.run(_all(transom.chat("Hi", model="m")))
    assert caught.value.status == status


def test_vectors_and_names() -> None:
    import transom

    fetch = FakeFetch(
        _json({"data": [{"embedding": [0.6, 0.8]}]}), _json({"data": [{"id": "library/a:latest"}]})
    )
    transom.use("http://h", fetch)
    assert asyncio.run(transom.embed("x", model="m")) == [[0.6, 0.8]]
    assert asyncio.run(transom.models()) == ["library/a:latest"]
    assert transom.base_url() == "http://h/v1"


def test_outside_a_browser_it_says_so() -> None:
    import transom

    transom.use()
    with pytest.raises(ImportError, match="transom serve"):
        transom.base_url()
    with pytest.raises(ValueError, match="no http address"):
        transom.use("file:///etc")
