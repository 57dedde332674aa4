"""Who may talk to this server: the Host and Origin headers, checked against the settings. Pure.

A page of a strange site can send requests to loopback (the browser does it for it), and through
DNS rebinding it can even pass for the same origin; but then `Host` carries the strange name.
"""

import ipaddress
import re
from typing import Final

from transom_server.settings.config import ANY_ADDRESS, Config, split_origin

# A name or an address, and any port.
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d*)?")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


def host_allowed(header: str | None, config: Config) -> bool:
    """Whether a request with this Host header is for us; any port will do."""
    if header is None:
        return False
    match = _HOST.fullmatch(header.strip().lower())
    if match is None:
        return False
    host = match[1]
    if host in _LOOPBACK or host in config.hosts or host == bracketed(config.host.lower()):
        return True
    # Listening on all addresses means to be called by any of them. A number cannot be rebound.
    return config.host in ANY_ADDRESS and _is_address(host)


def origin_allowed(origin: str, config: Config) -> bool:
    """Whether a page of this origin may read what we answer."""
    if config.origins is None:
        return True
    parts = split_origin(origin)
    if parts is None:
        return False
    scheme, host, port = parts
    # A port of `*` is for rules only.
    return port is not None and any(rule.allows(scheme, host, port) for rule in config.origins)


def bracketed(host: str) -> str:
    """A host as a URL has it: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
