"""Where things are in a store's storage. Only a `Digest` or a `ModelName` makes a key."""

from typing import Final

from transom_models.digest import Digest
from transom_models.name import ModelName

# An OCI image layout's blob folder.
BLOBS: Final = "blobs/sha256"
MANIFESTS: Final = "manifests"
# Of tags that the store gives itself: they keep what no model names, and are no models.
HIDDEN_PREFIX: Final = "_referrer-"


def blob_key(digest: Digest) -> str:
    """Where a blob is."""
    return f"{BLOBS}/{digest.hex}"


def tag_key(name: ModelName) -> str:
    """Where a tag is; the name's digest counts for nothing here."""
    return "/".join((MANIFESTS, *name.parts))


def is_hidden(name: ModelName) -> bool:
    """Whether a tag is the store's own bookkeeping and no model."""
    return name.tag.startswith(HIDDEN_PREFIX)
