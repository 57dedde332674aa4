"""Put a compiled bundle into the store: blobs first, then manifests, the index last.

Knows what a bundle folder looks like (titles are file names, `index.json` on top) and nothing of
how it was made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from transom_models.digest import Digest
from transom_models.manifest import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    InvalidManifest,
    Manifest,
)
from transom_models.media_types import OLLAMA_MODEL
from transom_models.name import ModelName
from transom_server.store import Store, StoreError

INDEX_NAME: Final = "index.json"
MANIFEST_FOLDER: Final = "manifests"

_NOWHERE: Final[Mapping[Digest, Path]] = MappingProxyType({})


def import_bundle(
    store: Store,
    folder: Path,
    name: ModelName,
    files: Mapping[Digest, Path] = _NOWHERE,
    advance: Callable[[int], None] | None = None,
) -> Digest:
    """Keep the bundle in `folder` as `name`; gives the digest of its index.

    `files` tells where blobs are that the folder lacks, as the checkpoint itself. Every byte is
    checked against its digest on the way. Raises `StoreError`, `InvalidManifest`; the name is given
    only when all is in the store. `advance` is told of bytes copied.
    """
    contents = _read(folder, files)
    with store.adding() as lease:
        lease.keep(*contents.blobs, *(Digest.of(data) for data in contents.manifests))
        for digest, path in contents.blobs.items():
            store.put_file(path, digest, advance)
        for data in contents.manifests:
            store.put_bytes(data)
        return store.put_index(name, contents.index)


def bundle_size(folder: Path, files: Mapping[Digest, Path] = _NOWHERE) -> int:
    """Bytes that `import_bundle` copies at most; less what the store has already. Raises alike."""
    return sum(path.stat().st_size for path in _read(folder, files).blobs.values())


@dataclass(frozen=True, slots=True)
class _Contents:
    """A bundle folder looked through: where each blob lies, and the exact small files."""

    index: bytes
    manifests: tuple[bytes, ...]
    blobs: Mapping[Digest, Path]


def _read(folder: Path, files: Mapping[Digest, Path]) -> _Contents:
    """All is looked up before the first byte is copied: a folder that lacks a file leaves no
    trace."""
    index_data = _read_small(folder / INDEX_NAME)
    manifests = {}
    for path in sorted((folder / MANIFEST_FOLDER).glob("*.json")):
        data = _read_small(path)
        manifests[Digest.of(data)] = data
    index = Index.from_bytes(index_data)
    blobs: dict[Digest, Path] = {}
    for row in index.manifests:
        if row.digest not in manifests:
            raise StoreError(f"{folder / MANIFEST_FOLDER} lacks the manifest {row.digest}")
        for part in Manifest.from_bytes(manifests[row.digest]).descriptors:
            blobs[part.digest] = files.get(part.digest) or _path_of(part, folder, files)
    named = tuple(manifests[row.digest] for row in index.manifests)
    return _Contents(index_data, named, blobs)


def _path_of(part: Descriptor, folder: Path, files: Mapping[Digest, Path]) -> Path:
    """Where a blob lies in a bundle folder. The title was checked: it cannot leave the folder."""
    if part.title is not None and (folder / part.title).is_file():
        return folder / part.title
    if part.title is None and part.media_type == OLLAMA_MODEL:
        others = ", ".join(str(path) for path in files.values())
        way = f"{others} is another one" if others else "name that file with --source"
        raise StoreError(f"{folder} lacks the GGUF that it was made from ({part.digest}); {way}")
    raise StoreError(f"{folder} lacks {part.title or 'the file'} ({part.digest})")


def _read_small(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}; is it a bundle folder?") from error
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidManifest(f"{path} is too large to be a manifest")
    return data
