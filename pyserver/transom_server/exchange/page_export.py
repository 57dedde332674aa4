"""The built page as files for any static host, beside the models that it will offer.

All of the build goes along, whatever it has; nothing is listed here. The pages that open models are
told that these are files, and their new digests are told to the service worker, which checks what
it keeps.
"""

import base64
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_server.exchange.mirrors import meta_of, with_origins
from transom_server.exchange.regular_file import open_regular
from transom_server.settings.embed_origins import FILE as EMBED_FILE
from transom_server.settings.embed_origins import embed_file
from transom_server.store.partial_file import make_folders, partial_file

PAGE_NAME: Final = "index.html"
FRAME_NAME: Final = "embed.html"
SERVICE_WORKER: Final = "sw.js"
# Tells the page to look for an image layout beside it, where a server would have answered
# (`readHost` in web/src/page/address.ts).
LAYOUT_MARK: Final = b'<meta name="transom-models" content="layout">'
# GitHub Pages would drop what begins with a dot or an underscore.
NO_JEKYLL: Final = ".nojekyll"
_HEAD: Final = b"<head>"
# Everything in it has a digest in its name, so it harms no visitor before the rest is there.
_HASHED_FOLDER: Final = "assets/"
# They name the others: last.
_LAST: Final = (SERVICE_WORKER, PAGE_NAME)


class PageMissing(TransomError):
    """There is no built page to copy, or its parts are not of one build."""


class ForeignFile(TransomError):
    """The folder has a file of somebody else's where the page has one."""


@dataclass(frozen=True, slots=True)
class PagePlan:
    """The page's files as they will be, by path (with `/`), in the order of writing."""

    files: Mapping[str, Path | bytes]

    def size(self, name: str) -> int:
        """A file's bytes."""
        source = self.files[name]
        return len(source) if isinstance(source, bytes) else source.stat().st_size

    def read(self, name: str) -> bytes:
        """A file: a few megabytes at most."""
        source = self.files[name]
        return source if isinstance(source, bytes) else source.read_bytes()

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(map(self.size, self.files))

    @property
    def largest(self) -> str:
        """The path of the largest file."""
        return max(self.files, key=self.size)


def plan_page(
    page: Path, embed_origins: Sequence[str] = (), mirrors: Sequence[str] = ()
) -> PagePlan:
    """Read what there is to copy; writes nothing. Raises `PageMissing`.

    `embed_origins`: sites that may have the page's frame in theirs (docs/embedding.md). `mirrors`:
    where else its models are, as `read_mirrors` gives them.
    """
    start = page / PAGE_NAME
    if not start.is_file() or _HEAD not in start.read_bytes():
        raise PageMissing(f"{page} holds no page; build it with `npm run build`")
    found: dict[str, Path | bytes] = {
        path.relative_to(page).as_posix(): path for path in page.rglob("*") if path.is_file()
    }
    if LAYOUT_MARK in start.read_bytes():
        raise PageMissing(f"{page} is an export itself; the page is what `npm run build` makes")
    worker = (page / SERVICE_WORKER).read_bytes() if SERVICE_WORKER in found else None
    for name in {PAGE_NAME, FRAME_NAME} & found.keys():
        built = (page / name).read_bytes()
        mark = b"\n    " + LAYOUT_MARK + meta_of(mirrors)
        marked = _widened(page / name, built.replace(_HEAD, _HEAD + mark, 1), mirrors)
        found[name] = marked
        if worker is not None:
            if _integrity(built) not in worker:
                raise PageMissing(
                    f"{page / SERVICE_WORKER} is of another build than {page / name}; "
                    "build both with `npm run build`"
                )
            worker = worker.replace(_integrity(built), _integrity(marked))
    if worker is not None:
        # It sends the policy of workers, which hear none from their page.
        found[SERVICE_WORKER] = _widened(page / SERVICE_WORKER, worker, mirrors)
    found[NO_JEKYLL] = b""
    if FRAME_NAME in found:
        found[EMBED_FILE] = embed_file(embed_origins)
    return PagePlan({name: found[name] for name in sorted(found, key=_order)})


def require_ours(plan: PagePlan, folder: Path, made: frozenset[str]) -> None:
    """See that the page replaces nothing of somebody else's. Raises `ForeignFile`."""
    start = folder / PAGE_NAME
    if start.is_file() and LAYOUT_MARK in start.read_bytes():
        return  # an export of a version that kept no record
    for name in plan.files:
        if (
            name not in made
            and os.path.lexists(folder / name)
            and not _is_there(plan, folder, name)
        ):
            raise ForeignFile(
                f"{folder / name} is not of an export; choose another folder, or remove that file"
            )


def write_page(plan: PagePlan, folder: Path) -> int:
    """Copy the page into `folder`, over an older one; gives the bytes that were not there.

    All of it is on the disk before the first file gets its name: in between, a visitor could get
    parts of two builds.
    """
    written = 0
    make_folders(folder)
    with ExitStack() as stack:
        staged = []
        for name in plan.files:
            if _is_there(plan, folder, name):
                continue
            data = plan.read(name)
            # Beside the models: the site may be served while this goes on.
            partial = stack.enter_context(partial_file(folder))
            partial.file.write(data)
            # A web server, which is another user, reads it.
            os.fchmod(partial.file.fileno(), 0o644)
            partial.file.flush()
            staged.append((partial, folder / name))
            written += len(data)
        for partial, target in staged:
            partial.publish(target)
    return written


def _is_there(plan: PagePlan, folder: Path, name: str) -> bool:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        return False
    with open_regular(path) as file:
        return file.read(plan.size(name) + 1) == plan.read(name)


def _widened(path: Path, data: bytes, mirrors: Sequence[str]) -> bytes:
    widened = with_origins(data, mirrors)
    if widened is None:
        raise PageMissing(
            f"{path} has no policy that could let the page ask mirrors; build it with "
            "`npm run build`"
        )
    return widened


def _order(name: str) -> tuple[int, str]:
    if name in _LAST:
        return 2 + _LAST.index(name), name
    return (0 if name.startswith(_HASHED_FOLDER) else 1), name


def _integrity(data: bytes) -> bytes:
    """A digest as Subresource Integrity spells it, which is how the service worker has it."""
    return b"sha256-" + base64.b64encode(bytes.fromhex(Digest.of(data).hex))
