"""Making a model out of a base and a Modelfile: new layers, every other blob shared.

A base is a model of the store, or a GGUF blob on its own. Nothing is compiled here: browser
platforms stay as the base has them, with their config and text layers changed. Equal inputs give
equal digests, and a Modelfile that says what the base says already changes nothing. Knows the store
and the formats of layers; HTTP and files outside the store are others'.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import Descriptor, Index, InvalidManifest, Manifest
from transom_models.modelfile import Modelfile, jinja_template
from transom_models.name import ModelName
from transom_models.native_config import config_bytes
from transom_server.model.base import Base, Part, require_kind
from transom_server.model.browser_config import (
    Reconverse,
    read_config,
    with_parameters,
    with_system,
    with_template,
    write_config,
)
from transom_server.model.draft import check_draft
from transom_server.model.gguf_facts import InvalidGguf
from transom_server.model.model_texts import (
    ModelTexts,
    gguf_of,
    layers_of,
    read_texts,
    text_layers,
)
from transom_server.store import Lease, Store, StoreError
from transom_server.store.garbage import model_digests
from transom_server.transfer.status import REMOVING, SUCCESS, WRITING_MANIFEST, Report, Status

READING: Final = "reading model metadata"
# What a platform of the index is called in a Modelfile.
_PLATFORM_OS: Final = {"webgpu": "browser", "native": "native"}

# File names of text layers in a browser platform, whose every file needs one.
_TITLES: Final = {
    media_types.OLLAMA_TEMPLATE: "chat_template.jinja",
    media_types.OLLAMA_SYSTEM: "system.txt",
    media_types.OLLAMA_PARAMS: "params.json",
    media_types.OLLAMA_MESSAGES: "messages.json",
    media_types.OLLAMA_LICENSE: "LICENSE",
}


class CannotCreate(TransomError):
    """The base cannot become what the Modelfile asks for."""


def create_model(
    store: Store,
    name: ModelName,
    modelfile: Modelfile,
    base: Base,
    report: Report,
    *,
    adapters: Sequence[Digest] = (),
    adapters_merged: bool = False,
    draft: Digest | None = None,
    reconverse: Reconverse | None = None,
) -> Digest:
    """Give `name` to the base with what the Modelfile changes; the digest of the new index.

    `modelfile.base` and `modelfile.adapters` are the caller's to read: `base` and `adapters` are
    what they mean; `adapters_merged`: the browser platforms of the base have them in their weights.
    `draft` is the model of `modelfile.draft`, for the native platform.
    `reconverse` finds out WebLLM's prompt format of a new template. Raises
    `CannotCreate`, `UntranslatableTemplate`, `InvalidGguf`, and what the store raises.
    """
    report(Status(READING))
    parts = _wanted(base, modelfile.platforms)
    before = _digests_of(store, name)
    with store.adding() as lease:
        lease.keep(*(row.digest for part in parts for row in part.manifest.descriptors))
        maker = _Maker(
            store,
            lease,
            modelfile,
            base,
            tuple(adapters),
            adapters_merged,
            draft,
            reconverse,
            report,
        )
        rows = tuple(maker.row(part) for part in parts)
        report(Status(WRITING_MANIFEST))
        created = store.put_index(name, Index(rows, base.annotations))
    if unused := before - _digests_of(store, name):
        report(Status(REMOVING))
        store.remove_unused(sorted(unused, key=str))
    report(Status(SUCCESS))
    return created


def _digests_of(store: Store, name: ModelName) -> set[Digest]:
    """Every blob of a stored model; none when there is none, or when it is damaged."""
    with suppress(StoreError, InvalidManifest):
        return model_digests(store, store.get_index(name))
    return set()


def _wanted(base: Base, platforms: Sequence[str]) -> tuple[Part, ...]:
    """The parts that PLATFORM lines leave. Raises `CannotCreate` for one that is not there."""
    if not platforms:
        return base.parts
    systems = {"browser" if part.is_browser else "native" for part in base.parts}
    for word in platforms:
        if _PLATFORM_OS[word] not in systems:
            way = "; `transom create` on the command line compiles it" if word == "webgpu" else ""
            raise CannotCreate(f"PLATFORM {word}: the base has no such platform{way}")
    wanted = {_PLATFORM_OS[word] for word in platforms}
    return tuple(
        part for part in base.parts if ("browser" if part.is_browser else "native") in wanted
    )


@dataclass(slots=True)
class _Maker:
    """Changes one part after the other, and keeps what is new."""

    store: Store
    lease: Lease
    modelfile: Modelfile
    base: Base
    adapters: tuple[Digest, ...]
    adapters_merged: bool
    draft: Digest | None
    reconverse: Reconverse | None
    report: Report
    _told: set[Digest] = field(default_factory=set)
    _template: str | None = None

    def row(self, part: Part) -> Descriptor:
        """The index's row of the changed part; the base's own where nothing changed."""
        for layer in part.manifest.layers:
            if layer.digest in self.base.fresh:
                self.keep(layer.digest, self.base.fresh[layer.digest])
        manifest = self._change(part)
        config = manifest.config.digest
        if config in self.base.fresh:
            self.keep(config, self.base.fresh[config])
        if manifest == part.manifest and part.row is not None:
            return part.row
        data = manifest.to_bytes()
        digest = Digest.of(data)
        self.lease.keep(digest)
        self.store.put_bytes(data)
        annotations = {} if part.row is None else part.row.annotations
        return Descriptor(media_types.OCI_MANIFEST, digest, len(data), annotations, part.platform)

    def keep(self, digest: Digest, data: bytes, what: str = "") -> None:
        """Put a small blob, and say so once."""
        self.lease.keep(digest)
        if digest in self._told:
            return
        self._told.add(digest)
        if what:
            self.report(Status(f"creating {what} layer"))
        known = self.store.has_blob(digest)
        # Also where it is there: putting it makes it young, and mends it.
        self.store.put_bytes(data)
        self.report(
            Status(f"using already created layer {digest}" if known else f"writing layer {digest}")
        )

    def _change(self, part: Part) -> Manifest:
        before = read_texts(self.store, part.manifest)
        after = self._texts(part, before)
        layers = _replaced(part, text_layers(before), text_layers(after), self.keep)
        layers = self._with_licences(part, layers, before)
        if not part.is_browser:
            layers = self._with_draft(part, self._with_adapters(part, layers))
        elif self.adapters and not self.adapters_merged:
            raise CannotCreate(
                "an adapter is merged into browser platforms by `transom create` on the command "
                "line; with PLATFORM native it stays a layer of its own"
            )
        changed = replace(part.manifest, layers=layers)
        config = self._config(part, before, after, layers)
        return changed if config is None else replace(changed, config=config)

    def _texts(self, part: Part, before: ModelTexts) -> ModelTexts:
        """What the Modelfile makes of a part's texts."""
        said = self.modelfile
        template = before.template
        if said.template is not None and said.template not in (template, self._own(part)):
            template = self._jinja()
        return ModelTexts(
            template=template,
            system=before.system if said.system is None else said.system or None,
            parameters={**before.parameters, **said.parameters},
            messages=said.messages or before.messages,
        )

    def _own(self, part: Part) -> str | None:
        """The template that a native part has without any layer: the GGUF's."""
        models = layers_of(part.manifest, media_types.OLLAMA_MODEL)
        if part.is_browser or not models or layers_of(part.manifest, media_types.OLLAMA_TEMPLATE):
            return None
        try:
            return gguf_of(self.store, models[0].digest).template
        except InvalidGguf:
            return None  # a file of tomorrow's types; what it says does not matter here

    def _jinja(self) -> str:
        if self._template is None:
            written = self.modelfile.template or ""
            if not written.strip():
                raise CannotCreate("TEMPLATE is empty; leave it out to keep the base's template")
            self._template = jinja_template(written, self.modelfile.template_line)
        return self._template

    def _with_licences(
        self, part: Part, layers: tuple[Descriptor, ...], before: ModelTexts
    ) -> tuple[Descriptor, ...]:
        """Licences are added: whoever changes a model cannot take its terms away."""
        for text in self.modelfile.licenses:
            if text in before.licences:
                continue
            data = text.encode()
            self.keep(Digest.of(data), data, "license")
            layers = (*layers, _layer(part, layers, media_types.OLLAMA_LICENSE, data))
        return layers

    def _with_adapters(self, part: Part, layers: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
        for digest in self.adapters:
            models = layers_of(part.manifest, media_types.OLLAMA_MODEL)
            facts = gguf_of(self.store, digest)
            require_kind(facts, "adapter", digest)
            wanted = gguf_of(self.store, models[0].digest).architecture if models else None
            if facts.architecture != wanted:
                raise CannotCreate(
                    f"the adapter {digest} is for {facts.architecture}, the base is {wanted}"
                )
            self.lease.keep(digest)
            row = Descriptor(media_types.OLLAMA_ADAPTER, digest, self.store.blob_size(digest))
            layers = layers if row in layers else (*layers, row)
        return layers

    def _with_draft(self, part: Part, layers: tuple[Descriptor, ...]) -> tuple[Descriptor, ...]:
        if self.draft is None:
            return layers
        for model in layers_of(part.manifest, media_types.OLLAMA_MODEL):
            check_draft(self.store, model.digest, self.draft)
        self.lease.keep(self.draft)
        row = Descriptor(media_types.OLLAMA_DRAFT, self.draft, self.store.blob_size(self.draft))
        others = [each for each in layers if each.media_type != media_types.OLLAMA_DRAFT]
        return (*others, row)

    def _config(
        self,
        part: Part,
        before: ModelTexts,
        after: ModelTexts,
        layers: tuple[Descriptor, ...],
    ) -> Descriptor | None:
        """The changed config, or None where the part's own will do."""
        config = part.manifest.config
        if part.is_browser and config.media_type == media_types.CONFIG:
            data = self._browser_config(config, before, after)
        elif config.media_type == media_types.OLLAMA_CONFIG and layers != part.manifest.layers:
            data = self._native_config(config, layers)
        elif config.media_type == media_types.OLLAMA_CONFIG and self.modelfile.requires:
            data = self._native_config(config, layers)
        else:
            return None
        if data is None or Digest.of(data) == config.digest:
            return None
        self.keep(Digest.of(data), data)
        return replace(config, digest=Digest.of(data), size=len(data))

    def _browser_config(
        self, config: Descriptor, before: ModelTexts, after: ModelTexts
    ) -> bytes | None:
        if text_layers(before) == text_layers(after):
            return None
        document = read_config(self.store.read_manifest_bytes(config.digest))
        if after.template is not None and after.template != before.template:
            document = with_template(document, after.template, self.reconverse)
        if after.system != before.system or after.template != before.template:
            document = with_system(document, after.system)
        if after.parameters != before.parameters or after.template != before.template:
            document = with_parameters(document, after.parameters)
        return write_config(document)

    def _native_config(self, config: Descriptor, layers: Sequence[Descriptor]) -> bytes | None:
        try:
            # One that is replaced at once never gets into the store.
            fresh = self.base.fresh.get(config.digest)
            data = self.store.read_manifest_bytes(config.digest) if fresh is None else fresh
            document = json.loads(data)
        except (ValueError, RecursionError):
            return None  # a foreign config that nobody can read stays as it is
        if not isinstance(document, dict):
            return None
        changed: dict[str, Any] = dict(document)
        if self.modelfile.requires is not None:
            changed["requires"] = self.modelfile.requires
        changed["rootfs"] = {"type": "layers", "diff_ids": [str(row.digest) for row in layers]}
        return None if changed == document else config_bytes(changed)


Keep = Callable[[Digest, bytes, str], None]


def _replaced(
    part: Part, before: Mapping[str, bytes], after: Mapping[str, bytes], keep: Keep
) -> tuple[Descriptor, ...]:
    """The layers with changed texts in the places of the old ones, and new ones at the end."""
    layers = part.manifest.layers
    for kind in _TITLES:
        if before.get(kind) == after.get(kind) or kind == media_types.OLLAMA_LICENSE:
            continue
        data = after.get(kind)
        kept = tuple(row for row in layers if row.media_type != kind)
        if data is None:
            layers = kept
            continue
        keep(Digest.of(data), data, kind.rpartition(".")[2])
        row = _layer(part, kept, kind, data)
        # In the place of the first of its kind, if there was one.
        place = next((n for n, old in enumerate(layers) if old.media_type == kind), len(kept))
        layers = (*kept[:place], row, *kept[place:])
    return layers


def _layer(part: Part, others: Sequence[Descriptor], kind: str, data: bytes) -> Descriptor:
    """The row of a text; a browser platform's has a file name that no other has."""
    digest = Digest.of(data)
    if not part.is_browser:
        return Descriptor(kind, digest, len(data))
    taken = {row.title.lower() for row in (part.manifest.config, *others) if row.title}
    title, number = _TITLES[kind], 1
    while title.lower() in taken:
        number += 1
        stem, dot, ending = _TITLES[kind].partition(".")
        title = f"{stem}-{number}{dot}{ending}"
    return Descriptor(
        kind, digest, len(data), MappingProxyType({media_types.ANNOTATION_TITLE: title})
    )
