"""Native models for tests: a GGUF and its layers under a name, without any creation code."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes.tiny_gguf import tiny_llama
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest, Platform
from transom_models.name import ModelName
from transom_server.store import Store

# One thread: more of them wait for each other on a busy machine.
OPTIONS: Mapping[str, Any] = {"temperature": 0, "num_thread": 1}


def put_native(
    store: Store,
    name: str,
    gguf: bytes | None = None,
    *,
    system: str | None = None,
    template: str | None = None,
    parameters: Mapping[str, Any] = OPTIONS,
    messages: Sequence[Mapping[str, str]] = (),
    projector: bytes | None = None,
    adapters: Sequence[bytes] = (),
) -> Digest:
    """A model of the `native/gguf` platform; the tiny random llama unless given another."""
    layers = [(media_types.OLLAMA_MODEL, tiny_llama().to_bytes() if gguf is None else gguf)]
    if projector is not None:
        layers.append((media_types.OLLAMA_PROJECTOR, projector))
    layers += [(media_types.OLLAMA_ADAPTER, adapter) for adapter in adapters]
    if system is not None:
        layers.append((media_types.OLLAMA_SYSTEM, system.encode()))
    if template is not None:
        layers.append((media_types.OLLAMA_TEMPLATE, template.encode()))
    if messages:
        layers.append((media_types.OLLAMA_MESSAGES, json.dumps(messages).encode()))
    layers.append((media_types.OLLAMA_PARAMS, json.dumps(parameters).encode()))
    config = {"model_format": "gguf", "model_family": "llama", "model_families": ["llama"]}
    config |= {"model_type": "100K", "file_type": "Q4_1"}
    rows = [
        _keep(store, media_type, data)
        for media_type, data in [(media_types.OLLAMA_CONFIG, json.dumps(config).encode()), *layers]
    ]
    manifest = _keep(store, media_types.OCI_MANIFEST, Manifest(rows[0], tuple(rows[1:])).to_bytes())
    native = Platform("native", "gguf")
    row = Descriptor(manifest.media_type, manifest.digest, manifest.size, platform=native)
    return store.put_index(ModelName.parse(name), Index((row,)))


def _keep(store: Store, media_type: str, data: bytes) -> Descriptor:
    return Descriptor(media_type, store.put_bytes(data), len(data))
