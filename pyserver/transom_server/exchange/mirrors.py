"""Other addresses of an export's models, which its page asks where its own host fails. Pure.

What a mirror sends is checked by digest; only where the site's own index cannot be had, a mirror's
is believed (docs/static-sites.md). Mirrors stand in two places of the page, which an export writes:
a meta tag, which the page reads (`readMirrors` in web/src/page/address.ts), and the policies, which
let the page connect to their origins.
"""

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from transom_models.errors import TransomError

META_NAME: Final = "transom-mirrors"
# Each is one more origin that the page may connect to, and one more to wait for when all fail.
MAX_MIRRORS: Final = 8
# As long as an address may be that every host takes.
MAX_MIRROR_CHARS: Final = 2000
# One spelling only, of characters that mean nothing in HTML, in a policy or in a script: no user,
# no query, no port that the scheme has anyway.
_MIRROR: Final = re.compile(
    r"(?P<origin>https://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?!:443(?:/|$))(?::[1-9]\d{0,4})?"
    r"|http://(?:localhost|127\.0\.0\.1)(?!:80(?:/|$))(?::[1-9]\d{0,4})?)"
    r"(?P<path>(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~%+@-]+)*)/?"
)
_ORIGIN: Final = re.compile(r"[A-Za-z]+://[^/]*")
# In the page as its build writes it, and in the service worker's script.
_CONNECT: Final = re.compile(rb"connect-src (&#39;|')self\1")


class InvalidMirror(TransomError):
    """It is no address that a page could ask, or there are too many."""


def read_mirrors(texts: Sequence[str]) -> tuple[str, ...]:
    """Addresses of folders, each with a slash at its end and once. Raises `InvalidMirror`."""
    found = []
    for text in texts:
        # Hosts are the same in any case, paths are not.
        plain = _ORIGIN.sub(lambda match: match[0].lower(), text.strip(), count=1)
        match = _MIRROR.fullmatch(plain)
        if match is None or len(plain) > MAX_MIRROR_CHARS:
            raise InvalidMirror(
                f"{text!r:.80} is no address as https://mirror.example/models/; plain http is for "
                "localhost and 127.0.0.1 only, which pages by https may not ask otherwise"
            )
        found.append(f"{match['origin']}{match['path']}/")
    mirrors = tuple(dict.fromkeys(found))
    if len(mirrors) > MAX_MIRRORS:
        raise InvalidMirror(f"{len(mirrors)} mirrors; a page takes {MAX_MIRRORS}")
    return mirrors


def origins_of(mirrors: Sequence[str]) -> tuple[str, ...]:
    """Where the page has to be let connect to."""
    found = (match[0] for match in map(_ORIGIN.match, mirrors) if match is not None)
    return tuple(dict.fromkeys(found))


def meta_of(mirrors: Sequence[str]) -> bytes:
    """The tag that tells the page; nothing where there are none."""
    if not mirrors:
        return b""
    return f'\n    <meta name="{META_NAME}" content="{escape(" ".join(mirrors))}">'.encode()


def with_origins(data: bytes, mirrors: Sequence[str]) -> bytes | None:
    """A page or the service worker, its policy widened; None where there is not just one."""
    if not mirrors:
        return data
    added = " ".join(["", *origins_of(mirrors)]).encode()
    widened, count = _CONNECT.subn(lambda match: match[0] + added, data)
    return widened if count == 1 else None


def told_mirrors(texts: Sequence[str], policy: str) -> tuple[tuple[str, ...], list[str]]:
    """Origins of the mirrors that a page tells of, and what is wrong with them."""
    try:
        origins = origins_of(read_mirrors(texts))
    except InvalidMirror as error:
        return (), [str(error)]
    allowed = set(policy.lower().replace(";", " ").split())
    blocked = [origin for origin in origins if origin not in allowed]
    return origins, [f"its policy blocks its mirror {origin:.120}" for origin in blocked]
