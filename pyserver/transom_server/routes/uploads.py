"""OCI distribution: blobs on their way in, whole or in chunks, or mounted from another repository.

POST    /v2/<name>/blobs/uploads/                        202, the session's Location
POST    /v2/<name>/blobs/uploads/?digest=<digest>        201, the blob in the body
POST    /v2/<name>/blobs/uploads/?mount=<digest>         201 when the blob is here, else 202
PATCH   <location>            a chunk; with Content-Range it must be the next one
GET     <location>            204, Range says how much has come
PUT     <location>?digest=    the last chunk, or none; 201
DELETE  <location>            204
"""

import re
from typing import BinaryIO, Final, cast

from flask import Blueprint, Response, request

from transom_models.digest import Digest
from transom_server.errors import error_response
from transom_server.registry.repository import parse_repository
from transom_server.registry.uploads import Span, UploadInvalid, UploadOutOfOrder, Uploads
from transom_server.store import BlobNotFound, Store
from transom_server.store.keys import blob_key

_START: Final = "/v2/<path:repository>/blobs/uploads/"
_SESSION: Final = "/v2/<path:repository>/blobs/uploads/<upload>"
# The spec's own form, and RFC 9110's. Fifteen digits are more than any blob has bytes.
_CONTENT_RANGE: Final = re.compile(r"(?:bytes )?(\d{1,15})-(\d{1,15})(?:/(?:\d{1,15}|\*))?")


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("uploads", __name__)
    uploads = Uploads(store)

    @routes.post(_START, strict_slashes=False)
    def start(repository: str) -> Response:
        parse_repository(repository)
        if "mount" in request.args:
            mounted = Digest.parse(request.args["mount"])
            if _mount(store, mounted):
                return _finished(repository, mounted)
        elif "digest" in request.args:
            digest = Digest.parse(request.args["digest"])
            try:
                uploads.receive(digest, _body(), _span())
            except UploadOutOfOrder as error:
                raise UploadInvalid(str(error)) from None
            return _finished(repository, digest)
        return _progress(202, repository, uploads.start(), 0)

    @routes.patch(_SESSION)
    def append(repository: str, upload: str) -> Response:
        parse_repository(repository)
        try:
            size = uploads.append(upload, _body(), _span())
        except UploadOutOfOrder as error:
            return _out_of_order(repository, upload, error)
        return _progress(202, repository, upload, size)

    @routes.get(_SESSION)
    def status(repository: str, upload: str) -> Response:
        parse_repository(repository)
        return _progress(204, repository, upload, uploads.size(upload))

    @routes.put(_SESSION)
    def finish(repository: str, upload: str) -> Response:
        parse_repository(repository)
        digest = Digest.parse(request.args.get("digest", ""))
        try:
            uploads.finish(upload, digest, _body(), _span())
        except UploadOutOfOrder as error:
            return _out_of_order(repository, upload, error)
        return _finished(repository, digest)

    @routes.delete(_SESSION)
    def cancel(repository: str, upload: str) -> Response:
        parse_repository(repository)
        uploads.cancel(upload)
        return Response(status=204)

    return routes


def _mount(store: Store, digest: Digest) -> bool:
    """Whether the blob is here, in whatever repository: equal bytes are kept once.

    A manifest will name it soon, so it is as young as if it had just been uploaded.
    """
    try:
        store.blob_size(digest)
        store.storage.refresh(blob_key(digest))
    except (BlobNotFound, FileNotFoundError):
        return False
    return True


def _body() -> BinaryIO:
    return cast(BinaryIO, request.stream)


def _span() -> Span | None:
    header = request.headers.get("Content-Range")
    if header is None:
        return None
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match[2]) < int(match[1]):
        raise UploadInvalid(f"Content-Range {header!r:.80} is not <first>-<last>")
    return Span(int(match[1]), int(match[2]) - int(match[1]) + 1)


def _progress(status: int, repository: str, upload: str, size: int) -> Response:
    response = Response(status=status)
    _add_progress(response, repository, upload, size)
    return response


def _add_progress(response: Response, repository: str, upload: str, size: int) -> None:
    address = f"/v2/{repository}/blobs/uploads/{upload}"
    # Relative, since a proxy in front may speak https. Ollama's client cannot read that, and looks
    # for the other one first.
    response.headers["Location"] = address
    response.headers["Docker-Upload-Location"] = request.host_url.rstrip("/") + address
    response.headers["Docker-Upload-UUID"] = upload
    # The form has no way to say "nothing yet"; everybody says 0-0 then.
    response.headers["Range"] = f"0-{max(size - 1, 0)}"
    response.headers["Cache-Control"] = "no-store"


def _out_of_order(repository: str, upload: str, error: UploadOutOfOrder) -> Response:
    response = error_response(416, "BLOB_UPLOAD_INVALID", str(error))
    _add_progress(response, repository, upload, error.size)
    return response


def _finished(repository: str, digest: Digest) -> Response:
    response = Response(status=201)
    response.headers["Location"] = f"/v2/{repository}/blobs/{digest}"
    response.headers["Docker-Content-Digest"] = str(digest)
    return response
