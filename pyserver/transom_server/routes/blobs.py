"""OCI distribution: blobs by digest, for ever cacheable."""

from flask import Blueprint, Response

from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.blob_response import IMMUTABLE, OCTET_STREAM, blob_response
from transom_server.store import Store


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("blobs", __name__)

    @routes.get("/v2/<path:repository>/blobs/<digest>")
    def blob(repository: str, digest: str) -> Response:
        ModelName.parse(repository)
        # Equal bytes have one address each in many repositories; only the digest counts.
        return blob_response(store, Digest.parse(digest), OCTET_STREAM, IMMUTABLE)

    return routes
