"""Manifests that name another manifest as their `subject`: signatures, SBOMs, attestations.

They are pushed by digest, so no tag would keep them from garbage collection. Each gets a hidden
tag in its repository, `_referrer-<subject>-<referrer>` (128 bits of each digest), which holds its
exact bytes; what is listed is read from those. One whose subject is gone is garbage, too. Source:
OCI distribution spec 1.1, "Listing Referrers". Knows the store; knows no HTTP.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from transom_models.digest import Digest
from transom_models.manifest import MAX_MANIFEST_BYTES, subject_of
from transom_models.media_types import OCI_INDEX
from transom_models.name import ModelName
from transom_server.registry.repository import same_repository, tagged
from transom_server.store import ModelNotFound, Store, StoredModel
from transom_server.store.keys import HIDDEN_PREFIX

# Of each of the two digests; 128 bits, so two of them fit into a tag.
_HEX_CHARS: Final = 32
# Of one answer, beside the bytes that any manifest may have.
MAX_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list of referrers: an image index, and after which digest the next part is."""

    data: bytes
    next: str | None


def keep_referrer(store: Store, repository: ModelName, subject: Digest, data: bytes) -> None:
    """Keep a manifest whose blobs are all here, for as long as nobody deletes it."""
    store.put_index(_name(repository, subject, Digest.of(data)), data)


def forget_referrers(store: Store, repository: ModelName, digest: Digest) -> None:
    """Let go of a manifest as referrer, and of whatever refers to it."""
    short = digest.hex[:_HEX_CHARS]
    for name in _referrers(store, repository):
        if short in name.tag[len(HIDDEN_PREFIX) :].split("-"):
            store.remove_tag(name)


def list_referrers(
    store: Store, repository: ModelName, subject: Digest, artifact_type: str | None, after: str
) -> Page:
    """Who refers to `subject`, in the order of their digests, beginning behind `after`."""
    rows: list[dict[str, Any]] = []
    size = 0
    for name in sorted(_referrers(store, repository, subject), key=lambda name: name.tag):
        try:
            model = store.read_model(name)
        except ModelNotFound:
            continue  # deleted since it was listed
        if str(model.digest) <= after or subject_of(model.data) != subject:
            continue
        row = _row(model)
        if artifact_type is not None and row.get("artifactType") != artifact_type:
            continue
        size += len(json.dumps(row))
        if rows and (len(rows) == MAX_ROWS or size > MAX_MANIFEST_BYTES):
            return Page(_index(rows), rows[-1]["digest"])
        rows.append(row)
    return Page(_index(rows), None)


def _index(rows: list[dict[str, Any]]) -> bytes:
    value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}
    return json.dumps(value).encode()


def _row(model: StoredModel) -> dict[str, Any]:
    value = json.loads(model.data)
    row: dict[str, Any] = {
        "mediaType": model.media_type,
        "digest": str(model.digest),
        "size": len(model.data),
    }
    kind = value.get("artifactType")
    if not (isinstance(kind, str) and kind):
        kind = value.get("config", {}).get("mediaType")
    if kind is not None:
        row["artifactType"] = kind
    if value.get("annotations"):
        row["annotations"] = value["annotations"]
    return row


def _referrers(
    store: Store, repository: ModelName, subject: Digest | None = None
) -> Iterator[ModelName]:
    prefix = HIDDEN_PREFIX + (f"{subject.hex[:_HEX_CHARS]}-" if subject else "")
    for name in store.names():
        if name.tag.startswith(prefix) and same_repository(name, repository):
            yield name


def _name(repository: ModelName, subject: Digest, referrer: Digest) -> ModelName:
    return tagged(
        repository,
        f"{HIDDEN_PREFIX}{subject.hex[:_HEX_CHARS]}-{referrer.hex[:_HEX_CHARS]}",
    )
