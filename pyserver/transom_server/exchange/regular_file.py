"""Files of folders that somebody else filled or reads: regular ones only, linked where it goes.

A symbolic link could lead out of the folder, and a FIFO or a device would block or never end.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from transom_models.errors import TransomError

# Why a hard link is refused where a copy works: another disk, another person's file, too many
# links, a file system without them.
_CANNOT_LINK: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
)


class NotRegular(TransomError):
    """A link, a folder, a FIFO or a device where a file was expected."""


def open_regular(path: Path) -> BinaryIO:
    """The file at `path`, to read; the last part of the path is not followed when it is a link.

    Raises `NotRegular`, `FileNotFoundError` and other `OSError`s.
    """
    if path.is_symlink():
        raise NotRegular(f"{path} is a symbolic link; only files are read from here")
    # O_NONBLOCK: opening a FIFO must not wait for its writer.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegular(f"{path} is not a regular file")
    return os.fdopen(descriptor, "rb")


def hard_link(path: Path, target: Path) -> bool:
    """Make `target` a second name of the file; False where this is not possible but a copy is.

    Raises other `OSError`s.
    """
    try:
        target.hardlink_to(path)
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True
