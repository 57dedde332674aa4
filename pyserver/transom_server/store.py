"""The store: blobs by digest, one small index file per tag. Whatever happens, it stays valid.

    <root>/blobs/sha256/<hex>                              bytes, named by what they are
    <root>/manifests/<host>/<namespace>/<model>/<tag>      an OCI image index
    <root>/.tmp/                                           partial files; nobody reads them

Everything is written aside and renamed, blobs before the manifests that name them, the index last:
whoever finds an index finds all of it. Nothing here makes folders or files unless it puts
something. Knows no HTTP, no engine and no bundle folder.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.digest import Digest, Hasher
from transom_models.errors import TransomError
from transom_models.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, InvalidManifest, Manifest
from transom_models.name import InvalidName, ModelName
from transom_server.partial_file import partial_file, remove_stale

# Large enough that hashing, not Python, sets the speed.
COPY_BYTES: Final = 1024 * 1024

_LOG = logging.getLogger(__name__)


class StoreError(TransomError):
    """The store could not do what was asked."""


class DigestMismatch(StoreError):
    """The bytes are not those that were promised. Nothing was kept."""

    def __init__(self, expected: Digest, actual: Digest) -> None:
        super().__init__(f"the bytes for {expected} are {actual}; they were changed or cut short")
        self.expected = expected
        self.actual = actual


class BlobNotFound(StoreError):
    """No blob of this digest is in the store."""


class ModelNotFound(StoreError):
    """No model of this name is in the store."""


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A tag of the store. `data` are the index's exact bytes, `modified` Unix seconds."""

    name: ModelName
    index: Index
    data: bytes
    modified: float

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)


