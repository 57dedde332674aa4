"""Processes that others started, as Linux lists them."""

from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """Processes that a process started, and those that they did.

    By each one's parent. What threads list as theirs goes from one thread to another when that
    ends, and is missed there by who looks just then.
    """
    parents: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        # It has just ended.
        with suppress(FileNotFoundError, ProcessLookupError):
            # Behind the name, which may have anything in it.
            fields = file.read_text(errors="replace").rpartition(")")[2].split()
            parents[int(file.parent.name)] = int(fields[1])

    def below(pid: int) -> list[int]:
        direct = [child for child, parent in parents.items() if parent == pid]
        return [each for child in direct for each in (child, *below(child))]

    return below(pid)
