"""pytest tests/pyserver/test_loaded.py: when models are loaded, shared out and let go of."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing

import pytest

from tests.fakes.fake_engine import FakeEngine, FakeLoader
from tests.waiting import wait_for
from transom_api.engine import (
    EngineError,
    EngineFailed,
    LoadOptions,
    ModelFiles,
    RequestCancelled,
)
from transom_models.digest import Digest
from transom_server.engines.budget import Budget, NeverFits
from transom_server.engines.loaded import InUse, LoadedModels
from transom_server.engines.loaded_model import ModelKey
from transom_server.engines.waiting import Overloaded, WaitingLine

SECONDS = 10
DIGEST = Digest.of(b"model")


@pytest.fixture
def loader() -> FakeLoader:
    return FakeLoader("a")


@pytest.fixture
def models(loader: FakeLoader) -> Iterator[LoadedModels[None]]:
    models: LoadedModels[None] = LoadedModels(loader, most=2)
    yield models
    models.close()


def use(
    models: LoadedModels[None],
    name: str = "one",
    keep: float = 100.0,
    *,
    digest: Digest = DIGEST,
    options: LoadOptions = LoadOptions(),  # noqa: B008 (frozen)
    cancelled: bool = False,
) -> AbstractContextManager[InUse]:
    key = ModelKey(name, digest, options, None)
    return models.use(key, lambda: ModelFiles("weights"), keep, lambda: cancelled)


def names(models: LoadedModels[None] | LoadedModels[int]) -> list[str]:
    return [row.key.name for row in models.rows()]


def test_a_model_is_loaded_once_and_kept(models: LoadedModels[None], loader: FakeLoader) -> None:
    with use(models) as first:
        assert names(models) == ["one"]
    with use(models) as second:
        assert second.engine is first.engine
        assert second.load_seconds == 0
    (row,) = models.rows()
    assert (row.resident_bytes, row.context_tokens) == (1000, 64)
    assert 90 < row.expires - time.time() <= 100
    assert len(loader.loaded) == 1


def test_it_is_let_go_of_when_its_time_is_over(
    models: LoadedModels[None], loader: FakeLoader
) -> None:
    with use(models, keep=100):
        pass
    with use(models, keep=0.02):
        assert names(models) == ["one"]
    assert loader.loaded[0].closed.wait(SECONDS)
    assert names(models) == []


def test_keeping_it_no_time_lets_go_of_it_at_once(
    models: LoadedModels[None], loader: FakeLoader
) -> None:
    with use(models, keep=0):
        pass
    assert loader.loaded[0].closed.is_set()


def test_one_request_at_a_time(models: LoadedModels[None]) -> None:
    entered = threading.Event()

    def second() -> None:
        with use(models):
            entered.set()

    thread = threading.Thread(target=second)
    with use(models):
        thread.start()
        assert not entered.wait(0.2)
    assert entered.wait(SECONDS)
    thread.join()


def test_as_many_at_once_as_it_takes(models: LoadedModels[None], loader: FakeLoader) -> None:
    loader.parallel = 2
    entered = threading.Event()

    def third() -> None:
        with use(models):
            entered.set()

    thread = threading.Thread(target=third)
    with use(models):
        with use(models) as second:
            assert second.load_seconds == 0
            thread.start()
            assert not entered.wait(0.2)
            # What computes nothing takes no place.
            key = ModelKey("one", DIGEST, LoadOptions(), None)
            with models.use(key, lambda: ModelFiles("weights"), 100, lambda: False, computes=False):
                pass
        assert entered.wait(SECONDS)
    thread.join()
    assert len(loader.loaded) == 1


def test_whoever_came_first_is_served_first(models: LoadedModels[None], loader: FakeLoader) -> None:
    """Also when that means to load it otherwise, while others could share it as it is."""
    loader.parallel = 2
    order: list[str] = []

    def ask(name: str, options: LoadOptions) -> None:
        with use(models, options=options):
            order.append(name)

    threads: list[threading.Thread] = []
    asked = (("otherwise", LoadOptions(context_tokens=8)), ("as it is", LoadOptions()))
    with use(models):
        for row in asked:
            threads.append(threading.Thread(target=ask, args=row))
            threads[-1].start()
            wait_for(lambda: models.waiting == len(threads))
        assert order == []
    for thread in threads:
        thread.join(SECONDS)
    assert order == ["otherwise", "as it is"]
    assert len(loader.loaded) == 3


def test_a_model_that_embeds_too_is_loaded_beside_itself(
    models: LoadedModels[None], loader: FakeLoader
) -> None:
    with use(models), use(models, options=LoadOptions(task="embed")):
        assert names(models) == ["one", "one"]
    assert models.unload("one")
    assert all(engine.closed.is_set() for engine in loader.loaded)
    assert models.rows() == []


def test_a_broken_engine_is_replaced_while_others_still_have_it(
    models: LoadedModels[None], loader: FakeLoader
) -> None:
    """They may be slow readers of what it said."""
    loader.parallel = 2
    with use(models):
        with use(models):
            loader.loaded[0].broken = True
            with use(models) as used:
                assert used.engine is loader.loaded[1]
        assert not loader.loaded[0].closed.is_set()
    assert loader.loaded[0].closed.is_set()
    assert not loader.loaded[1].closed.is_set()
    assert names(models) == ["one"]
    assert models.broken == 1


def test_an_engine_that_breaks_in_use_is_let_go_of_by_the_last(
    models: LoadedModels[None], loader: FakeLoader
) -> None:
    loader.parallel = 2
    with use(models):
        with use(models):
            loader.loaded[0].broken = True
        assert names(models) == []
        assert not loader.loaded[0].closed.is_set()
    assert loader.loaded[0].closed.is_set()
    assert models.broken == 1


def test_whoever_has_gone_waits_no_longer(models: LoadedModels[None]) -> None:
    with use(models), pytest.raises(RequestCancelled), use(models, cancelled=True):
        pass


def test_the_one_unused_longest_makes_room(models: LoadedModels[None], loader: FakeLoader) -> None:
    for name in ("one", "two", "one", "three"):
        with use(models, name):
            pass
    assert sorted(names(models)) == ["one", "three"]
    assert [engine.closed.is_set() for engine in loader.loaded] == [False, True, False]


def test_a_model_in_use_never_makes_room(models: LoadedModels[None], loader: FakeLoader) -> None:
    entered = threading.Event()

    def third() -> None:
        with use(models, "three"):
            entered.set()

    thread = threading.Thread(target=third)
    with use(models, "one"):
        with use(models, "two"):
            thread.start()
            assert not entered.wait(0.2)
        assert entered.wait(SECONDS)
        assert not loader.loaded[0].closed.is_set()
    thread.join()


@pytest.mark.parametrize(
    "change",
    [{"options": LoadOptions(context_tokens=8)}, {"digest": Digest.of(b"another")}],
    ids=["other options", "other model under this name"],
)
def test_what_is_loaded_otherwise_is_loaded_again(
    models: LoadedModels[None], loader: FakeLoader, change: dict[str, LoadOptions]
) -> None:
    with use(models):
        pass
    with use(models, **change) as again:  # type: ignore[arg-type]
        assert again.engine is loader.loaded[1]
    assert loader.loaded[0].closed.is_set()
    assert len(models.rows()) == 1


def test_a_broken_engine_is_replaced(models: LoadedModels[None], loader: FakeLoader) -> None:
    with use(models):
        pass
    loader.loaded[0].broken = True
    assert names(models) == []
    with use(models) as again:
        assert again.engine is loader.loaded[1]
    assert loader.loaded[0].closed.is_set()


def test_a_failed_load_leaves_nothing(models: LoadedModels[None], loader: FakeLoader) -> None:
    loader.fails = True
    with pytest.raises(EngineError, match="cannot be loaded"), use(models):
        pass
    assert models.rows() == []
    loader.fails = False
    with use(models):
        assert names(models) == ["one"]


def test_unload(models: LoadedModels[None], loader: FakeLoader) -> None:
    assert not models.unload("one")
    with use(models):
        assert models.unload("one")
        assert not loader.loaded[0].closed.is_set()  # it is answering
    assert loader.loaded[0].closed.is_set()
    with use(models):
        pass
    assert models.unload("one")
    assert loader.loaded[1].closed.is_set()
    assert models.rows() == []


def test_close_ends_all_and_nothing_begins_after_it(
    models: LoadedModels[None], loader: FakeLoader
) -> None:
    with use(models, "one"):
        pass
    with use(models, "two") as used:
        models.close()
        assert used.cancelled()
        assert all(engine.closed.is_set() for engine in loader.loaded)
    with pytest.raises(EngineError, match="ending"), use(models, "one"):
        pass


def test_what_close_ends_has_not_failed(models: LoadedModels[None]) -> None:
    """Its process is killed while it answers, and its request is told why."""

    def answer() -> None:
        with use(models):
            models.close()
            raise EngineFailed("the model's process was ended by SIGKILL")

    with pytest.raises(Overloaded, match="server is ending"):
        answer()


def budgeted(
    loader: FakeLoader, total: int, *pinned: str, line: WaitingLine | None = None
) -> LoadedModels[int]:
    """Models whose tag is their size; a client is a thread."""
    return LoadedModels(
        loader,
        budget=Budget(total, frozenset(pinned)),
        line=line,
        needs=lambda key: key.tag,
        client=lambda: threading.current_thread().name,
    )


def take(
    models: LoadedModels[int], name: str, size: int, keep: float = 100.0
) -> AbstractContextManager[InUse]:
    key = ModelKey(name, DIGEST, LoadOptions(), size)
    return models.use(key, lambda: ModelFiles("weights"), keep, lambda: False)


def test_as_many_make_room_as_memory_wants(loader: FakeLoader) -> None:
    with closing(budgeted(loader, 100_000)) as held:
        for name, size in (("one", 40_000), ("two", 30_000), ("three", 30_000)):
            with take(held, name, size):
                pass
        assert sorted(names(held)) == ["one", "three", "two"]
        with take(held, "four", 60_000):
            assert [engine.closed.is_set() for engine in loader.loaded] == [
                True,
                True,
                False,
                False,
            ]
        assert sorted(names(held)) == ["four", "three"]


def test_what_takes_more_than_was_said_counts_as_it_is(
    loader: FakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(budgeted(loader, 100_000)) as held:
        with take(held, "one", 40_000):
            pass
        monkeypatch.setattr(FakeEngine, "resident_bytes", lambda _: 70_000)
        with take(held, "two", 40_000):
            assert names(held) == ["two"]


def test_a_model_larger_than_the_budget_is_refused_and_moves_nobody(loader: FakeLoader) -> None:
    with closing(budgeted(loader, 100_000)) as held:
        with take(held, "one", 40_000):
            pass
        with pytest.raises(NeverFits, match="num_ctx"), take(held, "two", 100_001):
            pass
        assert names(held) == ["one"]


def test_memory_in_use_is_waited_for(loader: FakeLoader) -> None:
    entered = threading.Event()

    def second() -> None:
        with take(held, "two", 60_000):
            entered.set()

    with closing(budgeted(loader, 100_000)) as held:
        thread = threading.Thread(target=second)
        with take(held, "one", 60_000):
            thread.start()
            assert not entered.wait(0.2)
        assert entered.wait(SECONDS)
        thread.join()


def test_a_small_model_does_not_pass_a_large_one_that_waits(loader: FakeLoader) -> None:
    order: list[str] = []

    def enter(name: str, size: int) -> None:
        with take(held, name, size):
            order.append(name)

    with closing(budgeted(loader, 100_000)) as held:
        with take(held, "one", 60_000):
            threads = []
            for name, size in (("large", 90_000), ("small", 10_000)):
                threads.append(threading.Thread(target=enter, args=(name, size)))
                threads[-1].start()
                wait_for(lambda: held.waiting == len(threads))
            assert order == []
        for thread in threads:
            thread.join(SECONDS)
        assert order == ["large", "small"]


def test_a_pinned_model_stays(loader: FakeLoader) -> None:
    with closing(budgeted(loader, 100_000, "one")) as held:
        for keep in (0.0, 0.01):
            with take(held, "one", 40_000, keep):
                pass
        with take(held, "two", 40_000):
            pass
        with take(held, "three", 40_000):
            pass
        assert sorted(names(held)) == ["one", "three"]
        # It stays long after it was asked to.
        (until,) = [row.expires for row in held.rows() if row.key.name == "one"]
        assert until > time.time() + 1e9
        assert held.unload("one")  # whoever says so
        assert names(held) == ["three"]


def test_clients_take_turns(loader: FakeLoader) -> None:
    order: list[str] = []

    def enter() -> None:
        with take(held, "one", 1):
            order.append(threading.current_thread().name)

    with closing(budgeted(loader, 100_000)) as held:
        threads = []
        with take(held, "one", 1):
            for client in ("a", "a", "a", "b"):
                threads.append(threading.Thread(target=enter, name=client))
                threads[-1].start()
                wait_for(lambda: held.waiting == len(threads))
        for thread in threads:
            thread.join(SECONDS)
        assert order == ["a", "b", "a", "a"]


def test_a_full_line_turns_away(loader: FakeLoader) -> None:
    line = WaitingLine(most=2)
    with closing(budgeted(loader, 100_000, line=line)) as held:
        failed: list[Exception] = []

        def wait() -> None:
            try:
                with take(held, "one", 1):
                    pass
            except EngineError as error:
                failed.append(error)

        with take(held, "one", 1):
            threads = [threading.Thread(target=wait, name=client) for client in "ab"]
            for thread in threads:
                thread.start()
            wait_for(lambda: held.waiting == 2)
            with (
                pytest.raises(Overloaded, match="wait already"),
                take(held, "one", 1),
            ):
                pass
        for thread in threads:
            thread.join(SECONDS)
        assert failed == []
        with take(held, "one", 1):
            assert len(line) == 0


def test_a_long_wait_turns_away(loader: FakeLoader) -> None:
    line = WaitingLine(patience_seconds=0.05)
    why = "no place for this request within 0.05 seconds; ask again in 5 seconds"
    with (
        closing(budgeted(loader, 100_000, line=line)) as held,
        take(held, "one", 1),
        pytest.raises(Overloaded, match=why),
        take(held, "one", 1),
    ):
        pass
