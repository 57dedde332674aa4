"""What models take: each stored byte once, and per model how much of it is shared."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.store.keys import BLOBS

if TYPE_CHECKING:
    from transom_server.store.store import Store


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Bytes of a model's blobs, each once. `own`: needed by no other model, so freed with it."""

    name: ModelName
    total: int
    own: int

    @property
    def shared(self) -> int:
        return self.total - self.own


@dataclass(frozen=True, slots=True)
class Usage:
    """`stored`: bytes of all blobs in the store; `unused`: of those that no model needs.

    `unreadable`: models that could not be read, and why.
    """

    models: tuple[ModelUsage, ...]
    stored: int
    unused: int
    unreadable: tuple[tuple[ModelName, str], ...]


def usage(store: "Store") -> Usage:
    """Add up the store. A blob that two tags of one digest name counts as shared."""
    stored = {entry.key.rpartition("/")[2]: entry.size for entry in store.storage.entries(BLOBS)}
    sizes: dict[ModelName, dict[Digest, int]] = {}
    unreadable = []
    for name in store.names():
        try:
            model = store.read_model(name)
            rows = {row.digest: row.size for row in store.descriptors(model)}
        except TransomError as error:
            unreadable.append((name, str(error)))
        else:
            sizes[name] = {model.digest: len(model.data), **rows}
    needed_by = Counter(digest for rows in sizes.values() for digest in rows)
    models = [
        ModelUsage(
            name,
            sum(rows.values()),
            sum(size for digest, size in rows.items() if needed_by[digest] == 1),
        )
        for name, rows in sizes.items()
    ]
    needed = {digest.hex for digest in needed_by}
    return Usage(
        tuple(sorted(models, key=lambda model: str(model.name))),
        sum(stored.values()),
        sum(size for hex_digits, size in stored.items() if hex_digits not in needed),
        tuple(unreadable),
    )
