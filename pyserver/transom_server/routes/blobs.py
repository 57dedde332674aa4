"""OCI distribution: blobs by digest, for ever cacheable; and their deletion."""

from typing import Final

from flask import Blueprint, Response

from transom_models.digest import Digest
from transom_server.errors import error_response
from transom_server.http.blob_response import IMMUTABLE, OCTET_STREAM, blob_response
from transom_server.registry.manifest_upload import needed_by
from transom_server.registry.repository import parse_repository
from transom_server.store import Store

_ADDRESS: Final = "/v2/<path:repository>/blobs/<digest>"


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("blobs", __name__)

    @routes.get(_ADDRESS)
    def blob(repository: str, digest: str) -> Response:
        parse_repository(repository)
        # Equal bytes have one address each in many repositories; only the digest counts.
        found = Digest.parse(digest)
        response = blob_response(store, found, OCTET_STREAM, IMMUTABLE)
        response.headers["Docker-Content-Digest"] = str(found)
        return response

    @routes.delete(_ADDRESS)
    def delete(repository: str, digest: str) -> Response:
        parse_repository(repository)
        found = Digest.parse(digest)
        store.blob_size(found)
        if store.remove_unused([found]).blobs or not store.has_blob(found):
            return Response(status=202)
        needed = needed_by(store, found)
        who = f"model {needed[0]} needs" if needed else "a tag or a running transfer needs"
        response = error_response(405, "DENIED", f"{who} blob {found}; delete that first")
        response.headers["Allow"] = "GET, HEAD"
        return response

    return routes
