"""The content-addressed store: blobs by digest, models by name, in a folder or an object store."""

from transom_server.store.errors import (
    BlobNotFound,
    DigestMismatch,
    ModelNotFound,
    NoRoom,
    SizeMismatch,
    StoreError,
)
from transom_server.store.garbage import Collected, Removed
from transom_server.store.leases import Lease
from transom_server.store.opening import open_store
from transom_server.store.storage import Entry, Incoming, Storage
from transom_server.store.store import Store, StoredModel
from transom_server.store.usage import ModelUsage, Usage
from transom_server.store.verification import Problem, Verification

__all__ = [
    "BlobNotFound",
    "Collected",
    "DigestMismatch",
    "Entry",
    "Incoming",
    "Lease",
    "ModelNotFound",
    "ModelUsage",
    "NoRoom",
    "Problem",
    "Removed",
    "SizeMismatch",
    "Storage",
    "Store",
    "StoreError",
    "StoredModel",
    "Usage",
    "Verification",
    "open_store",
]
