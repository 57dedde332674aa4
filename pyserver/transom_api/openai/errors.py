"""Errors as OpenAI's object: `{"error": {"message", "type", "param", "code"}}`."""

from collections.abc import Mapping
from typing import Any, Final

from transom_api.engine import ContextOverflow, EngineError, RequestCancelled, SchemaRefused
from transom_api.fields import InvalidField
from transom_models.errors import TransomError, public_text
from transom_models.modelfile import InvalidParameter
from transom_models.name import InvalidName

# Error -> status, `param`, `code`; the first row that fits counts. What is not here is ours.
_ANSWERS: Final[tuple[tuple[type[TransomError], int, str | None, str | None], ...]] = (
    # Clients shorten a conversation when they see this code.
    (ContextOverflow, 400, "messages", "context_length_exceeded"),
    (SchemaRefused, 400, "response_format", "invalid_schema"),
    (InvalidName, 400, "model", "invalid_model"),
    (InvalidParameter, 400, None, "invalid_value"),
    # nginx's word for a client that closed the connection; nobody reads it.
    (RequestCancelled, 499, None, "request_cancelled"),
    (EngineError, 500, None, "engine_error"),
)

# A server's code -> `code` and `param`.
_CODES: Final[Mapping[str, tuple[str, str | None]]] = {
    "MANIFEST_UNKNOWN": ("model_not_found", "model"),
    "NAME_INVALID": ("invalid_model", "model"),
    "CONTEXT_LENGTH_EXCEEDED": ("context_length_exceeded", "messages"),
    "INVALID_SCHEMA": ("invalid_schema", "response_format"),
    # Our page then asks where texts are continued.
    "NO_TEMPLATE": ("no_chat_template", None),
    "UNAUTHORIZED": ("invalid_api_key", None),
    "MISSING_SCOPE": ("missing_scope", None),
}


def error_body(
    message: str, kind: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The body of an error. `kind` is OpenAI's `type`, as `invalid_request_error`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def kind_of_status(status: int) -> str:
    """OpenAI's `type` of an error with this status."""
    named = {403: "permission_error", 429: "rate_limit_error"}
    return named.get(status, "server_error" if status >= 500 else "invalid_request_error")


def http_error(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The body of an error that the server knows by a status and a `code` of its own."""
    kind = kind_of_status(status)
    if param is not None:
        return error_body(message, kind, "invalid_value", param)
    known, about = _CODES.get(code, (None, None))
    if status == 429:
        known = "rate_limit_exceeded"
    if status == 404 and known is None:
        known = "unknown_url"
    return error_body(message, kind, known, about)


def describe(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body of an error that the core knows. Others are 500, and say nothing of
    themselves unless they are meant for people."""
    if isinstance(error, InvalidField):
        message, code = str(error), "invalid_value"
        return 400, error_body(message, kind_of_status(400), code, error.param)
    for kind, status, param, code_of_kind in _ANSWERS:
        if isinstance(error, kind):
            return status, error_body(str(error), kind_of_status(status), code_of_kind, param)
    return 500, error_body(public_text(error), kind_of_status(500))
