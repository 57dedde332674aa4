"""Ollama's `/api/chat`, `/api/generate` and `/api/ps`: models of the store, run by llama.cpp.

An answer is NDJSON, a line a token, or with `"stream": false` one object. What fails before the
first line has a status; what fails later is a line `{"error": …}`. Must not know templates, engines
or processes.
"""

import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, jsonify, request

from transom_api import ollama
from transom_api.engine import Cancelled, Done, RequestCancelled, TokenEvent
from transom_api.ollama import shown_name
from transom_api.ollama_generation import (
    Answer,
    Asked,
    read_chat,
    read_generate,
)
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.engines.native import Loaded, NativeModels
from transom_server.engines.native_model import NativeModel
from transom_server.model.model_details import details_of
from transom_server.request_body import MAX_BODY_BYTES
from transom_server.store import Store

NDJSON: Final = "application/x-ndjson"


def blueprint(store: Store, models: NativeModels) -> Blueprint:
    routes = Blueprint("generation", __name__)

    @routes.post("/api/chat")
    def chat() -> Response:
        return _answer(models, read_chat(_body()))

    @routes.post("/api/generate")
    def generate() -> Response:
        return _answer(models, read_generate(_body()))

    @routes.get("/api/ps")
    def loaded() -> Response:
        rows = [
            {
                "name": shown_name(ModelName.parse(row.key.name)),
                "model": shown_name(ModelName.parse(row.key.name)),
                "size": row.resident_bytes,
                "digest": row.key.digest.hex,
                "details": _details(store, row.key.tag),
                "expires_at": _rfc3339(row.expires),
                # All of it is on the processor's side.
                "size_vram": 0,
                "context_length": row.context_tokens,
            }
            for row in models.loaded.rows()
        ]
        return _uncached(jsonify({"models": rows}))

    return routes


def _answer(models: NativeModels, asked: Asked) -> Response:
    started = time.monotonic_ns()
    answer = Answer(asked)
    cancelled = _client_gone()
    if asked.only_loads:
        if asked.keep_seconds == 0:
            models.unload(asked)
            return _uncached(jsonify(answer.nothing("unload", _now())))
        models.load(asked, cancelled)
        return _uncached(jsonify(answer.nothing("load", _now())))
    lines = _lines(models, asked, answer, cancelled, started)
    if not asked.stream:
        *_, last = lines
        return _uncached(jsonify(last))
    # What goes wrong until here gets a status of its own.
    first = next(lines)
    response = Response(_stream(first, lines), content_type=NDJSON)
    # The generator has begun, so closing it lets go of the model, read to its end or not.
    response.call_on_close(lines.close)
    return _uncached(response)


def _lines(
    models: NativeModels, asked: Asked, answer: Answer, cancelled: Cancelled, started: int
) -> Generator[dict[str, Any], None, None]:
    load_seconds = 0.0
    for event in models.answer(asked, cancelled):
        if isinstance(event, Loaded):
            load_seconds = event.seconds
        elif isinstance(event, TokenEvent):
            yield answer.line(event, _now())
        elif isinstance(event, Done):
            total = time.monotonic_ns() - started
            yield answer.end(event, _now(), total, round(load_seconds * 1e9))


def _stream(first: dict[str, Any], rest: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield _line(first)
    try:
        for line in rest:
            yield _line(line)
    except RequestCancelled:
        return
    except TransomError as error:
        yield _line({"error": str(error)})


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _body() -> object:
    """The request as JSON, whatever type it says it is, as Ollama reads it."""
    request.max_content_length = MAX_BODY_BYTES
    return ollama.read_body(request.get_data(cache=False))


def _details(store: Store, model: NativeModel) -> dict[str, Any]:
    try:
        details = asdict(details_of(store, model.stored))
    except TransomError:
        return {}  # it was removed meanwhile, and runs on
    families = details.pop("families")
    return ollama.detail_rows(details, families)


def _client_gone() -> Cancelled:
    """Whether the connection of this request is closed; other servers than ours cannot tell."""
    gone: Callable[[], bool] | None = request.environ.get("waitress.client_disconnected")
    return gone or (lambda: False)


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response


def _now() -> str:
    return _rfc3339(time.time())


def _rfc3339(seconds: float) -> str:
    """Unix seconds as text, in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
