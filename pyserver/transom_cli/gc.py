"""`transom gc`: remove blobs that no model needs."""

import os
import re
from typing import Final

import click

from transom_cli.output import (
    DAY,
    DOCUMENT,
    HOUR,
    MINUTE,
    count_text,
    json_option,
    print_json,
    size_text,
)
from transom_server.settings.toml_file import read_config
from transom_server.store import Removed, open_store
from transom_server.store.garbage import GRACE_SECONDS

_UNITS: Final = {"": 1, "s": 1, "m": MINUTE, "h": HOUR, "d": DAY}
# Nine digits of days are more than the age of mankind, and still a number that a clock takes.
_SPAN: Final = re.compile(r"(\d{1,9})([smhd]?)", re.ASCII)


class Span(click.ParamType[float]):
    """A time span as `30s`, `15m`, `1h`, `2d`, in seconds."""

    name = "time"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not isinstance(value, str):
            return value
        match = _SPAN.fullmatch(value)
        if match is None:
            self.fail(f"{value!r:.40} is not a time as 30s, 15m, 1h or 2d", param, ctx)
        return float(int(match[1]) * _UNITS[match[2]])


@click.command()
@click.option(
    "--grace",
    type=Span(),
    default=f"{GRACE_SECONDS / HOUR:.0f}h",
    show_default=True,
    help="Leave what came within this time: somebody may be about to name it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
@json_option(DOCUMENT)
def command(grace: float, dry_run: bool, as_json: bool) -> None:
    """Remove blobs that no model needs.

    Safe while others pull, push and create: what they are about to use stays.
    """
    store = open_store(read_config(os.environ).models)
    collected = store.collect_garbage(grace, dry_run)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "removed": _to_json(collected.removed),
                "young": _to_json(collected.young),
                "unfinished": collected.unfinished,
            }
        )
        return
    would = "would remove" if dry_run else "removed"
    click.echo(f"{would} {_text(collected.removed)}")
    if collected.unfinished:
        files = count_text(collected.unfinished, "unfinished file")
        click.echo(f"{would} {files} that nobody came back for")
    if collected.young.blobs:
        click.echo(
            f"left {_text(collected.young)} that no model needs, but which came only now "
            "(--grace 0 takes them too)"
        )


def _text(removed: Removed) -> str:
    return f"{count_text(removed.blobs, 'blob')}, {size_text(removed.bytes)}"


def _to_json(removed: Removed) -> dict[str, int]:
    return {"blobs": removed.blobs, "bytes": removed.bytes}
