"""What a store may answer instead of doing what was asked."""

from transom_models.digest import Digest
from transom_models.errors import TransomError


class StoreError(TransomError):
    """The store could not do what was asked."""


class NoRoom(StoreError):
    """The disk is full. Nothing was kept."""


class DigestMismatch(StoreError):
    """The bytes are not those that were promised. Nothing was kept."""

    def __init__(self, expected: Digest, actual: Digest) -> None:
        super().__init__(f"the bytes for {expected} are {actual}; they were changed or cut short")
        self.expected = expected
        self.actual = actual


class SizeMismatch(StoreError):
    """A blob is here, and has another size than its descriptor says."""


class BlobNotFound(StoreError):
    """No blob of this digest is in the store."""


class ModelNotFound(StoreError):
    """No model of this name is in the store."""
