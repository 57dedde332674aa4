"""What can be told of a stored model: for lists from configs alone, for one model from all of it.

Knows the store and what its blobs hold; not how it is printed or sent.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transom_api.ollama.capabilities import template_capabilities
from transom_models import media_types
from transom_models.errors import TransomError
from transom_models.licence import Licence, licence_of
from transom_models.manifest import Manifest
from transom_models.modelfile import Modelfile, ModelfileError, write_modelfile
from transom_models.name import ModelName
from transom_models.native_config import count_text
from transom_server.model.browser_config import Document, read_config
from transom_server.model.gguf_facts import GgufFacts, InvalidGguf
from transom_server.model.model_texts import ModelTexts, gguf_of, layers_of, read_texts
from transom_server.store import Store, StoredModel

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """The few facts of a list. Texts are empty and lengths None where the model does not say."""

    format: str
    family: str
    families: tuple[str, ...]
    parameter_size: str
    quantization_level: str
    context_length: int | None = None
    embedding_length: int | None = None


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model, looked at closely. `gguf` and `projector` are None where it has none."""

    model: StoredModel
    details: ModelDetails
    platforms: tuple[str, ...]
    size_bytes: int
    texts: ModelTexts
    licence: Licence
    capabilities: tuple[str, ...]
    requires: str | None
    adapters: tuple[str, ...]
    draft: str | None
    gguf: GgufFacts | None
    projector: GgufFacts | None
    browser: Document | None = field(hash=False)

    @property
    def name(self) -> ModelName:
        return self.model.name

    @property
    def template(self) -> str | None:
        """The template in use, whether a layer holds it or the GGUF."""
        return self.texts.template or (self.gguf.template if self.gguf else None)

    @property
    def modelfile(self) -> str:
        """A Modelfile that makes this model out of itself: for reading, and for changing a bit."""
        said = Modelfile(
            base=str(ModelName(*self.name.parts)),
            template=self.template,
            system=self.texts.system,
            parameters=self.texts.parameters,
            licenses=self.texts.licences,
            messages=self.texts.messages,
            requires=self.requires,
        )
        head = "# Made by `transom show`. FROM brings everything along that no line here changes.\n"
        comments = "".join(f"# ADAPTER {digest}\n" for digest in self.adapters)
        comments += "" if self.draft is None else f"# DRAFT {self.draft}\n"
        text, left_out = _spelled(said)
        for word in left_out:
            comments += f"# {word}: cannot be spelled in a Modelfile; FROM brings it along\n"
        return head + comments + text


def details_of(store: Store, model: StoredModel) -> ModelDetails:
    """From the small blobs alone. Raises `BlobNotFound`, `InvalidManifest`."""
    manifests = [store.get_manifest(row) for row in model.index.manifests]
    for manifest in manifests:
        if manifest.config.media_type == media_types.OLLAMA_CONFIG:
            return _native_details(_config(store, manifest))
    for manifest in manifests:
        return _browser_details(_config(store, manifest), manifest)
    return ModelDetails("", "", (), "", "")


def licence_of_model(store: Store, model: StoredModel) -> Licence:
    """What the model says of its terms, over all platforms."""
    annotations = dict(model.index.annotations)
    texts: dict[str, None] = {}
    for row in model.index.manifests:
        manifest = store.get_manifest(row)
        annotations = {**manifest.annotations, **annotations}
        for layer in layers_of(manifest, media_types.OLLAMA_LICENSE):
            texts[store.read_manifest_bytes(layer.digest).decode(errors="replace")] = None
    return licence_of(annotations, texts)


def capabilities_of(store: Store, model: StoredModel) -> tuple[str, ...]:
    """What it can do, in Ollama's words; reads the header of its GGUF. Raises as `look_at`."""
    manifests = [store.get_manifest(row) for row in model.index.manifests]
    native = _native_of(manifests)
    gguf = _gguf(store, native, media_types.OLLAMA_MODEL, 0)
    projector = _gguf(store, native, media_types.OLLAMA_PROJECTOR, 0)
    browsers = _browsers_of(model, manifests)
    texts = _texts_of(store, native, manifests, browsers, gguf)
    browser = _config(store, browsers[0]) if browsers else None
    return _capabilities(gguf, projector, browser, texts)


def look_at(store: Store, name: ModelName, most_items: int = 0) -> ModelView:
    """All there is to tell of a model; `most_items` of each array of the GGUF's metadata.

    Raises `ModelNotFound`, `BlobNotFound`, `InvalidManifest`. A GGUF that cannot be read is logged
    and told as none.
    """
    model = store.get_index(name)
    manifests = [store.get_manifest(row) for row in model.index.manifests]
    browsers = _browsers_of(model, manifests)
    native = _native_of(manifests)
    gguf = _gguf(store, native, media_types.OLLAMA_MODEL, most_items)
    projector = _gguf(store, native, media_types.OLLAMA_PROJECTOR, most_items)
    browser = next((_config(store, manifest) for manifest in browsers), None)
    texts = _texts_of(store, native, manifests, browsers, gguf)
    details = details_of(store, model)
    sizes = {part.digest: part.size for part in store.descriptors(model)}
    config = {} if native is None else _config(store, native)
    requires = config.get("requires")
    adapters = layers_of(native, media_types.OLLAMA_ADAPTER) if native else ()
    drafts = layers_of(native, media_types.OLLAMA_DRAFT) if native else ()
    return ModelView(
        model=model,
        details=_completed(details, gguf),
        platforms=tuple(str(row.platform or "any") for row in model.index.manifests),
        size_bytes=sum(sizes.values()) + len(model.data),
        texts=texts,
        licence=licence_of_model(store, model),
        capabilities=_capabilities(gguf, projector, browser, texts),
        requires=requires if isinstance(requires, str) and requires else None,
        adapters=tuple(str(row.digest) for row in adapters),
        draft=str(drafts[0].digest) if drafts else None,
        gguf=gguf,
        projector=projector,
        browser=browser,
    )


