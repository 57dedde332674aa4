"""llama.cpp on the files of one model, in a child process (`llama_cpp_process.py`).

Native code that dies must not take the server along: the child is watched, and what it leaves is
one clear error. llama.cpp's own HTTP server runs in it; we send it finished prompts and read tokens
as they come. Must not know names, stores, templates or dialects.
"""

import base64
import contextlib
import http.client
import importlib.util
import json
import queue
import secrets
import socket
import threading
from collections.abc import Generator
from dataclasses import asdict
from typing import Any, Final

from transom_api.engine import (
    Cancelled,
    ContextOverflow,
    Done,
    EngineError,
    EngineFailed,
    GenerateRequest,
    LoadOptions,
    ModelFacts,
    ModelFiles,
    RequestCancelled,
    SchemaRefused,
    TokenEvent,
)
from transom_server.engines.llama_cpp_process import (
    MAX_REASON_CHARS,
    POLL_SECONDS,
    LlamaCppProcess,
)

# Ollama's on a machine without a large graphics card.
DEFAULT_CONTEXT_TOKENS: Final = 4096
# Questions that need no tokens are answered at once by a child that is well.
ANSWER_TIMEOUT_SECONDS: Final = 60
# A token is a few bytes, the last event repeats the prompt.
MAX_EVENT_BYTES: Final = 64 * 1024 * 1024
# llama.cpp answers without a schema that it cannot compile, and only its log tells. The log comes a
# little late: these are its lines when a request's sampler is made, and when the request is over.
_BAD_SCHEMA: Final = "llg error: "
_SAMPLER_MADE: Final = " launch_slot_: "
_OVER: Final = " release: "
LOG_TIMEOUT_SECONDS: Final = 10
UNSURE_SECONDS: Final = 2

_MISSING: Final = "llama.cpp is missing; install it with: pip install 'transom[native]'"


