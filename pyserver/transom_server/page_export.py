"""The built page as files for any static host, beside the models that it will offer."""

import os
import shutil
from pathlib import Path

from transom_models.errors import TransomError
from transom_server.store.partial_file import make_folders, partial_file


class PageMissing(TransomError):
    """There is no built page to copy."""


def copy_page(page: Path, folder: Path) -> int:
    """Copy the built page into `folder`, over an older one; gives the number of its files.

    `index.html` comes last: it names the others.
    """
    files = sorted(
        (path for path in page.rglob("*") if path.is_file()),
        key=lambda path: (path.name == "index.html", path),
    )
    if not files or files[-1] != page / "index.html":
        raise PageMissing(f"{page} has no index.html; build the page with `npm run build`")
    for path in files:
        target = folder / path.relative_to(page)
        make_folders(target.parent)
        with path.open("rb") as source, partial_file(folder) as partial:
            shutil.copyfileobj(source, partial.file)
            os.fchmod(partial.file.fileno(), 0o644)
            partial.publish(target)
    return len(files)
