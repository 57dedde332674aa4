"""pytest tests/api/test_chaos_disk.py: the disk of the store is full.

Each request that needs room gets one clear error in its dialect; those that need none are answered.
The store stays whole, and once there is room the same requests succeed.

A disk of a few megabytes takes the right to mount one. Where that is missing, the server may write
no file beyond a size, which it meets with the same errors for everything but small files.
"""

import hashlib
import json
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.chaos import CONTEXT, ask, connect, put_endless
from tests.e2e.commands import Server, serve, transom
from tests.fakes.tiny_gguf import tiny_llama
from transom_server.store import Store

# A pull leaves 16 MiB free.
DISK_BYTES = 32_000_000
# What the server takes into memory, so that it is the store that meets the full disk.
BLOB = bytes(range(256)) * 1500
SETTINGS = {"TRANSOM_PARALLEL": "2", "TRANSOM_GRACE": "1"}


@dataclass(frozen=True)
class Disk:
    """The server's disk. `is_real`: not one file more, however small."""

    server: Server
    folder: Path
    is_real: bool

    @contextmanager
    def full(self) -> Iterator[None]:
        filler = self.folder / "filler"
        if not self.is_real:
            _limit(self.server.pid, 20_000)
        else:
            with filler.open("wb", buffering=0) as file:
                for size in (65536, 1):
                    with suppress(OSError):
                        while True:
                            file.write(bytes(size))
        try:
            yield
        finally:
            if self.is_real:
                filler.unlink()
            else:
                _limit(self.server.pid, resource.RLIM_INFINITY)


def _limit(pid: int, size: int) -> None:
    # The soft limit alone: only root may raise a hard one again.
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Where models are pulled from: another Transom, with room."""
    folder = tmp_path_factory.mktemp("registry")
    put_endless(Store(folder / "models"), "elsewhere", context=CONTEXT // 2)
    with serve(folder / "models", folder / "log", environment=SETTINGS) as running:
        yield running


@pytest.fixture(scope="module", params=["mounted", "limited"])
def disk(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Disk]:
    folder = tmp_path_factory.mktemp("disk")
    is_real = False
    if request.param == "mounted":
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        is_real = subprocess.run(mount, capture_output=True).returncode == 0
    try:
        put_endless(Store(folder / "models"))
        settings = {**SETTINGS, "TRANSOM_LOG_FILE": str(folder / "server.log")}
        log = tmp_path_factory.mktemp("printed") / "log"
        with serve(folder / "models", log, environment=settings) as server:
            yield Disk(server, folder, is_real)
        # Whatever the disk did, nothing that is not whole has a name.
        assert transom("verify", store=folder / "models").returncode == 0
    finally:
        if is_real:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def call(
    server: Server, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, Any, str]:
    """Status, body as JSON where it is that, and where the answer points to."""
    with closing(connect(server.address)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        data = response.read()
        place = response.headers.get("Location", "")
        lines = data.splitlines()
        return response.status, json.loads(lines[-1]) if lines else None, place


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_blob_for_a_registry(disk: Disk) -> None:
    def send() -> tuple[int, Any, str]:
        return call(disk.server, "PUT", f"{place}?digest={digest_of(BLOB)}", BLOB)

    _, _, place = call(disk.server, "POST", "/v2/library/pushed/blobs/uploads/")
    with disk.full():
        status, body, _ = send()
        assert status == 507, body
        (error,) = body["errors"]
        assert "free some space" in error["message"]
    status, body, _ = send()
    assert status == 201, body


def test_a_blob_in_ollamas_way(disk: Disk) -> None:
    data = BLOB[::-1]
    path = f"/api/blobs/{digest_of(data)}"
    with disk.full():
        status, body, _ = call(disk.server, "POST", path, data)
        assert status == 507, body
        assert "free some space" in body["error"]
    assert call(disk.server, "POST", path, data)[0] == 201


def test_a_conversation_too_large_for_memory(disk: Disk) -> None:
    """Its body is kept on the disk while it comes."""
    messages = [{"role": "user", "content": "hello " * 100_000}]
    body = json.dumps({"model": "endless", "messages": messages, "max_tokens": 1}).encode()
    with disk.full():
        status, answer, _ = call(disk.server, "POST", "/v1/chat/completions", body)
        assert status == 507, answer
        assert "the body cannot be kept" in answer["error"]["message"]
    status, answer, _ = call(disk.server, "POST", "/v1/chat/completions", body)
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")


def test_a_pull(disk: Disk, registry: Server) -> None:
    name = f"{registry.address.removeprefix('http://')}/library/elsewhere"
    body = json.dumps({"model": name, "insecure": True}).encode()
    with disk.full():
        _, last, _ = call(disk.server, "POST", "/api/pull", body)
        assert "error" in last, last
        assert call(disk.server, "POST", "/api/show", body)[0] == 404
    assert call(disk.server, "POST", "/api/pull", body)[1] == {"status": "success"}
    assert ask(disk.server.address, model=name)[0] == 200


def test_a_model_that_is_made(disk: Disk) -> None:
    gguf = tiny_llama(seed=7).to_bytes()
    assert call(disk.server, "POST", f"/api/blobs/{digest_of(gguf)}", gguf)[0] == 201
    asked = {"model": "made", "files": {"a.gguf": digest_of(gguf)}, "system": "x" * 50_000}
    body = json.dumps(asked).encode()
    with disk.full():
        status, last, _ = call(disk.server, "POST", "/api/create", body)
        assert "free some space" in last["error"], (status, last)
    assert call(disk.server, "POST", "/api/create", body)[1] == {"status": "success"}


def test_what_needs_no_room_is_answered(disk: Disk) -> None:
    """Though its line of the log has none."""
    with disk.full():
        for _ in range(20):
            assert ask(disk.server.address)[0] == 200
        os.kill(disk.server.pid, 0)
    assert ask(disk.server.address)[0] == 200
