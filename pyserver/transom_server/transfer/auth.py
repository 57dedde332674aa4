"""Proving to a registry who asks: Basic, or a Bearer token that its token server gives out.

A registry says in WWW-Authenticate where its tokens come from, so it could name any host and
collect the logins of others (CVE-2025-51471). A login is therefore shown to the registry itself, to
a host whose subdomain the registry is, and to hosts that its owner listed; never anyone else. What
a token is for is said by us, not by the challenge.

Sources: RFC 9110 section 11 (challenges), the Docker registry's token authentication.
"""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from transom_server.transfer.address import Address, InvalidAddress, registry_url
from transom_server.transfer.credentials import Credentials, Login
from transom_server.transfer.http_client import HttpClient, TransferError

# Challenges are a line; tokens are a signed list of a few scopes.
MAX_CHALLENGE_CHARS: Final = 8192
MAX_TOKEN_BYTES: Final = 64 * 1024

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME: Final = re.compile(rf"[\s,]*({_TOKEN})(?=\s|,|$)")
_PARAMETER: Final = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_ESCAPED: Final = re.compile(r"\\(.)")
# RFC 6750: what a token is made of, and so what may stand in a header.
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


class LoginRefused(TransferError):
    """The registry or its token server does not know this login."""


class ForeignTokenHost(TransferError):
    """The registry would have our login shown to a host that it is no part of."""

    def __init__(self, registry: str, host: str) -> None:
        super().__init__(
            f"{registry} wants your login to be sent to another host, {host}; "
            f"if you trust that: transom login {registry} --token-host {host}"
        )
        self.host = host


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a server offers; `scheme` and parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: list[str]) -> list[Challenge]:
    """Read WWW-Authenticate headers; what is malformed ends its header."""
    found = []
    for header in headers:
        header = header[:MAX_CHALLENGE_CHARS]
        position = 0
        while scheme := _SCHEME.match(header, position):
            position = scheme.end()
            parameters: dict[str, str] = {}
            while parameter := _PARAMETER.match(header, position):
                position = parameter.end()
                name, quoted, plain = parameter.groups()
                value = plain if quoted is None else _ESCAPED.sub(r"\1", quoted)
                parameters.setdefault(name.lower(), value)
            found.append(Challenge(scheme[1].lower(), parameters))
    return found


class RegistryAuth:
    """Who we are for one repository at one registry, or for the registry as such. Threads may
    share it."""

    def __init__(
        self,
        http: HttpClient,
        registry: str,
        repository: str | None,
        credentials: Credentials | None,
        insecure: bool,
    ) -> None:
        self._http = http
        self._registry = registry
        self._address = Address.parse(registry_url(registry, insecure))
        self._insecure = insecure
        self._repository = repository
        self._login = credentials.of(registry) if credentials is not None else None
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}

    def header(self, actions: str) -> str | None:
        """What to write into Authorization, as far as is known by now."""
        return self._headers.get(actions)

    def challenged(self, challenges: list[str], actions: str, sent: str | None) -> str | None:
        """What to write after a 401 to a request with `sent`; None: nothing that would help.

        Raises `LoginRefused`, `ForeignTokenHost`, `TransferError`.
        """
        with self._lock:
            current = self._headers.get(actions)
            if current is not None and current != sent:
                return current  # another thread was here first
            offered = parse_challenges(challenges)
            found = None
            for challenge in offered:
                if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                    found = "Bearer " + self._fetch_token(challenge.parameters, actions)
                    break
                if challenge.scheme == "basic" and self._login and self._login.basic != sent:
                    found = self._login.basic
                    break
            if found is None:
                self._headers.pop(actions, None)
            else:
                self._headers[actions] = found
            return found

    def _fetch_token(self, parameters: Mapping[str, str], actions: str) -> str:
        realm = self._realm(parameters["realm"])
        query = {}
        if parameters.get("service"):
            query["service"] = parameters["service"]
        if self._repository is not None:
            query["scope"] = f"repository:{self._repository}:{actions}"
        login = self._login
        if login is not None:
            query["account"] = login.username
            if not may_learn(login, self._address, realm):
                raise ForeignTokenHost(self._registry, realm.place)
        joint = "&" if "?" in realm.url else "?"
        url = realm.url + (joint + urlencode(query) if query else "")
        return self._http.patiently(lambda: self._ask_for_token(url, login, realm))

    def _realm(self, url: str) -> Address:
        """Where tokens come from; the rules are those of a redirect to there."""
        try:
            return self._address.redirected(url, self._insecure)
        except InvalidAddress as error:
            raise TransferError(
                f"{self._registry} has its tokens at no good address: {error}"
            ) from None

    def _ask_for_token(self, url: str, login: Login | None, realm: Address) -> str:
        authorization = None if login is None else login.basic
        with self._http.open("GET", url, authorization=authorization) as answer:
            if answer.status in (401, 403):
                who = "nobody without a login" if login is None else f"{login.username!r:.80}"
                raise LoginRefused(
                    f"{realm.place} gives no token to {who}; "
                    f"log in with: transom login {self._registry}"
                )
            if answer.status != 200:
                raise TransferError(f"{realm.place} answered status {answer.status} for a token")
            data = answer.read(MAX_TOKEN_BYTES, "a token")
        return _read_token(data, realm.place)


def may_learn(login: Login, registry: Address, realm: Address) -> bool:
    """Whether a login of `registry` may be shown to the host of `realm`.

    To the same host, on any port; to a host that the registry is a subdomain of, unless that is a
    top-level domain; to those that the login lists.
    """
    host, asking = realm.host.lower(), registry.host.lower()
    if host == asking or realm.place.lower() in login.token_hosts or host in login.token_hosts:
        return True
    if asking.rpartition(".")[2].isdigit():
        return False  # an IP address is nobody's subdomain
    return "." in host and asking.endswith("." + host)


def _read_token(data: bytes, place: str) -> str:
    try:
        value: Any = json.loads(data)
        token = value.get("token") or value.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or _BEARER.fullmatch(token) is None:
        raise TransferError(f"{place} answered with something that is no token")
    return token


def check_login(http: HttpClient, registry: str, login: Login, insecure: bool) -> None:
    """Ask the registry whether it lets this login in.

    Raises `LoginRefused`, `ForeignTokenHost`, `TransferError`.
    """
    auth = RegistryAuth(http, registry, None, Credentials({registry.lower(): login}), insecure)
    url = registry_url(registry, insecure) + "/v2/"

    def ask(authorization: str | None) -> tuple[int, list[str]]:
        with http.open("GET", url, authorization=authorization) as answer:
            return answer.status, answer.headers("WWW-Authenticate")

    status, challenges = http.patiently(lambda: ask(None))
    if status == 401:
        proof = auth.challenged(challenges, "", None)
        if proof is not None:
            status, _ = http.patiently(lambda: ask(proof))
    if status in (401, 403):
        raise LoginRefused(f"{registry} does not let {login.username!r:.80} in with this password")
    if status != 200:
        raise TransferError(f"{registry} is no registry: /v2/ answers status {status}")
