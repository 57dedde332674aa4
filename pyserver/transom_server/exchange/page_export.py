"""The built page as files for any static host, beside the models that it will offer."""

import os
from pathlib import Path
from typing import Final

from transom_models.errors import TransomError
from transom_server.store.partial_file import make_folders, partial_file

PAGE_NAME: Final = "index.html"
# Tells the page to look for an image layout beside it, where a server would have answered
# (`readHost` in web/src/page/address.ts).
LAYOUT_MARK: Final = b'<meta name="transom-models" content="layout">'
_HEAD: Final = b"<head>"


class PageMissing(TransomError):
    """There is no built page to copy."""


def copy_page(page: Path, folder: Path) -> int:
    """Copy the built page into `folder`, over an older one; gives the number of its files.

    `index.html` comes last, for it names the others, and is told that models are files here.
    """
    start = page / PAGE_NAME
    if not start.is_file() or _HEAD not in start.read_bytes():
        raise PageMissing(f"{page} holds no page; build it with `npm run build`")
    files = sorted(path for path in page.rglob("*") if path.is_file() and path != start)
    for path in files:
        _write(folder, path.relative_to(page), path.read_bytes())
    marked = start.read_bytes().replace(_HEAD, _HEAD + b"\n    " + LAYOUT_MARK, 1)
    _write(folder, Path(PAGE_NAME), marked)
    return len(files) + 1


def _write(folder: Path, name: Path, data: bytes) -> None:
    make_folders((folder / name).parent)
    with partial_file(folder) as partial:
        partial.file.write(data)
        # A web server, which is another user, reads it.
        os.fchmod(partial.file.fileno(), 0o644)
        partial.publish(folder / name)
