"""Open the store that a setting names: a folder, or an object store with a folder of its own in
this machine's cache. The packages for object stores are loaded for a URL only."""

import hashlib
import os
import re
from pathlib import Path
from typing import Final

import platformdirs

from transom_server.settings.toml_file import read_config
from transom_server.store.errors import StoreError
from transom_server.store.storage import Storage
from transom_server.store.store import Store

# A bucket and a folder; no credentials, which would be printed, no query, no chain of URLs.
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?!.*(?:::|/\.{0,2}/))[A-Za-z0-9_./=-]+")


def open_store(location: str | Path) -> Store:
    """The store at a path or a URL (`s3://bucket/folder`), where nothing need be yet.

    Raises `StoreError` for a URL that cannot be a store's, or whose packages are missing.
    """
    if isinstance(location, Path) or "://" not in location:
        return Store(Path(location))
    return Store(_object_storage(location))


def _object_storage(url: str) -> Storage:
    if _URL.fullmatch(url) is None:
        raise StoreError(
            f"TRANSOM_MODELS: {url!r:.100} is not a URL as s3://bucket/folder; credentials "
            "go into variables as AWS_ACCESS_KEY_ID (docs/object-storage.md)"
        )
    try:
        from transom_server.store.objects import ObjectStorage

        cap_bytes = read_config(os.environ).cache_bytes
        return ObjectStorage(url, _scratch(url), cap_bytes)
    except ImportError as error:
        raise StoreError(
            f"{url}: a store at a URL needs more packages: pip install 'transom[objects]' ({error})"
        ) from error
    except ValueError as error:
        raise StoreError(f"TRANSOM_MODELS: {url}: {error}") from error


def _scratch(url: str) -> Path:
    """A folder for each URL: what is unfinished belongs to one store."""
    chosen = os.environ.get("TRANSOM_CACHE")
    cache = Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("transom")
    return cache.absolute() / "stores" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
