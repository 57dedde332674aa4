"""OCI distribution: manifests and indexes by tag and by digest, to pull, push and delete."""

from typing import Final

from flask import Blueprint, Response, request

from transom_models.digest import Digest
from transom_models.manifest import MAX_MANIFEST_BYTES, InvalidManifest, parse_document
from transom_models.name import InvalidName, ModelName
from transom_server.errors import ManifestNotFound, error_response
from transom_server.http.blob_response import IMMUTABLE, REVALIDATE, add_validators, is_current
from transom_server.registry.manifest_upload import ManifestTooLarge, needed_by, put_manifest
from transom_server.registry.referrers import forget_referrers
from transom_server.registry.repository import parse_repository, same_repository, tagged
from transom_server.store import BlobNotFound, ModelNotFound, Store
from transom_server.store.keys import is_hidden

_ADDRESS: Final = "/v2/<path:repository>/manifests/<reference>"


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("manifests", __name__)

    @routes.get("/v2/")
    def version() -> Response:
        """Clients ask this first, to learn that a registry is here."""
        response = Response("{}", content_type="application/json")
        response.headers["Docker-Distribution-Api-Version"] = "registry/2.0"
        return response

    @routes.get(_ADDRESS)
    def manifest(repository: str, reference: str) -> Response:
        name = parse_repository(repository)
        if ":" in reference:
            digest = Digest.parse(reference)
            data, media_type = _read(store, digest)
            return _answer(data, digest, media_type, IMMUTABLE)
        model = store.get_index(_tag(name, reference))
        return _answer(model.data, model.digest, model.media_type, REVALIDATE)

    @routes.put(_ADDRESS)
    def push(repository: str, reference: str) -> Response:
        name = parse_repository(repository)
        if (request.content_length or 0) > MAX_MANIFEST_BYTES:
            raise ManifestTooLarge(f"a manifest can have {MAX_MANIFEST_BYTES} bytes at most")
        data = request.stream.read(MAX_MANIFEST_BYTES + 1)
        pushed = put_manifest(store, name, reference, data, request.headers.get("Content-Type", ""))
        response = Response(status=201)
        response.headers["Location"] = f"/v2/{repository}/manifests/{reference}"
        response.headers["Docker-Content-Digest"] = str(pushed.digest)
        if pushed.subject is not None:
            response.headers["OCI-Subject"] = str(pushed.subject)
        return response

    @routes.delete(_ADDRESS)
    def delete(repository: str, reference: str) -> Response:
        name = parse_repository(repository)
        if ":" in reference:
            return _delete_manifest(store, name, Digest.parse(reference))
        stored = store.resolve(_tag(name, reference))
        if stored is None:
            raise ModelNotFound(f"no tag {reference!r:.80} in {repository!r:.160}")
        # The manifest stays, by its digest, until it is deleted or collected as garbage.
        store.remove_tag(stored)
        return Response(status=202)

    return routes


def _tag(repository: ModelName, reference: str) -> ModelName:
    """A tag to look for: what can be no tag is not there, as the conformance cases have it."""
    try:
        name = tagged(repository, reference)
    except InvalidName as error:
        raise ModelNotFound(str(error)) from None
    if is_hidden(name):
        raise ModelNotFound(f"no tag {reference!r:.80}")
    return name


def _delete_manifest(store: Store, repository: ModelName, digest: Digest) -> Response:
    _read(store, digest)
    if needed := [name for name in needed_by(store, digest) if not is_hidden(name)]:
        message = f"model {needed[0]} needs manifest {digest}; delete that first"
        response = error_response(405, "DENIED", message)
        response.headers["Allow"] = "GET, HEAD, PUT"
        return response
    for name in store.names():
        try:
            found = same_repository(name, repository) and store.read_model(name).digest == digest
        except ModelNotFound:
            continue  # removed since it was listed
        if found:
            store.remove_tag(name)
    forget_referrers(store, repository, digest)
    # Stays where a tag of another repository is the same manifest: equal bytes are kept once.
    store.remove_unused([digest])
    return Response(status=202)


def _read(store: Store, digest: Digest) -> tuple[bytes, str]:
    """Bytes and media type of an index or manifest. Raises `ManifestNotFound` for other blobs."""
    try:
        data = store.read_manifest_bytes(digest)
        media_type, _ = parse_document(data)
    except (BlobNotFound, InvalidManifest):
        raise ManifestNotFound(f"no manifest {digest} in this store") from None
    return data, media_type


def _answer(data: bytes, digest: Digest, media_type: str, cache_control: str) -> Response:
    response = Response(content_type=media_type)
    add_validators(response, digest, cache_control)
    response.headers["Docker-Content-Digest"] = str(digest)
    if is_current(digest):
        response.status_code = 304
    else:
        response.set_data(data)
    return response
