"""Sites that may put the page's frame into their own, and ask models through it. Pure.

`embed.json` beside the page lists them; the frame reads it (web/src/embed/gate.ts), and where a
server hands it out, `frame-ancestors` says the same.
"""

import json
import re
from collections.abc import Sequence
from typing import Final

from transom_models.errors import TransomError
from transom_server.settings.table import parts

FILE: Final = "embed.json"
# One spelling only: no wildcard, no path, no port that the scheme has anyway.
_SITE: Final = re.compile(
    r"https://(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?!:443$)(?::[1-9]\d{0,4})?"
    r"|http://(?:localhost|127\.0\.0\.1)(?!:80$)(?::[1-9]\d{0,4})?"
)


class InvalidEmbedOrigin(TransomError):
    """It is no origin of one site."""


def read_embed_origins(text: str) -> tuple[str, ...]:
    """Read a comma separated list. Raises `InvalidEmbedOrigin`."""
    found = []
    for part in parts(text):
        origin = part.lower()
        if _SITE.fullmatch(origin) is None:
            raise InvalidEmbedOrigin(
                f"{part!r:.80} is not a site as https://blog.example; plain http is for localhost "
                "only, as anybody on the way could change the page"
            )
        found.append(origin)
    return tuple(dict.fromkeys(found))


def embed_file(origins: Sequence[str]) -> bytes:
    """The content of `embed.json`."""
    return json.dumps({"origins": list(origins)}).encode()
