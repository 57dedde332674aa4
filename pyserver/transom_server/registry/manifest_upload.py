"""A manifest that a client pushes: judged, then kept byte for byte under its digest or a tag.

Also who needs a digest, which is why a deletion may be refused. Knows the store; knows no HTTP.
"""

from dataclasses import dataclass
from typing import Final

from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Index,
    InvalidManifest,
    Manifest,
    parse_document,
    subject_of,
)
from transom_models.media_types import DOCKER_INDEX, DOCKER_MANIFEST
from transom_models.name import InvalidName, ModelName
from transom_server.registry.referrers import keep_referrer
from transom_server.registry.repository import tagged
from transom_server.store import BlobNotFound, DigestMismatch, SizeMismatch, Store, StoreError
from transom_server.store.garbage import model_digests
from transom_server.store.keys import is_hidden

_TYPES: Final = INDEX_TYPES + MANIFEST_TYPES


class ManifestRejected(TransomError):
    """The bytes are not a manifest that this store can keep."""


class ManifestTypeUnknown(TransomError):
    """The Content-Type is none of the four that this store knows."""


class ManifestBlobUnknown(TransomError):
    """The manifest names a blob that is not here; it has to be uploaded first."""


class ManifestTooLarge(TransomError):
    """More bytes than a manifest may have."""


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """What was kept, and the manifest that it refers to, if any."""

    digest: Digest
    subject: Digest | None


def put_manifest(
    store: Store, repository: ModelName, reference: str, data: bytes, content_type: str
) -> PushedManifest:
    """Keep a manifest under a tag or its digest (`reference`). `content_type` may be empty.

    Raises the errors of this module, `InvalidName`, `InvalidDigest` and `DigestMismatch`.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestTooLarge(f"a manifest can have {MAX_MANIFEST_BYTES} bytes at most")
    digest = Digest.of(data)
    name = None
    if ":" in reference:
        promised = Digest.parse(reference)
        if promised != digest:
            raise DigestMismatch(promised, digest)
    else:
        name = tagged(repository, reference)
        if is_hidden(name):
            raise InvalidName(f"the tag {reference!r:.80} is one that the store gives itself")
    try:
        document = _read(data, content_type)
        subject = subject_of(data)
        if name is not None:
            store.put_index(name, data)
        else:
            _require_blobs(store, document)
            store.put_bytes(data)
        if subject is not None:
            keep_referrer(store, repository, subject, data)
    except (InvalidManifest, SizeMismatch) as error:
        raise ManifestRejected(str(error)) from None
    except BlobNotFound as error:
        raise ManifestBlobUnknown(str(error)) from None
    return PushedManifest(digest, subject)


def _read(data: bytes, content_type: str) -> Index | Manifest:
    """Header and body must agree: two readers could see two things otherwise (CVE-2021-41190)."""
    declared = content_type.partition(";")[0].strip().lower()
    if declared and declared not in _TYPES:
        raise ManifestTypeUnknown(
            f"Content-Type {declared!r:.80} is not a manifest that this store keeps: "
            + ", ".join(_TYPES)
        )
    media_type, document = parse_document(data)
    if declared and declared != media_type:
        if declared in (DOCKER_INDEX, DOCKER_MANIFEST):
            raise ManifestRejected(f"Content-Type is {declared}, but field mediaType is not")
        raise ManifestRejected(f"Content-Type is {declared}, but the manifest is {media_type}")
    return document


def _require_blobs(store: Store, document: Index | Manifest) -> None:
    if isinstance(document, Manifest):
        store.require(*document.descriptors)
        return
    store.require(*document.manifests)
    for row in document.manifests:
        store.require(*store.get_manifest(row).descriptors)


def needed_by(store: Store, digest: Digest) -> list[ModelName]:
    """Tags that need a blob or a manifest, other than those that are this manifest.

    Raises `StoreError` for a model that cannot be read, which might need anything.
    """
    found = []
    for name in store.names():
        try:
            model = store.read_model(name)
            needs = model.digest != digest and digest in model_digests(store, model)
        except TransomError as error:
            raise StoreError(f"model {name} cannot be read: {error}") from error
        if needs:
            found.append(name)
    return sorted(found, key=str)
