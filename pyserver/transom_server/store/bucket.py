"""A folder of an object store in the few words that a storage needs, over `fsspec`.

S3 is the store that counts: its requests are made one by one, none to spare. Every other
filesystem goes by what all of them have. Errors leave as `OSError` (`object_errors`). Knows no
digests, no locks and no local copies.
"""

import asyncio
import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import wait
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import fsspec

from transom_server.store.keys import BLOBS
from transom_server.store.object_errors import error_code, explained
from transom_server.store.storage import Entry

# Four parts of an upload are in memory at once, with what sends them about 128 MiB, whatever the
# size of the file.
PART_BYTES: Final = 16 * 1024 * 1024
PARTS_AT_ONCE: Final = 4
# S3's own limit: a larger file needs larger parts.
MAX_PARTS: Final = 10_000
# S3's own limit: keys in one request to delete.
MAX_DELETED: Final = 1000
# Seconds. A part of 16 MiB takes a while on a slow line, but bytes should move at least.
CONNECT_TIMEOUT: Final = 10
READ_TIMEOUT: Final = 60
# Tries of one request, by botocore (errors 500, 502, 503, 504, SlowDown, connections, with growing
# waits), and of one answer whose body broke off, by s3fs.
REQUEST_TRIES: Final = 4
BODY_TRIES: Final = 3
# waitress answers with 16 threads, and each may read two blobs.
CONNECTIONS: Final = 32

# A digest names its bytes for ever: whoever serves the bucket straight to browsers may say so.
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_REVALIDATE: Final = "no-cache"
_TIMES: Final = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
_S3_OPTIONS: Final = {
    "config_kwargs": {
        "retries": {"mode": "standard", "max_attempts": REQUEST_TRIES},
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "max_pool_connections": CONNECTIONS,
    }
}


def open_bucket(url: str) -> "Bucket":
    """The folder that a URL names; asks the store nothing yet.

    Raises `ValueError` for a kind of URL that fsspec does not know, `ImportError` when the package
    for it is missing.
    """
    return (S3Bucket if url.startswith(("s3://", "s3a://")) else Bucket)(url)


