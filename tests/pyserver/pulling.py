"""What tests of pulling share: models of several pieces, and options without long waits."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest, Platform
from transom_models.name import ModelName
from transom_server.store import Store
from transom_server.transfer.status import Patience, Status, TransferOptions

PIECE_BYTES = 64 * 1024
# Many pieces, one and a bit, exactly one, less, next to nothing, nothing.
SIZES = (3 * PIECE_BYTES + 77, PIECE_BYTES + 1, PIECE_BYTES, 1000, 1, 0)
QUICK = Patience(
    first_wait=0.001,
    longest_wait=0.01,
    longest_retry_after=0.02,
    connect_timeout=60,
    read_timeout=60,
)
# For servers that stall. On a busy machine a good server may look so, too.
SHORT = replace(QUICK, read_timeout=0.3)
# For those that have to be got over: longer than a busy machine is.
STUBBORN = replace(QUICK, read_timeout=1, tries=30)


def options(**changes: Any) -> TransferOptions:
    """Small pieces, and no patience."""
    return TransferOptions(**{"piece_bytes": PIECE_BYTES, "patience": QUICK, **changes})


def put_model(
    store: Store,
    name: str,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
    annotations: Mapping[str, str] | None = None,
    license_text: str | None = None,
) -> Index:
    """A native model of random blobs in a store."""
    dice = random.Random(seed)
    rows = [_put(store, media_types.OLLAMA_MODEL, dice.randbytes(size)) for size in sizes]
    if license_text is not None:
        rows.append(_put(store, media_types.OLLAMA_LICENSE, license_text.encode()))
    config = _put(store, media_types.OLLAMA_CONFIG, b'{"model_format":"gguf"}')
    manifest = Manifest(config, tuple(rows), annotations or {})
    data = manifest.to_bytes()
    row = Descriptor(
        media_types.OCI_MANIFEST,
        store.put_bytes(data),
        len(data),
        platform=Platform("native", "gguf"),
    )
    index = Index((row,), annotations or {})
    store.put_index(ModelName.parse(name), index)
    return index


def _put(store: Store, media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type, store.put_bytes(data), len(data))


def blobs_of(store: Store, index: Index) -> dict[Digest, bytes]:
    """All blobs of a model, read from a store."""
    found = {}
    for row in index.manifests:
        for part in (row, *store.get_manifest(row).descriptors):
            with store.open_blob(part.digest) as file:
                found[part.digest] = file.read()
    return found


class Heard:
    """A `Report` that remembers."""

    def __init__(self) -> None:
        self.statuses: list[Status] = []

    def __call__(self, status: Status) -> None:
        self.statuses.append(status)

    @property
    def texts(self) -> list[str]:
        """What was said, each once."""
        return list(dict.fromkeys(status.text for status in self.statuses))
