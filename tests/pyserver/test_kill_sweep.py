"""pytest tests/pyserver/test_kill_sweep.py: kill -9 at 200 random instants, in five operations.

Pull, push, create, gc, copy. The store proves itself each time, and doing the same again finishes.

Each operation is first run to its end and timed, so that the instants fall all over it. One that
fell after the end does not count.
"""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.pyserver.bundles import write_bundle
from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.app import create_app
from transom_server.exchange.bundle_import import import_bundle
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

PIECE_BYTES = 64 * 1024
CONNECTIONS = 3
# Of a file of several pieces, and of one that is no whole number of them.
SHARD_BYTES = 9 * PIECE_BYTES + 1234
INSTANTS = {"pull": 60, "push": 40, "create": 40, "gc": 30, "copy": 30}
assert sum(INSTANTS.values()) == 200

BIG = ModelName.parse("big")


class Zygote:
    """Runs operations in children that can be killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, order: dict[str, Any], kill_after: float | None = None) -> tuple[int, float]:
        """Exit code (-9 when the kill came in time) and seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        pid, start = int(self._process.stdout.readline()), time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):  # it was done before
                os.kill(pid, signal.SIGKILL)
        code = int(self._process.stdout.readline().split()[1])
        return code, time.perf_counter() - start


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    command = [sys.executable, "-m", "tests.pyserver.store_zygote"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Zygote(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def source(tmp_path: Path) -> Store:
    """A store with `big`, whose shards are several pieces long."""
    store = Store(tmp_path / "source")
    seed = random.Random(1).randbytes(SHARD_BYTES)
    bundle = write_bundle(tmp_path / "bundle", seed=seed)
    import_bundle(store, bundle.folder, BIG, bundle.files)
    return store


class Registry:
    """A server of ours; `sent` counts the bytes of bodies that it sent or took."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.sent = 0
        self.taken = 0
        self._lock = threading.Lock()
        app = create_app(Config.read({}, models=str(store.root), port="0"))
        self._app = app.wsgi_app
        app.wsgi_app = self._count  # type: ignore[method-assign]
        self.app = app
        self.config = Config.read({}, models=str(store.root), port="0")

    def _count(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["REQUEST_METHOD"] in ("PATCH", "PUT", "POST"):
            size = int(environ.get("CONTENT_LENGTH") or 0)
            with self._lock:
                self.taken += size

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if environ["REQUEST_METHOD"] == "GET" and "/blobs/" in environ["PATH_INFO"]:
                size = int(dict(headers).get("Content-Length", "0"))
                with self._lock:
                    self.sent += size
            return start_response(status, headers, *rest)

        return self._app(environ, start)


def host_of(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


def blob_bytes(store: Store, name: ModelName) -> int:
    return sum(row.size for row in {*store.descriptors(store.get_index(name))})


class Instants:
    """Random instants of an operation that takes about `seconds`, until enough have killed it."""

    def __init__(self, operation: str, seconds: float, seed: int) -> None:
        self._rng = random.Random(seed)
        self._seconds = seconds
        self.left = INSTANTS[operation]
        self._tries = 20 * self.left

    def kill(self, zygote: Zygote, order: dict[str, Any]) -> bool:
        """Run the operation and kill it; whether that came before its end."""
        self._tries -= 1
        assert self._tries, f"{self.left} kills are still to come"
        code, _ = zygote.run(order, kill_after=self._rng.uniform(0, self._seconds))
        assert code in (0, -signal.SIGKILL)
        killed = code != 0
        self.left -= killed
        # A machine that others use is now slow, now fast: follow it.
        self._seconds *= 1.05 if killed else 0.9
        return killed


@pytest.mark.slow
def test_pull(zygote: Zygote, source: Store, tmp_path: Path) -> None:
    registry = Registry(source)
    resumed = most = 0
    with serving(registry.app, registry.config) as server:
        name = f"{host_of(server)}/library/big"
        order = {
            "op": "pull",
            "name": name,
            "connections": CONNECTIONS,
            "piece_bytes": PIECE_BYTES,
        }
        whole = {**order, "root": str(tmp_path / "whole")}
        assert zygote.run(whole)[0] == 0
        shutil.rmtree(tmp_path / "whole")
        registry.sent = 0
        code, seconds = zygote.run(whole)
        assert code == 0
        once = registry.sent
        assert once >= blob_bytes(source, BIG) - 8192
        instants = Instants("pull", seconds, seed=3)
        while instants.left:
            store = Store(tmp_path / "pulled")
            registry.sent = 0
            killed = instants.kill(zygote, {**order, "root": str(store.root)})
            assert store.verify().problems == ()
            before = registry.sent
            assert zygote.run({**order, "root": str(store.root)})[0] == 0
            resumed += killed and registry.sent - before < once
            # Again: what was on its way in each connection when the kill came, and no more.
            assert registry.sent <= once + CONNECTIONS * PIECE_BYTES
            most = max(most, registry.sent - once)
            assert store.verify().problems == ()
            assert store.get_index(ModelName.parse(name)).digest == source.get_index(BIG).digest
            store.collect_garbage(0)
            assert store.verify().problems == ()
            assert store.usage().unused == 0
            shutil.rmtree(store.root)
    print(f"pull: {resumed} resumed; of {once} bytes at most {most} came again")
    # Else the kills came before anything was there, and the sweep shows nothing.
    assert resumed > INSTANTS["pull"] // 6


@pytest.mark.slow
def test_push(zygote: Zygote, source: Store, tmp_path: Path) -> None:
    instants: Instants | None = None
    most = 0
    for number in itertools.count(-2):
        if instants is not None and not instants.left:
            break
        registry = Registry(Store(tmp_path / f"push-{number}"))
        with serving(registry.app, registry.config) as server:
            order = {
                "op": "push",
                "root": str(source.root),
                "name": "big",
                "target": f"{host_of(server)}/library/big",
                "connections": CONNECTIONS,
                "piece_bytes": PIECE_BYTES,
            }
            if number < 0:
                code, seconds = zygote.run(order)
                assert code == 0
                once = registry.taken
                continue
            instants = instants or Instants("push", seconds, seed=4)
            instants.kill(zygote, order)
            assert source.verify().problems == ()
            assert registry.store.verify().problems == ()
            assert zygote.run(order)[0] == 0
            assert registry.taken <= once + CONNECTIONS * PIECE_BYTES
            most = max(most, registry.taken - once)
        digest = registry.store.get_index(BIG).digest
        assert digest == source.get_index(BIG).digest
        assert registry.store.verify().problems == ()
        shutil.rmtree(registry.store.root)
    print(f"push: of {once} bytes at most {most} went again")


@pytest.mark.slow
def test_create(zygote: Zygote, source: Store) -> None:
    def order(number: int) -> dict[str, Any]:
        modelfile = f"FROM big\nSYSTEM number {number}\nPARAMETER temperature 0.{number}\n"
        name = f"mine:{number}"
        return {"op": "create", "root": str(source.root), "name": name, "modelfile": modelfile}

    assert zygote.run(order(0))[0] == 0
    code, seconds = zygote.run(order(1))
    assert code == 0
    instants = Instants("create", seconds, seed=5)
    for number in itertools.count(2):
        if not instants.left:
            break
        instants.kill(zygote, order(number))
        assert source.verify().problems == ()
        assert zygote.run(order(number))[0] == 0
        assert source.verify([ModelName.parse(f"mine:{number}")]).problems == ()
    source.collect_garbage(0)
    assert source.verify().problems == ()
    assert source.usage().unused == 0


@pytest.mark.slow
def test_gc(zygote: Zygote, source: Store) -> None:
    order = {"op": "gc", "root": str(source.root)}
    numbers = itertools.count()

    def litter() -> list[Digest]:
        number = next(numbers)
        return [source.put_bytes(f"{number} {item}".encode()) for item in range(40)]

    litter()
    assert zygote.run(order)[0] == 0
    litter()
    instants = Instants("gc", zygote.run(order)[1], seed=6)
    while instants.left:
        garbage = litter()
        instants.kill(zygote, order)
        assert source.verify().problems == ()
        assert zygote.run(order)[0] == 0
        assert not any(source.has_blob(digest) for digest in garbage)
        assert source.usage().unused == 0
        assert source.verify().problems == ()


@pytest.mark.slow
def test_copy(zygote: Zygote, source: Store) -> None:
    order = {"op": "copy", "root": str(source.root), "name": "big", "count": 12}
    assert zygote.run(order)[0] == 0
    instants = Instants("copy", zygote.run(order)[1], seed=7)
    digest: Digest = source.get_index(BIG).digest
    while instants.left:
        instants.kill(zygote, order)
        assert source.verify().problems == ()
        assert zygote.run(order)[0] == 0
        assert {model.digest for model in source.list_models()} == {digest}
    assert source.verify().problems == ()
