"""Which dialect an address speaks, and an error in its words. Knows no framework.

/v2/…            {"errors": [{"code": "MANIFEST_UNKNOWN", "message": …}]}     OCI distribution
/v1/messages…    {"type": "error", "error": {"type": …, "message": …}}        Anthropic
/v1/…, /rerank … {"error": {"message": …, "type": …}}                         OpenAI
/api/…           {"error": …}                                                 Ollama
else             one line of plain text
"""

from typing import Any, Final, Literal

from transom_api import openai
from transom_api.anthropic import errors as anthropic
from transom_api.json_text import JSON, json_bytes

Dialect = Literal["registry", "anthropic", "openai", "ollama", "plain"]

# Anthropic's clients send it with every request, also where OpenAI's ask.
ANTHROPIC_HEADER: Final = "anthropic-version"
# llama-server's and vLLM's, beside `/v1/rerank`.
_OPENAI_PATHS: Final = frozenset({"/rerank", "/reranking", "/tokenize", "/detokenize"})


def dialect_of(path: str, *, says_anthropic: bool = False) -> Dialect:
    """`says_anthropic`: the request has `ANTHROPIC_HEADER`."""
    root = path.split("/", 2)[1] if path.startswith("/") else ""
    if root == "v2":
        return "registry"
    if root == "v1":
        is_theirs = says_anthropic or path.startswith("/v1/messages")
        return "anthropic" if is_theirs else "openai"
    if path in _OPENAI_PATHS:
        return "openai"
    return "ollama" if root == "api" else "plain"


def error_of(
    dialect: Dialect,
    status: int,
    code: str,
    message: str,
    param: str | None = None,
    request_id: str | None = None,
) -> tuple[int, bytes, str]:
    """Status, body and content type; `code` is the registry's, `param` the field it is about."""
    body: dict[str, Any]
    if dialect == "registry":
        known = "DENIED" if code == "MISSING_SCOPE" else code
        body = {"errors": [{"code": known, "message": message}]}
    elif dialect == "anthropic":
        status, body = anthropic.error_body(status, message, request_id)
    elif dialect == "openai":
        body = openai.http_error(status, code, message, param)
    elif dialect == "ollama":
        # Ollama's own word, for programs; `transom` knows what to say about it.
        body = {"error": "unauthorized" if status == 401 else message}
    else:
        return status, f"error: {message}\n".encode(errors="replace"), "text/plain; charset=utf-8"
    return status, json_bytes(body), JSON
