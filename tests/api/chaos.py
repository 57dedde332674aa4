"""What the chaos tests share: a store of models that talk for ever, six dialects, and what a server
holds of its machine.

A stream of each dialect is read as bytes, by sockets: what a client makes of them is tested
elsewhere. Linux's /proc tells what a process holds.
"""

import http.client
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.commands import Server
from tests.fakes.tiny_gguf import tiny_llama
from tests.processes import children
from tests.pyserver.native_models import put_native
from transom_server.store import Store

# For what takes a fraction of a second on a machine that does nothing else.
SECONDS = 60
CONTEXT = 32768
MESSAGES = [{"role": "user", "content": "hello w"}]


def put_endless(store: Store, name: str = "endless", *, context: int = CONTEXT) -> None:
    """A tiny random model whose answers go on until the context is full."""
    gguf = tiny_llama(seed=1, metadata={"llama.context_length": context}).to_bytes()
    put_native(
        store, name, gguf, parameters={"temperature": 0, "num_thread": 1, "num_ctx": context}
    )


@dataclass(frozen=True)
class Dialect:
    """`error` reads what went wrong out of the end of a stream, and fails where nothing did."""

    name: str
    path: str
    body: Mapping[str, Any]
    error: Callable[[bytes], str]
    few: Mapping[str, Any]
    """What makes the answer a short one."""


def sse_error(data: bytes) -> str:
    """OpenAI's: the last chunk is the error, and nothing says that all is done."""
    assert b"[DONE]" not in data
    return str(_last_event(data)[1]["error"]["message"])


def responses_error(data: bytes) -> str:
    name, last = _last_event(data)
    assert (name, last["type"]) == ("response.failed", "response.failed")
    assert last["response"]["status"] == "failed"
    assert b"event: error\n" in data
    return str(last["response"]["error"]["message"])


def anthropic_error(data: bytes) -> str:
    name, last = _last_event(data)
    assert (name, last["type"], last["error"]["type"]) == ("error", "error", "api_error")
    assert b"message_stop" not in data
    return str(last["error"]["message"])


def ollama_error(data: bytes) -> str:
    last = json.loads(data.splitlines()[-1])
    assert list(last) == ["error"]
    return str(last["error"])


def _last_event(data: bytes) -> tuple[str, Any]:
    lines = data.decode().split("\n\n")[-2].splitlines()
    fields = dict(line.split(": ", 1) for line in lines)
    return fields.get("event", ""), json.loads(fields["data"])


DIALECTS = (
    Dialect("chat", "/v1/chat/completions", {"messages": MESSAGES}, sse_error, {"max_tokens": 3}),
    Dialect(
        "completions",
        "/v1/completions",
        {"prompt": "hello w", "max_tokens": CONTEXT},
        sse_error,
        {"max_tokens": 3},
    ),
    Dialect(
        "responses",
        "/v1/responses",
        {"input": "hello w"},
        responses_error,
        {"max_output_tokens": 16},
    ),
    Dialect(
        "anthropic",
        "/v1/messages",
        {"messages": MESSAGES, "max_tokens": CONTEXT},
        anthropic_error,
        {"max_tokens": 3},
    ),
    Dialect(
        "ollama-chat",
        "/api/chat",
        {"messages": MESSAGES},
        ollama_error,
        {"options": {"num_predict": 3}},
    ),
    Dialect(
        "ollama-generate",
        "/api/generate",
        {"prompt": "hello w"},
        ollama_error,
        {"options": {"num_predict": 3}},
    ),
)
CHAT = DIALECTS[0]


def connect(address: str, timeout: float = SECONDS) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(address.removeprefix("http://"), timeout=timeout)


def send(
    connection: http.client.HTTPConnection, dialect: Dialect, model: str, **fields: Any
) -> http.client.HTTPResponse:
    """Ask, and give the open response."""
    body = json.dumps({"model": model, **dialect.body, **fields})
    connection.request("POST", dialect.path, body, {"Content-Type": "application/json"})
    return connection.getresponse()


@contextmanager
def stream(
    address: str, dialect: Dialect = CHAT, model: str = "endless", **fields: Any
) -> Iterator[http.client.HTTPResponse]:
    """A stream whose first bytes have come."""
    with closing(connect(address)) as connection:
        response = send(connection, dialect, model, stream=True, **fields)
        assert response.status == 200, response.read()
        assert response.read1(64)
        yield response
        response.close()


def ask(
    address: str, dialect: Dialect = CHAT, model: str = "endless", **fields: Any
) -> tuple[int, Any]:
    """An answer, whole: status and body. A short one unless fields say otherwise."""
    with closing(connect(address)) as connection:
        response = send(connection, dialect, model, stream=False, **(fields or dialect.few))
        return response.status, json.loads(response.read())


def metrics(address: str) -> dict[str, float]:
    """The gauges of /metrics."""
    with urllib.request.urlopen(f"{address}/metrics", timeout=SECONDS) as response:
        rows = [line.split() for line in response.read().decode().splitlines()]
    return {row[0]: float(row[1]) for row in rows if row[0] != "#" and "{" not in row[0]}


def _read(path: Path) -> bytes:
    """Nothing of a thread or process that has just ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return path.read_bytes()
    return b""


def engines(pid: int) -> list[int]:
    """The processes that models run in."""
    return [
        child
        for child in children(pid)
        if b"llama_cpp_child" in _read(Path(f"/proc/{child}/cmdline"))
    ]


def kill_engine(server: Server, number: signal.Signals = signal.SIGKILL) -> None:
    """End the one model that is loaded."""
    (engine,) = engines(server.pid)
    os.kill(engine, number)


def is_running(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def cpu_seconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Held:
    """What a process holds of its machine."""

    resident_bytes: int
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.resident_bytes / 1e6:.1f} MB, {self.descriptors} descriptors, "
            f"{self.threads} threads"
        )


def held(pid: int) -> Held:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Held(
        int(status["VmRSS"].split()[0]) * 1024,
        len(os.listdir(f"/proc/{pid}/fd")),
        int(status["Threads"]),
    )
