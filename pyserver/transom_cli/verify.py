"""`transom verify [NAME…]`: read what the store holds, and name what is not what it says."""

import os
from typing import Any, Final

import click

from transom_cli.output import LINES, count_text, json_option, long_work, printable, size_text
from transom_models.name import ModelName
from transom_server.settings.toml_file import read_config
from transom_server.store import Problem, Verification, open_store
from transom_server.transfer.status import Status

EXIT_BAD: Final = 1


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--repair", is_flag=True, help="Remove damaged blobs, so that a pull brings them again."
)
@json_option(LINES)
def command(names: tuple[str, ...], repair: bool, as_json: bool) -> int:
    """Check every byte of the store, or of some models.

    Reads and hashes each blob again. Each bad one is named with every model that needs it. Exits 1
    when something is bad.

    Pulling does not read again what is there: after a disk or a hand changed a blob, --repair
    removes it, and the next pull of a model that needs it fetches that blob alone.
    """
    asked = [ModelName.parse(name) for name in names]
    store = open_store(read_config(os.environ).models)
    with long_work(as_json) as work:

        def tell(done: int, total: int) -> None:
            work.report(Status("hashing", None, total, done))

        result = store.verify(asked or None, tell)
        damaged = [problem.damaged for problem in result.problems if problem.damaged is not None]
        if repair:
            for digest in damaged:
                store.remove_blob(digest)
        work.end(
            {
                "models": result.models,
                "blobs": result.blobs,
                "bytes": result.bytes,
                "problems": [_to_json(problem) for problem in result.problems],
                "removed": [str(digest) for digest in damaged] if repair else [],
            }
        )
    if not as_json:
        _print(result)
        if repair and damaged:
            click.echo(f"removed {count_text(len(damaged), 'damaged blob')}")
    return 0 if result.sound else EXIT_BAD


def _to_json(problem: Problem) -> dict[str, Any]:
    return {
        "subject": problem.subject,
        "reason": problem.reason,
        "models": [str(name) for name in problem.models],
        "way_out": _way_out(problem),
    }


def _print(result: Verification) -> None:
    for problem in result.problems:
        click.echo(f"bad: {printable(str(problem))}")
        click.echo(f"     {_way_out(problem)}")
    read = (
        f"{count_text(result.models, 'model')}, {count_text(result.blobs, 'blob')}, "
        f"{size_text(result.bytes)}"
    )
    found = count_text(len(result.problems), "problem") if result.problems else "all as promised"
    click.echo(f"{read}: {found}")


def _way_out(problem: Problem) -> str:
    if problem.models:
        names = " ".join(str(name) for name in problem.models)
        first = "" if problem.damaged is None else "`transom verify --repair`, then "
        return (
            f"get it again with {first}`transom pull {problem.models[0]}`, or as it was made "
            f"(create, import, compile); or give it up with `transom rm {names}`"
        )
    if problem.subject.startswith("blob "):
        return "no model needs it; `transom gc --grace 0` removes it"
    return "not the store's; remove it by hand"
