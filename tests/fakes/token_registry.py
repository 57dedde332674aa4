"""Our registry with a door in front, and a fake token server that writes down what it is asked.

The door is fake (tokens are numbers, kept in a set); what is behind it is the real app.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask, Response, redirect, request

from transom_server.app import create_app
from transom_server.http.serving import serving
from transom_server.settings.config import Config

SERVICE = "registry.example.com"


@dataclass
class TokenRegistry:
    """Both servers, and how they behave. Change the fields at any time."""

    host: str = ""
    token_host: str = ""
    """As the challenge names it; `localhost` and `127.0.0.1` are two hosts, and both are here."""
    accounts: dict[str, str] = field(default_factory=lambda: {"ana": "secret:with:colons"})
    anonymous: bool = True
    """Whether the token server gives tokens to those without a login."""
    scheme: str = "bearer"
    uses: int = 1_000_000
    """Requests that a token is good for."""
    answer: str | None = None
    """What the token server says instead of a token."""
    redirect_blobs_to: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    """Each request to the token server: its parameters, and `authorization` ("" for none)."""
    elsewhere: list[str] = field(default_factory=list)
    """Authorization of each request that a redirect led to the other host ("" for none)."""
    left: dict[str, int] = field(default_factory=dict)

    def door(self) -> Response | None:
        sent = request.headers.get("Authorization", "")
        if self.scheme == "basic":
            if self._knows(sent):
                return None
            return self._refuse('Basic realm="the house"')
        token = sent.removeprefix("Bearer ")
        if self.left.get(token, 0) > 0:
            self.left[token] -= 1
            is_blob = request.method == "GET" and "/blobs/sha256:" in request.path
            if is_blob and self.redirect_blobs_to is not None:
                return redirect(self.redirect_blobs_to + request.path, 307)  # type: ignore[return-value]
            return None
        # The scope of a challenge is the registry's wish, which need not be ours.
        return self._refuse(
            f'Bearer realm="http://{self.token_host}/token",service="{SERVICE}",'
            'scope="repository:somebody/else:*"'
        )

    def _refuse(self, challenge: str) -> Response:
        body = '{"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}'
        return Response(body, 401, {"WWW-Authenticate": challenge})

    def _knows(self, authorization: str) -> bool:
        known = (f"{name}:{password}" for name, password in self.accounts.items())
        return authorization in {
            "Basic " + base64.b64encode(text.encode()).decode() for text in known
        }

    def token(self) -> Response:
        sent = request.headers.get("Authorization", "")
        self.asked.append({**request.args, "authorization": sent})
        if self.answer is not None:
            return Response(self.answer)
        if not (self._knows(sent) or (self.anonymous and not sent)):
            return Response("{}", 401)
        token = f"token-{len(self.asked)}"
        self.left[token] = self.uses
        return Response(f'{{"token": "{token}", "expires_in": 300}}')


@contextmanager
def token_registry(models: Path) -> Iterator[TokenRegistry]:
    """Both servers, for as long as the block runs."""
    fake = TokenRegistry()
    config = Config.read({}, models=str(models), port="0")
    guarded = create_app(config)
    guarded.before_request_funcs.setdefault(None, []).append(fake.door)

    # The other host gives out tokens, and whatever a redirect leads to it.
    other = create_app(config)

    def note() -> None:
        fake.elsewhere.append(request.headers.get("Authorization", ""))

    _mount(other, fake)
    other.before_request_funcs.setdefault(None, []).append(note)
    with serving(guarded, config) as server, serving(other, config) as tokens:
        fake.host = f"127.0.0.1:{server.port}"
        fake.token_host = f"127.0.0.1:{tokens.port}"
        yield fake


def _mount(app: Flask, fake: TokenRegistry) -> None:
    app.add_url_rule("/token", view_func=fake.token)
