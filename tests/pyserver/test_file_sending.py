"""pytest tests/pyserver/test_file_sending.py: blobs leave by `sendfile`, whoever reads them."""

import errno
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_for
from transom_models.digest import Digest
from transom_server.app import create_app
from transom_server.http import file_sending
from transom_server.http.serving import Server, serving
from transom_server.settings.config import Config
from transom_server.store import Store

SIZE = 24 * 1024 * 1024
# Of what a client takes in before it reads; with much less TCP crawls.
SMALL = 256 * 1024


@pytest.fixture
def server(filled: Store) -> Iterator[Server]:
    config = Config.read({}, models=str(filled.root), port="0")
    with serving(create_app(config), config) as server:
        yield server


@pytest.fixture
def data(filled: Store) -> tuple[Digest, bytes]:
    data = os.urandom(1024) * (SIZE // 1024) + b"odd"
    return filled.put_bytes(data), data


def connect(server: Server, receive_bytes: int | None = None) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.connect()
    if receive_bytes:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    return connection


@pytest.mark.parametrize("how", ["kernel", "never", "stops"])
def test_whole_and_in_part_one_after_the_other(
    server: Server, data: tuple[Digest, bytes], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Also where the system's `sendfile` cannot, from the start or from the middle on."""
    calls = []
    real = os.sendfile

    def sendfile(out: int, file: int, offset: int, count: int) -> int:
        calls.append(offset)
        if how == "never" or (how == "stops" and len(calls) > 2):
            raise OSError(errno.EINVAL, "not for this file")
        return real(out, file, offset, count)

    monkeypatch.setattr(os, "sendfile", sendfile)
    digest, whole = data
    connection = connect(server)
    for first, last in ((0, SIZE + 2), (7, SIZE - 5), (SIZE, SIZE + 2), (3, 3)):
        headers = {"Range": f"bytes={first}-{last}"}
        connection.request("GET", f"/v2/x/blobs/{digest}", headers=headers)
        response = connection.getresponse()
        assert response.status == 206
        assert response.read() == whole[first : last + 1]
        assert not response.will_close
    assert calls
    connection.close()


def test_a_slow_reader_holds_no_thread(
    server: Server, data: tuple[Digest, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sending, "PATIENCE_SECONDS", 0.01)
    digest, whole = data
    handed_over = threading.Event()
    real = file_sending.SendingChannel.service

    def service(channel: file_sending.SendingChannel) -> None:
        real(channel)
        handed_over.set()

    monkeypatch.setattr(file_sending.SendingChannel, "service", service)
    slow = connect(server, SMALL)
    slow.request("GET", f"/v2/x/blobs/{digest}")
    # The thread is free again, and nothing has been read.
    assert handed_over.wait(20)
    other = connect(server)
    other.request("GET", "/healthz")
    assert other.getresponse().read()
    other.close()
    response = slow.getresponse()
    assert response.read() == whole
    # The connection goes on, by the main loop's hand or by a thread's.
    slow.request("GET", f"/v2/x/blobs/{digest}", headers={"Range": "bytes=1-9"})
    assert slow.getresponse().read() == whole[1:10]
    slow.close()


@pytest.mark.parametrize("patience", [0.01, 20.0])
def test_who_goes_away_leaves_no_file_open(
    server: Server, data: tuple[Digest, bytes], monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """Whether a thread was sending or the main loop."""
    monkeypatch.setattr(file_sending, "PATIENCE_SECONDS", patience)
    digest, _ = data
    blob = f"{digest.hex}"
    for _ in range(5):
        connection = connect(server, SMALL)
        connection.request("GET", f"/v2/x/blobs/{digest}")
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 200")
        connection.close()
    wait_for(lambda: not any(blob in name for name in open_files()))


def test_a_closed_file_is_told_once(filled: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    told = []
    with (tmp_path / "file").open("rb") as file:
        sent = file_sending.SentFile(file)
        sent.on_close(lambda: told.append("closed"))
        sent.close()
        sent.close()
    assert told == ["closed"]


def test_a_shorter_file_cuts_the_answer(server: Server, filled: Store) -> None:
    """What is promised and not there is an answer that breaks off, never other bytes."""
    digest = filled.put_bytes(bytes(SIZE))
    connection = connect(server, SMALL)
    connection.request("GET", f"/v2/x/blobs/{digest}")
    response = connection.getresponse()
    (path,) = filled.root.rglob(f"*{digest.hex}")
    path.chmod(0o600)
    os.truncate(path, 1000)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()


def open_files() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(entry.readlink()))
        except OSError:
            continue  # closed in between
    return found
