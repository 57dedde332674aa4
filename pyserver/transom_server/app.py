"""The Flask app: which blueprints it has, who is let in, and the headers on every answer.

`transom_ending` of its extensions is set while the server ends; `transom_access` takes settings
that have changed.
"""

import os
import re
import threading
from collections.abc import Callable
from typing import Final

from flask import Flask, Response, g, request

from transom_api.engine import Done, LoadOptions
from transom_api.statuses import check_encoding
from transom_models.name import ModelName
from transom_server.access.api_keys import KeyRing, keys_path
from transom_server.access.key_door import (
    EXPOSED,
    SAFE_METHODS,
    STORE_PREFIXES,
    Access,
    ask_for_keys,
    charging,
    who_asks,
)
from transom_server.access.origins import host_allowed, origin_allowed
from transom_server.access.proxies import behind_proxies
from transom_server.access.rate_limit import Limiter
from transom_server.catalogue import Catalogue
from transom_server.engines.budget import Budget
from transom_server.engines.choice import chosen_engine
from transom_server.engines.native import NativeModels
from transom_server.engines.native_tasks import NativeTasks
from transom_server.engines.waiting import Overloaded, WaitingLine
from transom_server.errors import (
    HostNotAllowed,
    NotWritable,
    OriginNotAllowed,
    register_errors,
)
from transom_server.hosting import Host
from transom_server.metrics import Metrics
from transom_server.request_log import log_requests
from transom_server.routes import (
    apis,
    blobs,
    description,
    health,
    manifests,
    metrics,
    ollama,
    tags,
    uploads,
    web,
    webllm,
)
from transom_server.settings.config import Config
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store
from transom_server.upstream.health import Upstreams
from transom_server.upstream.routing import RoutedModels, RoutedTasks

# Pages of other origins may read these, if their origin is allowed. The page itself stays private.
SHARED_PREFIXES: Final = ("/v1/", "/v2/", "/api/", "/webllm/")
_EXPOSED: Final = (
    "Accept-Ranges, Content-Length, Content-Range, Docker-Content-Digest, ETag, request-id,"
    f" x-request-id, {EXPOSED}"
)
_REQUEST_HEADERS: Final = "Content-Type, If-None-Match, If-Range, Range"
# Clients of the APIs send headers of their own, and new ones with each release: keys, versions.
_ASKED_HEADERS: Final = re.compile(r"[A-Za-z0-9-]{1,64}(,[ ]?[A-Za-z0-9-]{1,64}){0,63}")
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
PREFLIGHT_SECONDS: Final = 600

# These answer as before while the server ends.
_HEALTH_BLUEPRINTS: Final = frozenset({"health", "metrics"})


