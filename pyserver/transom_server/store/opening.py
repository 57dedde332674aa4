"""Open the store that a setting names."""

from pathlib import Path

from transom_server.store.store import Store


def open_store(location: str | Path) -> Store:
    """The store in a folder, which need not exist yet."""
    return Store(Path(location))
