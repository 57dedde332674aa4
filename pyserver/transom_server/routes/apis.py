"""OpenAI's, Anthropic's and Ollama's addresses, over Flask: `transom_api` says what a request asks
for and how its answer looks, the models of the store and of other servers do it.

Knows no dialect and no engine.
"""

import secrets
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

from flask import Blueprint, Response, request

from transom_api.addresses import ADDRESSES, Address, Found
from transom_api.answering import NO_STORE
from transom_api.dialects import ANTHROPIC_HEADER
from transom_api.json_text import JSON, json_bytes
from transom_api.openai_responses.kept_responses import KeptResponses
from transom_api.operations import (
    Converse,
    CountTokens,
    Detokenize,
    Embed,
    FindModel,
    Json,
    ListLoaded,
    ListModels,
    Load,
    Operation,
    Rerank,
    Say,
    ShowModel,
    TagModels,
    Tokenize,
    Unload,
)
from transom_api.reading import HttpRequest, Means, read
from transom_server.catalogue import Catalogue
from transom_server.engines.native_tasks import NativeTasks
from transom_server.hosting import Host, client_gone
from transom_server.request_log import this_request
from transom_server.upstream.routing import RoutedTasks

Charging = Callable[[], Callable[[int], None]]
# Bodies differ by it, under one address.
_VARYING: Final = ListModels | FindModel


def blueprint(
    host: Host,
    tasks: NativeTasks | RoutedTasks,
    catalogue: Catalogue,
    charging: Charging = lambda: lambda tokens: None,
) -> Blueprint:
    """`charging` gives what is told of a request's tokens."""
    routes = Blueprint("apis", __name__)
    means = Means(
        now=time.time,
        ticks=time.monotonic_ns,
        token=secrets.token_hex,
        kept=KeptResponses(),
        version=lambda: version("transom"),
    )

    def view(address: Address) -> Callable[..., Response]:
        def answer(**names: str) -> Response:
            operation = read(Found(address, names), _asked(address), means)
            return _perform(operation, host, tasks, catalogue, charging)

        return answer

    for number, address in enumerate(ADDRESSES):
        routes.add_url_rule(
            address.path,
            f"{address.name}-{number}",
            view(address),
            methods=[address.method],
        )
    return routes


def _asked(address: Address) -> HttpRequest:
    request.max_content_length = address.most_bytes
    return HttpRequest(
        query=request.args,
        headers={name.lower(): value for name, value in request.headers},
        body=b"" if address.method == "GET" else request.get_data(cache=False),
    )


def _perform(
    operation: Operation,
    host: Host,
    tasks: NativeTasks | RoutedTasks,
    catalogue: Catalogue,
    charging: Charging,
) -> Response:
    if isinstance(operation, Converse):
        # The last answer has all of them in it.
        *_, last = (host.answer(chat, writer) for chat, writer in operation.turns)
        return last
    if isinstance(operation, Say):
        return _answer(operation.json, operation.status)
    response = _answer(_done(operation, host, tasks, catalogue, charging))
    if isinstance(operation, _VARYING):
        response.vary.add(ANTHROPIC_HEADER)
    return response


def _done(
    operation: Any,
    host: Host,
    tasks: NativeTasks | RoutedTasks,
    catalogue: Catalogue,
    charging: Charging,
) -> Json:
    """The JSON of an answer that is no conversation."""
    gone = client_gone()
    match operation:
        case CountTokens():
            return operation.body(host.models.count_tokens(operation.chat, gone))
        case Load():
            host.models.load(operation.chat, gone)
            return operation.body()
        case Unload():
            host.models.unload(operation.model)
            return operation.body()
        case Embed():
            found, seconds = tasks.embed(
                operation.asked, operation.inputs, gone, cuts=operation.cuts
            )
            _charge(charging(), operation.asked.model, found.tokens)
            return operation.body(found, seconds)
        case Rerank():
            ranking = tasks.rerank(operation.asked, operation.query, operation.documents, gone)
            _charge(charging(), operation.asked.model, ranking.tokens)
            return operation.body(ranking)
        case Tokenize():
            with tasks.tokenizer(operation.model, gone) as engine:
                special, around = operation.special, operation.around
                tokens = engine.tokenize(operation.text, special=special, around=around)
                return operation.body(tokens, engine.facts.context_tokens)
        case Detokenize():
            with tasks.tokenizer(operation.model, gone) as engine:
                return operation.body(engine.detokenize(operation.tokens))
        case ListModels():
            return operation.body(catalogue.listed())
        case FindModel():
            return operation.body(catalogue.find(operation.name))
        case TagModels():
            return operation.body(catalogue.tagged())
        case ShowModel():
            return catalogue.shown(operation.name, operation.verbose)
        case ListLoaded():
            return operation.body(catalogue.loaded(host.models.loaded.rows()))
    raise AssertionError(operation)


def _charge(charge: Callable[[int], None], model: str, tokens: int) -> None:
    charge(tokens)
    log = this_request()
    log.model, log.prompt_tokens = model, tokens


def _answer(value: Json, status: int = 200) -> Response:
    return Response(json_bytes(value), status, headers=[("Content-Type", JSON), NO_STORE])
