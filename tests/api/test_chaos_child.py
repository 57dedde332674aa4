"""pytest -s tests/api/test_chaos_child.py: the process that a model runs in dies, or hangs.

Whoever has an answer from it gets the dialect's own error as the last frame, or as a status; the
next request finds the model loaded again. Times are printed, not judged.
"""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.chaos import (
    CHAT,
    DIALECTS,
    SECONDS,
    Dialect,
    ask,
    cpu_seconds,
    engines,
    held,
    kill_engine,
    metrics,
    put_endless,
    stream,
)
from tests.e2e.commands import Server, serve
from tests.waiting import wait_for
from transom_server.store import Store

STREAMS = 8
WAITING = 4
REAL_STREAMS = 2
KILLS = 50
TRIES = 10
# After a first round, so that what is made once is there. Kills start and end threads and pipes;
# one of each that stayed would be fifty.
MORE_DESCRIPTORS = 5
MORE_THREADS = 5
MORE_BYTES = 16_000_000

dialects = pytest.mark.parametrize("dialect", DIALECTS, ids=[row.name for row in DIALECTS])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose models are killed."""
    folder = tmp_path_factory.mktemp("child")
    store = Store(folder / "models")
    put_endless(store)
    put_endless(store, "other")
    settings = {"TRANSOM_PARALLEL": str(STREAMS), "TRANSOM_GRACE": "1"}
    with serve(folder / "models", folder / "log", environment=settings) as running:
        yield running


@pytest.fixture(autouse=True)
def _only_one_is_loaded(server: Server) -> Iterator[None]:
    yield
    let_go(server)


def let_go(server: Server) -> None:
    for model in ("endless", "other"):
        ask(server.address, DIALECTS[-1], model, prompt="", keep_alive=0)
    wait_for(lambda: engines(server.pid) == [], "models are let go of")


@dialects
def test_killed_in_the_middle_of_a_stream(server: Server, dialect: Dialect) -> None:
    with stream(server.address, dialect) as response:
        killed = time.monotonic()
        kill_engine(server)
        error = dialect.error(response.read())
    assert error == "the model's process was ended by SIGKILL; ask again, which starts it anew"
    told = time.monotonic()
    status, _ = ask(server.address, dialect)
    assert status == 200
    print(
        f"\n{dialect.name}: told after {told - killed:.2f} s, "
        f"the next answer after {time.monotonic() - killed:.2f} s"
    )


@dialects
def test_killed_before_a_whole_answer(server: Server, dialect: Dialect) -> None:
    def whole() -> tuple[int, object]:
        return ask(server.address, dialect, **dialect.body)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(whole)
        wait_for(lambda: metrics(server.address)["transom_loaded_models"] == 1, "it is loaded")
        kill_engine(server)
        status, body = answer.result(SECONDS)
    assert status == 500
    assert "was ended by SIGKILL; ask again" in str(body)
    assert ask(server.address, dialect)[0] == 200


def test_killed_while_it_loads(server: Server) -> None:
    for _ in range(TRIES):
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, server.address)
            while not engines(server.pid):
                time.sleep(0.001)
            kill_engine(server)
            status, body = answer.result(SECONDS)
        # On busy cores a load can be quicker than who wants to kill it.
        if status == 500 and "was ended by SIGKILL" not in str(body):
            break
        let_go(server)
    assert status == 500
    assert "llama.cpp cannot load this model" in body["error"]["message"]
    assert ask(server.address)[0] == 200


def test_all_streams_are_told_and_those_that_wait_are_served(server: Server) -> None:
    """They get the model that is loaded next."""
    with ExitStack() as streams, ThreadPoolExecutor(WAITING) as pool:
        rows = [DIALECTS[number % len(DIALECTS)] for number in range(STREAMS)]
        open_streams = [
            (dialect, streams.enter_context(stream(server.address, dialect))) for dialect in rows
        ]
        waiting = [pool.submit(ask, server.address, dialect) for dialect in rows[:WAITING]]
        wait_for(lambda: metrics(server.address)["transom_waiting_requests"] == WAITING, "all wait")
        kill_engine(server)
        for dialect, response in open_streams:
            assert "SIGKILL" in dialect.error(response.read())
        assert [answer.result(SECONDS)[0] for answer in waiting] == [200] * WAITING


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM, signal.SIGBUS])
def test_the_reason_is_told_and_logged(server: Server, number: signal.Signals) -> None:
    before = metrics(server.address)["transom_model_failures_total"]
    with stream(server.address) as response:
        (engine,) = engines(server.pid)
        os.kill(engine, number)
        assert f"was ended by {number.name}" in CHAT.error(response.read())
    said = f"llama.cpp (process {engine}) was ended by {number.name}"
    wait_for(lambda: any(said in line for line in server.log()), "the log says so")
    assert any("endless has ended by itself" in line for line in server.log())
    assert metrics(server.address)["transom_model_failures_total"] == before + 1


def test_one_that_hangs_holds_up_nobody_else(server: Server) -> None:
    """Clients of the model that hangs can leave, other models answer, and it goes on after.

    One that hangs for good is ended: tests/pyserver/test_llama_cpp_watch.py.
    """
    with stream(server.address) as response:
        (engine,) = engines(server.pid)
        os.kill(engine, signal.SIGSTOP)
        assert ask(server.address, model="other")[0] == 200
        response.close()
    try:
        wait_for(
            lambda: metrics(server.address)["transom_running_requests"] == 0, "the client is gone"
        )
    finally:
        os.kill(engine, signal.SIGCONT)
    with ThreadPoolExecutor(STREAMS) as pool:
        answers = [pool.submit(ask, server.address) for _ in range(STREAMS)]
        assert [answer.result(SECONDS)[0] for answer in answers] == [200] * STREAMS
    assert engine in engines(server.pid)


def test_fifty_kills_leave_nothing_behind(server: Server) -> None:
    address = server.address

    def kill_one(number: int) -> None:
        dialect = DIALECTS[number % len(DIALECTS)]
        with stream(address, dialect) as response:
            kill_engine(server)
            assert "SIGKILL" in dialect.error(response.read())
        begun = time.monotonic()
        assert ask(address, dialect)[0] == 200
        seconds.append(time.monotonic() - begun)

    seconds: list[float] = []
    for number in range(len(DIALECTS)):
        kill_one(number)
    before = held(server.pid)
    for number in range(KILLS):
        kill_one(number)
    after = held(server.pid)
    print(f"\n{KILLS} kills: {before}; after them {after}")
    print(f"the next answer after {sorted(seconds)[KILLS // 2]:.2f} s, {max(seconds):.2f} at most")
    assert after.descriptors <= before.descriptors + MORE_DESCRIPTORS
    assert after.threads <= before.threads + MORE_THREADS
    assert after.resident_bytes <= before.resident_bytes + MORE_BYTES
    assert metrics(address)["transom_running_requests"] == 0
    assert len(engines(server.pid)) == 1


def test_a_real_model_is_back_in_seconds(models: Path, tmp_path: Path) -> None:
    """SmolLM2; more streams than cores would only measure the machine."""
    settings = {"TRANSOM_PARALLEL": str(REAL_STREAMS), "TRANSOM_GRACE": "1"}
    with serve(models, tmp_path / "log", environment=settings) as server, ExitStack() as streams:
        open_streams = [
            streams.enter_context(
                stream(server.address, CHAT, "smollm2", ignore_eos=True, max_tokens=900)
            )
            for _ in range(REAL_STREAMS)
        ]
        killed = time.monotonic()
        kill_engine(server)
        for response in open_streams:
            assert "SIGKILL" in CHAT.error(response.read())
        told = time.monotonic()
        assert ask(server.address, model="smollm2")[0] == 200
        seconds = time.monotonic() - killed
        (engine,) = engines(server.pid)
        print(
            f"\nSmolLM2: {REAL_STREAMS} told after {told - killed:.2f} s, the next answer after "
            f"{seconds:.2f} s, {cpu_seconds(engine):.2f} s of computing"
        )
