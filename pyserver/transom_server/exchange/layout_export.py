"""Writing models as an OCI image layout, which `oci_layout.py` reads. Knows no HTTP and no page.

What is written before the index is seen by nobody: blobs first, in place of nothing, then
`index.json` by one rename, and only then goes what no row of it needs any more.
"""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.digest import Digest, Hasher
from transom_models.manifest import Descriptor, Index
from transom_models.media_types import ANNOTATION_MAX_FILE, ANNOTATION_REF_NAME
from transom_models.name import ModelName
from transom_server.exchange.blob_pieces import (
    PIECE_BYTES,
    check_limit,
    file_names,
    is_in_pieces,
    limit_of,
    piece_name,
    piece_sizes,
)
from transom_server.exchange.counting import Counting
from transom_server.exchange.export_record import (
    begin_record,
    end_record,
    read_record,
    write_file,
)
from transom_server.exchange.oci_layout import (
    INDEX_NAME,
    LAYOUT_NAME,
    LAYOUT_VERSION,
    InvalidLayout,
    blob_name,
    layout_at,
    open_blob,
    read_index,
    read_rows,
)
from transom_server.exchange.regular_file import hard_link, open_regular
from transom_server.store import Store, StoredModel, StoreError
from transom_server.store.partial_file import make_folders, partial_file, remove_stale
from transom_server.transfer.status import Report

COPY_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest file in bytes that a site's host takes; None: any."""

    max_file_bytes: int | None

    def __post_init__(self) -> None:
        if self.max_file_bytes is not None:
            check_limit(self.max_file_bytes)


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did. Bytes `copied` and hard-`linked` now, and those that were `there`."""

    models: tuple[str, ...]
    blobs: int
    copied: int
    linked: int
    there: int
    in_pieces: int
    """Blobs over the limit: where there are any, registry tools cannot read the layout."""
    removed: int
    """Files of earlier exports that nothing needed any more."""


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """A layout as it will be."""

    folder: Path
    models: tuple[StoredModel, ...]
    others: tuple[Descriptor, ...]
    """Rows of models that are in the folder already and stay."""
    sizes: Mapping[Digest, int]
    """Blobs of `models`, in bytes."""
    other_sizes: Mapping[Digest, int]
    """Blobs that only `others` need."""
    limit: int | None
    made: frozenset[str]
    """Files that earlier exports made; no others are ever removed."""

    @property
    def files(self) -> frozenset[str]:
        """Every file of the layout."""
        return frozenset({LAYOUT_NAME, INDEX_NAME}).union(
            *(
                file_names(blob_name(digest), size, self.limit)
                for digest, size in [*self.sizes.items(), *self.other_sizes.items()]
            )
        )

    @property
    def beside(self) -> frozenset[str]:
        """Files of earlier exports that are no blobs: a page, which a layout leaves as it is."""
        return frozenset(name for name in self.made if not name.startswith("blobs/"))

    @property
    def in_pieces(self) -> int:
        """How many blobs are larger than the limit."""
        sizes = [*self.sizes.values(), *self.other_sizes.values()]
        return sum(is_in_pieces(size, self.limit) for size in sizes)

    @property
    def largest_bytes(self) -> int:
        """The largest file of the layout."""
        sizes = [*self.sizes.values(), *self.other_sizes.values()]
        files = (PIECE_BYTES if is_in_pieces(size, self.limit) else size for size in sizes)
        return max(files, default=0)


def export_layout(
    store: Store,
    models: Sequence[StoredModel],
    folder: Path,
    report: Report,
    *,
    link: bool = False,
    limit: Limit | None = None,
    cancelled: threading.Event | None = None,
) -> Exported:
    """Write `models` to the layout in `folder`, which is made, or gets them in addition.

    Blobs that are there already, undamaged, are left alone: an export that was cut short goes on.
    The index comes last. `link`: hard links instead of copies where the disk allows. `limit`: None
    keeps the one that the folder has. Raises `InvalidLayout`, `InvalidRecord`, `StoreError`.
    """
    plan = plan_layout(store, models, folder, limit)
    make_folders(folder)
    ours = begin_record(folder, plan.made, plan.files)
    done = write_blobs(store, plan, report, link=link, cancelled=cancelled)
    publish_layout(plan)
    removed = end_record(folder, ours, plan.files | plan.beside)
    return exported(plan, done, removed)


def exported(plan: LayoutPlan, done: Mapping[str, int], removed: int) -> Exported:
    """The sum of what `write_blobs` and `end_record` told."""
    names = tuple(str(model.name) for model in plan.models)
    return Exported(names, len(plan.sizes), **done, in_pieces=plan.in_pieces, removed=removed)


def plan_layout(
    store: Store,
    models: Sequence[StoredModel],
    folder: Path,
    limit: Limit | None = None,
    *,
    only: bool = False,
) -> LayoutPlan:
    """Look everything up, write nothing. `only`: models that were in the folder before go.

    Raises `InvalidLayout`, `InvalidRecord`, `InvalidLimit`, `StoreError`.
    """
    sizes: dict[Digest, int] = {}
    for model in models:
        sizes[model.digest] = len(model.data)
        sizes |= {part.digest: part.size for part in store.descriptors(model)}
    before = _index_before(folder)
    replaced = {reference_of(model.name) for model in models}
    others = tuple(
        row
        for row in (() if only or before is None else before.manifests)
        if row.annotations.get(ANNOTATION_REF_NAME) not in replaced
    )
    other_sizes: dict[Digest, int] = {}
    if others:
        with layout_at(folder) as source:
            for other in read_rows(source, others):
                other_sizes[Digest.of(other.data)] = len(other.data)
                other_sizes |= {part.digest: part.size for part in other.parts}
    if limit is None:
        limit = Limit(None if before is None else limit_of(before))
    return LayoutPlan(
        folder,
        tuple(models),
        others,
        sizes,
        {digest: size for digest, size in other_sizes.items() if digest not in sizes},
        limit.max_file_bytes,
        read_record(folder),
    )


def write_blobs(
    store: Store,
    plan: LayoutPlan,
    report: Report,
    *,
    link: bool = False,
    cancelled: threading.Event | None = None,
) -> dict[str, int]:
    """Put every blob there, in the files that the plan says; gives bytes by the word for how.

    Raises `StoreError` where the store is damaged, `Cancelled`.
    """
    blobs = plan.folder / "blobs" / "sha256"
    make_folders(blobs)
    remove_stale(blobs)
    remove_stale(plan.folder)
    counting = Counting(report, "exporting", sum(plan.sizes.values()), cancelled)
    done = {"copied": 0, "linked": 0, "there": 0}
    with store.adding() as lease:
        # Whoever removes a model meanwhile must not take its bytes from under us.
        lease.keep(*plan.sizes)
        for digest, size in plan.sizes.items():
            target = plan.folder / blob_name(digest)
            if is_in_pieces(size, plan.limit):
                with store.open_blob(digest) as source:
                    written = _write_pieces(source, digest, target, counting)
                done["copied"] += written
                done["there"] += size - written
            else:
                done[_export_blob(store, digest, target, link, counting)] += size
    for digest, size in plan.other_sizes.items():
        done["copied"] += _reshape(plan, digest, size)
    return done


def publish_layout(plan: LayoutPlan) -> None:
    """The layout's own two files: from here on the folder offers what the plan has."""
    rows = [
        *plan.others,
        *(
            Descriptor(
                model.media_type,
                model.digest,
                len(model.data),
                {ANNOTATION_REF_NAME: reference_of(model.name)},
            )
            for model in plan.models
        ),
    ]
    rows.sort(key=lambda row: row.annotations.get(ANNOTATION_REF_NAME, ""))
    limit = {} if plan.limit is None else {ANNOTATION_MAX_FILE: str(plan.limit)}
    layout = json.dumps({"imageLayoutVersion": LAYOUT_VERSION}, separators=(",", ":")).encode()
    write_file(plan.folder, LAYOUT_NAME, layout)
    write_file(plan.folder, INDEX_NAME, Index(tuple(rows), limit).to_bytes())


