"""OCI image layouts (image-spec v1.1, image-layout.md), in a folder or in a tar: reading them.

    oci-layout               {"imageLayoutVersion":"1.0.0"}
    index.json               a descriptor for each model, named by the annotation `ref.name`
    blobs/sha256/<hex>       every blob of them, once; or in pieces (`blob_pieces.py`)

Only these paths are ever opened; nothing that a layout says becomes part of one, and every byte is
checked against its digest. Writing is `layout_export.py`'s. Knows no HTTP.
"""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    InvalidManifest,
    Manifest,
    parse_document,
)
from transom_models.media_types import ANNOTATION_REF_NAME
from transom_models.name import InvalidName, ModelName
from transom_server.exchange.blob_pieces import join_pieces, size_of_pieces
from transom_server.exchange.counting import Counting
from transom_server.exchange.layout_tar import TarReader
from transom_server.exchange.regular_file import open_regular
from transom_server.store import Store
from transom_server.transfer.status import Report

LAYOUT_NAME: Final = "oci-layout"
INDEX_NAME: Final = "index.json"
LAYOUT_VERSION: Final = "1.0.0"
# `{"imageLayoutVersion": "1.0.0"}` and room for what later versions may add.
MAX_LAYOUT_BYTES: Final = 4096


class InvalidLayout(TransomError):
    """The folder or tar is not an image layout that we can trust."""


class LayoutSource(Protocol):
    """The files of a layout, wherever they are. `where` is for people."""

    where: str

    def open(self, name: str) -> BinaryIO:
        """A file by one of the module's three kinds of path. Raises `FileNotFoundError`."""

    def size(self, name: str) -> int:
        """Its size in bytes. Raises `FileNotFoundError`."""


@dataclass(frozen=True, slots=True)
class LayoutModel:
    """A model of a layout: the name that it has there, if it has one, and the bytes of its tag."""

    reference: str | None
    data: bytes
    parts: tuple[Descriptor, ...]
    """Every blob beside the tag's own bytes."""


@contextmanager
def layout_at(path: Path) -> Iterator[LayoutSource]:
    """The layout in a folder or in a tar file. Raises `InvalidTar`."""
    if path.is_dir():
        yield _Folder(path)
    else:
        with TarReader(path) as reader:
            yield _Tar(str(path), reader)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self._folder = folder

    def open(self, name: str) -> BinaryIO:
        return open_regular(self._folder / name)

    def size(self, name: str) -> int:
        with self.open(name) as file:
            return os.fstat(file.fileno()).st_size


class _Tar:
    def __init__(self, where: str, reader: TarReader) -> None:
        self.where = where
        self._reader = reader

    def open(self, name: str) -> BinaryIO:
        return self._reader.open(name)

    def size(self, name: str) -> int:
        if name not in self._reader.members:
            raise FileNotFoundError(name)
        return self._reader.members[name].size


def read_layout(source: LayoutSource) -> list[LayoutModel]:
    """Every model of a layout, all of it looked up: whoever copies blobs after this finds them.

    Raises `InvalidLayout` and `InvalidManifest`, which name what is missing or lies.
    """
    _read_version(source)
    models = read_rows(source, read_index(source).manifests)
    if not models:
        raise InvalidLayout(f"{source.where} holds no model")
    return models


def read_rows(source: LayoutSource, rows: Sequence[Descriptor]) -> list[LayoutModel]:
    """The models of some rows of its index. Raises as `read_layout`."""
    return [_read_model(source, row) for row in rows]


def names_of(models: Sequence[LayoutModel], name: str | None, where: str) -> list[ModelName]:
    """Names in the store for the models of a layout; `name` is what the person asked for.

    Where a layout names its models by tag alone, as most tools do, `name` is what they are tags
    of. Raises `InvalidLayout`.
    """
    if name is not None and len(models) == 1:
        tag = models[0].reference
        asked = ModelName.parse(name)
        if ":" in name.rpartition("/")[2] or not _is_tag(tag):
            return [asked]
        return [ModelName(asked.host, asked.namespace, asked.model, tag or asked.tag)]
    names = [_name_of(model, name, where) for model in models]
    seen: dict[tuple[str, ...], ModelName] = {}
    for one in names:
        if one.folded in seen:
            raise InvalidLayout(f"{where} has two models named {one}")
        seen[one.folded] = one
    return names


def _is_tag(reference: str | None) -> bool:
    return reference is not None and not {":", "/", "@"} & set(reference)


def _name_of(model: LayoutModel, name: str | None, where: str) -> ModelName:
    if model.reference is None and name is None:
        raise InvalidLayout(f"{where} calls its model nothing; give it a name with --name")
    if model.reference is None:
        raise InvalidLayout(f"{where} has several models, and one of them has no name")
    try:
        if _is_tag(model.reference):
            if name is None:
                raise InvalidLayout(
                    f"{where} calls its model {model.reference!r:.80}, which is a tag alone; "
                    "say what it is a tag of with --name"
                )
            asked = ModelName.parse(name)
            return ModelName(asked.host, asked.namespace, asked.model, model.reference)
        if name is not None:
            raise InvalidLayout(f"{where} has several models with names of their own; leave --name")
        return ModelName.parse(model.reference)
    except InvalidName as error:
        raise InvalidLayout(f"{where}: {error}") from None


