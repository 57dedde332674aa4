"""The by-path view for WebLLM (`ModelRecord.model`): a tag's browser files under their titles."""

from flask import Blueprint, Response

from transom_models.manifest import Descriptor
from transom_models.name import ModelName
from transom_server.errors import FileNotInModel
from transom_server.http.blob_response import REVALIDATE, blob_response, content_type
from transom_server.store import Store, StoredModel


def blueprint(store: Store) -> Blueprint:
    routes = Blueprint("webllm", __name__)

    @routes.get("/webllm/<path:repository>/<tag>/resolve/main/<path:title>")
    def file(repository: str, tag: str, title: str) -> Response:
        model = store.get_index(ModelName.parse(f"{repository}:{tag}"))
        row = _by_title(store, model).get(title)
        if row is None:
            raise FileNotInModel(f"{model.name} has no file {title!r:.200} for browsers")
        # A tag can move, and shards of one version with the tensor list of another are noise:
        # so nothing here is used unasked, however small the time would be.
        return blob_response(store, row.digest, content_type(row.media_type), REVALIDATE)

    return routes


def _by_title(store: Store, model: StoredModel) -> dict[str, Descriptor]:
    """Title -> descriptor over all browser platforms.

    Where two platforms mean different bytes by one title, f32 wins: it runs on every adapter.
    """
    rows = [row for row in model.index.manifests if row.platform and row.platform.os == "browser"]
    rows.sort(key=lambda row: row.platform is None or row.platform.variant != "f32")
    found: dict[str, Descriptor] = {}
    for row in rows:
        for part in store.get_manifest(row).descriptors:
            if part.title is not None:
                found.setdefault(part.title, part)
    return found