def _native_of(manifests: Sequence[Manifest]) -> Manifest | None:
    return next((m for m in manifests if layers_of(m, media_types.OLLAMA_MODEL)), None)


def _browsers_of(model: StoredModel, manifests: Sequence[Manifest]) -> list[Manifest]:
    """Those of `manifests`, which are the model's, that are for browsers."""
    return [
        manifest
        for row, manifest in zip(model.index.manifests, manifests, strict=True)
        if row.platform is not None and row.platform.os == "browser"
    ]


def _texts_of(
    store: Store,
    native: Manifest | None,
    manifests: Sequence[Manifest],
    browsers: Sequence[Manifest],
    gguf: GgufFacts | None,
) -> ModelTexts:
    texts = read_texts(store, native or manifests[0]) if manifests else ModelTexts()
    if texts.template is None and gguf is None and browsers:
        return read_texts(store, browsers[0])
    return texts


def _gguf(store: Store, manifest: Manifest | None, kind: str, most_items: int) -> GgufFacts | None:
    rows = () if manifest is None else layers_of(manifest, kind)
    try:
        return gguf_of(store, rows[0].digest, most_items) if rows else None
    except InvalidGguf as error:
        # A file of tomorrow's types can be listed and passed on; to run it is another matter.
        _LOG.warning("%s", error)
        return None


def _config(store: Store, manifest: Manifest) -> Document:
    """The config blob as a document; a foreign one that is none reads as empty."""
    try:
        return read_config(store.read_manifest_bytes(manifest.config.digest))
    except TransomError:
        return {}


def _native_details(config: Mapping[str, Any]) -> ModelDetails:
    families = config.get("model_families")
    family = _word(config, "model_family")
    return ModelDetails(
        format=_word(config, "model_format") or "gguf",
        family=family,
        families=tuple(map(str, families)) if isinstance(families, list) else (family,),
        parameter_size=_word(config, "model_type"),
        quantization_level=_word(config, "file_type"),
        context_length=_length(config, "context_length"),
        embedding_length=_length(config, "embedding_length"),
    )


def _browser_details(config: Mapping[str, Any], manifest: Manifest) -> ModelDetails:
    family = manifest.annotations.get(media_types.ANNOTATION_ARCHITECTURE) or _word(
        config, "model_type"
    )
    sizes = config.get("model_config")
    return ModelDetails(
        format="webgpu",
        family=family,
        families=(family,) if family else (),
        parameter_size="",
        quantization_level=_word(config, "quantization"),
        context_length=_length(config, "context_window_size"),
        embedding_length=_length(sizes, "embedding_length") if isinstance(sizes, dict) else None,
    )


def _completed(details: ModelDetails, gguf: GgufFacts | None) -> ModelDetails:
    """With what only the file's header says: configs made by others lack some of it."""
    if gguf is None:
        return details
    facts = gguf.native()
    return ModelDetails(
        format=details.format,
        family=details.family or facts.architecture,
        families=details.families or (facts.architecture,),
        parameter_size=details.parameter_size or count_text(facts.parameter_count),
        quantization_level=details.quantization_level or facts.file_type,
        context_length=facts.context_length,
        embedding_length=facts.embedding_length,
    )


def _capabilities(
    gguf: GgufFacts | None,
    projector: GgufFacts | None,
    browser: Document | None,
    texts: ModelTexts,
) -> tuple[str, ...]:
    """In Ollama's words, from what the file and the template can do."""
    arch = gguf.architecture if gguf else None
    is_encoder = (gguf is not None and f"{arch}.pooling_type" in gguf.metadata) or (
        browser is not None and browser.get("model_task") == "embedding"
    )
    if is_encoder:
        return ("embedding",)
    template = texts.template or (gguf.template if gguf else None) or ""
    found = ["completion"]
    beside = {} if projector is None else projector.metadata
    hears = beside.get("clip.has_audio_encoder") is True
    # Projectors of old say nothing, and see.
    sees = beside.get("clip.has_vision_encoder", not hears) is True
    if (projector is not None and sees) or (
        gguf is not None and f"{arch}.vision.block_count" in gguf.metadata
    ):
        found.append("vision")
    if hears:
        found.append("audio")
    found += template_capabilities(template)
    return tuple(found)


def _spelled(said: Modelfile) -> tuple[str, list[str]]:
    """The Modelfile's text. What its grammar, which has no escapes, cannot spell is left out and
    named."""
    try:
        return write_modelfile(said), []
    except ModelfileError:
        pass
    kept: dict[str, Any] = {}
    left_out = []
    values: tuple[tuple[str, str, Any], ...] = (
        ("TEMPLATE", "template", said.template),
        ("SYSTEM", "system", said.system),
        ("PARAMETER", "parameters", said.parameters),
        ("MESSAGE", "messages", said.messages),
        ("LICENSE", "licenses", said.licenses),
        ("REQUIRES", "requires", said.requires),
    )
    for word, key, value in values:
        alone: dict[str, Any] = {key: value}
        try:
            write_modelfile(Modelfile(base=said.base, **alone))
        except ModelfileError:
            left_out.append(word)
        else:
            kept[key] = value
    return write_modelfile(Modelfile(base=said.base, **kept)), left_out


def _word(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _length(config: Mapping[str, Any], key: str) -> int | None:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