class LlamaCpp:
    """A loaded model. `generate` is for one thread at a time; `close` and the rest for any."""

    def __init__(self, files: ModelFiles, options: LoadOptions, cancelled: Cancelled) -> None:
        """Loads; takes as long as the disk does. Raises `EngineError`."""
        if importlib.util.find_spec("xllamacpp") is None:
            raise EngineError(_MISSING)
        self._key = secrets.token_urlsafe(24)
        self._child = LlamaCppProcess()
        try:
            self._child.order(
                {
                    **asdict(files),
                    **asdict(options),
                    "context_tokens": options.context_tokens or DEFAULT_CONTEXT_TOKENS,
                    "key": self._key,
                }
            )
            self._address = self._child.address(cancelled)
            self.facts = self._ask_facts()
        except BaseException:
            self._child.close()
            raise

    def alive(self) -> bool:
        return self._child.alive()

    def resident_bytes(self) -> int:
        return self._child.resident_bytes()

    def close(self) -> None:
        self._child.close()

    def generate(
        self, request: GenerateRequest, cancelled: Cancelled
    ) -> Generator[TokenEvent | Done, None, None]:
        """See `Engine`. The child stops computing when we stop reading."""
        body = json.dumps(_completion(request, self.facts.image_marker))
        log = self._child.listen()
        connection = self._connect()
        wire = connection.sock
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        reader = threading.Thread(
            target=self._read,
            args=(connection, body, events),
            name="llama-cpp-reader",
            daemon=True,
        )
        reader.start()
        begun = False
        # Before the first token nobody knows whether llama.cpp has taken the request up.
        patience: float | None = UNSURE_SECONDS
        try:
            while True:
                if cancelled():
                    raise RequestCancelled("nobody waits for this answer any more")
                with contextlib.suppress(queue.Empty):
                    event = events.get(timeout=POLL_SECONDS)
                    if isinstance(event, Exception):
                        # A prompt is measured by whoever takes it up; other refusals come before.
                        is_taken_up = begun or isinstance(event, ContextOverflow)
                        patience = LOG_TIMEOUT_SECONDS if is_taken_up else None
                        raise self._failure(event)
                    if not begun:
                        begun, patience = True, LOG_TIMEOUT_SECONDS
                        _check_schema(log)
                    if event["stop"]:
                        # A last event may bring text that was held back for a stop text.
                        if event["content"]:
                            yield TokenEvent((), event["content"].encode())
                        yield _done(event)
                        return
                    yield TokenEvent(tuple(event["tokens"]), event["content"].encode())
        finally:
            # Also ends a reader that waits for a long prompt.
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            reader.join()
            if patience is not None:
                # So that the next request finds none of this one: no work, and no line of the log.
                _wait_until_over(log, patience)

    def _read(
        self, connection: http.client.HTTPConnection, body: str, events: "queue.SimpleQueue[Any]"
    ) -> None:
        """The other end of `generate`: the child's answer into `events`, an error as the last."""
        try:
            with contextlib.closing(connection):
                connection.request("POST", "/completion", body, self._headers)
                with connection.getresponse() as response:
                    if response.status != http.HTTPStatus.OK:
                        raise _refusal(response.read(MAX_EVENT_BYTES))
                    while line := response.readline(MAX_EVENT_BYTES):
                        kind, _, data = line.partition(b":")
                        if kind == b"error":
                            raise _refusal(data)
                        if kind == b"data":
                            event = json.loads(data)
                            if "error" in event:
                                raise _refusal(data)
                            events.put(event)
                            if event["stop"]:
                                return
            raise EngineFailed("it ended in the middle of an answer")
        except Exception as error:
            events.put(error)

    def _failure(self, error: Exception) -> EngineError:
        """What is told when the child does not answer as it should."""
        if isinstance(error, EngineError) and not isinstance(error, EngineFailed):
            return error
        # A dying child closes its sockets first.
        reason = self._child.wait_for_end(1)
        return EngineFailed(
            f"the model's process {reason or 'broke off'}; ask again, which starts it anew"
        )

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._address, timeout=ANSWER_TIMEOUT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            raise self._failure(error) from error
        # From here on it may take a long prompt's time; `cancelled` ends the wait.
        connection.sock.settimeout(None)
        return connection

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.sock.settimeout(ANSWER_TIMEOUT_SECONDS)
                text = None if body is None else json.dumps(body)
                connection.request(method, path, text, self._headers)
                with connection.getresponse() as response:
                    data = response.read(MAX_EVENT_BYTES)
            if response.status != http.HTTPStatus.OK:
                raise _refusal(data)
            return json.loads(data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._failure(error) from error

    def _ask_facts(self) -> ModelFacts:
        properties = self._ask("GET", "/props")
        bos = properties["bos_token"]
        added = self._ask("POST", "/tokenize", {"content": "", "add_special": True})
        alone = self._ask(
            "POST", "/tokenize", {"content": bos, "add_special": False, "parse_special": True}
        )
        sees = properties["modalities"]["vision"]
        return ModelFacts(
            context_tokens=properties["default_generation_settings"]["n_ctx"],
            bos=bos,
            eos=properties["eos_token"],
            adds_bos=bool(bos) and added["tokens"][:1] == alone["tokens"][:1],
            image_marker=properties["media_marker"] if sees else None,
        )


def _completion(request: GenerateRequest, image_marker: str | None) -> dict[str, Any]:
    """A request in the words of llama.cpp's `/completion`."""
    sampling = request.sampling
    prompt: Any = request.prompt
    if request.images:
        found = 0 if image_marker is None else request.prompt.count(image_marker)
        if found != len(request.images):
            raise EngineError(f"the prompt has room for {found} images, not {len(request.images)}")
        if image_marker is not None and request.prompt.endswith(image_marker):
            # llama.cpp aborts, because nothing is left to continue from.
            raise EngineError("the prompt ends with an image; write something after it")
        data = [base64.b64encode(image).decode() for image in request.images]
        prompt = {"prompt_string": request.prompt, "multimodal_data": data}
    body = {
        "prompt": prompt,
        "stream": True,
        "return_tokens": True,
        "cache_prompt": True,
        "n_predict": request.max_tokens,
        "stop": list(request.stop),
        **asdict(sampling),
    }
    if request.json_schema is not None:
        body["json_schema"] = request.json_schema
    return body


def _check_schema(log: "queue.SimpleQueue[str]") -> None:
    """Raise `SchemaRefused` when llama.cpp passed over the schema of the request it now answers."""
    while True:
        try:
            line = log.get(timeout=LOG_TIMEOUT_SECONDS)
        except queue.Empty:
            raise EngineFailed("llama.cpp does not tell whether it took the request") from None
        _, found, reason = line.partition(_BAD_SCHEMA)
        if found:
            reason = reason.rpartition("failed to compile JSON schema: ")[2]
            raise SchemaRefused(f"the JSON schema cannot be used: {reason[:MAX_REASON_CHARS]}")
        if _SAMPLER_MADE in line or not line:
            return


def _wait_until_over(log: "queue.SimpleQueue[str]", patience: float) -> None:
    """Until llama.cpp works no more on the request, or has ended, or says nothing for so many
    seconds."""
    with contextlib.suppress(queue.Empty):
        while (line := log.get(timeout=patience)) and _OVER not in line:
            continue


def _done(event: dict[str, Any]) -> Done:
    timings = event["timings"]
    cached = max(0, timings["cache_n"])
    return Done(
        finish_reason="length" if event["stop_type"] == "limit" else "stop",
        prompt_tokens=cached + max(0, timings["prompt_n"]),
        cached_tokens=cached,
        completion_tokens=event["tokens_predicted"],
        prompt_seconds=max(0.0, timings["prompt_ms"]) / 1000,
        completion_seconds=max(0.0, timings["predicted_ms"]) / 1000,
    )


def _refusal(data: bytes) -> EngineError:
    """llama.cpp's error object as ours."""
    try:
        error = json.loads(data)["error"]
        message = str(error["message"])
    except (ValueError, KeyError, TypeError):
        return EngineFailed("it refuses without a reason")
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(
            f"the prompt has {error['n_prompt_tokens']} tokens, and the context window (num_ctx) "
            f"holds {error['n_ctx']}; ask with a larger num_ctx, or shorten the conversation"
        )
    return EngineError(f"llama.cpp: {message[:MAX_REASON_CHARS]}")
