"""Which HTTP status an error has, and which of the registry's codes, from which each dialect makes
its own words (`dialects`). Errors of this core and of `transom_models`; a host adds its own.

Knows no framework.
"""

from collections.abc import Mapping
from typing import Final

from transom_api.engine import ContextOverflow, RequestCancelled, SchemaRefused, UnknownToken
from transom_api.fields import InvalidField
from transom_api.ollama.generation import InvalidRequest
from transom_api.prompting import NoTemplate
from transom_api.template_answer import TemplateFailed, TemplateRefused
from transom_models.digest import InvalidDigest
from transom_models.errors import TransomError
from transom_models.modelfile import (
    AmbiguousTemplate,
    InvalidParameter,
    ModelfileError,
    UntranslatableTemplate,
)
from transom_models.name import InvalidName

Statuses = Mapping[type[Exception], tuple[int, str]]
# What is in no table is our own fault.
OURS: Final = (500, "UNKNOWN")
STATUSES: Final[Statuses] = {
    InvalidName: (400, "NAME_INVALID"),
    InvalidDigest: (400, "DIGEST_INVALID"),
    InvalidRequest: (400, "UNSUPPORTED"),
    InvalidField: (400, "UNSUPPORTED"),
    InvalidParameter: (400, "UNSUPPORTED"),
    UnknownToken: (400, "UNSUPPORTED"),
    NoTemplate: (400, "NO_TEMPLATE"),
    TemplateRefused: (400, "UNSUPPORTED"),
    TemplateFailed: (400, "UNSUPPORTED"),
    ModelfileError: (400, "UNSUPPORTED"),
    UntranslatableTemplate: (400, "UNSUPPORTED"),
    AmbiguousTemplate: (400, "UNSUPPORTED"),
    ContextOverflow: (400, "CONTEXT_LENGTH_EXCEEDED"),
    SchemaRefused: (400, "INVALID_SCHEMA"),
    # nginx's word for a client that closed the connection; nobody reads it.
    RequestCancelled: (499, "UNKNOWN"),
}
# HTTP's own words, for what was wrong with the request as such.
_NAMES: Final[Mapping[int, str]] = {
    404: "not found",
    405: "method not allowed",
    413: "request entity too large",
}


class BodyEncoded(TransomError):
    """The body is packed: what it unpacks to nobody knows before."""


def status_of(error: Exception, statuses: Statuses) -> tuple[int, str]:
    """Status and code; an error has those of its kind."""
    return next((statuses[kind] for kind in type(error).__mro__ if kind in statuses), OURS)


def param_of(error: Exception) -> str | None:
    """The field of the body that the error is about."""
    return error.param if isinstance(error, InvalidField) else None


def http_message(status: int, path: str) -> str:
    """What is said of an address that is none, or is not used so."""
    return f"{path:.200}: {_NAMES[status]}"


def check_encoding(encoding: str | None) -> None:
    """Of the header Content-Encoding. Raises `BodyEncoded`."""
    said = (encoding or "identity").strip().lower()
    if said not in ("", "identity"):
        raise BodyEncoded(f"send the body as it is, not packed as {said!r:.40}")