class Bucket:
    """A folder of any fsspec filesystem. Threads may share it; a forked child opens it anew."""

    _options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._connect()

    def _connect(self) -> None:
        # An own instance without a cache of listings: other machines write here too.
        self._filesystem, self._root = fsspec.url_to_fs(
            self.url, skip_instance_cache=True, use_listings_cache=False, **self._options
        )
        self._process = os.getpid()

    @property
    def _fs(self) -> Any:
        # fsspec's thread is not there after a fork.
        if os.getpid() != self._process:
            self._connect()
        return self._filesystem

    def close(self) -> None:
        """Let go of connections; whatever is asked next opens new ones."""

    def head(self, key: str) -> Entry:
        """Size and time. Raises `FileNotFoundError`."""
        with explained():
            found = self._fs.info(self._path(key))
            if found["type"] != "file":
                raise FileNotFoundError(key)
            return Entry(key, found["size"], _modified(found))

    def read(self, key: str, first: int, count: int) -> bytes:
        """`count` bytes from `first` on, fewer where the object ends."""
        with explained():
            data: bytes = self._fs.cat_file(self._path(key), start=first, end=first + count)
        return data

    def put(self, key: str, data: bytes) -> None:
        """Put a few bytes."""
        with explained():
            path = self._path(key)
            self._fs.makedirs(self._fs._parent(path), exist_ok=True)
            self._fs.pipe_file(path, data)

    def upload(self, path: Path, key: str) -> None:
        """Put a local file: whole, or not at all."""
        target = self._path(key)
        aside = self._path(f"uploads/{secrets.token_hex(8)}")
        with explained():
            for place in (aside, target):
                self._fs.makedirs(self._fs._parent(place), exist_ok=True)
            try:
                self._fs.put_file(str(path), aside)
                self._fs.mv(aside, target)
            except BaseException:
                if self._fs.exists(aside):
                    self._fs.rm_file(aside)
                raise

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Everything below a folder key."""
        with explained():
            found = self._fs.find(self._path(prefix), detail=True)
        found.pop(self._path(prefix), None)  # a file of the folder's name
        for path, info in found.items():
            yield Entry(path.removeprefix(f"{self._root}/"), info["size"], _modified(info))

    def delete(self, *keys: str) -> None:
        """Remove; no error for what is not there."""
        for key in keys:
            with explained():
                try:
                    self._fs.rm_file(self._path(key))
                except FileNotFoundError:
                    pass

    def abort_uploads(self, before: float, dry_run: bool) -> int:
        """Give up uploads that were begun before a time (Unix seconds); gives their number."""
        count = 0
        for entry in self.entries("uploads"):
            if entry.modified < before:
                count += 1
                if not dry_run:
                    self.delete(entry.key)
        return count

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"


class S3Bucket(Bucket):
    """A folder of an S3 bucket.

    A put and the completion of a multipart upload are atomic (S3 API, PutObject: "Amazon S3 never
    adds partial objects"), and what is read or listed after either is the new state (S3 user guide,
    "data consistency model"), so nothing is put aside and renamed here.
    """

    _options = _S3_OPTIONS

    def _connect(self) -> None:
        super()._connect()
        self._filesystem.retries = BODY_TRIES
        self._bucket, _, folder = self._root.partition("/")
        self._folder = f"{folder}/" if folder else ""
        self._seen = False

    def close(self) -> None:
        session, self._filesystem._s3 = self._filesystem._s3, None
        if session is not None:
            fsspec.asyn.sync(self._filesystem.loop, session.close)

    def head(self, key: str) -> Entry:
        with explained():
            try:
                found = self._call("head_object", Key=self._folder + key)
            except OSError as error:
                if not (self._seen and isinstance(error, FileNotFoundError)):
                    # A HEAD is refused without a word; a listing says whether the bucket is there.
                    self._call("list_objects_v2", Prefix=self._folder, MaxKeys=1)
                    self._seen = True
                raise
        return Entry(key, found["ContentLength"], found["LastModified"].timestamp())

    def read(self, key: str, first: int, count: int) -> bytes:
        with explained():
            try:
                data: bytes = self._fs.cat_file(self._path(key), start=first, end=first + count)
            except OSError as error:
                if error_code(error) == "InvalidRange":
                    return b""  # there is no byte `first`
                raise
        return data

    def put(self, key: str, data: bytes) -> None:
        with explained():
            self._call("put_object", Key=self._folder + key, Body=data)

    def upload(self, path: Path, key: str) -> None:
        part_bytes = max(PART_BYTES, -(-path.stat().st_size // MAX_PARTS))
        stop = _Stop()
        cache_control = _IMMUTABLE if key.startswith(BLOBS) else _REVALIDATE
        with explained():
            future = asyncio.run_coroutine_threadsafe(
                self._fs._put_file(
                    str(path),
                    self._path(key),
                    callback=stop,
                    chunksize=part_bytes,
                    max_concurrency=PARTS_AT_ONCE,
                    CacheControl=cache_control,
                    ContentType="application/octet-stream",
                ),
                self._fs.loop,
            )
            try:
                future.result()
            except BaseException:
                # Ctrl-C: the upload has a thread of its own, and aborts it where a part ends.
                stop.asked = True
                wait([future], READ_TIMEOUT)
                raise

    def entries(self, prefix: str) -> Iterator[Entry]:
        request: dict[str, Any] = {"Prefix": f"{self._folder}{prefix}/"}
        while True:
            with explained():
                page = self._call("list_objects_v2", **request)
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._folder)
                yield Entry(key, found["Size"], found["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, *keys: str) -> None:
        for first in range(0, len(keys), MAX_DELETED):
            named = [{"Key": self._folder + key} for key in keys[first : first + MAX_DELETED]]
            with explained():
                if len(named) == 1:
                    self._call("delete_object", **named[0])
                    continue
                answer = self._call("delete_objects", Delete={"Objects": named, "Quiet": True})
                for refused in answer.get("Errors", ()):
                    raise OSError(errno.EIO, f"{refused.get('Key')}: {refused.get('Message')}")

    def abort_uploads(self, before: float, dry_run: bool) -> int:
        count, request = 0, {"Prefix": self._folder}
        with explained():
            while True:
                page = self._call("list_multipart_uploads", **request)
                for found in page.get("Uploads", ()):
                    if found["Initiated"].timestamp() < before:
                        count += 1
                        if not dry_run:
                            names = {"Key": found["Key"], "UploadId": found["UploadId"]}
                            self._call("abort_multipart_upload", **names)
                if not page.get("IsTruncated"):
                    return count
                request["KeyMarker"] = page["NextKeyMarker"]
                request["UploadIdMarker"] = page["NextUploadIdMarker"]

    def _call(self, method: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._fs.call_s3(method, Bucket=self._bucket, **request)
        return answer


class _Stop:
    """Progress that fsspec reports to; ends an upload after the part that is under way."""

    def __init__(self) -> None:
        self.asked = False

    def set_size(self, size: int) -> None:
        pass

    def relative_update(self, inc: int = 1) -> None:
        if self.asked:
            raise InterruptedError


def _modified(info: dict[str, Any]) -> float:
    """Unix seconds, in whatever way a filesystem tells them."""
    value = next((info[name] for name in _TIMES if info.get(name) is not None), 0.0)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return float(value)
