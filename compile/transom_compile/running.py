"""How a long command runs: progress for people or machines, one line per error, an exit code.

Ctrl-C and a polite kill come out of the work as `KeyboardInterrupt`, so that it cleans up. Knows no
command.
"""

from collections.abc import Callable
from typing import TypeVar

import click

from transom_compile.bars import bars
from transom_compile.events import Events
from transom_compile.interrupts import interruptible
from transom_compile.progress import Progress
from transom_models.errors import TransomError

EXIT_USER_ERROR = 2
# 128 + SIGINT, as a shell counts it.
EXIT_INTERRUPTED = 130

T = TypeVar("T")


def run_work(
    work: Callable[[Progress], T], finish: Callable[[T, Events | None], None], as_json: bool
) -> int:
    """Work with progress, then tell; every way to fail is one line and a code.

    `finish` gets the events where they are asked for, to end them with its own last line.
    """
    events = Events(click.echo) if as_json else None
    try:
        with interruptible():
            if events is not None:
                result = work(events)
            else:
                with bars() as progress:
                    result = work(progress)
    except TransomError as error:
        return _fail(str(error), EXIT_USER_ERROR, events)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{where}", EXIT_USER_ERROR, events)
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was kept", EXIT_INTERRUPTED, events)
    finish(result, events)
    return 0


def _fail(message: str, code: int, events: Events | None) -> int:
    text = " ".join(message.split())
    if events is not None:
        events.end("error", {"message": text})
    click.echo(f"error: {text}", err=True)
    return code
