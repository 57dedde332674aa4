"""The texts that a platform of a model carries in its layers: template, system message,
parameters, seed messages, licences.

Knows the store and the layers' formats, which are Ollama's; does not know who shows or changes
them.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, InvalidManifest, Manifest
from transom_models.modelfile import Parameters, params_json, read_params
from transom_server.model.gguf_facts import GgufFacts, read_gguf
from transom_server.store import Store

Messages = tuple[tuple[str, str], ...]

# A conversation to begin with, not an archive: the largest text that is read whole anyway.
MAX_MESSAGES: Final = 1024


@dataclass(frozen=True, slots=True)
class ModelTexts:
    """What the layers say; None and empty where there is no layer. `template` is as it is stored:
    Jinja, or Go's language in a model that was made by Ollama."""

    template: str | None = None
    system: str | None = None
    parameters: Parameters = field(default_factory=dict, hash=False)
    messages: Messages = ()
    licences: tuple[str, ...] = ()


def layers_of(manifest: Manifest, media_type: str) -> tuple[Descriptor, ...]:
    """The layers of one kind, in order."""
    return tuple(layer for layer in manifest.layers if layer.media_type == media_type)


def read_texts(store: Store, manifest: Manifest) -> ModelTexts:
    """Read the text layers of a platform.

    Raises `BlobNotFound`; `InvalidManifest` and `InvalidParameter` for a layer that is not what
    its type says. The last layer of a kind holds, as in Ollama; licences are all kept.
    """

    def last(media_type: str) -> bytes | None:
        rows = layers_of(manifest, media_type)
        return store.read_manifest_bytes(rows[-1].digest) if rows else None

    template, system = last(media_types.OLLAMA_TEMPLATE), last(media_types.OLLAMA_SYSTEM)
    params, messages = last(media_types.OLLAMA_PARAMS), last(media_types.OLLAMA_MESSAGES)
    return ModelTexts(
        template=None if template is None else _text(template),
        system=None if system is None else _text(system),
        parameters={} if params is None else read_params(params),
        messages=() if messages is None else read_messages(messages),
        licences=tuple(
            _text(store.read_manifest_bytes(row.digest))
            for row in layers_of(manifest, media_types.OLLAMA_LICENSE)
        ),
    )


def read_messages(data: bytes) -> Messages:
    """(role, content) of each seed message. Raises `InvalidManifest`."""
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidManifest(f"a messages layer is not JSON: {error}") from None
    if not isinstance(rows, list) or len(rows) > MAX_MESSAGES:
        raise InvalidManifest(f"a messages layer must be a list of at most {MAX_MESSAGES}")
    return tuple(_message(row) for row in rows)


def messages_json(messages: Messages) -> bytes:
    """Canonical JSON of a messages layer, which `read_messages` reads back."""
    rows = [{"role": role, "content": content} for role, content in messages]
    return json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def text_layers(texts: ModelTexts) -> dict[str, bytes]:
    """Media type -> bytes of each layer that these texts make, licences left out."""
    layers = {}
    if texts.template is not None:
        layers[media_types.OLLAMA_TEMPLATE] = texts.template.encode()
    if texts.system:
        layers[media_types.OLLAMA_SYSTEM] = texts.system.encode()
    if texts.parameters:
        layers[media_types.OLLAMA_PARAMS] = params_json(texts.parameters)
    if texts.messages:
        layers[media_types.OLLAMA_MESSAGES] = messages_json(texts.messages)
    return layers


def gguf_of(store: Store, digest: Digest, most_items: int = 0) -> GgufFacts:
    """The header of a GGUF blob; `most_items` of each array. Raises `BlobNotFound`,
    `InvalidGguf`."""
    with store.open_blob(digest) as file:
        return read_gguf(file, store.blob_size(digest), str(digest), most_items)


def _text(data: bytes) -> str:
    # A text of another encoding is still shown; nothing here is compared with what it says.
    return data.decode(errors="replace")


def _message(row: Any) -> tuple[str, str]:
    if isinstance(row, dict):
        role, content = row.get("role"), row.get("content", "")
        if isinstance(role, str) and isinstance(content, str):
            return role, content
    raise InvalidManifest("a messages layer holds a message without role and content")
