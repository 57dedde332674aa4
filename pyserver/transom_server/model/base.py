"""What a model is made from: a model of the store, or a GGUF blob on its own.

Knows the store and the formats of layers; what becomes of a base is `creation`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest, Platform
from transom_models.name import ModelName
from transom_models.native_config import native_config
from transom_server.model.gguf_facts import GgufFacts, InvalidGguf
from transom_server.model.model_texts import gguf_of
from transom_server.store import Store

NATIVE: Final = Platform("native", "gguf")
# As real as they come: names of architectures are a word, licence expressions a line.
_MAX_ARCHITECTURE_CHARS: Final = 100
_MAX_LICENCE_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """A platform of a base. `row`: how the base's own index names it, when there is one."""

    platform: Platform | None
    manifest: Manifest
    row: Descriptor | None = None

    @property
    def is_browser(self) -> bool:
        return self.platform is not None and self.platform.os == "browser"


@dataclass(frozen=True, slots=True)
class Base:
    """What a model is made from. `fresh`: small blobs that are not in the store yet."""

    parts: tuple[Part, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    fresh: Mapping[Digest, bytes] = field(default_factory=dict, hash=False)


def base_from_model(store: Store, name: ModelName) -> Base:
    """A model of the store as a base. Raises `ModelNotFound`, `InvalidManifest`."""
    return base_of(store, store.get_index(name).index)


def base_of(store: Store, index: Index) -> Base:
    """The same for an index whose manifests are in the store."""
    parts = tuple(Part(row.platform, store.get_manifest(row), row) for row in index.manifests)
    return Base(parts, index.annotations)


def fresh_base_from_gguf(store: Store, digest: Digest, projectors: Sequence[Digest] = ()) -> Base:
    """A GGUF blob of the store as a native platform, and image encoders beside it.

    Raises `BlobNotFound`; `InvalidGguf` for a file that lies about itself, or that is an adapter
    or a projector where a model is wanted.
    """
    facts = gguf_of(store, digest)
    require_kind(facts, "model", digest)
    architecture = facts.architecture or ""
    if not architecture.isprintable() or not 0 < len(architecture) <= _MAX_ARCHITECTURE_CHARS:
        raise InvalidGguf(f"{digest} does not name its architecture (general.architecture)")
    layers = [Descriptor(media_types.OLLAMA_MODEL, digest, store.blob_size(digest))]
    for projector in projectors:
        require_kind(gguf_of(store, projector), "projector", projector)
        size = store.blob_size(projector)
        layers.append(Descriptor(media_types.OLLAMA_PROJECTOR, projector, size))
    config = native_config(facts.native(), [layer.digest for layer in layers])
    row = Descriptor(media_types.OLLAMA_CONFIG, Digest.of(config), len(config))
    annotations = {
        media_types.ANNOTATION_ARCHITECTURE: architecture,
        media_types.ANNOTATION_SOURCE_DIGEST: str(digest),
        media_types.ANNOTATION_SCHEME: " ".join(f"{name}:{n}" for name, n in facts.histogram),
    }
    if facts.licence is not None:
        annotations[media_types.ANNOTATION_LICENSES] = facts.licence[:_MAX_LICENCE_CHARS]
    part = Part(NATIVE, Manifest(row, tuple(layers), annotations))
    return Base((part,), annotations, {row.digest: config})


def require_kind(facts: GgufFacts, kind: str, digest: Digest) -> None:
    """Raises `InvalidGguf`."""
    if facts.kind != kind:
        raise InvalidGguf(f"{digest} is a GGUF of kind {facts.kind}, where a {kind} is wanted")
