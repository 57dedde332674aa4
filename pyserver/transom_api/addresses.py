"""Every address of the APIs: which method and path mean what. Knows no framework.

Paths are in Flask's spelling: `<name>` is one piece between slashes, `<path:name>` may be several.
What a server alone can do has a row, too, so that a wrong method of it is told apart from an
address that nobody has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from transom_api.ollama.management import MAX_JSON_BYTES

# Of a body that is no blob: a conversation with a few pictures in it.
MAX_BODY_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """`name` is the operation's in `reading`, None where only a server has one."""

    method: str
    path: str
    name: str | None
    most_bytes: int = MAX_BODY_BYTES
    """Of the body."""


@dataclass(frozen=True, slots=True)
class Found:
    """`names` are the parts of the path that stand for something."""

    address: Address
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """The path is known, this method of it is not. `methods` are those that are."""

    methods: tuple[str, ...]


ADDRESSES: Final = (
    Address("GET", "/v1/models", "models"),
    Address("GET", "/v1/models/<path:name>", "model"),
    Address("POST", "/v1/chat/completions", "openai_chat"),
    Address("POST", "/v1/chat/completions/input_tokens", "openai_chat_tokens"),
    Address("POST", "/v1/completions", "openai_completion"),
    Address("POST", "/v1/embeddings", "openai_embeddings"),
    Address("POST", "/v1/responses", "openai_response"),
    Address("POST", "/v1/responses/input_tokens", "openai_response_tokens"),
    Address("GET", "/v1/responses/<response_id>", "kept_response"),
    Address("DELETE", "/v1/responses/<response_id>", "forget_response"),
    Address("POST", "/v1/messages", "anthropic_messages"),
    Address("POST", "/v1/messages/count_tokens", "anthropic_tokens"),
    Address("GET", "/api/version", "version"),
    Address("GET", "/api/tags", "ollama_tags"),
    Address("POST", "/api/show", "ollama_show", MAX_JSON_BYTES),
    Address("GET", "/api/ps", "ollama_loaded"),
    Address("POST", "/api/chat", "ollama_chat"),
    Address("POST", "/api/generate", "ollama_generate"),
    Address("POST", "/api/embed", "ollama_embed"),
    Address("POST", "/api/embeddings", "ollama_embeddings"),
    Address("POST", "/v1/rerank", "rerank"),
    Address("POST", "/v1/reranking", "rerank"),
    Address("POST", "/rerank", "rerank"),
    Address("POST", "/reranking", "rerank"),
    Address("POST", "/tokenize", "tokenize"),
    Address("POST", "/detokenize", "detokenize"),
)
SERVERS_ALONE: Final = (
    Address("POST", "/api/create", None),
    Address("POST", "/api/copy", None),
    Address("DELETE", "/api/delete", None),
    Address("POST", "/api/pull", None),
    Address("POST", "/api/push", None),
    Address("HEAD", "/api/blobs/<digest>", None),
    Address("POST", "/api/blobs/<digest>", None),
    Address("GET", "/openapi.json", None),
)
_PART: Final = re.compile(r"<(?:(path):)?(\w+)>")


def find(method: str, path: str) -> Found | NotAllowed | None:
    """What is asked for; None for an address that nobody has. HEAD asks for what GET would."""
    there = [(found, address) for address, form in _FORMS if (found := form.fullmatch(path))]
    # What is spelled out counts before what stands for anything.
    there.sort(key=lambda row: len(row[0].groupdict()))
    for wanted in (method, "GET" if method == "HEAD" else method):
        for found, address in there:
            if address.method == wanted:
                return Found(address, found.groupdict())
    methods = {address.method for _, address in there}
    if not methods:
        return None
    beside = {"OPTIONS", *({"HEAD"} if "GET" in methods else set())}
    return NotAllowed(tuple(sorted(methods | beside)))


def _form(path: str) -> re.Pattern[str]:
    """A path as an expression; `_PART` stands for something."""
    pieces = []
    end = 0
    for part in _PART.finditer(path):
        pieces.append(re.escape(path[end : part.start()]))
        characters = r"[^/].*?" if part[1] else r"[^/]+"
        pieces.append(f"(?P<{part[2]}>{characters})")
        end = part.end()
    return re.compile("".join([*pieces, re.escape(path[end:])]), re.DOTALL)


_FORMS: Final = tuple((address, _form(address.path)) for address in (*ADDRESSES, *SERVERS_ALONE))
