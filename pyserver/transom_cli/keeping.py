"""Putting a bundle into the store of whoever runs the command, with progress."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from transom_compile.bundle import Bundle
from transom_compile.progress import Progress
from transom_models.digest import Digest
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import bundle_size, import_bundle
from transom_server.settings.toml_file import read_config
from transom_server.store import open_store


def keep(bundle: Bundle, name: str, progress: Progress) -> None:
    """Put a sealed bundle into the store."""
    keep_folder(bundle.folder, name, progress, bundle.files)


def keep_folder(
    folder: Path,
    name: str,
    progress: Progress,
    files: Mapping[Digest, Path] = MappingProxyType({}),
) -> Digest:
    """The same for a bundle's folder; `files`: where blobs are that it lacks."""
    store = open_store(read_config(os.environ).models)
    store.remove_stale_partials()
    progress.step("keep", bundle_size(folder, files))
    return import_bundle(store, folder, ModelName.parse(name), files, advance=progress.advance)
