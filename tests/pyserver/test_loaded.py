"""pytest tests/pyserver/test_loaded.py: when models are loaded, shared out and let go of."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from tests.fakes.fake_engine import FakeLoader
from transom_api.engine import EngineError, LoadOptions, ModelFiles, RequestCancelled
from transom_models.digest import Digest
from transom_server.engines.loaded import InUse, LoadedModels, ModelKey

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


def names(models: LoadedModels[None]) -> list[str]:
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

    threads = [
        threading.Thread(target=ask, args=("otherwise", LoadOptions(context_tokens=8))),
        threading.Thread(target=ask, args=("as it is", LoadOptions())),
    ]
    with use(models):
        for thread in threads:
            thread.start()
            time.sleep(0.1)
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


def test_a_broken_engine_is_replaced_when_its_last_request_is_over(
    models: LoadedModels[None], loader: FakeLoader
) -> None:
    loader.parallel = 2
    again = threading.Event()

    def ask() -> None:
        with use(models) as used:
            assert used.engine is loader.loaded[1]
            again.set()

    thread = threading.Thread(target=ask)
    with use(models):
        with use(models):
            loader.loaded[0].broken = True
            thread.start()
        assert not again.wait(0.2)
    assert again.wait(SECONDS)
    thread.join()


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
