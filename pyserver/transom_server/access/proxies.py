"""Who asks, where a proxy stands in front: its word counts if it is one that the settings trust.

`X-Forwarded-For` is what anybody may write; only what a trusted proxy appended says who connected
to it. So it is read from its end, past the addresses of trusted proxies, to the first other one.
Pure but for the WSGI call it wraps.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any, Final

from transom_server.settings.config import Network

# Nobody has as many proxies in a row.
MAX_HOPS: Final = 32
MAX_HEADER_CHARS: Final = 4096
_SCHEMES: Final = ("http", "https")

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def behind_proxies(app: Wsgi, trusted: tuple[Network, ...]) -> Wsgi:
    """The app as before, with `REMOTE_ADDR` and the scheme as trusted proxies tell them."""

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        peer = environ.get("REMOTE_ADDR", "")
        if _is_trusted(peer, trusted):
            forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
            environ["REMOTE_ADDR"] = client_address(peer, forwarded, trusted)
            scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").strip().lower()
            if scheme in _SCHEMES:
                environ["wsgi.url_scheme"] = scheme
        return app(environ, start_response)

    return call


def client_address(peer: str, forwarded: str, trusted: tuple[Network, ...]) -> str:
    """The address nearest to us that is no trusted proxy; `peer` where none is told."""
    if len(forwarded) > MAX_HEADER_CHARS:
        return peer
    nearest = peer
    for hop in reversed(forwarded.split(",")[-MAX_HOPS:]):
        address = _address(hop.strip())
        if address is None:
            break  # what is no address was not written by a proxy of ours
        nearest = str(address)
        if not _is_trusted(nearest, trusted):
            break
    return nearest


def _is_trusted(text: str, trusted: tuple[Network, ...]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in trusted)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    # As a socket for both kinds says IPv4.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
