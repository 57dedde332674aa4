"""A storage in an object store: S3, or whatever else `fsspec` reaches.

    <url>/blobs/…  <url>/manifests/…     as in a folder; see `store`
    <url>/touched/<key>                  when a blob was last put again, which a copy onto itself
                                         could say too, at the price of its bytes
    <url>/locks/…                        see `object_lock`

What is put is first whole on this machine, below `scratch`, so its digest is known before a byte is
sent. docs/object-storage.md says what is promised to many machines on one bucket.
"""

import time
from collections.abc import Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, cast

from transom_server.store.bucket import MAX_DELETED, Bucket, open_bucket
from transom_server.store.keys import BLOBS
from transom_server.store.local_copies import DEFAULT_CAP_BYTES, LocalCopies
from transom_server.store.object_file import FIRST_BLOCK, ObjectFile
from transom_server.store.object_lock import ObjectLock
from transom_server.store.partial_file import partial_file
from transom_server.store.storage import Entry

TOUCHED: Final = "touched"
_COPIES: Final = "copies"
# A page of a listing has 1000 keys and takes S3 as long as a few heads. A model of so many blobs is
# found sooner in the list of a store of some thousand blobs than by asking for each.
LISTING_PAYS: Final = 32
# An upload that takes longer is dead. S3 keeps its parts, and bills them, until told not to.
_UPLOAD_SECONDS: Final = 24 * 3600.0


class ObjectStorage:
    """`Storage` below a URL that fsspec knows, as s3://bucket/folder. Asks nothing until used.

    `cap_bytes`: most bytes of local copies (`local_path`).
    """

    def __init__(self, url: str, scratch: Path, cap_bytes: int = DEFAULT_CAP_BYTES) -> None:
        self._bucket: Bucket = open_bucket(url)
        self._scratch = scratch
        self._copies = LocalCopies(scratch / _COPIES, cap_bytes)
        self._lock = ObjectLock(self._bucket)

    @property
    def location(self) -> str:
        return self._bucket.url

    @property
    def scratch(self) -> Path:
        return self._scratch

    def close(self) -> None:
        """Let go of connections. The storage may be used again."""
        self._bucket.close()

    @contextmanager
    def incoming(self) -> Iterator["_IncomingObject"]:
        with partial_file(self._scratch) as partial:
            yield _IncomingObject(partial.file, partial.path, self)

    def adopt_file(self, path: Path, key: str) -> None:
        self.publish(path, key)
        path.unlink()

    def publish(self, path: Path, key: str) -> None:
        """Put a local file under its key, which it keeps."""
        self._lock.check()
        self._bucket.upload(path, key)

    def open(self, key: str) -> BinaryIO:
        if not key.startswith(BLOBS):
            # A tag may be replaced at any time: one request sees one state of it.
            data = self._bucket.read(key, 0, FIRST_BLOCK)
            if len(data) < FIRST_BLOCK:
                return BytesIO(data)
        return self._file(self._bucket.head(key))

    def entry(self, key: str) -> Entry:
        return self._bucket.head(key)

    def sizes(self, keys: Set[str]) -> Mapping[str, int]:
        found: dict[str, int] = {}
        if len(keys) >= LISTING_PAYS and all(key.startswith(BLOBS) for key in keys):
            for entry in self._bucket.entries(BLOBS):
                if entry.key in keys:
                    found[entry.key] = entry.size
            return found
        for key in keys:
            try:
                found[key] = self._bucket.head(key).size
            except FileNotFoundError:
                continue
        return found

    def entries(self, prefix: str) -> Iterator[Entry]:
        touched = {}
        if prefix.startswith(BLOBS):
            for mark in self._bucket.entries(f"{TOUCHED}/{prefix}"):
                touched[mark.key.removeprefix(f"{TOUCHED}/")] = mark.modified
        for entry in self._bucket.entries(prefix):
            modified = max(entry.modified, touched.get(entry.key, 0.0))
            yield Entry(entry.key, entry.size, modified)

    def remove(self, *keys: str) -> None:
        for first in range(0, len(keys), MAX_DELETED):
            self._lock.check()
            some = keys[first : first + MAX_DELETED]
            blobs = [key for key in some if key.startswith(BLOBS)]
            self._bucket.delete(*some)
            # After what they are about: a mark alone says nothing.
            self._bucket.delete(*(f"{TOUCHED}/{key}" for key in blobs))
            for key in blobs:
                self._copies.forget(key)

    def refresh(self, key: str) -> None:
        assert key.startswith(BLOBS), key
        self._bucket.head(key)
        self._bucket.put(f"{TOUCHED}/{key}", b"")

    def local_path(self, key: str) -> Path:
        entry = self._bucket.head(key)
        path = self._copies.find(entry)
        if path is None:
            with self._file(entry) as source:
                path = self._copies.take(entry, source)
        return path

    def _file(self, entry: Entry) -> BinaryIO:
        read = self._bucket.read
        file = ObjectFile(entry.size, lambda first, count: read(entry.key, first, count))
        return cast(BinaryIO, file)

    def sweep_uploads(self, dry_run: bool) -> int:
        return self._bucket.abort_uploads(time.time() - _UPLOAD_SECONDS, dry_run)

    def lock(self, *, exclusive: bool) -> AbstractContextManager[None]:
        return self._lock.hold(exclusive=exclusive)


class _IncomingObject:
    def __init__(self, file: BinaryIO, path: Path, storage: ObjectStorage) -> None:
        self._file = file
        self._path = path
        self._storage = storage

    @property
    def file(self) -> BinaryIO:
        return self._file

    def publish(self, key: str) -> None:
        self._file.flush()
        self._storage.publish(self._path, key)
