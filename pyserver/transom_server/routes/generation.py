"""Ollama's `/api/chat`, `/api/generate` and `/api/ps`: models of the store, run by llama.cpp. Knows
no engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from flask import Blueprint, Response, jsonify

from transom_api.ollama import management as ollama
from transom_api.ollama.chat import Asked, read_chat, read_generate
from transom_api.ollama.management import shown_name
from transom_api.ollama.writer import OllamaWriter
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.engines.native_model import NativeModel
from transom_server.hosting import Host, client_gone, read_body, uncached
from transom_server.model.model_details import details_of
from transom_server.routes.ollama import elsewhere_details
from transom_server.store import Store
from transom_server.upstream.health import Elsewhere

# Nobody here lets go of it.
_FAR: Final = "9999-12-31T23:59:59Z"


def blueprint(
    store: Store, host: Host, others: Callable[[], Sequence[Elsewhere]] = tuple
) -> Blueprint:
    """`others`: models that other servers run."""
    routes = Blueprint("generation", __name__)

    @routes.post("/api/chat")
    def chat() -> Response:
        return _answer(host, read_chat(read_body()))

    @routes.post("/api/generate")
    def generate() -> Response:
        return _answer(host, read_generate(read_body()))

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
            for row in host.models.loaded.rows()
        ]
        rows += [_elsewhere(row) for row in others() if row.is_well]
        return uncached(jsonify({"models": rows}))

    return routes


def _elsewhere(row: Elsewhere) -> dict[str, Any]:
    """Another server has it ready, in memory of its own."""
    name = shown_name(ModelName.parse(row.name))
    return {
        "name": name,
        "model": name,
        "remote_model": row.theirs,
        "remote_host": row.place,
        "size": 0,
        "digest": "",
        "details": elsewhere_details(row),
        "expires_at": _FAR,
        "size_vram": 0,
        "context_length": row.context_tokens or 0,
    }


def _answer(host: Host, asked: Asked) -> Response:
    started = time.monotonic_ns()
    writer = OllamaWriter(asked, _now, lambda: time.monotonic_ns() - started)
    if not asked.only_loads:
        return host.answer(asked.chat, writer)
    if asked.chat.keep_seconds == 0:
        host.models.unload(asked.chat.model)
        return uncached(jsonify(writer.nothing("unload")))
    host.models.load(asked.chat, client_gone())
    return uncached(jsonify(writer.nothing("load")))


def _details(store: Store, model: NativeModel) -> dict[str, Any]:
    try:
        details = asdict(details_of(store, model.stored))
    except TransomError:
        return {}  # it was removed meanwhile, and runs on
    families = details.pop("families")
    return ollama.detail_rows(details, families)


def _now() -> str:
    return _rfc3339(time.time())


def _rfc3339(seconds: float) -> str:
    """Unix seconds as text, in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
