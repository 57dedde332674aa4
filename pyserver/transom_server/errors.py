"""Errors as HTTP answers: the statuses of those that only a server has, and the log.

`transom_api` has the others (`statuses`), and the words (`dialects`).
"""

import errno
import logging
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from transom_api.dialects import ANTHROPIC_HEADER, dialect_of, error_of
from transom_api.statuses import STATUSES, BodyEncoded, Statuses, param_of, status_of
from transom_models.errors import TransomError, public_text
from transom_server.access.key_door import KeyRefused, ScopeMissing
from transom_server.access.rate_limit import RateLimited
from transom_server.engines.budget import NeverFits
from transom_server.engines.loading import WrongTask
from transom_server.engines.native_model import NotNative
from transom_server.engines.waiting import ClientOverShare, Overloaded
from transom_server.model.creation import CannotCreate
from transom_server.model.draft import DraftMismatch
from transom_server.model.gguf_facts import InvalidGguf
from transom_server.registry.manifest_upload import (
    ManifestBlobUnknown,
    ManifestRejected,
    ManifestTooLarge,
    ManifestTypeUnknown,
)
from transom_server.registry.uploads import (
    TooManyUploads,
    UploadFailed,
    UploadInvalid,
    UploadNotFound,
)
from transom_server.request_log import this_request
from transom_server.store import BlobNotFound, DigestMismatch, ModelNotFound, NoRoom
from transom_server.store.object_errors import ObjectStoreError
from transom_server.transfer.address import InvalidAddress
from transom_server.transfer.gguf_url import NoHub
from transom_server.transfer.http_client import TransferError
from transom_server.transfer.pull import NoRegistry
from transom_server.transfer.registry_client import NotInRegistry
from transom_server.transfer.terms import LicenseNotAccepted
from transom_server.upstream.client import UpstreamFailed

# When whoever could not be served may come again.
RETRY_SECONDS: Final = 5
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

_LOG = logging.getLogger(__name__)


class HostNotAllowed(TransomError):
    """The Host header is not one that this server goes by."""


class OriginNotAllowed(TransomError):
    """A web page of another origin tried to change something."""


class NotWritable(TransomError):
    """The settings let no client change the store."""


class ManifestNotFound(TransomError):
    """The digest names no manifest of this store."""


class FileNotInModel(TransomError):
    """The model has no file of this title."""


class RepositoryNotFound(TransomError):
    """The store has no tag of this repository."""


class InvalidPage(TransomError):
    """A part of a list was asked for that no list can have."""


# Error -> status and OCI code, for its kinds too.
_STATUSES: Final[Statuses] = {
    **STATUSES,
    HostNotAllowed: (403, "DENIED"),
    KeyRefused: (401, "UNAUTHORIZED"),
    ScopeMissing: (403, "MISSING_SCOPE"),
    RateLimited: (429, "TOOMANYREQUESTS"),
    OriginNotAllowed: (403, "DENIED"),
    NotWritable: (403, "DENIED"),
    ModelNotFound: (404, "MANIFEST_UNKNOWN"),
    ManifestNotFound: (404, "MANIFEST_UNKNOWN"),
    FileNotInModel: (404, "BLOB_UNKNOWN"),
    BlobNotFound: (404, "BLOB_UNKNOWN"),
    NotNative: (400, "UNSUPPORTED"),
    DraftMismatch: (400, "UNSUPPORTED"),
    WrongTask: (400, "UNSUPPORTED"),
    BodyEncoded: (415, "UNSUPPORTED"),
    NeverFits: (400, "UNSUPPORTED"),
    Overloaded: (503, "TOOMANYREQUESTS"),
    ClientOverShare: (429, "TOOMANYREQUESTS"),
    RepositoryNotFound: (404, "NAME_UNKNOWN"),
    InvalidPage: (400, "UNSUPPORTED"),
    DigestMismatch: (400, "DIGEST_INVALID"),
    ManifestRejected: (400, "MANIFEST_INVALID"),
    ManifestBlobUnknown: (400, "MANIFEST_BLOB_UNKNOWN"),
    ManifestTooLarge: (413, "SIZE_INVALID"),
    ManifestTypeUnknown: (415, "UNSUPPORTED"),
    UploadNotFound: (404, "BLOB_UPLOAD_UNKNOWN"),
    UploadInvalid: (400, "BLOB_UPLOAD_INVALID"),
    TooManyUploads: (429, "TOOMANYREQUESTS"),
    UploadFailed: (507, "UNKNOWN"),
    NoRoom: (507, "UNKNOWN"),
    CannotCreate: (400, "UNSUPPORTED"),
    InvalidGguf: (400, "UNSUPPORTED"),
    NoRegistry: (400, "UNSUPPORTED"),
    NoHub: (400, "UNSUPPORTED"),
    InvalidAddress: (400, "UNSUPPORTED"),
    LicenseNotAccepted: (403, "DENIED"),
    NotInRegistry: (404, "MANIFEST_UNKNOWN"),
    # Another server did not do its part.
    UpstreamFailed: (502, "UNKNOWN"),
    TransferError: (502, "UNKNOWN"),
}


def error_response(status: int, code: str, message: str, param: str | None = None) -> Response:
    """An error in the dialect of the path that was asked; `param` is the field it is about."""
    dialect = dialect_of(request.path, says_anthropic=ANTHROPIC_HEADER in request.headers)
    status, body, kind = error_of(dialect, status, code, message, param, this_request().id or None)
    response = Response(body, status, content_type=kind)
    response.headers["Cache-Control"] = "no-store"
    return response


def register_errors(app: Flask) -> None:
    """Every error that leaves a route goes through here."""

    @app.errorhandler(TransomError)
    def explained(error: TransomError) -> Response:
        status, code = status_of(error, _STATUSES)
        if status >= 500:
            level = logging.WARNING if isinstance(error, Overloaded) else logging.ERROR
            _LOG.log(level, "%s: %s", _asked(), error)
        response = error_response(status, code, str(error), param_of(error))
        if isinstance(error, Overloaded | RateLimited):
            response.headers["Retry-After"] = str(error.retry_seconds)
        return response

    @app.errorhandler(HTTPException)
    def http(error: HTTPException) -> Response:
        message = f"{request.path:.200}: {error.name.lower()}"
        response = error_response(error.code or 500, "UNSUPPORTED", message)
        # Headers that the error is about, as Allow; those of its HTML body are not ours.
        for key, value in error.get_headers():
            if key.lower() not in ("content-type", "content-length"):
                response.headers[key] = value
        return response

    @app.errorhandler(OSError)
    def outside(error: OSError) -> Response:
        """What this process stands on failed it."""
        if error.errno in _FULL:
            message = "the server's disk is full; `transom gc` makes room"
            status = 507
        elif isinstance(error, ObjectStoreError):
            message = f"the store cannot be reached: {error.strerror}"
            status = 503
        else:
            return unknown(error)
        _LOG.error("%s: %s", _asked(), error)
        response = error_response(status, "UNKNOWN", message)
        if status == 503:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response

    @app.errorhandler(Exception)
    def unknown(error: Exception) -> Response:
        _LOG.error("%s failed", _asked(), exc_info=error)
        return error_response(500, "UNKNOWN", public_text(error))


def _asked() -> str:
    """What was asked for, for the log: the rule, as an address may hold what somebody typed."""
    rule = "none" if request.url_rule is None else request.url_rule.rule
    return f"{this_request().method} {rule}"
