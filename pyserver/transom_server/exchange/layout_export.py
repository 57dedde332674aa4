"""Writing models as an OCI image layout, which `oci_layout.py` reads. Knows no HTTP and no page."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from transom_models.digest import Digest, Hasher
from transom_models.manifest import Descriptor, Index
from transom_models.media_types import ANNOTATION_REF_NAME
from transom_models.name import ModelName
from transom_server.exchange.counting import Counting
from transom_server.exchange.oci_layout import (
    INDEX_NAME,
    LAYOUT_NAME,
    LAYOUT_VERSION,
    InvalidLayout,
    layout_at,
    read_index,
)
from transom_server.exchange.regular_file import hard_link, open_regular
from transom_server.store import Store, StoredModel, StoreError
from transom_server.store.partial_file import make_folders, partial_file, remove_stale
from transom_server.transfer.status import Report

COPY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did. Bytes `copied` and hard-`linked` now, and those that were `there`."""

    models: tuple[str, ...]
    blobs: int
    copied: int
    linked: int
    there: int


def export_layout(
    store: Store,
    models: Sequence[StoredModel],
    folder: Path,
    report: Report,
    *,
    link: bool = False,
    cancelled: threading.Event | None = None,
) -> Exported:
    """Write `models` to the layout in `folder`, which is made, or gets them in addition.

    Blobs that are there already, undamaged, are left alone: an export that was cut short goes on.
    The index comes last. `link`: hard links instead of copies where the disk allows. Raises
    `InvalidLayout`, `StoreError`.
    """
    rows = _other_rows(folder, models)
    sizes: dict[Digest, int] = {}
    for model in models:
        sizes[model.digest] = len(model.data)
        sizes |= {part.digest: part.size for part in store.descriptors(model)}
    blobs = folder / "blobs" / "sha256"
    make_folders(blobs)
    remove_stale(blobs)
    remove_stale(folder)
    counting = Counting(report, "exporting", sum(sizes.values()), cancelled)
    done = {"copied": 0, "linked": 0, "there": 0}
    with store.adding() as lease:
        # Whoever removes a model meanwhile must not take its bytes from under us.
        lease.keep(*sizes)
        for digest in sizes:
            how = _export_blob(store, digest, blobs / digest.hex, link, counting)
            done[how] += sizes[digest]
    rows += [
        Descriptor(
            model.media_type,
            model.digest,
            len(model.data),
            {ANNOTATION_REF_NAME: reference_of(model.name)},
        )
        for model in models
    ]
    rows.sort(key=lambda row: row.annotations.get(ANNOTATION_REF_NAME, ""))
    layout = json.dumps({"imageLayoutVersion": LAYOUT_VERSION}, separators=(",", ":")).encode()
    _write(folder / LAYOUT_NAME, layout)
    _write(folder / INDEX_NAME, Index(tuple(rows)).to_bytes())
    return Exported(tuple(str(model.name) for model in models), len(sizes), **done)


def reference_of(name: ModelName) -> str:
    """What a layout calls a model: its name, always with its tag."""
    text = str(ModelName(*name.parts))
    return text if text.endswith(f":{name.tag}") else f"{text}:{name.tag}"


def _other_rows(folder: Path, models: Sequence[StoredModel]) -> list[Descriptor]:
    """Rows of the layout that is in `folder` already and that `models` do not replace."""
    if not (folder / INDEX_NAME).exists():
        return []
    if not (folder / LAYOUT_NAME).exists():
        raise InvalidLayout(
            f"{folder} has an {INDEX_NAME} of something else; choose another folder"
        )
    replaced = {reference_of(model.name) for model in models}
    with layout_at(folder) as source:
        return [
            row
            for row in read_index(source).manifests
            if row.annotations.get(ANNOTATION_REF_NAME) not in replaced
        ]


def _export_blob(store: Store, digest: Digest, target: Path, link: bool, counting: Counting) -> str:
    """Put one blob there; gives the word for how. The store's own damage is found here."""
    if target.exists():
        with open_regular(target) as file:
            hasher = Hasher()
            while piece := file.read(COPY_BYTES):
                hasher.update(piece)
        if hasher.digest() == digest:
            counting.advance(hasher.size)
            return "there"
        target.unlink()
    if link and _linked(store, digest, target, counting):
        return "linked"
    hasher = Hasher()
    with store.open_blob(digest) as source, partial_file(target.parent) as partial:
        while piece := source.read(COPY_BYTES):
            hasher.update(piece)
            partial.file.write(piece)
            counting.advance(len(piece))
        _check(digest, hasher.digest())
        partial.publish(target)
    return "copied"


def _linked(store: Store, digest: Digest, target: Path, counting: Counting) -> bool:
    if not hard_link(store.blob_path(digest), target):
        return False
    try:
        _check(digest, Digest.of_file(target))
    except BaseException:
        target.unlink()
        raise
    counting.advance(target.stat().st_size)
    return True


def _check(digest: Digest, actual: Digest) -> None:
    if actual != digest:
        raise StoreError(
            f"blob {digest} of the store is damaged; `transom verify` tells which models need it"
        )


def _write(path: Path, data: bytes) -> None:
    with partial_file(path.parent) as partial:
        partial.file.write(data)
        os.fchmod(partial.file.fileno(), 0o644)
        partial.publish(path)
