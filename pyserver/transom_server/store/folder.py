"""A storage in a folder of this machine. Makes no file or folder unless something is put.

Needs a POSIX system (flock, fsync of folders, rename over a file).
"""

import fcntl
import os
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from transom_server.store.partial_file import (
    PartialFile,
    make_folders,
    partial_file,
    sync_folder,
)
from transom_server.store.storage import Entry

SCRATCH_NAME: Final = ".tmp"
_LOCK_NAME: Final = "store.lock"
# As partial files become: an editor that opens a blob by mistake cannot save over it.
_KEPT_MODE: Final = 0o444


class FolderStorage:
    """`Storage` below `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def location(self) -> str:
        return str(self.root)

    @property
    def scratch(self) -> Path:
        return self.root / SCRATCH_NAME

    @contextmanager
    def incoming(self) -> Iterator["_IncomingFile"]:
        with partial_file(self.scratch) as partial:
            yield _IncomingFile(partial, self.root)

    def adopt_file(self, path: Path, key: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, _KEPT_MODE)
            os.utime(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        target = self._path(key)
        make_folders(target.parent)
        path.rename(target)
        sync_folder(target.parent)

    def open(self, key: str) -> BinaryIO:
        return self._path(key).open("rb")

    def entry(self, key: str) -> Entry:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        found = path.stat()
        return Entry(key, found.st_size, found.st_mtime)

    def sizes(self, keys: Set[str]) -> Mapping[str, int]:
        found = {}
        for key in keys:
            try:
                found[key] = self.entry(key).size
            except FileNotFoundError:
                continue
        return found

    def entries(self, prefix: str) -> Iterator[Entry]:
        yield from _files_below(self._path(prefix), prefix)

    def remove(self, *keys: str) -> None:
        paths = [self._path(key) for key in keys]
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            if folder.is_dir():
                sync_folder(folder)

    def refresh(self, key: str) -> None:
        os.utime(self._path(key))

    def local_path(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(key)
        return path

    def sweep_uploads(self, dry_run: bool) -> int:
        return 0

    @contextmanager
    def lock(self, *, exclusive: bool) -> Iterator[None]:
        make_folders(self.scratch)
        path = self.scratch / _LOCK_NAME
        # Opened anew each time: flock counts open files, so threads keep each other out too.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        assert not {"", ".", ".."} & set(parts), key
        return self.root.joinpath(*parts)


class _IncomingFile:
    def __init__(self, partial: PartialFile, root: Path) -> None:
        self._partial = partial
        self._root = root

    @property
    def file(self) -> BinaryIO:
        return self._partial.file

    def publish(self, key: str) -> None:
        self._partial.publish(self._root / key)


def _files_below(folder: Path, key: str) -> Iterator[Entry]:
    try:
        items = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for item in items:
        name = f"{key}/{item.name}"
        if item.is_dir(follow_symlinks=False):
            yield from _files_below(folder / item.name, name)
        elif item.is_file():
            try:
                found = item.stat()
            except FileNotFoundError:
                continue  # removed since it was listed
            yield Entry(name, found.st_size, found.st_mtime)