class Store:
    """A store at `root`, which need not exist yet. Threads and processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # Blobs

    def put_blob(
        self,
        stream: BinaryIO,
        expected: Digest | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Digest:
        """Keep the bytes of `stream` under their digest; on any failure nothing is left behind.

        With `expected`, bytes of another digest raise `DigestMismatch`, and a blob that is there
        already, undamaged, is kept without reading the stream. `advance` is told of bytes copied.
        """
        hasher = Hasher()
        with _explained(f"cannot keep {expected or 'a blob'} in {self.root}"):
            if expected is not None and self._is_sound(expected):
                return expected
            with partial_file(self._partials) as partial:
                while piece := stream.read(COPY_BYTES):
                    hasher.update(piece)
                    partial.file.write(piece)
                    if advance is not None:
                        advance(len(piece))
                actual = hasher.digest()
                if expected is not None and actual != expected:
                    raise DigestMismatch(expected, actual)
                partial.publish(actual.path_under(self.root))
        return actual

    def put_bytes(self, data: bytes) -> Digest:
        """`put_blob` for bytes in memory."""
        return self.put_blob(BytesIO(data), Digest.of(data))

    def put_file(
        self,
        path: Path,
        expected: Digest | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Digest:
        """`put_blob` for a file. Copies: through a hard link an edit would change the blob."""
        with _explained(f"cannot read {path}"), path.open("rb") as file:
            return self.put_blob(file, expected, advance)

    def blob_path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return digest.path_under(self.root)

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is there; does not read it."""
        return self.blob_path(digest).is_file()

    def blob_size(self, digest: Digest) -> int:
        """Size in bytes. Raises `BlobNotFound`."""
        try:
            return self.blob_path(digest).stat().st_size
        except FileNotFoundError:
            raise BlobNotFound(f"no blob {digest} in the store") from None

    def open_blob(self, digest: Digest) -> BinaryIO:
        """The blob, to read from its start; the caller closes it. Raises `BlobNotFound`."""
        try:
            return self.blob_path(digest).open("rb")
        except FileNotFoundError:
            raise BlobNotFound(f"no blob {digest} in the store") from None

    def read_manifest_bytes(self, digest: Digest) -> bytes:
        """A small blob whole: an index, a manifest or a config.

        Raises `BlobNotFound`, and `InvalidManifest` when it is larger than a manifest may be.
        """
        with self.open_blob(digest) as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise InvalidManifest(f"blob {digest} is too large to be a manifest")
        return data

    def get_manifest(self, row: Descriptor) -> Manifest:
        """The manifest that a row of an index names. Raises `BlobNotFound`, `InvalidManifest`."""
        return Manifest.from_bytes(self.read_manifest_bytes(row.digest))

    # Models

    def put_index(self, name: ModelName, index: Index | bytes) -> Digest:
        """Give a name to an index whose blobs are all here; what had the name before is let go.

        Bytes are kept as they are, under their digest too, so that a name may pin them. Raises
        `BlobNotFound` or `StoreError` when a blob is missing or has another size than promised.
        """
        data = index.to_bytes() if isinstance(index, Index) else index
        parsed = Index.from_bytes(data)
        digest = Digest.of(data)
        if name.digest not in (None, digest):
            raise StoreError(f"{name} pins another index than {digest}")
        for row in parsed.manifests:
            self._require(row)
            for part in self.get_manifest(row).descriptors:
                self._require(part)
        self.put_bytes(data)
        existing = self.resolve(name)
        path = (existing or name).manifest_path(self.root)
        with (
            _explained(f"cannot keep {name} in {self.root}"),
            partial_file(self._partials) as partial,
        ):
            partial.file.write(data)
            partial.publish(path)
        return digest

    def resolve(self, name: ModelName) -> ModelName | None:
        """The stored name that `name` means whatever its case, as it was first written, or None."""
        if name.manifest_path(self.root).is_file():
            return name
        folded = name.folded
        for stored in self._names():
            if stored.folded == folded:
                return ModelName(*stored.parts, digest=name.digest)
        return None

    def get_index(self, name: ModelName) -> StoredModel:
        """The model of this name, or of the index that it pins.

        Raises `ModelNotFound`, and `InvalidManifest` when the file is damaged.
        """
        stored = self.resolve(name)
        if stored is None:
            raise ModelNotFound(f"no model {name} in the store; `transom list` shows what is")
        model = self._read_model(stored)
        if name.digest is None or name.digest == model.digest:
            return model
        try:
            data = self.read_manifest_bytes(name.digest)
        except BlobNotFound:
            raise ModelNotFound(f"no model {name} in the store") from None
        return StoredModel(name, Index.from_bytes(data), data, model.modified)

    def list_models(self) -> list[StoredModel]:
        """All models, by name. A damaged tag is logged and left out, so as not to hide others."""
        models = []
        for name in self._names():
            try:
                models.append(self._read_model(name))
            except (InvalidManifest, ModelNotFound) as error:
                _LOG.warning("model %s is left out: %s", name, error)
        return sorted(models, key=lambda model: str(model.name))

    def descriptors(self, model: StoredModel) -> Iterator[Descriptor]:
        """Every blob of a model: per platform the manifest, its config, its layers; some repeat."""
        for row in model.index.manifests:
            yield row
            yield from self.get_manifest(row).descriptors

    # Care

    def remove_stale_partials(self) -> int:
        """Remove what a killed process left half written; gives the number of files."""
        return remove_stale(self._partials)

    def verify(self) -> list[str]:
        """Read everything; gives one line per blob or tag that is not what its name says."""
        problems = []
        for path in sorted((self.root / "blobs" / "sha256").glob("*")):
            actual = Digest.of_file(path)
            if path.name != actual.hex:
                problems.append(f"blob {path.name} holds {actual}")
        for name in self._names():
            try:
                for row in self.descriptors(self._read_model(name)):
                    self._require(row)
            except TransomError as error:
                problems.append(f"model {name}: {error}")
        return problems

    @property
    def _partials(self) -> Path:
        return self.root / ".tmp"

    def _is_sound(self, digest: Digest) -> bool:
        """Whether the blob is there undamaged. Reads it: putting it again must mend it."""
        path = self.blob_path(digest)
        try:
            return Digest.of_file(path) == digest
        except FileNotFoundError:
            return False

    def _require(self, row: Descriptor) -> None:
        size = self.blob_size(row.digest)
        if size != row.size:
            raise StoreError(f"blob {row.digest} has {size} bytes, not {row.size}")

    def _names(self) -> Iterator[ModelName]:
        """Names of all tags; files that no name can have (`.DS_Store`) are passed over."""
        root = self.root / "manifests"
        for path in root.glob("*/*/*/*"):
            host, namespace, model, tag = path.relative_to(root).parts
            try:
                yield ModelName(host, namespace, model, tag)
            except InvalidName:
                continue

    def _read_model(self, name: ModelName) -> StoredModel:
        try:
            with name.manifest_path(self.root).open("rb") as file:
                modified = os.fstat(file.fileno()).st_mtime
                data = file.read(MAX_MANIFEST_BYTES + 1)
        except FileNotFoundError:
            raise ModelNotFound(f"no model {name} in the store") from None
        return StoredModel(name, Index.from_bytes(data), data, modified)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn an operating system's error into one line with a way out."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason += "; free some space, or set TRANSOM_MODELS to a folder on another disk"
        raise StoreError(f"{what}: {reason}") from error
