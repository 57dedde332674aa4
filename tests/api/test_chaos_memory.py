"""pytest tests/api/test_chaos_memory.py: more is asked for than memory and the line have room for.

Every request ends: with an answer, or with an error that says when to come again. Afterwards all
memory is free again.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest

from tests.api.chaos import (
    CHAT,
    DIALECTS,
    SECONDS,
    ask,
    connect,
    engines,
    metrics,
    put_endless,
    send,
    stream,
)
from tests.e2e.commands import Server, serve
from tests.waiting import wait_for
from transom_server.store import Store

MODELS = 6
# By the estimate each of them takes 20 to 60 MB, so a few fit and never all.
MEMORY = "150M"
QUEUE = 8
CONTEXT = 4096
PINNED = "model0"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("memory")
    store = Store(folder / "models")
    for number in range(MODELS):
        put_endless(store, f"model{number}", context=CONTEXT)
    # Its keys and values alone are more than the budget.
    put_endless(store, "huge", context=4_000_000)
    settings = {
        "TRANSOM_PARALLEL": "1",
        "TRANSOM_GRACE": "1",
        "TRANSOM_MEMORY": MEMORY,
        "TRANSOM_PINNED": PINNED,
        "TRANSOM_QUEUE": str(QUEUE),
    }
    with serve(folder / "models", folder / "log", environment=settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _all_is_free_after(server: Server) -> Iterator[None]:
    yield
    for number in range(MODELS):
        ask(server.address, DIALECTS[-1], f"model{number}", prompt="", keep_alive=0)
    wait_for(lambda: engines(server.pid) == [], "models are let go of")
    figures = metrics(server.address)
    assert figures["transom_running_requests"] == figures["transom_waiting_requests"] == 0
    assert figures["transom_loaded_bytes"] == 0


def test_more_models_at_once_than_fit(server: Server) -> None:
    """In rounds of as many as may wait; each is answered, whatever has to go for it."""
    chosen = random.Random(5)
    most = 0
    with ThreadPoolExecutor(QUEUE // 2) as pool:
        for _ in range(5):
            names = [f"model{chosen.randrange(MODELS)}" for _ in range(QUEUE // 2)]
            answers = [pool.submit(ask, server.address, CHAT, name) for name in names]
            assert [answer.result(SECONDS)[0] for answer in answers] == [200] * len(names)
            most = max(most, len(engines(server.pid)))
    print(f"\nat most {most} of {MODELS} at once")
    assert 1 <= most < MODELS


def test_one_that_never_fits_is_refused_and_moves_nobody(server: Server) -> None:
    assert ask(server.address, model="model1")[0] == 200
    before = engines(server.pid)
    for dialect in DIALECTS:
        status, body = ask(server.address, dialect, "huge")
        assert status == 400, body
        assert "TRANSOM_MEMORY" in str(body)
    assert engines(server.pid) == before


def test_a_pinned_model_stays_whatever_comes(server: Server) -> None:
    assert ask(server.address, model=PINNED)[0] == 200
    (pinned,) = engines(server.pid)
    for number in range(1, MODELS):
        assert ask(server.address, model=f"model{number}")[0] == 200
        assert pinned in engines(server.pid)


def test_whoever_is_too_many_is_told_when_to_come_again(server: Server) -> None:
    """The one slot is taken; those in the line wait for it, the rest is turned away at once."""

    def one() -> tuple[int, str | None]:
        with closing(connect(server.address)) as connection:
            response = send(connection, CHAT, "model1", stream=False, **CHAT.few)
            response.read()
            return response.status, response.headers.get("Retry-After")

    assert ask(server.address, model="model1")[0] == 200
    # One that stands still ends no answer meanwhile.
    (engine,) = engines(server.pid)
    os.kill(engine, signal.SIGSTOP)
    with ThreadPoolExecutor(4 * QUEUE + 1) as pool:
        try:
            first = pool.submit(one)
            wait_for(
                lambda: metrics(server.address)["transom_running_requests"] == 1, "it has the slot"
            )
            answers = [pool.submit(one) for _ in range(4 * QUEUE)]
            # They are one client, and that may fill half of the line.
            wait_for(
                lambda: sum(answer.done() for answer in answers) == 4 * QUEUE - QUEUE // 2,
                "all but those that wait are told",
            )
            assert metrics(server.address)["transom_waiting_requests"] == QUEUE // 2
        finally:
            os.kill(engine, signal.SIGCONT)
        assert first.result(SECONDS) == (200, None)
        results = Counter(answer.result(SECONDS) for answer in answers)
    (refusal,) = (row for row in results if row[0] != 200)
    assert refusal[0] == 429
    assert refusal[1] is not None
    assert int(refusal[1]) > 0
    assert results == {(200, None): QUEUE // 2, refusal: 4 * QUEUE - QUEUE // 2}


def test_models_killed_while_others_wait_for_their_memory(server: Server) -> None:
    """What the dead held is free at once."""
    with stream(server.address, CHAT, "model1"), ThreadPoolExecutor(QUEUE // 2) as pool:
        names = [f"model{number}" for number in range(2, 2 + QUEUE // 2)]
        answers = [pool.submit(ask, server.address, CHAT, name) for name in names]
        for engine in engines(server.pid):
            # One may have been let go of for another meanwhile.
            with suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)
        statuses = [answer.result(SECONDS)[0] for answer in answers]
        # One that was killed in the middle is told so; the others never know.
        assert set(statuses) <= {200, 500}
    assert [ask(server.address, model=name)[0] for name in names] == [200] * len(names)
