"""The argument that is a model's name: any text, completed in a shell by what the store has."""

import os

import click
from click.shell_completion import CompletionItem


class StoredName(click.ParamType[str]):
    """A name as it was typed. The verb checks it: it may be one of another store."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names in the store that begin so. No store, or one that cannot be read: none."""
        from transom_models.errors import TransomError
        from transom_server.settings.toml_file import read_config
        from transom_server.store import open_store
        from transom_server.store.keys import is_hidden

        try:
            store = open_store(read_config(os.environ).models)
            names = sorted(str(name) for name in store.names() if not is_hidden(name))
        except (TransomError, OSError):
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]
