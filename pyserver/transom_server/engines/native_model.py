"""What a stored model says to whoever runs it natively: its files, template, system text, options.

Reads the layers of the `native/gguf` platform, small ones whole. Knows the store, and no engine.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from transom_api.engine import ModelFiles
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import Descriptor, Manifest
from transom_models.modelfile import ParameterValue, jinja_template, read_params
from transom_models.name import ModelName
from transom_server.gguf_facts import read_gguf
from transom_server.store import Store, StoredModel

# The longest published templates are below 50 KiB, system texts and seed messages are shorter.
MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
# Reading a header again costs a second; loaded models are a handful.
TEMPLATES_KEPT: Final = 16


class NotNative(TransomError):
    """The model has nothing that llama.cpp could run."""


class DamagedLayer(TransomError):
    """A layer of the model is not what its media type says."""


@dataclass(frozen=True, slots=True)
class NativeModel:
    """The native platform of a model. `template` is Jinja, None where no layer has one."""

    name: ModelName
    digest: Digest
    """Of what the tag names."""
    manifest: Manifest
    weights: Descriptor
    template: str | None
    system: str | None
    parameters: Mapping[str, ParameterValue]
    messages: tuple[Mapping[str, str], ...]


def read_native_model(store: Store, name: ModelName) -> NativeModel:
    """Raises `ModelNotFound`, `NotNative`, `DamagedLayer`, and what the store raises."""
    stored = store.get_index(name)
    manifest = _native_manifest(store, stored)
    layers = {layer.media_type: layer for layer in manifest.layers}
    if media_types.OLLAMA_MODEL not in layers:
        raise NotNative(f"{stored.name} has no GGUF layer")
    template = _text(store, layers.get(media_types.OLLAMA_TEMPLATE))
    params = _bytes(store, layers.get(media_types.OLLAMA_PARAMS))
    return NativeModel(
        name=stored.name,
        digest=stored.digest,
        manifest=manifest,
        weights=layers[media_types.OLLAMA_MODEL],
        # Ollama's own models bring Go templates.
        template=None if template is None else jinja_template(template),
        system=_text(store, layers.get(media_types.OLLAMA_SYSTEM)) or None,
        parameters={} if params is None else read_params(params),
        messages=_messages(_bytes(store, layers.get(media_types.OLLAMA_MESSAGES))),
    )


def files_of(store: Store, model: NativeModel) -> ModelFiles:
    """Local files with the weights; a store in a bucket fetches them. Raises `BlobNotFound`."""
    paths: dict[str, list[str]] = {}
    for layer in model.manifest.layers:
        if layer.media_type in (
            media_types.OLLAMA_MODEL,
            media_types.OLLAMA_PROJECTOR,
            media_types.OLLAMA_ADAPTER,
        ):
            paths.setdefault(layer.media_type, []).append(str(store.blob_path(layer.digest)))
    projectors = paths.get(media_types.OLLAMA_PROJECTOR, [])
    return ModelFiles(
        weights=paths[media_types.OLLAMA_MODEL][0],
        projector=projectors[0] if projectors else None,
        adapters=tuple(paths.get(media_types.OLLAMA_ADAPTER, [])),
    )


def chat_template(store: Store, model: NativeModel) -> str | None:
    """The model's template: a layer's, else the one in the weights. Raises `InvalidGguf`."""
    return model.template or _own_template(store, model.weights.digest)


@lru_cache(maxsize=TEMPLATES_KEPT)
def _own_template(store: Store, digest: Digest) -> str | None:
    with store.open_blob(digest) as file:
        return read_gguf(file, store.blob_size(digest), str(digest)).template


def _native_manifest(store: Store, stored: StoredModel) -> Manifest:
    for row in stored.index.manifests:
        if row.platform is not None and row.platform.os == "native":
            return store.get_manifest(row)
    raise NotNative(
        f"{stored.name} has no native platform, only {_platforms(stored)}; "
        "`transom ask` runs it in a browser"
    )


def _platforms(stored: StoredModel) -> str:
    return ", ".join(str(row.platform) for row in stored.index.manifests) or "nothing"


def _bytes(store: Store, layer: Descriptor | None) -> bytes | None:
    if layer is None:
        return None
    with store.open_blob(layer.digest) as file:
        data = file.read(MAX_TEXT_BYTES + 1)
    if len(data) > MAX_TEXT_BYTES:
        raise DamagedLayer(f"layer {layer.digest} is longer than {MAX_TEXT_BYTES} bytes")
    return data


def _text(store: Store, layer: Descriptor | None) -> str | None:
    data = _bytes(store, layer)
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DamagedLayer("a text layer of this model is not UTF-8") from None


def _messages(data: bytes | None) -> tuple[Mapping[str, str], ...]:
    if data is None:
        return ()
    try:
        rows: Any = json.loads(data)
        return tuple({"role": str(row["role"]), "content": str(row["content"])} for row in rows)
    except (ValueError, RecursionError, KeyError, TypeError):
        raise DamagedLayer("the messages layer of this model cannot be read") from None
