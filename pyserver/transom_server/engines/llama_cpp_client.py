"""Asking llama.cpp's server in a child: one connection a question, each failure as one clear error.

Must not know what is asked.
"""

import contextlib
import http.client
import json
import socket
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

from transom_api.engine import Cancelled, EngineError, EngineFailed
from transom_server.engines.llama_cpp_process import LlamaCppProcess
from transom_server.engines.llama_cpp_reply import MAX_ANSWER_BYTES, Reply
from transom_server.engines.llama_cpp_wire import Event, refusal

# Questions that need no computing are answered at once by a child that is well.
ANSWER_TIMEOUT_SECONDS: Final = 60
# What a child does that does not answer as it should.
_FAILURES: Final = (OSError, http.client.HTTPException, ValueError, EngineFailed)


class LlamaCppClient:
    """Threads may share it."""

    def __init__(self, child: LlamaCppProcess, address: str, key: str) -> None:
        self.address = address
        host, _, port = address.rpartition(":")
        self._place = host, int(port)
        self.context_is_whole = False
        """The model was trained for no larger context than it has."""
        self._child = child
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A question that is answered at once."""
        try:
            connection = http.client.HTTPConnection(self.address, timeout=ANSWER_TIMEOUT_SECONDS)
            with contextlib.closing(connection):
                text = None if body is None else json.dumps(body)
                connection.request(method, path, text, self._headers)
                with connection.getresponse() as response:
                    data = response.read(MAX_ANSWER_BYTES)
            if response.status != http.HTTPStatus.OK:
                raise self.refusal(data)
            return json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self.failure(error) from error

    def responds(self, seconds: float) -> bool:
        """Whether it answers at all; also one that has ended answers nobody."""
        connection = http.client.HTTPConnection(self.address, timeout=seconds)
        try:
            with contextlib.closing(connection):
                connection.request("GET", "/health", headers=self._headers)
                with connection.getresponse() as response:
                    response.read(MAX_ANSWER_BYTES)
            return True
        except (OSError, http.client.HTTPException):
            return False

    def compute(self, path: str, body: dict[str, Any], cancelled: Cancelled) -> Any:
        """A question that is computed for as long as somebody waits."""
        try:
            with self._asking(path, body, cancelled) as reply:
                return json.loads(reply.read())
        except _FAILURES as error:
            raise self.failure(error) from error

    def events(
        self, path: str, body: dict[str, Any], cancelled: Cancelled
    ) -> Generator[list[Event], None, None]:
        """Events of an answer, those in one list that came together; without end, so the reader
        says when it has them all. It computes until this is closed."""
        held = b""
        try:
            with self._asking(path, body, cancelled) as reply:
                for piece in reply:
                    *whole, held = (held + piece).split(b"\n\n")
                    if events := list(self._read(whole)):
                        yield events
            raise http.client.IncompleteRead(b"")
        except _FAILURES as error:
            raise self.failure(error) from error

    def _read(self, lines: Sequence[bytes]) -> Iterator[Event]:
        for line in lines:
            kind, _, data = line.partition(b":")
            if kind == b"error":
                raise self.refusal(data)
            if kind == b"data":
                event = json.loads(data)
                if "error" in event:
                    raise self.refusal(data)
                yield event

    @contextlib.contextmanager
    def _asking(self, path: str, body: dict[str, Any], cancelled: Cancelled) -> Iterator[Reply]:
        data = json.dumps(body).encode()
        fields = {**self._headers, "Content-Length": str(len(data)), "Connection": "close"}
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.address}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        with socket.socket() as wire:
            wire.settimeout(ANSWER_TIMEOUT_SECONDS)
            # By its numbers: a name would be looked up.
            wire.connect(self._place)
            wire.sendall("\r\n".join([*lines, "", ""]).encode() + data)
            reply = Reply(wire, cancelled)
            if reply.status != http.HTTPStatus.OK:
                raise self.refusal(reply.read())
            yield reply

    def refusal(self, data: bytes) -> EngineError:
        """What llama.cpp refuses, in our words."""
        return refusal(data, self.context_is_whole)

    def failure(self, error: Exception) -> EngineError:
        """What is told when the child does not answer as it should."""
        if isinstance(error, EngineError) and not isinstance(error, EngineFailed):
            return error
        # A dying child closes its sockets first.
        reason = self._child.wait_for_end(5)
        return EngineFailed(
            f"the model's process {reason or 'broke off'}; ask again, which starts it anew"
        )
