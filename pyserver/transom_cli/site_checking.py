"""`transom export --check`: a static site walked as a browser would, and what is said of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from transom_cli.output import LongWork, count_text, long_work, printable, size_text
from transom_server.exchange.site_check import SiteCheck, SiteReport
from transom_server.exchange.site_source import SiteAddress, SiteFolder, SiteSource
from transom_server.transfer.gguf_url import is_url
from transom_server.transfer.http_client import HttpClient
from transom_server.transfer.status import TransferOptions

EXIT_BAD: Final = 1


def check_site(target: str, limit: int | None, as_json: bool) -> int:
    """Check the site in a folder or at an address; gives the exit code."""
    if not is_url(target) and not Path(target).is_dir():
        raise click.UsageError(f"{target} is no folder, nor an address with https:// or http://")
    with long_work(as_json) as work, _source(target, work) as source:
        found = SiteCheck(source, work.report, limit=limit, cancelled=work.cancelled).run()
        work.end(
            {
                "site": source.where,
                "faults": [
                    {"path": fault.path, "reason": fault.reason, "way_out": fault.way_out}
                    for fault in found.faults
                ],
                "page_files": found.page_files,
                "page_bytes": found.page_bytes,
                "models": found.models,
                "blobs": found.blobs,
                "blob_bytes": found.blob_bytes,
                "largest_file_bytes": found.largest_file_bytes,
                "max_file_bytes": found.max_file_bytes,
            }
        )
    if not as_json:
        _print(found)
    return 0 if found.sound else EXIT_BAD


@contextmanager
def _source(target: str, work: LongWork) -> Iterator[SiteSource]:
    if not is_url(target):
        yield SiteFolder(Path(target))
        return
    # Nothing secret is sent, and what comes is checked by its digest.
    with HttpClient(TransferOptions(insecure=True, cancelled=work.cancelled)) as http:
        yield SiteAddress(target, http)


def _print(found: SiteReport) -> None:
    for fault in found.faults:
        click.echo(f"bad: {printable(str(fault))}")
        click.echo(f"     {printable(fault.way_out)}")
    click.echo(
        f"page: {count_text(found.page_files, 'file')}, {size_text(found.page_bytes)}; "
        f"{count_text(len(found.models), 'model')}, {count_text(found.blobs, 'blob')}, "
        f"{size_text(found.blob_bytes)}; largest file {size_text(found.largest_file_bytes)}: "
        + (count_text(len(found.faults), "fault") if found.faults else "all as a browser needs it")
    )
