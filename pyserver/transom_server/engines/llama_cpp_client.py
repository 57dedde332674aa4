"""Asking llama.cpp's server in a child: one connection a question, each failure as one clear error.

Must not know what is asked.
"""

import contextlib
import http.client
import json
import queue
import socket
import threading
from typing import Any, Final

from transom_api.engine import Cancelled, EngineError, EngineFailed, RequestCancelled
from transom_server.engines.llama_cpp_process import POLL_SECONDS, LlamaCppProcess
from transom_server.engines.llama_cpp_wire import refusal

# Questions that need no computing are answered at once by a child that is well.
ANSWER_TIMEOUT_SECONDS: Final = 60
# A token is a few bytes, the last event repeats the prompt; a vector of 4096 numbers is 22 KB.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class LlamaCppClient:
    """Threads may share it."""

    def __init__(self, child: LlamaCppProcess, address: str, key: str) -> None:
        self.address = address
        self.context_is_whole = False
        """The model was trained for no larger context than it has."""
        self._child = child
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def connect(self) -> http.client.HTTPConnection:
        """A connection for an answer that may take its time."""
        connection = http.client.HTTPConnection(self.address, timeout=ANSWER_TIMEOUT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            raise self.failure(error) from error
        connection.sock.settimeout(None)
        return connection

    def post(self, connection: http.client.HTTPConnection, path: str, body: str) -> Any:
        """The open response, once it is one. Raises `EngineError`, and what the socket raises."""
        connection.request("POST", path, body, self._headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            with response:
                raise self.refusal(response.read(MAX_ANSWER_BYTES))
        return response

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A question that is answered at once."""
        try:
            with contextlib.closing(self.connect()) as connection:
                connection.sock.settimeout(ANSWER_TIMEOUT_SECONDS)
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
        connection = self.connect()
        wire = connection.sock
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def read() -> None:
            try:
                with contextlib.closing(connection):
                    with self.post(connection, path, json.dumps(body)) as response:
                        answers.put(json.loads(response.read(MAX_ANSWER_BYTES)))
            except Exception as error:
                answers.put(error)

        reader = threading.Thread(target=read, name="llama-cpp-reader", daemon=True)
        reader.start()
        try:
            while not cancelled():
                with contextlib.suppress(queue.Empty):
                    answer = answers.get(timeout=POLL_SECONDS)
                    if isinstance(answer, Exception):
                        raise self.failure(answer)
                    return answer
            raise RequestCancelled("nobody waits for this answer any more")
        finally:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            reader.join()

    def refusal(self, data: bytes) -> EngineError:
        """What llama.cpp refuses, in our words."""
        return refusal(data, self.context_is_whole)

    def failure(self, error: Exception) -> EngineError:
        """What is told when the child does not answer as it should."""
        if isinstance(error, EngineError) and not isinstance(error, EngineFailed):
            return error
        # A dying child closes its sockets first.
        reason = self._child.wait_for_end(1)
        return EngineFailed(
            f"the model's process {reason or 'broke off'}; ask again, which starts it anew"
        )
