"""Ollama's management routes: list, show, create, copy, delete, pull, push, and blobs.

Bodies are JSON whatever type they say they are, as Ollama takes them. Nothing that a client sends
is ever a path: weights are named by digest. Must not know layers or registries.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, BinaryIO, Final, cast

from flask import Blueprint, Response, jsonify, request

from transom_api.ollama import management as ollama
from transom_api.ollama.generation import InvalidRequest
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.name import DEFAULT_HOST, ModelName
from transom_server.http.progress_stream import progress_answer
from transom_server.model.creation import (
    Base,
    base_from_model,
    create_model,
    fresh_base_from_gguf,
)
from transom_server.model.creation_child import Conversion, create_in_child
from transom_server.model.gguf_facts import ArrayValue, GgufFacts
from transom_server.model.model_details import ModelDetails, ModelView, details_of, look_at
from transom_server.model.model_texts import gguf_of
from transom_server.settings.config import Config
from transom_server.store import BlobNotFound, Store, StoredModel
from transom_server.transfer.credentials import read_credentials
from transom_server.transfer.pull import pull
from transom_server.transfer.push import push
from transom_server.transfer.status import SUCCESS, Report, Status, TransferOptions
from transom_server.upstream.health import Elsewhere

# Long texts, which have fields of their own, or are for nobody: not in `model_info`, as in Ollama.
_NOT_INFO: Final = frozenset({"general.name", "tokenizer.chat_template"})


def blueprint(
    store: Store, config: Config, others: Callable[[], Sequence[Elsewhere]] = tuple
) -> Blueprint:
    """`others`: models that other servers run."""
    routes = Blueprint("ollama", __name__)

    @routes.get("/api/version")
    def tell_version() -> Response:
        return _answer({"version": version("transom")})

    @routes.get("/api/tags")
    def tags() -> Response:
        rows = [_elsewhere(row) for row in others()]
        taken = {row["model"] for row in rows}
        for model in sorted(store.list_models(), key=lambda row: -row.modified):
            if ollama.shown_name(model.name) in taken:
                continue  # asked by this name, the other server answers
            try:
                rows.append(_tag(store, model))
            except TransomError:
                continue  # one damaged model must not hide the others; `transom list` names it
        return _answer({"models": rows})

    @routes.post("/api/show")
    def show() -> Response:
        asked = ollama.read_show(_body())
        for row in others():
            if row.name == str(asked.model):
                return _answer(_shown_elsewhere(row))
        most = ollama.MAX_SHOWN_ITEMS if asked.verbose else 0
        return _answer(_shown(look_at(store, asked.model, most), asked.verbose))

    @routes.post("/api/create")
    def create() -> Response:
        asked = ollama.read_create(_body())
        _require_files(store, asked)
        is_elsewhere = _is_elsewhere(store, asked.base, config)
        base = None if is_elsewhere or asked.converts else _base(store, asked)
        adapters = tuple(asked.adapters.values())

        def work(report: Report, cancelled: threading.Event) -> None:
            pulled = _pull_base(store, asked, config, report, cancelled) if is_elsewhere else base
            if asked.converts:
                create_in_child(store, _conversion(asked), report, cancelled)
                return
            assert pulled is not None
            create_model(store, asked.model, asked.modelfile, pulled, report, adapters=adapters)

        return progress_answer(work, asked.stream)

    @routes.route("/api/blobs/<digest>", methods=["HEAD"])
    def has_blob(digest: str) -> Response:
        found = Digest.parse(digest)
        if not store.has_blob(found):
            raise BlobNotFound(f"no blob {found} in the store")
        return Response(status=200)

    @routes.post("/api/blobs/<digest>")
    def put_blob(digest: str) -> Response:
        expected = Digest.parse(digest)
        known = store.has_blob(expected)
        store.put_blob(cast(BinaryIO, request.stream), expected)
        return Response(status=200 if known else 201)

    @routes.post("/api/copy")
    def copy() -> Response:
        asked = ollama.read_copy(_body())
        store.copy_model(asked.source, asked.destination)
        return Response(status=200)

    @routes.delete("/api/delete")
    def delete() -> Response:
        store.remove_model(ollama.read_delete(_body()))
        return Response(status=200)

    @routes.post("/api/pull")
    def pull_model() -> Response:
        asked = ollama.read_transfer(_body())

        def work(report: Report, cancelled: threading.Event) -> None:
            options = _options(asked.insecure, config, cancelled)
            pull(store, asked.model, options, report, registry=config.registry)

        return progress_answer(work, asked.stream)

    @routes.post("/api/push")
    def push_model() -> Response:
        asked = ollama.read_transfer(_body())
        store.get_index(asked.model)  # no such model is a 404, not a line of a stream

        def work(report: Report, cancelled: threading.Event) -> None:
            options = _options(asked.insecure, config, cancelled)
            push(store, asked.model, options, report, target=None, registry=config.registry)

        return progress_answer(work, asked.stream)

    return routes


def _body() -> dict[str, Any]:
    request.max_content_length = ollama.MAX_JSON_BYTES
    return ollama.read_body(request.get_data(cache=False))


def _options(insecure: bool, config: Config, cancelled: threading.Event) -> TransferOptions:
    return TransferOptions(
        insecure=insecure,
        accept_license=config.accept_license,
        cancelled=cancelled,
        credentials=read_credentials(os.environ),
    )


def _is_elsewhere(store: Store, name: ModelName | None, config: Config) -> bool:
    """Whether a base has to be pulled first, and it is known from where."""
    if name is None or store.resolve(name) is not None:
        return False
    return name.host != DEFAULT_HOST or bool(config.registry)


def _pull_base(
    store: Store,
    asked: ollama.CreateRequest,
    config: Config,
    report: Report,
    cancelled: threading.Event,
) -> Base:
    name = asked.base
    assert name is not None

    def quiet(status: Status) -> None:
        if status.text != SUCCESS:  # the pull's own is not the end
            report(status)

    pull(store, name, _options(False, config, cancelled), quiet, registry=config.registry)
    return base_from_model(store, name)


def _require_files(store: Store, asked: ollama.CreateRequest) -> None:
    """Every blob that is named was sent before, and a base that is converted is known."""
    for field, rows in (("files", asked.files), ("adapters", asked.adapters)):
        for label, digest in rows.items():
            if not store.has_blob(digest):
                raise InvalidRequest(
                    f"{field}.{label}: no blob {digest}; send it first, to /api/blobs/{digest}"
                )


def _conversion(asked: ollama.CreateRequest) -> Conversion:
    return Conversion(asked.model, asked.modelfile, asked.files, asked.adapters, asked.quantize)


def _base(store: Store, asked: ollama.CreateRequest) -> Base:
    """What is asked for as base, before the answer begins: its errors have a status code."""
    if asked.base is not None:
        return base_from_model(store, asked.base)
    models: list[Digest] = []
    projectors: list[Digest] = []
    for digest in asked.files.values():
        kind = gguf_of(store, digest).kind
        (projectors if kind == "projector" else models).append(digest)
    if len(models) != 1:
        raise InvalidRequest(f"files: one model is wanted, these are {len(models)}")
    return fresh_base_from_gguf(store, models[0], projectors)


def _tag(store: Store, model: StoredModel) -> dict[str, Any]:
    sizes = {part.digest: part.size for part in store.descriptors(model)}
    return {
        "name": ollama.shown_name(model.name),
        "model": ollama.shown_name(model.name),
        "modified_at": _rfc3339(model.modified),
        "size": sum(sizes.values()) + len(model.data),
        # Ollama gives it without the algorithm.
        "digest": model.digest.hex,
        "details": _details(details_of(store, model)),
    }


def _elsewhere(row: Elsewhere) -> dict[str, Any]:
    """In Ollama's words for models of other hosts. What only the other server knows is empty."""
    name = ollama.shown_name(ModelName.parse(row.name))
    return {
        "name": name,
        "model": name,
        "remote_model": row.theirs,
        "remote_host": row.place,
        "modified_at": _rfc3339(row.since),
        "size": 0,
        "digest": "",
        "details": elsewhere_details(row),
    }


