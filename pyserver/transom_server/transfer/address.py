"""Addresses of other hosts: which may be asked, and how. Pure: opens nothing.

Plain http is for loopback, or for those who said so; a redirect never leads from https to http,
nor from another machine to this one.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urljoin, urlsplit, urlunsplit

from transom_models.errors import TransomError
from transom_server.access.origins import bracketed

# No browser or proxy takes more; a signed address of a CDN is about 1500.
MAX_URL_CHARS: Final = 8192
_PORTS: Final = {"http": 80, "https": 443}
_REGISTRY: Final = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")


class InvalidAddress(TransomError):
    """The text is no address that may be asked."""


@dataclass(frozen=True, slots=True)
class Address:
    """A URL that was looked at. `host` has no brackets."""

    url: str
    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read an http or https URL; a fragment is dropped. Raises `InvalidAddress`."""
        shown = repr(url[:160])
        if len(url) > MAX_URL_CHARS:
            raise InvalidAddress(f"{shown}… is longer than an address can be")
        if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise InvalidAddress(f"{shown} is no address: percent-encode what is not plain ASCII")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise InvalidAddress(f"{shown} is no address: {error}") from None
        if parts.scheme not in _PORTS or not host:
            raise InvalidAddress(f"{shown} is no address; write https://host/path")
        if parts.username is not None or parts.password is not None:
            raise InvalidAddress(
                f"the address of {host} holds a user name; use `transom login {host}` instead"
            )
        clean = urlunsplit((parts.scheme, parts.netloc, parts.path or "/", parts.query, ""))
        return cls(clean, parts.scheme, host, port or _PORTS[parts.scheme])

    @property
    def origin(self) -> tuple[str, str, int]:
        """What must stay the same for credentials to be sent."""
        return (self.scheme, self.host, self.port)

    @property
    def place(self) -> str:
        """Host and, where it is not the usual one, port: how messages name the other side."""
        host = bracketed(self.host)
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    def check(self, insecure: bool) -> Self:
        """The address itself, or `InvalidAddress` when it may only be asked with --insecure."""
        if self.scheme == "http" and not (self.is_loopback or insecure):
            raise InvalidAddress(
                f"{self.place} would be asked over plain http, where anyone on the way can read "
                "and change it; use https, or --insecure"
            )
        return self

    def redirected(self, location: str, insecure: bool) -> "Address":
        """Where a redirect leads. Raises `InvalidAddress` for places it must not lead to."""
        target = Address.parse(urljoin(self.url, location))
        if self.scheme == "https" and target.scheme == "http":
            raise InvalidAddress(f"{self.place} redirects from https to http: {target.place}")
        if target.is_loopback and not self.is_loopback:
            raise InvalidAddress(f"{self.place} redirects to this machine: {target.place}")
        return target.check(insecure)


def registry_url(registry: str, insecure: bool) -> str:
    """`https://host[:port]` of a registry, or http for loopback and where `insecure` says so.

    Raises `InvalidAddress`.
    """
    match = _REGISTRY.fullmatch(registry)
    if match is None or int(match[2] or 0) > 65535:
        raise InvalidAddress(f"{registry!r:.160} is no registry; write host or host:port")
    plain = insecure or is_loopback(match[1].strip("[]"))
    return f"{'http' if plain else 'https'}://{registry}"


def is_loopback(host: str) -> bool:
    """Whether a host, without brackets, is this machine by its very name."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
