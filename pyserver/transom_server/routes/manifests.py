"""OCI distribution: the index of a tag, and indexes and manifests by digest."""

from typing import Final

from flask import Blueprint, Response

from transom_models.digest import Digest
from transom_models.manifest import Index, InvalidManifest, Manifest
from transom_models.media_types import OCI_INDEX, OCI_MANIFEST
from transom_models.name import ModelName
from transom_server.blob_response import IMMUTABLE, REVALIDATE, add_validators, is_current
from transom_server.errors import ManifestNotFound
from transom_server.store import BlobNotFound, Store

_READERS: Final = ((OCI_INDEX, Index), (OCI_MANIFEST, Manifest))


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("manifests", __name__)

    @routes.get("/v2/")
    def version() -> Response:
        """Clients ask this first, to learn that a registry is here."""
        response = Response("{}", content_type="application/json")
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        return response

    @routes.get("/v2/<path:repository>/manifests/<reference>")
    def manifest(repository: str, reference: str) -> Response:
        if ":" in reference:
            ModelName.parse(repository)
            digest = Digest.parse(reference)
            data, media_type = _read(store, digest)
            return _answer(data, digest, media_type, IMMUTABLE)
        model = store.get_index(ModelName.parse(f"{repository}:{reference}"))
        return _answer(model.data, model.digest, OCI_INDEX, REVALIDATE)

    return routes


def _read(store: Store, digest: Digest) -> tuple[bytes, str]:
    """Bytes and media type of an index or manifest. Raises `ManifestNotFound` for other blobs."""
    try:
        data = store.read_manifest_bytes(digest)
    except (BlobNotFound, InvalidManifest):
        raise ManifestNotFound(f"no manifest {digest} in this store") from None
    for media_type, kind in _READERS:
        try:
            kind.from_bytes(data)
        except InvalidManifest:
            continue
        return data, media_type
    raise ManifestNotFound(f"blob {digest} is not a manifest")


def _answer(data: bytes, digest: Digest, media_type: str, cache_control: str) -> Response:
    response = Response(content_type=media_type)
    add_validators(response, digest, cache_control)
    response.headers["Docker-Content-Digest"] = str(digest)
    if is_current(digest):
        response.status_code = 304
    else:
        response.set_data(data)
    return response
