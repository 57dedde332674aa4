"""The scratch folder: what is not whole yet, and how long it is kept for whoever comes back.

| folder | what | kept |
|---|---|---|
| (top) `*.partial` | a file being put | while its writer lives |
| `leases/` | see `leases` | while their holder lives |
| `downloads/` | pieces of a blob, with their journal | a week without a change |
| `work/` | what becomes blobs, see `work` | while its maker lives |
| `uploads/`, `uploads-out/` | pushes to and from this store | a day without a change |

A file that some process has locked (flock) is never removed.
"""

import fcntl
import time
from pathlib import Path
from typing import Final

from transom_server.store.partial_file import remove_stale
from transom_server.store.work import remove_dead_work

DOWNLOADS: Final = "downloads"
UPLOADS: Final = "uploads"
UPLOADS_OUT: Final = "uploads-out"

# A download that somebody means to finish is tried again within days; the bytes are not cheap.
_DAY: Final = 24 * 3600.0
KEPT_SECONDS: Final = {DOWNLOADS: 7 * _DAY, UPLOADS: _DAY, UPLOADS_OUT: _DAY}


def sweep_scratch(scratch: Path, grace_seconds: float, dry_run: bool) -> int:
    """Remove what nobody comes back for; gives the number of files. A grace of 0 waits for none."""
    removed = 0 if dry_run else remove_stale(scratch)
    removed += remove_dead_work(scratch, dry_run)
    for folder, kept_seconds in KEPT_SECONDS.items():
        oldest = time.time() - (kept_seconds if grace_seconds > 0 else 0)
        for path in (scratch / folder).glob("*"):
            removed += _remove_old(path, oldest, dry_run)
    return removed


def _remove_old(path: Path, oldest: float, dry_run: bool) -> int:
    try:
        if path.stat().st_mtime > oldest:
            return 0
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not dry_run:
                path.unlink()
    except (FileNotFoundError, BlockingIOError, IsADirectoryError, PermissionError):
        return 0
    return 1
