"""The store: blobs by digest, one small file per tag. Whatever happens, it stays valid.

    blobs/sha256/<hex>                              bytes, named by what they are
    manifests/<host>/<namespace>/<model>/<tag>      an OCI image index, or one image manifest

Everything is written aside and published whole, blobs before the manifests that name them, the tag
last: whoever finds a tag finds all of it. Where the bytes are is the `Storage`'s business. Knows no
HTTP, no engine and no bundle folder.
"""

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.digest import Digest, Hasher
from transom_models.manifest import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    InvalidManifest,
    Manifest,
    index_of,
    parse_document,
)
from transom_models.name import InvalidName, ModelName
from transom_server.store import garbage, usage, verification
from transom_server.store.errors import (
    BlobNotFound,
    DigestMismatch,
    ModelNotFound,
    NoRoom,
    SizeMismatch,
    StoreError,
)
from transom_server.store.folder import FolderStorage
from transom_server.store.keys import MANIFESTS, blob_key, is_hidden, tag_key
from transom_server.store.leases import Lease, lease
from transom_server.store.partial_file import remove_stale
from transom_server.store.storage import Storage

# Large enough that hashing, not Python, sets the speed.
COPY_BYTES: Final = 1024 * 1024

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A tag of the store: `data` its exact bytes, `media_type` what they are, `modified` Unix
    seconds.

    Where the tag holds a single manifest, as Ollama's do, `index` is a view of it in one row.
    """

    name: ModelName
    index: Index
    data: bytes
    modified: float
    media_type: str

    @property
    def digest(self) -> Digest:
        return Digest.of(self.data)


class Store:
    """A store in a folder, which need not exist yet, or in another storage.

    Threads and processes may use it at once.
    """

    def __init__(self, storage: Storage | Path) -> None:
        self.storage: Storage = FolderStorage(storage) if isinstance(storage, Path) else storage

    @property
    def location(self) -> str:
        """Path or URL, for people."""
        return self.storage.location

    @property
    def scratch(self) -> Path:
        """Local folder for what is not whole yet; need not exist."""
        return self.storage.scratch

    @property
    def root(self) -> Path:
        """The folder that the store lies in. Raises `StoreError` for one that lies elsewhere."""
        if isinstance(self.storage, FolderStorage):
            return self.storage.root
        raise StoreError(f"the store at {self.location} lies in no folder of this machine")

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
        with self._explained(f"cannot keep {expected or 'a blob'}"):
            if expected is not None and self._is_sound(expected):
                self.storage.refresh(blob_key(expected))
                return expected
            with self.storage.incoming() as incoming:
                while piece := stream.read(COPY_BYTES):
                    hasher.update(piece)
                    incoming.file.write(piece)
                    if advance is not None:
                        advance(len(piece))
                actual = hasher.digest()
                if expected is not None and actual != expected:
                    raise DigestMismatch(expected, actual)
                incoming.publish(blob_key(actual))
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
        try:
            file = path.open("rb")
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        with file:
            return self.put_blob(file, expected, advance)

    def take_file(self, path: Path, digest: Digest) -> None:
        """Make a finished file of the scratch folder the blob `digest`, as its maker hashed it.

        Nothing is read again and, on a disk, nothing is copied; `path` is gone after.
        """
        with self._explained(f"cannot keep {digest}"):
            self.storage.adopt_file(path, blob_key(digest))

    def blob_path(self, digest: Digest) -> Path:
        """A local file with the blob's bytes. Raises `BlobNotFound`."""
        with self._explained(f"cannot read {digest}"), _blob_expected(digest):
            return self.storage.local_path(blob_key(digest))

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is there; does not read it."""
        try:
            self.blob_size(digest)
        except BlobNotFound:
            return False
        return True

    def blob_size(self, digest: Digest) -> int:
        """Size in bytes. Raises `BlobNotFound`."""
        with self._explained(f"cannot read {digest}"), _blob_expected(digest):
            return self.storage.entry(blob_key(digest)).size

    def open_blob(self, digest: Digest) -> BinaryIO:
        """The blob, to read and seek in; the caller closes it. Raises `BlobNotFound`."""
        with self._explained(f"cannot read {digest}"), _blob_expected(digest):
            return self.storage.open(blob_key(digest))

    def read_manifest_bytes(self, digest: Digest) -> bytes:
        """A small blob whole: an index, a manifest or a config.

        Raises `BlobNotFound`, and `InvalidManifest` when it is damaged, or larger than a manifest
        may be.
        """
        with self.open_blob(digest) as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise InvalidManifest(f"blob {digest} is too large to be a manifest")
        if Digest.of(data) != digest:
            raise InvalidManifest(f"blob {digest} is damaged; `transom verify` tells what needs it")
        return data

    def get_manifest(self, row: Descriptor) -> Manifest:
        """The manifest that a row of an index names. Raises `BlobNotFound`, `InvalidManifest`."""
        return Manifest.from_bytes(self.read_manifest_bytes(row.digest))

    def remove_blob(self, digest: Digest) -> None:
        """Remove a blob, whoever needs it. No error when it is gone already."""
        with self._explained(f"cannot remove {digest}"):
            self.storage.remove(blob_key(digest))

    # Models

    def put_index(self, name: ModelName, index: Index | bytes) -> Digest:
        """Give a name to an index whose blobs are all here; what had the name before is let go.

        Bytes are kept as they are, under their digest too, so that a name may pin them; they may
        also be a single image manifest, OCI's or Docker's. Raises `BlobNotFound` or `StoreError`
        when a blob is missing or has another size than promised.
        """
        data = index.to_bytes() if isinstance(index, Index) else index
        model = _view(name, data, 0)
        if name.digest not in (None, model.digest):
            raise StoreError(f"{name} pins another index than {model.digest}")
        with self._explained(f"cannot keep {name}"), self.storage.lock(exclusive=False):
            # No collection runs now, so what is found here stays, and is named at the end.
            self.put_bytes(data)
            self.require(*self.descriptors(model))
            key = tag_key(self.resolve(name) or name)
            with self.storage.incoming() as incoming:
                incoming.file.write(data)
                incoming.publish(key)
        return model.digest

    def copy_model(self, source: ModelName, target: ModelName) -> Digest:
        """Give a model a second name; no blob is copied. Raises as `get_index` and `put_index`."""
        return self.put_index(target, self.get_index(source).data)

    def remove_model(self, name: ModelName) -> "garbage.Removed":
        """Remove a tag, then the blobs that nothing else needs. Raises `ModelNotFound`."""
        with self._explained(f"cannot remove {name}"):
            return garbage.remove_model(self, name)

    def remove_unused(self, digests: Sequence[Digest]) -> "garbage.Removed":
        """Remove those of some blobs that no tag and no living lease needs, young or not."""
        with self._explained("cannot remove blobs"):
            return garbage.remove_unused(self, digests)

    def remove_tag(self, name: ModelName) -> None:
        """Remove the tag alone; its blobs stay until they are collected."""
        with self._explained(f"cannot remove {name}"):
            self.storage.remove(tag_key(name))

    def resolve(self, name: ModelName) -> ModelName | None:
        """The stored name that `name` means whatever its case, as it was first written, or None."""
        with self._explained(f"cannot look for {name}"):
            try:
                self.storage.entry(tag_key(name))
            except FileNotFoundError:
                pass
            else:
                return name
        folded = name.folded
        for stored in self.names():
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
        model = self.read_model(stored)
        if name.digest is None or name.digest == model.digest:
            return model
        try:
            data = self.read_manifest_bytes(name.digest)
        except BlobNotFound:
            raise ModelNotFound(f"no model {name} in the store") from None
        return _view(name, data, model.modified)

    def list_models(self) -> list[StoredModel]:
        """All models, by name. A damaged tag is logged and left out, so as not to hide others."""
        models = []
        for name in self.names():
            if is_hidden(name):
                continue
            try:
                models.append(self.read_model(name))
            except (InvalidManifest, ModelNotFound) as error:
                _LOG.warning("model %s is left out: %s", name, error)
        return sorted(models, key=lambda model: str(model.name))

    def descriptors(self, model: StoredModel) -> Iterator[Descriptor]:
        """Every blob of a model: per platform the manifest, its config, its layers; some repeat."""
        for row in model.index.manifests:
            yield row
            yield from self.get_manifest(row).descriptors

    def names(self) -> Iterator[ModelName]:
        """Names of all tags, damaged ones too; files that no name can have are passed over."""
        with self._explained("cannot list the models"):
            for entry in self.storage.entries(MANIFESTS):
                try:
                    _, host, namespace, model, tag = entry.key.split("/")
                    yield ModelName(host, namespace, model, tag)
                except (InvalidName, ValueError):
                    continue  # `.DS_Store`, a folder too few or too many

    def read_model(self, name: ModelName) -> StoredModel:
        """The tag of exactly this name, as `resolve` gives it. Raises as `get_index`."""
        with self._explained(f"cannot read {name}"):
            try:
                entry = self.storage.entry(tag_key(name))
                with self.storage.open(tag_key(name)) as file:
                    data = file.read(MAX_MANIFEST_BYTES + 1)
            except FileNotFoundError:
                raise ModelNotFound(f"no model {name} in the store") from None
        return _view(name, data, entry.modified)

    def require(self, *rows: Descriptor) -> None:
        """Raise `BlobNotFound` or `SizeMismatch` unless all are here in the promised sizes."""
        sizes = self.storage.sizes({blob_key(row.digest) for row in rows})
        for row in rows:
            size = sizes.get(blob_key(row.digest))
            if size is None:
                raise BlobNotFound(f"no blob {row.digest} in the store")
            if size != row.size:
                raise SizeMismatch(f"blob {row.digest} has {size} bytes, not {row.size}")

    # Care

    def adding(self) -> AbstractContextManager[Lease]:
        """A lease: blobs that it keeps are not collected, even before a tag names them."""
        return lease(self.scratch, self._shared_lock)

    def remove_stale_partials(self) -> int:
        """Remove what a killed process left half written; gives the number of files."""
        return remove_stale(self.scratch)

    def collect_garbage(
        self, grace_seconds: float = garbage.GRACE_SECONDS, dry_run: bool = False
    ) -> "garbage.Collected":
        """Remove what no tag needs and nobody put within the grace; see `garbage`."""
        with self._explained("cannot collect garbage"):
            return garbage.collect(self, grace_seconds, dry_run)

    def usage(self) -> "usage.Usage":
        """What each model takes, shared and of its own; see `usage`."""
        with self._explained("cannot add up the store"):
            return usage.usage(self)

    def verify(
        self,
        names: Sequence[ModelName] | None = None,
        report: Callable[[int, int], None] | None = None,
    ) -> "verification.Verification":
        """Read and hash every blob, or those of some models; see `verification`."""
        with self._explained("cannot verify the store"):
            return verification.verify(self, names, report)

    def hash_blob(self, digest: Digest, advance: Callable[[int], None] | None = None) -> Digest:
        """What the blob's bytes hash to. Raises `OSError`, `FileNotFoundError` for no blob."""
        hasher = Hasher()
        with self.storage.open(blob_key(digest)) as file:
            while piece := file.read(COPY_BYTES):
                hasher.update(piece)
                if advance is not None:
                    advance(len(piece))
        return hasher.digest()

    @contextmanager
    def _shared_lock(self) -> Iterator[None]:
        with self._explained("cannot hold the lock"), self.storage.lock(exclusive=False):
            yield

    def _is_sound(self, digest: Digest) -> bool:
        """Whether the blob is there undamaged. Reads it: putting it again must mend it."""
        try:
            return self.hash_blob(digest) == digest
        except FileNotFoundError:
            return False

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn a storage's error into one line with a way out."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                reason += "; free some space, or set TRANSOM_MODELS to a folder on another disk"
                raise NoRoom(f"{what} in {self.location}: {reason}") from error
            raise StoreError(f"{what} in {self.location}: {reason}") from error


def _view(name: ModelName, data: bytes, modified: float) -> StoredModel:
    media_type, document = parse_document(data)
    return StoredModel(name, index_of(document, data, media_type), data, modified, media_type)


@contextmanager
def _blob_expected(digest: Digest) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BlobNotFound(f"no blob {digest} in the store") from None
