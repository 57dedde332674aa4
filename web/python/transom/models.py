"""Which models there are, and loading one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transom import fetching
from transom.errors import TransomError


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be asked by its name."""

    name: str
    capabilities: tuple[str, ...] = ()
    context_length: int | None = None
    license: str | None = None


_last: list[str] = []


async def models() -> list[str]:
    """Names of all models: this browser's, and those that the page's host offers."""
    listed = await fetching.ask("GET", "/v1/models")
    return [row["id"] for row in listed["data"]]


async def load(name: str) -> Model:
    """Load a model, downloading it first where needed; `chat` asks it from then on.

    Takes as long as the download; the page shows how far it is. Raises `TransomError`.
    """
    await fetching.ask("POST", "/api/generate", {"model": name, "stream": False})
    shown = await fetching.ask("POST", "/api/show", {"model": name})
    _last[:] = [name]
    return Model(
        name,
        tuple(shown.get("capabilities", ())),
        _context_length(shown.get("model_info", {})),
        shown.get("license"),
    )


def last_loaded() -> str:
    """The model to ask where none is named. Raises `TransomError` before the first `load`."""
    if not _last:
        raise TransomError('load a model first: await transom.load("smollm2"), or name one')
    return _last[0]


def _context_length(info: Mapping[str, Any]) -> int | None:
    found = [value for key, value in info.items() if key.endswith(".context_length")]
    return found[0] if found and isinstance(found[0], int) else None
