"""Anthropic's errors: `{"type": "error", "error": {"type", "message"}, "request_id"}`. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from transom_api.engine import ContextOverflow, SchemaRefused
from transom_api.fields import InvalidField
from transom_models.errors import public_text

TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# HTTP's status for a server that has no room now -> Anthropic's, which its clients try again.
_STATUSES: Final[Mapping[int, int]] = {503: 529}


def error_body(
    status: int, message: str, request_id: str | None = None
) -> tuple[int, dict[str, Any]]:
    """The status that Anthropic gives such an error, and its body."""
    status = _STATUSES.get(status, status)
    kind = TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    error = {"type": kind, "message": message}
    return status, {"type": "error", "error": error, "request_id": request_id}


def late_error(error: Exception, request_id: str | None = None) -> dict[str, Any]:
    """The body of an error that came after the answer had begun, when there is no status left."""
    if isinstance(error, InvalidField | ContextOverflow | SchemaRefused):
        return error_body(400, str(error), request_id)[1]
    return error_body(500, public_text(error), request_id)[1]
