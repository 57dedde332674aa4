"""Vectors, scores and tokens, in each dialect that has them. Knows no engine.

POST  /api/embed, /api/embeddings                    Ollama
POST  /v1/embeddings                                 OpenAI
POST  /v1/rerank, /v1/reranking, /rerank, /reranking Jina, Cohere, llama-server
POST  /tokenize, /detokenize                         llama-server, vLLM
"""

import time
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, jsonify, request

from transom_api.ollama.embed import EmbedRequest, embed_body, read_embed
from transom_api.ollama.embed import read_embeddings as read_old_embeddings
from transom_api.openai.embeddings import embeddings_body, read_embeddings
from transom_api.openai.request import CONTEXT_HEADER
from transom_api.rerank import read_rerank, rerank_body
from transom_api.tokens import (
    detokenize_body,
    read_detokenize,
    read_tokenize,
    tokenize_body,
)
from transom_server.engines.native_tasks import Asked, NativeTasks
from transom_server.hosting import client_gone, read_body, uncached
from transom_server.request_log import this_request
from transom_server.upstream.routing import RoutedTasks


def blueprint(
    tasks: NativeTasks | RoutedTasks,
    charging: Callable[[], Callable[[int], None]] = lambda: lambda tokens: None,
) -> Blueprint:
    """`charging` gives what is told of a request's tokens."""
    routes = Blueprint("tasks", __name__)

    @routes.post("/api/embed")
    def embed() -> Response:
        return _embed(tasks, charging(), read_embed(read_body()))

    @routes.post("/api/embeddings")
    def old_embeddings() -> Response:
        return _embed(tasks, charging(), read_old_embeddings(read_body()))

    @routes.post("/v1/embeddings")
    def embeddings() -> Response:
        asked = read_embeddings(read_body(), request.headers.get(CONTEXT_HEADER))
        model = Asked(asked.model, asked.options, asked.keep_seconds)
        found, _ = tasks.embed(model, asked.inputs, client_gone())
        _charge(charging(), asked.model, found.tokens)
        return _answer(embeddings_body(asked, found.vectors, found.tokens))

    @routes.post("/v1/rerank")
    @routes.post("/v1/reranking")
    @routes.post("/rerank")
    @routes.post("/reranking")
    def rerank() -> Response:
        asked = read_rerank(read_body())
        model = Asked(asked.model, asked.options, asked.keep_seconds)
        found = tasks.rerank(model, asked.query, asked.documents, client_gone())
        _charge(charging(), asked.model, found.tokens)
        return _answer(rerank_body(asked, found.scores, found.tokens))

    @routes.post("/tokenize")
    def tokenize() -> Response:
        asked = read_tokenize(read_body())
        with tasks.tokenizer(asked.model, client_gone()) as engine:
            tokens = engine.tokenize(asked.text, special=asked.special, around=asked.around)
            return _answer(tokenize_body(tokens, engine.facts.context_tokens))

    @routes.post("/detokenize")
    def detokenize() -> Response:
        asked = read_detokenize(read_body())
        with tasks.tokenizer(asked.model, client_gone()) as engine:
            return _answer(detokenize_body(engine.detokenize(asked.tokens)))

    return routes


def _embed(
    tasks: NativeTasks | RoutedTasks, charge: Callable[[int], None], asked: EmbedRequest
) -> Response:
    started = time.monotonic_ns()
    model = Asked(asked.model, asked.options, asked.keep_seconds)
    found, seconds = tasks.embed(model, asked.inputs, client_gone(), cuts=asked.cuts)
    _charge(charge, asked.model, found.tokens)
    total = time.monotonic_ns() - started
    load = round(seconds * 1e9)
    body = embed_body(asked, found.vectors, found.tokens, total, load, found.cut)
    return _answer(body)


def _charge(charge: Callable[[int], None], model: str, tokens: int) -> None:
    charge(tokens)
    log = this_request()
    log.model, log.prompt_tokens = model, tokens


def _answer(value: dict[str, Any]) -> Response:
    return uncached(jsonify(value))
