"""A stored model as the folder that it was compiled to, for programs that read folders.

The folder holds links to blobs, not copies: it is for reading, and for as long as the store lives.
"""

from pathlib import Path
from typing import Final

from transom_server.exchange.bundle_import import INDEX_NAME, MANIFEST_FOLDER
from transom_server.store import Store, StoredModel, StoreError

BROWSER: Final = "browser"


def link_bundle(store: Store, model: StoredModel, folder: Path) -> None:
    """Fill `folder` with the index, its manifests, and each file of the browser's platforms.

    Raises `StoreError` where two platforms give one file name to different bytes.
    """
    (folder / INDEX_NAME).write_bytes(model.data)
    (folder / MANIFEST_FOLDER).mkdir()
    for row in model.index.manifests:
        manifest = folder / MANIFEST_FOLDER / f"{row.digest.hex}.json"
        manifest.symlink_to(store.blob_path(row.digest).absolute())
        if row.platform is None or row.platform.os != BROWSER:
            continue
        for part in store.get_manifest(row).descriptors:
            if part.title is None:
                continue
            path, blob = folder / part.title, store.blob_path(part.digest).absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_symlink():
                path.symlink_to(blob)
            elif path.readlink() != blob:
                raise StoreError(f"{model.name} has two different files named {part.title}")
