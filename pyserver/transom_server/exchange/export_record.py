"""What earlier exports put into a folder: the only files that a later one replaces or removes.

    .transom-export.json    {"version": 1, "files": ["assets/…", "blobs/sha256/…", "index.html", …]}

Written before the first file is, so that what a killed export left behind is known too. The folder
may have come from anywhere since: no path of it leads outside. Knows no models and no page.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from transom_models.errors import TransomError
from transom_server.exchange.regular_file import open_regular
from transom_server.store.partial_file import partial_file, sync_folder

RECORD_NAME: Final = ".transom-export.json"
VERSION: Final = 1
# A hundred bytes a file; a site has thousands of them.
MAX_RECORD_BYTES: Final = 32 * 1024 * 1024


class InvalidRecord(TransomError):
    """The record is not one of ours, or names what no export made."""


def read_record(folder: Path) -> frozenset[str]:
    """Paths of the files that exports made, relative to `folder`; none where it has no record.

    Raises `InvalidRecord`.
    """
    path = folder / RECORD_NAME
    try:
        with open_regular(path) as file:
            data = file.read(MAX_RECORD_BYTES + 1)
    except FileNotFoundError:
        return frozenset()
    if len(data) > MAX_RECORD_BYTES:
        raise InvalidRecord(f"{path} is over {MAX_RECORD_BYTES} bytes; remove it")
    try:
        record = json.loads(data)
        version, files = record["version"], record["files"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InvalidRecord(f"{path} is no record of an export; remove it") from None
    if version != VERSION:
        raise InvalidRecord(f"{path} has version {version!r:.40}; {VERSION} is known")
    if not isinstance(files, list) or not all(map(_is_below, files)):
        raise InvalidRecord(f"{path} names files outside of the export; remove it")
    return frozenset(files)


def begin_record(folder: Path, made: frozenset[str], planned: frozenset[str]) -> frozenset[str]:
    """Before anything is written: what is ours from now on, which is not what lies there already
    from others."""
    ours = made | {name for name in planned if not os.path.lexists(folder / name)}
    _write_record(folder, ours)
    return ours


def end_record(folder: Path, ours: frozenset[str], needed: frozenset[str]) -> int:
    """After all is written: what is ours and not needed goes; gives how many files there were."""
    removed = remove_files(folder, ours - needed)
    _write_record(folder, ours & needed)
    return removed


def _write_record(folder: Path, files: Iterable[str]) -> None:
    value = {"version": VERSION, "files": sorted(files)}
    write_file(folder, RECORD_NAME, json.dumps(value, separators=(",", ":")).encode())


def write_file(folder: Path, name: str, data: bytes) -> None:
    """A file of the site: whole or not there, and for any web server's user to read."""
    with partial_file(folder) as partial:
        partial.file.write(data)
        os.fchmod(partial.file.fileno(), 0o644)
        partial.publish(folder / name)


def remove_files(folder: Path, files: Iterable[str]) -> int:
    """Remove files of a record, and the folders that this empties; gives the number of files."""
    removed = 0
    root = folder.resolve()
    parents = set[Path]()
    for name in files:
        path = folder / name
        # A folder of the site that became a link since leads elsewhere.
        if path.parent.resolve() != root.joinpath(*PurePosixPath(name).parts[:-1]):
            continue
        if path.is_symlink() or not path.is_file():
            continue
        path.unlink()
        removed += 1
        parents.add(path.parent)
    for parent in parents:
        _remove_empty(parent, folder)
    return removed


def _remove_empty(parent: Path, folder: Path) -> None:
    while parent != folder:
        try:
            parent.rmdir()
        except OSError:
            sync_folder(parent)
            return
        parent = parent.parent
    sync_folder(folder)


def _is_below(name: object) -> bool:
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and str(path) == name
