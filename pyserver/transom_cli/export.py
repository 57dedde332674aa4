"""`transom export DIR [NAME…]`: the page and models as plain files, for any web server or tool."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from transom_cli.output import LINES, count_text, json_option, long_work, size_text
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.exchange.layout_export import Limit
from transom_server.exchange.mirrors import read_mirrors
from transom_server.exchange.site_export import (
    SMALLEST_COMMON_LIMIT,
    ExportedSite,
    SitePlan,
    export_site,
    plan_site,
)
from transom_server.routes.web import NOT_BUILT, find_web_dir
from transom_server.settings.embed_origins import read_embed_origins
from transom_server.settings.toml_file import read_config
from transom_server.store import Store, StoredModel, open_store

if TYPE_CHECKING:
    from transom_cli.output import LongWork

OR_WITHOUT: Final = "; or export the models alone with --layout-only"
_UNITS: Final = {"": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_BINARY_UNITS: Final = {"KIB": 1024, "MIB": 1024**2, "GIB": 1024**3}
_SIZE: Final = re.compile(r"(\d{1,12}) ?([A-Za-z]*)")


class NothingToExport(TransomError):
    """No model, or no page."""


class FileSize(click.ParamType[Limit]):
    """`25MiB`, `32MB`, a number of bytes; or `none`."""

    name = "size"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Limit:
        if isinstance(value, Limit):
            return value
        text = str(value).strip()
        if text.lower() == "none":
            return Limit(None)
        match = _SIZE.fullmatch(text)
        unit = None if match is None else (_UNITS | _BINARY_UNITS).get(match[2].upper())
        if match is None or unit is None:
            self.fail(f"{text!r:.40} is no size; 25MiB, 32MB, a number of bytes and none are")
        try:
            return Limit(int(match[1]) * unit)
        except TransomError as error:
            self.fail(str(error))


@click.command()
@click.argument("target", metavar="DIR")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--max-file",
    "limit",
    type=FileSize(),
    metavar="SIZE",
    help="The largest file that the host takes, as 25MiB: larger ones come in pieces.",
)
@click.option("--only", is_flag=True, help="Models of earlier exports leave DIR.")
@click.option(
    "--embed",
    "embed_origins",
    multiple=True,
    metavar="ORIGIN",
    help="A site, as https://blog.example, that may use its visitors' models in a frame.",
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    help="Where else the files of DIR are, for when its host fails: https://mirror.example/models/.",
)
@click.option("--layout-only", is_flag=True, help="Only the models, as an OCI image layout.")
@click.option("--link", is_flag=True, help="Hard links instead of copies, where the disk allows.")
@click.option(
    "--check", "is_check", is_flag=True, help="Walk DIR, or the site at an address, as a browser."
)
@json_option(LINES)
def command(
    target: str,
    names: tuple[str, ...],
    limit: Limit | None,
    only: bool,
    embed_origins: tuple[str, ...],
    mirrors: tuple[str, ...],
    layout_only: bool,
    link: bool,
    is_check: bool,
    as_json: bool,
) -> int:
    """Export the page and models as plain files.

    DIR becomes a static web site, which needs no program of ours, and an OCI image layout, which
    `transom import` and registry tools read. All models, or those of NAME. Again into the same DIR
    copies what is new, and removes what earlier exports put there and nothing needs any more.

    With --check nothing is written: DIR, or the site at an address, is read as a browser would.
    Each fault is named with the way out. Exits 1 when there is one.
    """
    if is_check:
        if names or only or embed_origins or mirrors or layout_only or link:
            raise click.UsageError("--check takes DIR or an address, and --max-file and --json")
        from transom_cli.site_checking import check_site

        return check_site(target, None if limit is None else limit.max_file_bytes, as_json)
    if layout_only and mirrors:
        raise click.UsageError("--mirror is told to the page, which --layout-only leaves out")
    folder = Path(target)
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{folder} is a file")
    config = read_config(os.environ)
    store = open_store(config.models)
    models = _models(store, names)
    page = None if layout_only else find_web_dir(config.web_dir)
    if page is None and not layout_only:
        raise NothingToExport(NOT_BUILT + OR_WITHOUT)
    sites = read_embed_origins(",".join(embed_origins))
    plan = plan_site(
        store,
        models,
        folder,
        page,
        limit,
        only=only,
        embed_origins=sites,
        mirrors=read_mirrors(mirrors),
    )
    if not as_json:
        _print_plan(plan)
    with long_work(as_json) as work:
        done = _export(store, plan, work, link=link)
    if not as_json:
        _print(plan, done, link=link)
    return 0


def _export(store: Store, plan: SitePlan, work: "LongWork", *, link: bool) -> ExportedSite:
    done = export_site(store, plan, work.report, link=link, cancelled=work.cancelled)
    layout = done.layout
    work.end(
        {
            "folder": str(plan.layout.folder),
            "models": list(layout.models),
            "blobs": layout.blobs,
            "copied_bytes": layout.copied,
            "linked_bytes": layout.linked,
            "there_bytes": layout.there,
            "page_files": done.page_files,
            "page_bytes": done.page_bytes,
            "page_copied_bytes": done.page_copied,
            "max_file_bytes": plan.layout.limit,
            "largest_file_bytes": plan.largest_bytes,
            "blobs_in_pieces": layout.in_pieces,
            "removed_files": layout.removed,
        }
    )
    return done


def _print_plan(plan: SitePlan) -> None:
    layout = plan.layout
    models = (
        f"{count_text(len(layout.models), 'model')}, {count_text(len(layout.sizes), 'blob')}, "
        f"{size_text(sum(layout.sizes.values()))}"
    )
    page = (
        "no page"
        if plan.page is None
        else (
            f"page: {count_text(len(plan.page.files), 'file')}, {size_text(plan.page.total_bytes)}"
        )
    )
    stay = f"; {count_text(len(layout.others), 'model')} there stay" if layout.others else ""
    click.echo(f"{models}; {page}{stay}", err=True)


def _print(plan: SitePlan, site: ExportedSite, *, link: bool) -> None:
    folder, done = plan.layout.folder, site.layout
    if link and done.copied:
        click.echo(
            f"note: {size_text(done.copied)} were copied: {folder} takes no links to the store, "
            "or needs them in pieces",
            err=True,
        )
    if done.in_pieces:
        click.echo(
            f"note: {count_text(done.in_pieces, 'blob')} over {_limit_text(plan.layout.limit)} "
            "lie in pieces: the page and `transom import` read them, registry tools do not",
            err=True,
        )
    elif plan.page is not None and plan.largest_bytes > SMALLEST_COMMON_LIMIT:
        click.echo(
            f"note: the largest file has {size_text(plan.largest_bytes)}; "
            "for a host that takes no more than 25 MiB, export with --max-file 25MiB",
            err=True,
        )
    click.echo(f"{', '.join(done.models)} in {folder}")
    removed = f", {count_text(done.removed, 'file')} removed" if done.removed else ""
    click.echo(
        f"{count_text(done.blobs, 'blob')}: {size_text(done.copied + done.linked)} now, "
        f"{size_text(done.there)} there before{removed}"
    )


def _limit_text(limit: int | None) -> str:
    mib = 1024**2
    return f"{limit // mib} MiB" if limit and limit % mib == 0 else size_text(limit or 0)


def _models(store: Store, names: tuple[str, ...]) -> list[StoredModel]:
    if names:
        found = [store.get_index(ModelName.parse(name)) for name in names]
        return list({str(model.name): model for model in found}.values())
    models = store.list_models()
    if not models:
        raise NothingToExport(f"no models in {store.location} to export")
    return models
