"""pytest tests/pyserver/test_llama_cpp_reply.py: how an answer is read, however it is cut."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, cast

import pytest

from transom_api.deltas import Logprobs, TokenLogprob
from transom_api.engine import (
    ContextOverflow,
    Done,
    EngineFailed,
    RequestCancelled,
    TokenEvent,
)
from transom_server.engines import llama_cpp_reply
from transom_server.engines.llama_cpp_client import LlamaCppClient
from transom_server.engines.llama_cpp_process import LlamaCppProcess
from transom_server.engines.llama_cpp_reply import Reply
from transom_server.engines.llama_cpp_wire import JOINED_TOKENS, joined

HEAD = b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 5\r\n\r\nhello"
EVENTS = (
    b'data: {"index": 0, "content": "a\\n\\n"}\n\n',
    b": nobody shall close this connection\n\n",
    b'data: {"index": 1}\n\ndata: {"index": 2}\n\n',
)


def never() -> bool:
    return False


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (*pieces, b""))


class Wire:
    """A connection that gives these pieces as they are, and then no more."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    def settimeout(self, seconds: float) -> None:
        pass

    def recv(self, most: int) -> bytes:
        return next(self._pieces, b"")


def reply(*pieces: bytes) -> Reply:
    return Reply(cast(socket.socket, Wire(*pieces)), never)


def test_it_does_not_matter_where_it_is_cut() -> None:
    whole = HEAD + chunked(b"one", b"x" * 300, b"\r\n0\r\n\r\n")
    for at in range(1, len(whole)):
        assert reply(whole[:at], whole[at:]).read() == b"one" + b"x" * 300 + b"\r\n0\r\n\r\n"
    crumbs = [whole[at : at + 1] for at in range(len(whole))]
    assert reply(*crumbs).read() == reply(whole).read()
    assert list(reply(*crumbs)) == [b"one", b"x" * 300, b"\r\n0\r\n\r\n"]


def test_without_chunks_the_connection_ends_it() -> None:
    found = reply(PLAIN[:-2], PLAIN[-2:])
    assert (found.status, found.read()) == (400, b"hello")


@pytest.mark.parametrize("sent", [b"", HEAD[:20], HEAD, HEAD + b"5\r\nhel", HEAD + b"3\r\none\r\n"])
def test_what_breaks_off_is_no_answer(sent: bytes) -> None:
    with pytest.raises(http.client.IncompleteRead):
        reply(sent).read()


@pytest.mark.parametrize("sent", [b"hello\r\n\r\n", HEAD + b"zz\r\n"])
def test_what_is_no_http_is_no_answer(sent: bytes) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        reply(sent).read()


def test_what_never_ends_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp_reply, "MAX_ANSWER_BYTES", 1000)
    for sent in (HEAD + b"ffffff\r\n" + b"x" * 2000, HEAD + chunked(*[b"x" * 100] * 20)):
        with pytest.raises(ValueError, match="more than 1000 bytes"):
            reply(sent).read()


def test_whoever_waits_may_go() -> None:
    here, there = socket.socketpair()
    asked: list[None] = []

    def gone() -> bool:
        asked.append(None)
        return len(asked) > 2

    with here, there, pytest.raises(RequestCancelled):
        Reply(here, gone)


class _Child:
    """A process that is well, as far as anybody can see."""

    def wait_for_end(self, seconds: float) -> None:
        return None


@contextmanager
def answering(answer: bytes) -> Iterator[LlamaCppClient]:
    """A client of a server that says this to the first who asks."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            wire, _ = listener.accept()
            with wire:
                while b"\r\n\r\n{}" not in wire.recv(65536):
                    pass
                wire.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        yield LlamaCppClient(cast(LlamaCppProcess, _Child()), f"127.0.0.1:{port}", "key")
        thread.join()


def test_events() -> None:
    with answering(HEAD + chunked(*EVENTS)) as client:
        with closing(client.events("/completion", {}, never)) as stream:
            found = [event for events in stream_until(stream, 3) for event in events]
    assert found == [{"index": 0, "content": "a\n\n"}, {"index": 1}, {"index": 2}]


def stream_until(stream: Iterator[list[Any]], count: int) -> Iterator[list[Any]]:
    seen = 0
    while seen < count:
        events = next(stream)
        seen += len(events)
        yield events


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (HEAD + chunked(EVENTS[0]), EngineFailed),
        (HEAD + chunked(b"data: {\n\n"), EngineFailed),
        (PLAIN, EngineFailed),
        (
            HEAD
            + chunked(
                b'data: {"error": {"message": "long", "type": "exceed_context_size_error", '
                b'"n_prompt_tokens": 9, "n_ctx": 8}}\n\n'
            ),
            ContextOverflow,
        ),
    ],
)
def test_failures_are_the_engines(answer: bytes, error: type[Exception]) -> None:
    def ask(read: Callable[[LlamaCppClient], object]) -> None:
        with answering(answer) as client, pytest.raises(error):
            read(client)

    ask(lambda client: list(client.events("/completion", {}, never)))


def test_tokens_that_came_together_are_one_step() -> None:
    one, two = (
        TokenEvent((number,), text, 0, (Logprobs(TokenLogprob(text.decode(), -1.0, ())),), 9)
        for number, text in ((1, b"a"), (2, b"b"))
    )
    other = TokenEvent((3,), b"c", 1)
    done = Done("stop", 1, 0, 2, 0.0, 0.0)
    assert joined([one, two, done]) == [
        TokenEvent((1, 2), b"ab", 0, (*one.logprobs, *two.logprobs), 9),
        done,
    ]
    assert joined([one, other, two]) == [one, other, two]
    assert joined([]) == []


def test_a_long_wait_is_no_long_step() -> None:
    tokens = [TokenEvent((number,), b"a") for number in range(2 * JOINED_TOKENS + 1)]
    assert len(joined(tokens[:JOINED_TOKENS])) == 1
    steps = joined(tokens)
    assert [step.token_ids for step in steps if isinstance(step, TokenEvent)] == [
        tuple(range(JOINED_TOKENS)),
        tuple(range(JOINED_TOKENS, 2 * JOINED_TOKENS)),
        (2 * JOINED_TOKENS,),
    ]
