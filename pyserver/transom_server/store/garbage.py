"""Garbage: blobs that no tag needs. Marked and swept under the store's exclusive lock.

Safe beside anybody who adds: a tag is only written under the shared lock, with all of its blobs
there; what a living process is about to name is leased; what is young is left alone, for those who
can hold no lease (a push over HTTP, another machine on the same object store). A collection that
is killed has removed some garbage and nothing else.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from transom_models.digest import Digest, InvalidDigest
from transom_models.errors import TransomError
from transom_models.manifest import subject_of
from transom_models.name import ModelName
from transom_server.store.errors import ModelNotFound, StoreError
from transom_server.store.keys import BLOBS, blob_key, is_hidden
from transom_server.store.leases import leased_digests
from transom_server.store.scratch import sweep_scratch
from transom_server.store.storage import Entry

if TYPE_CHECKING:
    from transom_server.store.store import Store, StoredModel

# A push of a large model over a slow line takes hours between its first blob and its tag.
GRACE_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Removed:
    """Blobs that were removed, and their bytes."""

    blobs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed (or would have), what it left for being young, and how many
    unfinished files it cleared away."""

    removed: Removed
    young: Removed
    unfinished: int


def collect(store: "Store", grace_seconds: float, dry_run: bool) -> Collected:
    """Remove every blob that no tag needs, no lease holds, and that is older than the grace.

    A model that cannot be read might need any blob: `StoreError` names it, and nothing is removed.
    """
    with store.storage.lock(exclusive=True):
        # An object store's clock may differ from this one by seconds; the grace is hours.
        oldest_young = time.time() - grace_seconds
        if not dry_run:
            _remove_orphans(store, oldest_young)
        needed = reachable(store) | leased_digests(store.scratch)
        removed: list[Entry] = []
        young: list[int] = []
        for entry in store.storage.entries(BLOBS):
            digest = _digest_of(entry.key)
            if digest is None or digest in needed:
                continue
            if entry.modified > oldest_young:
                young.append(entry.size)
                continue
            removed.append(entry)
        if not dry_run:
            store.storage.remove(*(entry.key for entry in removed))
    unfinished = sweep_scratch(store.scratch, grace_seconds, dry_run)
    unfinished += store.storage.sweep_uploads(dry_run)
    return Collected(_counted(entry.size for entry in removed), _counted(young), unfinished)


def remove_model(store: "Store", name: ModelName) -> Removed:
    """Remove a tag, and the blobs that only it needed. A damaged tag goes alone."""
    with store.storage.lock(exclusive=True):
        stored = store.resolve(name)
        if stored is None:
            raise ModelNotFound(f"no model {name} in the store; `transom list` shows what is")
        try:
            digests = model_digests(store, store.read_model(stored))
        except TransomError:
            digests = set()
        store.remove_tag(stored)
        return _sweep(store, digests)


def remove_unused(store: "Store", digests: Iterable[Digest]) -> Removed:
    """Remove those of `digests` that nothing needs."""
    with store.storage.lock(exclusive=True):
        return _sweep(store, set(digests))


def reachable(store: "Store") -> set[Digest]:
    """Every digest that some tag needs. Raises `StoreError` for a model that cannot be read."""
    found: set[Digest] = set()
    for name in store.names():
        try:
            found |= model_digests(store, store.read_model(name))
        except ModelNotFound:
            continue  # removed since it was listed
        except TransomError as error:
            raise StoreError(
                f"model {name} cannot be read, so what it needs is unknown: {error}; "
                f"mend it with `transom pull {name}` or remove it with `transom rm {name}`"
            ) from error
    return found


def model_digests(store: "Store", model: "StoredModel") -> set[Digest]:
    """The index and every blob of a model."""
    return {model.digest, *(row.digest for row in store.descriptors(model))}


def _remove_orphans(store: "Store", oldest_young: float) -> None:
    """Remove hidden tags of what refers to a manifest that is gone, or never came."""
    for name in filter(is_hidden, store.names()):
        try:
            model = store.read_model(name)
            subject = subject_of(model.data)
        except TransomError:
            continue  # `reachable` says which, and `transom verify`
        gone = subject is None or not store.has_blob(subject)
        if gone and model.modified <= oldest_young:
            store.remove_tag(name)


def _sweep(store: "Store", candidates: set[Digest]) -> Removed:
    """Under the exclusive lock. With an unreadable model about, everything stays."""
    try:
        candidates = candidates - reachable(store) - leased_digests(store.scratch)
    except StoreError:
        return Removed(0, 0)
    sizes = {digest: store.blob_size(digest) for digest in candidates if store.has_blob(digest)}
    store.storage.remove(*map(blob_key, sizes))
    return _counted(sizes.values())


def _digest_of(key: str) -> Digest | None:
    try:
        return Digest(key.rpartition("/")[2])
    except InvalidDigest:
        return None  # not a blob; `transom verify` names it


def _counted(sizes: Iterable[int]) -> Removed:
    counted = list(sizes)
    return Removed(len(counted), sum(counted))
