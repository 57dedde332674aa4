"""A static site: the page, and the models that it offers as an image layout beside it.

Order is everything here: blobs, the page, then `index.json`, then the removal of what was replaced.
Stopped anywhere, the folder is the site that it was before, or the one that it was to be.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from transom_models.errors import TransomError
from transom_server.exchange.export_record import begin_record, end_record
from transom_server.exchange.layout_export import (
    Exported,
    LayoutPlan,
    Limit,
    exported,
    plan_layout,
    publish_layout,
    write_blobs,
)
from transom_server.exchange.page_export import (
    ForeignFile,
    PagePlan,
    plan_page,
    require_ours,
    write_page,
)
from transom_server.store import Store, StoredModel
from transom_server.store.partial_file import make_folders
from transom_server.transfer.status import Report

# Cloudflare Pages; others take more (`docs/static-sites.md`).
SMALLEST_COMMON_LIMIT: Final = 25 * 1024 * 1024


class PageTooLarge(TransomError):
    """A file of the page is larger than the site's host takes; those cannot be in pieces."""


@dataclass(frozen=True, slots=True)
class SitePlan:
    """A site as it will be."""

    layout: LayoutPlan
    page: PagePlan | None

    @property
    def files(self) -> frozenset[str]:
        """Every file of the site but the record."""
        return self.layout.files | frozenset(() if self.page is None else self.page.files)

    @property
    def largest_bytes(self) -> int:
        """The largest file of the site."""
        page = 0 if self.page is None else self.page.size(self.page.largest)
        return max(page, self.layout.largest_bytes)


@dataclass(frozen=True, slots=True)
class ExportedSite:
    """What an export did."""

    layout: Exported
    page_files: int
    page_bytes: int
    page_copied: int
    """Bytes of the page that were not there before."""


def plan_site(
    store: Store,
    models: Sequence[StoredModel],
    folder: Path,
    page: Path | None,
    limit: Limit | None = None,
    *,
    only: bool = False,
    embed_origins: Sequence[str] = (),
    mirrors: Sequence[str] = (),
) -> SitePlan:
    """Look everything up and refuse what cannot be; writes nothing. `page`: the built page;
    `embed_origins`: sites that may have its frame in theirs; `mirrors`: where its models are, too.

    Raises as `plan_layout` and `plan_page`, `ForeignFile`, `PageTooLarge`.
    """
    layout = plan_layout(store, models, folder, limit, only=only)
    if page is None:
        return SitePlan(layout, None)
    if folder.resolve().is_relative_to(page.resolve()):
        raise ForeignFile(f"{folder} is in the built page; choose another folder")
    files = plan_page(page, embed_origins, mirrors)
    largest = files.largest
    if layout.limit is not None and files.size(largest) > layout.limit:
        raise PageTooLarge(
            f"{largest} of the page has {files.size(largest)} bytes, "
            f"over the {layout.limit} that a file may have; choose a host that takes more"
        )
    require_ours(files, folder, layout.made)
    return SitePlan(layout, files)


def export_site(
    store: Store,
    plan: SitePlan,
    report: Report,
    *,
    link: bool = False,
    cancelled: threading.Event | None = None,
) -> ExportedSite:
    """Write the site. Raises `StoreError`, `Cancelled`; what is there by then is used next time."""
    folder = plan.layout.folder
    make_folders(folder)
    # Without the page in the plan, the site keeps the one that it has.
    needed = plan.files if plan.page is not None else plan.files | plan.layout.beside
    ours = begin_record(folder, plan.layout.made, plan.files)
    done = write_blobs(store, plan.layout, report, link=link, cancelled=cancelled)
    copied = 0 if plan.page is None else write_page(plan.page, folder)
    publish_layout(plan.layout)
    removed = end_record(folder, ours, needed)
    return ExportedSite(
        exported(plan.layout, done, removed),
        0 if plan.page is None else len(plan.page.files),
        0 if plan.page is None else plan.page.total_bytes,
        copied,
    )
