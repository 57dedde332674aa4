"""Ollama's management routes: create, copy, delete, pull, push, and blobs.

Bodies are JSON whatever type they say they are, as Ollama takes them. Nothing that a client sends
is ever a path: weights are named by digest. Must not know layers or registries.
"""

import os
import threading
from typing import Any, BinaryIO, cast

from flask import Blueprint, Response, request

from transom_api.ollama import management as ollama
from transom_api.ollama.generation import InvalidRequest
from transom_models.digest import Digest
from transom_models.name import DEFAULT_HOST, ModelName
from transom_server.http.progress_stream import progress_answer
from transom_server.model.base import Base, base_from_model, fresh_base_from_gguf
from transom_server.model.creation import create_model
from transom_server.model.creation_child import Conversion, create_in_child
from transom_server.model.model_texts import gguf_of
from transom_server.settings.config import Config
from transom_server.store import BlobNotFound, Store
from transom_server.transfer.credentials import read_credentials
from transom_server.transfer.gguf_url import name_of_url, pull_url
from transom_server.transfer.pull import pull
from transom_server.transfer.push import push
from transom_server.transfer.status import SUCCESS, Report, Status, TransferOptions


def blueprint(store: Store, config: Config) -> Blueprint:
    routes = Blueprint("ollama", __name__)

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
        asked = ollama.read_pull(_body())
        source = asked.source
        target = name_of_url(source) if isinstance(source, str) else source

        def work(report: Report, cancelled: threading.Event) -> None:
            options = _options(asked.insecure, config, cancelled)
            if isinstance(source, str):
                pull_url(store, source, target, options, report)
            else:
                pull(store, source, options, report, registry=config.registry)

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
    return Conversion(
        asked.model, asked.modelfile, asked.files, asked.adapters, asked.quantize, asked.compiles
    )


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
