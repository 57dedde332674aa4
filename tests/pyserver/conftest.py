"""What the server's tests share: a store with one tiny model in it."""

from pathlib import Path

import pytest

from tests.pyserver.bundles import TinyBundle, write_bundle
from transom_models.name import ModelName
from transom_server.exchange.bundle_import import import_bundle
from transom_server.store import Store


@pytest.fixture
def bundle(tmp_path: Path) -> TinyBundle:
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store whose folder does not exist yet."""
    return Store(tmp_path / "models")


@pytest.fixture
def filled(store: Store, bundle: TinyBundle) -> Store:
    """A store with the tiny bundle under the name `tiny`."""
    import_bundle(store, bundle.folder, ModelName.parse("tiny"), bundle.files)
    return store