def create_app(config: Config | None = None) -> Flask:
    """An app over the store that `config` names; without it, settings come from the environment."""
    config = config or read_config(os.environ)
    app = Flask("transom_server", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    store = open_store(config.models)
    app.extensions["transom_store"] = store
    app.register_blueprint(health.blueprint())
    app.register_blueprint(description.blueprint())
    app.register_blueprint(manifests.blueprint(store))
    app.register_blueprint(blobs.blueprint(store))
    app.register_blueprint(uploads.blueprint(store))
    app.register_blueprint(tags.blueprint(store))
    app.register_blueprint(webllm.blueprint(store))
    upstreams = Upstreams(config.upstreams)
    loading = LoadOptions(parallel=config.parallel, kv_type=config.kv_type)
    counted = Metrics()
    chosen = chosen_engine(config, store)
    native = NativeModels(
        chosen.store,
        chosen.load,
        loading=loading,
        budget=Budget(
            chosen.memory,
            frozenset(str(ModelName.parse(name)) for name in config.pinned),
        ),
        line=WaitingLine(config.queue),
        client=who_asks,
        heard=lambda done: _count(counted, done),
    )
    app.extensions["transom_close"] = _closing(upstreams.close, native.close, chosen.close)
    ending = app.extensions["transom_ending"] = threading.Event()
    limiter = Limiter()
    routed = RoutedModels(native, upstreams, store, counted.tokens)
    host = Host(routed, lambda: charging(limiter))
    native_tasks = NativeTasks(
        chosen.store, native.loaded, loading, heard=lambda tokens: counted.tokens(tokens, 0)
    )
    routed_tasks = RoutedTasks(native_tasks, upstreams, store)
    catalogue = Catalogue(store, upstreams.rows)
    app.register_blueprint(apis.blueprint(host, routed_tasks, catalogue, lambda: charging(limiter)))
    app.register_blueprint(ollama.blueprint(store, config))
    access = Access(config, KeyRing(keys_path(os.environ)))
    app.register_blueprint(web.blueprint(config.web_dir, lambda: access.config.embed_origins))
    app.register_blueprint(metrics.blueprint(counted, native, upstreams, ending.is_set))
    metrics.count_answers(app, counted)
    register_errors(app)
    app.extensions["transom_access"] = access
    _guard(app, access, limiter, ending)
    if config.trusted_proxies:
        call = behind_proxies(app.wsgi_app, config.trusted_proxies)
        app.wsgi_app = call  # type: ignore[assignment,method-assign]
    log_requests(app)
    return app


def _closing(*closes: Callable[[], None]) -> Callable[[], None]:
    """One after the other."""

    def close() -> None:
        for each in closes:
            each()

    return close


def _count(counted: Metrics, done: Done) -> None:
    counted.tokens(done.prompt_tokens, done.completion_tokens)
    counted.drafts(done.drafted_tokens, done.accepted_tokens)


def _guard(app: Flask, access: Access, limiter: Limiter, ending: threading.Event) -> None:
    """The doors: no strange Host gets an answer, no strange page can read one or change a thing,
    and where keys are asked for, nobody does what theirs is not for."""

    @app.before_request
    def check_end() -> None:
        if ending.is_set() and request.blueprint not in _HEALTH_BLUEPRINTS:
            raise Overloaded("this server is ending; ask again in a moment")

    @app.before_request
    def check_host() -> None:
        header = request.headers.get("Host")
        if not host_allowed(header, access.config):
            raise HostNotAllowed(
                f"this server does not go by the name {header or ''!r:.100}; "
                "if it should, add the name to TRANSOM_HOSTS"
            )

    @app.before_request
    def check_origin() -> None:
        if request.method in SAFE_METHODS:
            return
        # A page may send without being allowed to read the answer: what it did would stay done.
        origin = request.headers.get("Origin")
        if origin is not None and not _own_or_allowed(origin, access.config):
            raise OriginNotAllowed(
                f"pages of {origin!r:.100} may not send here; "
                "if they should, add the origin to TRANSOM_ORIGINS"
            )

    @app.before_request
    def check_packing() -> None:
        check_encoding(request.headers.get("Content-Encoding"))

    ask_for_keys(app, access, limiter)

    @app.before_request
    def check_write() -> None:
        if request.method in SAFE_METHODS or not request.path.startswith(STORE_PREFIXES):
            return
        if not access.may_write(g.api_key):
            raise NotWritable(
                "this server lets nobody change its store; set TRANSOM_WRITABLE=yes if it should"
            )

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        if request.path.startswith(SHARED_PREFIXES):
            # Also without an Origin: a cache must not give one page's answer to another.
            response.vary.add("Origin")
            origin = request.headers.get("Origin")
            if origin is not None and origin_allowed(origin, access.config):
                response.headers["Access-Control-Allow-Origin"] = origin
                response.headers["Access-Control-Expose-Headers"] = _EXPOSED
                if request.method == "OPTIONS":
                    response.headers["Access-Control-Allow-Methods"] = _METHODS
                    response.headers["Access-Control-Allow-Headers"] = _allowed_headers()
                    response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
        return response


def _allowed_headers() -> str:
    """Those that this preflight asks about: whose pages are allowed may send what they like."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    known = _ASKED_HEADERS.fullmatch(asked) is not None
    return f"{_REQUEST_HEADERS}, {asked}" if known else _REQUEST_HEADERS


def _own_or_allowed(origin: str, config: Config) -> bool:
    """Whether the page came from this server itself, or from an origin of the settings."""
    return origin == f"{request.scheme}://{request.host}" or origin_allowed(origin, config)
