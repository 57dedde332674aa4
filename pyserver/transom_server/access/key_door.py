"""The door that asks for keys: who may do what, how much in a minute, and what the answer says.

Which scope a request needs is told from its method and address (`needed_scopes`, pure). The page,
`/healthz` and `/readyz` are open. Knows no dialect's bodies: errors are raised, headers are added.
"""

import base64
import binascii
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from flask import Flask, Response, g, request

from transom_api.rate_headers import anthropic_headers, openai_headers
from transom_models.errors import TransomError
from transom_server.access.api_keys import ApiKey, KeyRing
from transom_server.access.rate_limit import Limiter, RateLimited, Standing
from transom_server.http.request_body import Sender
from transom_server.settings.config import Config

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Whoever may send to these changes the store. The rest of `/api/` only asks questions of models.
STORE_PREFIXES: Final = (
    "/v2/",
    *(f"/api/{verb}" for verb in ("create", "copy", "delete", "pull", "push", "blobs/")),
)
# Basic alone: of `Bearer`, registries' clients would think that tokens are given out somewhere. A
# browser asks for a password then, and the page goes on with it.
CHALLENGE: Final = 'Basic realm="transom", charset="UTF-8"'
# Headers of ours that a page of an allowed origin may read.
EXPOSED: Final = ", ".join(
    ["Retry-After"]
    + [
        f"x-ratelimit-{what}-{kind}"
        for what in ("limit", "remaining", "reset")
        for kind in ("requests", "tokens")
    ]
)

# Told apart by what serves them, so that an address nobody thought of is behind the door.
_OPEN_BLUEPRINTS: Final = frozenset({"web", "health"})
_OPEN_ENDPOINTS: Final = frozenset({"metrics.ready"})
_ANY: Final = frozenset({"chat", "read", "write", "metrics"})
# Which models there are: whoever may ask one may know that.
_LISTS: Final = ("/v1/models", "/api/tags", "/api/ps", "/api/show", "/api/version")


class KeyRefused(TransomError):
    """No key, or none that this server knows."""


class ScopeMissing(TransomError):
    """The key is not for this."""


class Access:
    """Keys against the settings. Threads may share it; also those that know no Flask."""

    def __init__(self, config: Config, ring: KeyRing) -> None:
        # The settings that count now; whoever reads them again puts others here.
        self.config = config
        self._ring = ring

    @property
    def asks(self) -> bool:
        """Whether a key is needed now. Raises `KeysUnreadable`."""
        mode = self.config.keys
        return mode == "required" or (mode == "auto" and self._ring.exists)

    def key_of(self, authorization: str, x_api_key: str) -> ApiKey:
        """The key that a request shows. Raises `KeyRefused`, `KeysUnreadable`."""
        shown = [secret for secret in (_secret(authorization), x_api_key.strip()) if secret]
        if not shown:
            raise KeyRefused(
                "this server wants an API key: send it as Authorization: Bearer KEY; "
                "its owner makes one with: transom key create NAME"
            )
        for secret in shown:
            key = self._ring.find(secret)
            if key is None:
                continue
            if key.has_expired(time.time()):
                raise KeyRefused(f"the API key {key.name} has expired")
            return key
        raise KeyRefused("incorrect API key: this server does not know it")

    def may_write(self, key: ApiKey | None) -> bool:
        """Whether this client may change the store; a key is asked before the settings are."""
        if key is None:
            return self.config.writable
        return self.config.writable_with_key and key.may(("write",))

    def judge(self, headers: Mapping[str, str]) -> Sender:
        """Who sends these headers, named as WSGI names them without `HTTP_`: asked before the body
        is read, to know how much of one is taken."""
        try:
            key = None
            if self.asks:
                key = self.key_of(headers.get("AUTHORIZATION", ""), headers.get("X_API_KEY", ""))
        except TransomError:
            return "stranger"
        # A web page has no blobs to give.
        return "writer" if self.may_write(key) and "ORIGIN" not in headers else "client"


def needed_scopes(method: str, path: str) -> frozenset[str]:
    """One of these opens an address that is not open to all."""
    safe = method in SAFE_METHODS
    if path == "/metrics":
        return frozenset({"metrics"})
    if path in ("/v2", "/v2/") and safe:
        return _ANY  # what `transom login` asks, to learn whether the key is one
    if path == "/openapi.json":
        return _ANY
    if path.startswith(_LISTS):
        return frozenset({"chat", "read"})
    if path.startswith(STORE_PREFIXES):
        return frozenset({"read" if safe else "write"})
    if path.startswith("/v1/responses/") or method == "POST":
        return frozenset({"chat"})  # conversations, kept ones too
    return frozenset({"read" if safe else "write"})


def ask_for_keys(app: Flask, access: Access, limiter: Limiter) -> None:
    """Put the door into the app; `g.api_key` is who came in, None where none is asked for."""

    @app.before_request
    def check_key() -> None:
        g.api_key = g.client_name = None
        if _is_open() or not access.asks:
            return
        key = access.key_of(
            request.headers.get("Authorization", ""), request.headers.get("x-api-key", "")
        )
        needed = needed_scopes(request.method, request.path)
        if not key.may(needed):
            raise ScopeMissing(
                f"the API key {key.name} may not do this; it needs the scope "
                + " or ".join(sorted(needed))
            )
        g.api_key, g.client_name = key, key.name
        if request.method == "POST" and needed == {"chat"}:
            g.standing = _admit(limiter, key)
            _refuse_if_over(g.standing, key)

    @app.after_request
    def add_headers(response: Response) -> Response:
        if response.status_code == 401:
            response.headers.setdefault("WWW-Authenticate", CHALLENGE)
        standing: Standing | None = g.get("standing")
        if standing is not None:
            if request.path.startswith("/v1/messages"):
                response.headers.extend(
                    anthropic_headers(standing.requests, standing.tokens, datetime.now(UTC))
                )
            else:
                response.headers.extend(openai_headers(standing.requests, standing.tokens))
        return response


def who_asks() -> str:
    """Who stands in the line: a key, or an address. No name can pass for an address."""
    name = g.get("client_name")
    return f"key {name}" if name is not None else request.remote_addr or ""


def charging(limiter: Limiter) -> Callable[[int], None]:
    """What counts tokens against the key of this request, also after the request is gone from
    Flask's hands, as in a stream."""
    key: ApiKey | None = g.get("api_key")
    if key is None or key.tokens_per_minute is None:
        return lambda tokens: None
    name = key.name
    return lambda tokens: limiter.charge(name, tokens, time.monotonic())


def _is_open() -> bool:
    # A browser asks with OPTIONS before it sends a key; such an answer holds nothing.
    return (
        request.method == "OPTIONS"
        or request.blueprint in _OPEN_BLUEPRINTS
        or request.endpoint in _OPEN_ENDPOINTS
    )


def _admit(limiter: Limiter, key: ApiKey) -> Standing:
    rates = key.requests_per_minute, key.tokens_per_minute
    return limiter.admit(key.name, *rates, time.monotonic())


def _refuse_if_over(standing: Standing, key: ApiKey) -> None:
    if standing.refused is None:
        return
    rate = key.requests_per_minute if standing.refused == "requests" else key.tokens_per_minute
    seconds = max(1, math.ceil(standing.wait_seconds))
    raise RateLimited(
        f"rate limit reached: the API key {key.name} has {rate} {standing.refused} a minute; "
        f"ask again in {seconds} second{'' if seconds == 1 else 's'}",
        seconds,
    )


def _secret(authorization: str) -> str:
    """What an Authorization header holds: a Bearer token, or the password of Basic."""
    scheme, _, value = authorization.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return ""
