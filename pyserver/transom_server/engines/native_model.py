"""What a stored model brings to whoever runs it natively: its texts, its files, its template.

Knows the store, and no engine.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from transom_api.engine import ModelFiles
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import Index, Manifest
from transom_models.modelfile import jinja_template
from transom_models.name import ModelName
from transom_server.model.draft import check_draft
from transom_server.model.model_texts import ModelTexts, gguf_of, layers_of, read_texts
from transom_server.store import Store, StoredModel

# Reading a header again costs a second, and each request asks for the texts; loaded models are a
# handful.
MODELS_KEPT: Final = 16


class NotNative(TransomError):
    """The model has nothing that llama.cpp could run."""


@dataclass(frozen=True, slots=True)
class NativeModel:
    """The native platform of a model."""

    stored: StoredModel
    manifest: Manifest
    texts: ModelTexts

    @property
    def name(self) -> ModelName:
        return self.stored.name


def read_native_model(store: Store, name: ModelName) -> NativeModel:
    """Raises `ModelNotFound`, `NotNative`, and what `read_texts` raises."""
    stored = store.get_index(name)
    platform = _native_platform(store, stored.index)
    if platform is not None:
        return NativeModel(stored, *platform)
    platforms = ", ".join(str(row.platform) for row in stored.index.manifests) or "nothing"
    raise NotNative(
        f"{stored.name} has no native platform, only {platforms}; "
        "`transom ask` runs it in a browser"
    )


@lru_cache(maxsize=MODELS_KEPT)
def _native_platform(store: Store, index: Index) -> tuple[Manifest, ModelTexts] | None:
    """The same for ever: an index names manifests, and these texts, by their digests."""
    for row in index.manifests:
        manifest = store.get_manifest(row)
        if layers_of(manifest, media_types.OLLAMA_MODEL):
            return manifest, read_texts(store, manifest)
    return None


def files_of(store: Store, model: NativeModel) -> ModelFiles:
    """Local files with the weights; a store in a bucket fetches them. Raises `BlobNotFound`,
    `DraftMismatch`."""

    def paths(media_type: str) -> list[str]:
        layers = layers_of(model.manifest, media_type)
        return [str(store.blob_path(layer.digest)) for layer in layers]

    projectors = paths(media_types.OLLAMA_PROJECTOR)
    drafts = layers_of(model.manifest, media_types.OLLAMA_DRAFT)
    for draft in drafts[:1]:
        (weights, *_) = layers_of(model.manifest, media_types.OLLAMA_MODEL)
        check_draft(store, weights.digest, draft.digest)
    return ModelFiles(
        weights=paths(media_types.OLLAMA_MODEL)[0],
        projector=projectors[0] if projectors else None,
        adapters=tuple(paths(media_types.OLLAMA_ADAPTER)),
        draft=paths(media_types.OLLAMA_DRAFT)[0] if drafts else None,
    )


def chat_template(store: Store, model: NativeModel) -> str | None:
    """The model's template in Jinja: a layer's, else the one in the weights, else None.

    Raises `InvalidGguf`, and what `jinja_template` raises for a Go template of Ollama's.
    """
    if model.texts.template:
        return jinja_template(model.texts.template)
    (weights, *_) = layers_of(model.manifest, media_types.OLLAMA_MODEL)
    return _own_template(store, weights.digest)


@lru_cache(maxsize=MODELS_KEPT)
def _own_template(store: Store, digest: Digest) -> str | None:
    return gguf_of(store, digest).template