def import_layout(
    store: Store,
    source: LayoutSource,
    models: Sequence[tuple[ModelName, LayoutModel]],
    report: Report,
    cancelled: threading.Event | None = None,
) -> list[Digest]:
    """Keep models of a layout under their names; gives the digests of their tags.

    Every byte is checked on the way; a name is given only when all of its model is in the store.
    """
    sizes = {part.digest: part.size for _, model in models for part in model.parts}
    counting = Counting(report, "importing", sum(sizes.values()), cancelled)
    digests = []
    with store.adding() as lease:
        for name, model in models:
            lease.keep(*(part.digest for part in model.parts), Digest.of(model.data))
            for part in model.parts:
                if part.digest in sizes:
                    del sizes[part.digest]
                    with open_blob(source, part.digest) as file:
                        store.put_blob(file, part.digest, counting.advance)
            digests.append(store.put_index(name, model.data))
    return digests


def _read_version(source: LayoutSource) -> None:
    data = _read_small(source, LAYOUT_NAME, MAX_LAYOUT_BYTES)
    try:
        version = json.loads(data)["imageLayoutVersion"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidLayout(f"{source.where}: {LAYOUT_NAME} states no version") from None
    if version != LAYOUT_VERSION:
        raise InvalidLayout(
            f"{source.where} is a layout of version {version!r:.40}; {LAYOUT_VERSION} is known"
        )


def read_index(source: LayoutSource) -> Index:
    """The layout's own index: a row for each model. Raises `InvalidLayout`, `InvalidManifest`."""
    return Index.from_bytes(_read_small(source, INDEX_NAME, MAX_MANIFEST_BYTES))


def _read_model(source: LayoutSource, row: Descriptor) -> LayoutModel:
    if row.media_type not in INDEX_TYPES + MANIFEST_TYPES:
        raise InvalidLayout(f"{source.where} has a row of type {row.media_type}, which is no model")
    data = _read_document(source, row)
    media_type, document = parse_document(data)
    if media_type != row.media_type:
        raise InvalidLayout(f"{source.where} calls {row.digest} {row.media_type}; it is not")
    parts: list[Descriptor] = []
    if isinstance(document, Manifest):
        parts += document.descriptors
    else:
        for one in document.manifests:
            if one.media_type not in MANIFEST_TYPES:
                raise InvalidLayout(f"{source.where} nests {one.media_type} in a model")
            parts += (one, *Manifest.from_bytes(_read_document(source, one)).descriptors)
    for part in parts:
        _require(source, part)
    return LayoutModel(row.annotations.get(ANNOTATION_REF_NAME), data, tuple(parts))


def _read_document(source: LayoutSource, row: Descriptor) -> bytes:
    """A manifest or an index, whole and true. Raises `InvalidLayout`, `InvalidManifest`."""
    if row.size > MAX_MANIFEST_BYTES:
        raise InvalidManifest(f"{source.where} has a manifest of {row.size} bytes")
    _require(source, row)
    data = _read_small(source, blob_name(row.digest), MAX_MANIFEST_BYTES)
    if Digest.of(data) != row.digest:
        raise InvalidLayout(f"{source.where}: blob {row.digest} is damaged")
    return data


def _require(source: LayoutSource, row: Descriptor) -> None:
    try:
        size = blob_size(source, row.digest)
    except FileNotFoundError:
        raise InvalidLayout(f"{source.where} lacks blob {row.digest}") from None
    if size != row.size:
        raise InvalidLayout(
            f"{source.where}: blob {row.digest} has {size} bytes, not the {row.size} it promises"
        )


def _read_small(source: LayoutSource, name: str, cap: int) -> bytes:
    try:
        with source.open(name) as file:
            data = file.read(cap + 1)
    except FileNotFoundError:
        raise InvalidLayout(f"{source.where} has no {name}; is it an OCI image layout?") from None
    if len(data) > cap:
        raise InvalidLayout(f"{source.where}: {name} is over {cap} bytes")
    return data


def open_blob(source: LayoutSource, digest: Digest) -> BinaryIO:
    """A blob to read, unchecked; the caller closes it. Raises `FileNotFoundError`."""
    name = blob_name(digest)
    try:
        return source.open(name)
    except FileNotFoundError:
        return join_pieces(source.open, name)


def blob_size(source: LayoutSource, digest: Digest) -> int:
    """Its size in bytes. Raises `FileNotFoundError`."""
    name = blob_name(digest)
    try:
        return source.size(name)
    except FileNotFoundError:
        return size_of_pieces(source.size, name)


def blob_name(digest: Digest) -> str:
    """Where a layout has a blob that is in one file."""
    return f"blobs/sha256/{digest.hex}"