def reference_of(name: ModelName) -> str:
    """What a layout calls a model: its name, always with its tag."""
    text = str(ModelName(*name.parts))
    return text if text.endswith(f":{name.tag}") else f"{text}:{name.tag}"


def _index_before(folder: Path) -> Index | None:
    """The index of the layout that is in `folder` already."""
    if not (folder / INDEX_NAME).exists():
        return None
    if not (folder / LAYOUT_NAME).exists():
        raise InvalidLayout(
            f"{folder} has an {INDEX_NAME} of something else; choose another folder"
        )
    with layout_at(folder) as source:
        return read_index(source)


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


def _write_pieces(source: BinaryIO, digest: Digest, target: Path, counting: Counting | None) -> int:
    """Put the pieces of a blob there, those that differ; gives their bytes.

    Raises `StoreError` where the source is not what `digest` says; no piece of it stays then.
    """
    hasher, written = Hasher(), dict[Path, int]()
    number = 0
    try:
        while piece := source.read(PIECE_BYTES):
            hasher.update(piece)
            path = target.with_name(piece_name(target.name, number))
            if not _holds(path, piece):
                with partial_file(path.parent) as partial:
                    partial.file.write(piece)
                    partial.publish(path)
                written[path] = len(piece)
            if counting is not None:
                counting.advance(len(piece))
            number += 1
        _check(digest, hasher.digest())
    except StoreError:
        for path in written:
            path.unlink()
        raise
    return sum(written.values())


def _holds(path: Path, data: bytes) -> bool:
    try:
        with open_regular(path) as file:
            return file.read(len(data) + 1) == data
    except FileNotFoundError:
        return False


def _reshape(plan: LayoutPlan, digest: Digest, size: int) -> int:
    """A blob that stays, in the files that the limit of today asks for; gives the bytes written."""
    target = plan.folder / blob_name(digest)
    in_pieces = is_in_pieces(size, plan.limit)
    # Both forms may be there, where an export was cut short between them.
    last = piece_name(target.name, max(0, len(piece_sizes(size)) - 1))
    if target.exists() if not in_pieces else target.with_name(last).exists():
        return 0
    with layout_at(plan.folder) as layout, open_blob(layout, digest) as source:
        if in_pieces:
            return _write_pieces(source, digest, target, None)
        hasher = Hasher()
        with partial_file(target.parent) as partial:
            while piece := source.read(COPY_BYTES):
                hasher.update(piece)
                partial.file.write(piece)
            if hasher.digest() != digest:
                raise InvalidLayout(f"{plan.folder}: blob {digest} is damaged")
            partial.publish(target)
    return size


def _check(digest: Digest, actual: Digest) -> None:
    if actual != digest:
        raise StoreError(
            f"blob {digest} of the store is damaged; `transom verify` tells which models need it"
        )
