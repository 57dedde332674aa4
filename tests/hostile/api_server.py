"""A real `transom serve` for requests that mean no good; its memory can be looked at."""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.commands import serve
from tests.fakes.tiny_projector import tiny_projector
from tests.pyserver.native_models import OPTIONS, put_native
from transom_server.store import Store

SECONDS = 120
HELLO = {"role": "user", "content": "hello"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass(frozen=True)
class Target:
    """The server under attack."""

    port: int
    pid: int
    log: Path

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        ) as connection:
            connection.request(method, path, data, dict(headers or {}))
            with connection.getresponse() as response:
                found = {name.lower(): value for name, value in response.getheaders()}
                return Answer(response.status, found, response.read())

    def chat(self, **fields: Any) -> Answer:
        body = {"model": "tiny", "messages": [HELLO], "max_tokens": 4, **fields}
        return self.ask("/v1/chat/completions", body)

    @contextmanager
    def wire(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as wire:
            yield wire

    def memory(self) -> int:
        """Bytes that the server and its children have in memory."""
        total, left = 0, [self.pid]
        while left:
            folder = Path("/proc") / str(left.pop())
            with contextlib.suppress(OSError):  # it ended meanwhile
                rows = (folder / "status").read_text().splitlines()
                total += sum(int(row.split()[1]) << 10 for row in rows if row.startswith("VmRSS"))
                for task in (folder / "task").iterdir():
                    left += map(int, (task / "children").read_text().split())
        return total


@contextmanager
def target(folder: Path, **environment: str) -> Iterator[Target]:
    """A server with `tiny`, and `seeing`, which has a projector."""
    store = Store(folder / "models")
    put_native(store, "tiny", parameters={**OPTIONS, "num_predict": 4})
    projector = tiny_projector().to_bytes()
    put_native(store, "seeing", parameters={**OPTIONS, "num_predict": 4}, projector=projector)
    with serve(store.root, folder / "log", environment=environment) as server:
        yield Target(int(server.address.rpartition(":")[2]), server.pid, server.log_path)


def read_all(wire: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := wire.recv(65536):
            found += piece
    return found
