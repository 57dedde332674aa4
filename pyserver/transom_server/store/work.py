"""Folders for work whose results become blobs: on the disk of the store, and gone with their maker.

Converting and compiling write as much as the store then keeps; a killed process must not leave that
behind: the next one, or a collection, removes what the dead left.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from transom_models import work_folder as folders
from transom_server.store.partial_file import make_folders

WORK: Final = "work"


@contextmanager
def work_folder(scratch: Path) -> Iterator[Path]:
    """An empty folder below the store's scratch folder, removed at the end. Raises `OSError`."""
    root = scratch / WORK
    make_folders(root)
    with folders.work_folder(root) as folder:
        yield folder


def remove_dead_work(scratch: Path, dry_run: bool = False) -> int:
    """Remove the folders of processes that are gone; gives their number."""
    root = scratch / WORK
    return folders.remove_dead_work(root, dry_run=dry_run) if root.is_dir() else 0
