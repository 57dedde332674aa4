"""`transom export DIR [NAME…]`: the page and models as plain files, for any web server or tool."""

import os
from pathlib import Path
from typing import Final

import click

from transom_cli.output import LINES, count_text, json_option, long_work, size_text
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.exchange.layout_export import export_layout
from transom_server.exchange.page_export import copy_page
from transom_server.routes.web import NOT_BUILT, find_web_dir
from transom_server.settings.toml_file import read_config
from transom_server.store import Store, StoredModel, open_store

OR_WITHOUT: Final = "; or export the models alone with --layout-only"


class NothingToExport(TransomError):
    """No model, or no page."""


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--layout-only", is_flag=True, help="Only the models, as an OCI image layout.")
@click.option("--link", is_flag=True, help="Hard links instead of copies, where the disk allows.")
@json_option(LINES)
def command(
    folder: Path, names: tuple[str, ...], layout_only: bool, link: bool, as_json: bool
) -> None:
    """Export the page and models as plain files.

    DIR becomes a static web site, which needs no program of ours, and an OCI image layout, which
    `transom import` and registry tools read. All models, or those of NAME. Again into the same DIR
    adds what is new.
    """
    config = read_config(os.environ)
    store = open_store(config.models)
    models = _models(store, names)
    page = None if layout_only else find_web_dir(config.web_dir)
    if page is None and not layout_only:
        raise NothingToExport(NOT_BUILT + OR_WITHOUT)
    with long_work(as_json) as work:
        exported = export_layout(
            store, models, folder, work.report, link=link, cancelled=work.cancelled
        )
        files = 0 if page is None else copy_page(page, folder)
        work.end(
            {
                "folder": str(folder),
                "models": list(exported.models),
                "blobs": exported.blobs,
                "copied_bytes": exported.copied,
                "linked_bytes": exported.linked,
                "there_bytes": exported.there,
                "page_files": files,
            }
        )
    if as_json:
        return
    if link and exported.copied:
        click.echo(
            f"note: {size_text(exported.copied)} were copied: {folder} takes no links to the store",
            err=True,
        )
    click.echo(f"{', '.join(exported.models)} in {folder}")
    done = exported.copied + exported.linked
    click.echo(
        f"{count_text(exported.blobs, 'blob')}: {size_text(done)} now, "
        f"{size_text(exported.there)} there before"
    )


def _models(store: Store, names: tuple[str, ...]) -> list[StoredModel]:
    if names:
        found = [store.get_index(ModelName.parse(name)) for name in names]
        return list({str(model.name): model for model in found}.values())
    models = store.list_models()
    if not models:
        raise NothingToExport(f"no models in {store.location} to export")
    return models
