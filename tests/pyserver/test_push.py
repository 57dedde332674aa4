"""pytest tests/pyserver/test_push.py: models to another server, over good lines and bad ones."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, request, request_started

from tests.fakes.dropping_proxy import dropping_proxy
from tests.pyserver.registry import Registry, running_registry
from transom_cli.main import run
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Manifest
from transom_models.media_types import CONFIG, OLLAMA_MODEL
from transom_models.name import ModelName
from transom_server.store import ModelNotFound, Store
from transom_server.transfer.http_client import HttpClient, TransferError
from transom_server.transfer.pull import NoRegistry, pull
from transom_server.transfer.push import push
from transom_server.transfer.status import Cancelled, Patience, Status, TransferOptions

MIB = 1024 * 1024
PIECE = 256 * 1024
HURRIED = Patience(first_wait=0.01, longest_wait=0.05)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with running_registry(tmp_path / "there") as registry:
        yield registry


@pytest.fixture
def there(tmp_path: Path) -> Store:
    """The store behind `registry`."""
    return Store(tmp_path / "there")


def options(**changes: object) -> TransferOptions:
    values = {"patience": HURRIED, "piece_bytes": PIECE, **changes}
    return TransferOptions(**values)  # type: ignore[arg-type]


def put_model(store: Store, name: str, *blobs: bytes) -> Digest:
    config = store.put_bytes(b"{}")
    rows = [Descriptor(OLLAMA_MODEL, store.put_bytes(data), len(data)) for data in blobs]
    manifest = Manifest(Descriptor(CONFIG, config, 2), tuple(rows))
    return store.put_index(ModelName.parse(name), manifest.to_bytes())


def send(
    store: Store, name: str, host: str, target: str | None = None, **changes: object
) -> list[Status]:
    told: list[Status] = []
    push(
        store,
        ModelName.parse(name),
        options(**changes),
        told.append,
        target=ModelName.parse(target) if target else None,
        registry=host,
    )
    return told


class ServerLog:
    """What the server was asked so far: `PATCH /v2/… `, each with a space at its end."""

    def __init__(self) -> None:
        self._asked: list[str] = []

    def hear(self, app: Flask) -> None:
        self._asked.append(f"{request.method} {request.full_path} ")

    def lines(self, method: str) -> list[str]:
        return [line for line in self._asked if line.startswith(method + " ")]


@pytest.fixture
def log() -> Iterator[ServerLog]:
    log = ServerLog()
    with request_started.connected_to(log.hear):
        yield log


# What arrives


def test_a_bundle_arrives_byte_for_byte(
    filled: Store, registry: Registry, there: Store, tmp_path: Path
) -> None:
    told = send(filled, "tiny", registry.host, f"{registry.host}/me/tiny:v1")
    pushed = there.get_index(ModelName.parse("me/tiny:v1"))
    assert pushed.data == filled.get_index(ModelName.parse("tiny")).data
    assert there.verify().problems == ()
    texts = [status.text for status in told]
    assert texts[0] == "retrieving manifest"
    assert texts[-2:] == ["pushing manifest", "success"]
    # And back, into a third store.
    third = Store(tmp_path / "third")
    name = ModelName.parse(f"{registry.host}/me/tiny:v1")
    assert pull(third, name, options(), told.append, registry="") == pushed.digest


def test_each_blob_is_told_from_nothing_to_all(store: Store, registry: Registry) -> None:
    put_model(store, "m", os.urandom(3 * PIECE), b"small")
    told = send(store, "m", registry.host)
    assert {status.text for status in told if status.digest} == {
        f"pushing {status.digest.hex[:12]}" for status in told if status.digest
    }
    for digest in {status.digest for status in told if status.digest}:
        steps = [(s.completed, s.total) for s in told if s.digest == digest]
        assert steps[0][0] == 0
        assert steps[-1][0] == steps[-1][1]
        assert steps == sorted(steps)


def test_empty_and_odd_sizes_arrive(store: Store, registry: Registry, there: Store) -> None:
    sizes = (0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE)
    digest = put_model(store, "m", *(os.urandom(size) for size in sizes))
    send(store, "m", registry.host)
    assert there.get_index(ModelName.parse("m")).digest == digest
    assert there.verify().problems == ()


def test_equal_blobs_are_not_sent_twice(store: Store, registry: Registry, log: ServerLog) -> None:
    shared = os.urandom(PIECE)
    put_model(store, "base", shared, b"base")
    put_model(store, "tune", shared, shared, b"tune")
    send(store, "base", registry.host)
    assert len(log.lines("PATCH")) == 3  # shared, base, config
    send(store, "tune", registry.host)
    assert len(log.lines("PATCH")) == 4
    # A second push of all of it sends nothing.
    send(store, "tune", registry.host)
    assert len(log.lines("POST")) == len(log.lines("PATCH")) == 4


def test_a_blob_is_mounted_from_the_repository_that_it_came_from(
    store: Store, registry: Registry, there: Store, log: ServerLog
) -> None:
    name = f"{registry.host}/base/model"
    put_model(store, name, b"weights")
    send(store, name, "", f"{registry.host}/fork/model")
    asked = log.lines("POST")
    assert len(asked) == 2
    assert all("?mount=sha256:" in line and "&from=base/model " in line for line in asked)
    # A registry that cannot mount begins an upload instead.
    assert there.list_models()[0].data == store.list_models()[0].data


def test_the_bandwidth_cap_counts_every_byte(
    store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr(HttpClient, "throttle", lambda self, count: counted.append(count))
    put_model(store, "m", os.urandom(3 * PIECE + 1), b"abc")
    send(store, "m", registry.host, bytes_per_second=MIB)
    assert sum(counted) == 3 * PIECE + 1 + 3 + len(b"{}")
    # In steps that are small beside a second.
    assert max(counted) <= MIB // 8


def test_several_blobs_go_at_once(store: Store, registry: Registry) -> None:
    put_model(store, "m", *(os.urandom(PIECE) for _ in range(8)))
    with dropping_proxy(registry.port) as proxy:
        send(store, "m", f"127.0.0.1:{proxy.port}", connections=3)
        assert proxy.connections == 3


def test_a_foreign_name_needs_a_registry(store: Store) -> None:
    put_model(store, "m", b"x")
    with pytest.raises(NoRegistry, match="TRANSOM_REGISTRY"):
        send(store, "m", "")
    with pytest.raises(ModelNotFound, match="no model nothing"):
        send(store, "nothing", "127.0.0.1:1")


def test_a_registry_that_takes_nothing_is_one_clear_error(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_model(store, "m", b"x")
    with running_registry(tmp_path / "there") as registry:
        monkeypatch.setattr("transom_server.settings.config.Config.writable", False)
        with pytest.raises(TransferError, match="does not let us have blob sha256:"):
            send(store, "m", registry.host)


# Bad lines


def test_a_dropped_connection_costs_one_piece(
    store: Store, registry: Registry, there: Store
) -> None:
    size = 4 * MIB
    digest = put_model(store, "m", os.urandom(size))
    with dropping_proxy(registry.port) as proxy:
        cut = 5 * PIECE + PIECE // 2
        proxy.cut_every(cut)
        send(store, "m", f"127.0.0.1:{proxy.port}", connections=1)
        drops = -(-size // (5 * PIECE))
        assert proxy.connections >= 3
        # Half a piece is lost with each connection; the rest is headers.
        assert size < proxy.sent_bytes < size + drops * (PIECE + 64 * 1024)
    assert there.get_index(ModelName.parse("m")).digest == digest
    assert there.verify().problems == ()


def test_a_line_too_bad_for_a_single_piece_is_given_up(store: Store, registry: Registry) -> None:
    put_model(store, "m", os.urandom(MIB))
    with dropping_proxy(registry.port) as proxy:
        proxy.cut_every(PIECE // 2)
        with pytest.raises(TransferError, match="gave up after 6 tries"):
            send(store, "m", f"127.0.0.1:{proxy.port}", connections=1)


CHILD = """
    import sys
    from pathlib import Path
    from transom_models.name import ModelName
    from transom_server.store import Store
    from transom_server.transfer.push import push
    from transom_server.transfer.status import TransferOptions

    store, host, piece = Store(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    options = TransferOptions(piece_bytes=piece, connections=1)
    push(store, ModelName.parse("m"), options, lambda status: None, target=None, registry=host)
"""


def test_kill_9_costs_one_piece(store: Store, registry: Registry, there: Store) -> None:
    size = 4 * MIB
    digest = put_model(store, "m", os.urandom(size))
    with dropping_proxy(registry.port) as proxy:
        host = f"127.0.0.1:{proxy.port}"
        killed = threading.Event()
        arguments = [str(store.root), host, str(PIECE)]
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), *arguments])

        def kill() -> None:
            child.send_signal(signal.SIGKILL)
            killed.set()

        proxy.at(size // 2, kill)
        assert child.wait(60) == -signal.SIGKILL
        assert killed.is_set()
        assert there.list_models() == []
        before = proxy.sent_bytes
        send(store, "m", host, connections=1)
        assert proxy.sent_bytes - before < size // 2 + PIECE + 64 * 1024
    assert there.get_index(ModelName.parse("m")).digest == digest
    assert there.verify().problems == ()
    assert list((store.scratch / "uploads-out").iterdir()) == []
    assert list((there.scratch / "uploads").iterdir()) == []


def test_a_restart_of_the_server_costs_one_piece(store: Store, tmp_path: Path) -> None:
    size = 2 * MIB
    digest = put_model(store, "m", os.urandom(size))
    stop = threading.Event()
    with running_registry(tmp_path / "there") as first, dropping_proxy(first.port) as proxy:
        host = f"127.0.0.1:{proxy.port}"
        proxy.at(size // 2, stop.set)
        with pytest.raises(Cancelled):
            send(store, "m", host, connections=1, cancelled=stop)
        first.close()
        before = proxy.sent_bytes
        with running_registry(tmp_path / "there") as second:
            proxy.target_port = second.port
            send(store, "m", host, connections=1)
        assert proxy.sent_bytes - before < size // 2 + PIECE + 64 * 1024
    assert Store(tmp_path / "there").get_index(ModelName.parse("m")).digest == digest


def test_a_session_that_the_registry_forgot_begins_again(
    store: Store, registry: Registry, there: Store
) -> None:
    size = 2 * MIB
    digest = put_model(store, "m", os.urandom(size))
    stop = threading.Event()
    with dropping_proxy(registry.port) as proxy:
        host = f"127.0.0.1:{proxy.port}"
        proxy.at(size // 2, stop.set)
        with pytest.raises(Cancelled):
            send(store, "m", host, connections=1, cancelled=stop)
        (journal,) = (store.scratch / "uploads-out").iterdir()
        assert journal.stat().st_mode & 0o777 == 0o600
        (session,) = (there.scratch / "uploads").iterdir()
        session.unlink()
        send(store, "m", host, connections=1)
    assert there.get_index(ModelName.parse("m")).digest == digest


def test_bytes_that_changed_on_their_way_are_sent_again(
    store: Store, registry: Registry, there: Store
) -> None:
    size = MIB
    digest = put_model(store, "m", os.urandom(size))
    stop = threading.Event()
    with dropping_proxy(registry.port) as proxy:
        host = f"127.0.0.1:{proxy.port}"
        proxy.at(size // 2, stop.set)
        with pytest.raises(Cancelled):
            send(store, "m", host, connections=1, cancelled=stop)
        (session,) = (there.scratch / "uploads").iterdir()
        flipped = bytearray(session.read_bytes())
        flipped[0] ^= 1
        session.write_bytes(bytes(flipped))
        # The server has hashed the right bytes already: a new one hashes what lies there.
    with running_registry(there.root) as second:
        send(store, "m", second.host, connections=1)
    assert there.get_index(ModelName.parse("m")).digest == digest
    assert there.verify().problems == ()


def test_blobs_that_vanish_before_the_manifest_are_sent_again(
    store: Store, registry: Registry, there: Store
) -> None:
    put_model(store, "m", b"weights")
    digest = Digest.of(b"weights")
    removed: list[Digest] = []

    def report(status: Status) -> None:
        if status.text == "pushing manifest" and not removed:
            there.remove_blob(digest)
            removed.append(digest)

    name = ModelName.parse("m")
    push(store, name, options(), report, target=None, registry=registry.host)
    assert removed == [digest]
    assert there.has_blob(digest)
    assert there.verify().problems == ()


# The command


def test_the_command(
    store: Store,
    registry: Registry,
    there: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put_model(store, "m", b"weights")
    assert run(["push", "m", f"{registry.host}/me/m:v2"]) == 0
    assert capsys.readouterr().out == f"m is at {registry.host}/me/m:v2\n"
    assert [str(model.name) for model in there.list_models()] == ["me/m:v2"]
    assert run(["push", "m"]) == 2
    assert "TRANSOM_REGISTRY" in capsys.readouterr().err
    monkeypatch.setenv("TRANSOM_REGISTRY", registry.host)
    assert run(["push", "m", "--json"]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["name"], last["target"]) == ("m", "m")
    assert [str(model.name) for model in there.list_models()] == ["m", "me/m:v2"]