def elsewhere_details(row: Elsewhere) -> dict[str, Any]:
    """Details of a model of another server: its context, where that tells it."""
    texts = dict.fromkeys(("format", "family", "parameter_size", "quantization_level"), "")
    return ollama.detail_rows({**texts, "context_length": row.context_tokens}, ())


def _shown_elsewhere(row: Elsewhere) -> dict[str, Any]:
    return {
        "modelfile": f"# {row.name} runs on {row.place}, as {row.theirs}\n",
        "remote_model": row.theirs,
        "remote_host": row.place,
        "details": elsewhere_details(row),
        "model_info": {},
        # What else it can, only it knows.
        "capabilities": ["completion"],
        "modified_at": _rfc3339(row.since),
    }


def _details(details: ModelDetails) -> dict[str, Any]:
    rows = {
        "format": details.format,
        "family": details.family,
        "parameter_size": details.parameter_size,
        "quantization_level": details.quantization_level,
        "context_length": details.context_length,
        "embedding_length": details.embedding_length,
    }
    return ollama.detail_rows(rows, details.families)


def _shown(view: ModelView, verbose: bool) -> dict[str, Any]:
    """What is not there is left out, as Ollama does."""
    texts = view.texts
    shown = {
        "license": view.licence.text or view.licence.id,
        "modelfile": view.modelfile,
        "parameters": ollama.parameters_text(texts.parameters),
        "template": view.template,
        "system": texts.system,
        "details": _details(view.details),
        "messages": [{"role": role, "content": content} for role, content in texts.messages],
        "model_info": _info(view.gguf) if view.gguf else _browser_info(view),
        "projector_info": _info(view.projector) if view.projector else None,
        "tensors": _tensors(view.gguf) if view.gguf and verbose else None,
        "capabilities": list(view.capabilities),
        "modified_at": _rfc3339(view.model.modified),
        "requires": view.requires,
    }
    always = ("modelfile", "details", "model_info", "modified_at")
    return {key: value for key, value in shown.items() if value or key in always}


def _info(facts: GgufFacts) -> dict[str, Any]:
    """The file's metadata; arrays are null unless they were asked for."""
    info: dict[str, Any] = {"general.parameter_count": facts.parameter_count}
    for key, value in facts.metadata.items():
        if key in _NOT_INFO:
            continue
        if isinstance(value, ArrayValue):
            info[key] = ollama.finite(value.items) if value.items else None
        else:
            info[key] = ollama.finite(value)
    return dict(sorted(info.items()))


def _browser_info(view: ModelView) -> dict[str, Any]:
    """The same from a browser's config, where the model has no GGUF."""
    family = view.details.family
    lengths = {
        "context_length": view.details.context_length,
        "embedding_length": view.details.embedding_length,
    }
    info: dict[str, Any] = {"general.architecture": family}
    info |= {f"{family}.{key}": value for key, value in lengths.items() if value is not None}
    return info


def _tensors(facts: GgufFacts) -> list[Mapping[str, Any]]:
    return [
        {"name": tensor.name, "type": tensor.type.name, "shape": list(tensor.shape)}
        for tensor in facts.tensors
    ]


def _answer(value: dict[str, Any]) -> Response:
    response = jsonify(value)
    response.headers["Cache-Control"] = "no-store"
    return response


def _rfc3339(seconds: float) -> str:
    """Unix seconds as text, in UTC."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
