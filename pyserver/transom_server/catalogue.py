"""The models that this server answers for, as lists tell them: those of its store, and those that
other servers run. A name that both have is the other server's.

Shapes of rows are `transom_api`'s; knows the store and no HTTP.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from transom_api.ollama import management as ollama
from transom_api.ollama.listing import LoadedModel, Remote, TaggedModel, rfc3339
from transom_api.ollama.showing import lengths_info, shown_body
from transom_api.operations import ListedModel
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.name import ModelName
from transom_server.engines.loaded_model import LoadedRow
from transom_server.engines.native_model import NativeModel
from transom_server.model.gguf_facts import ArrayValue, GgufFacts
from transom_server.model.model_details import (
    ModelDetails,
    ModelView,
    capabilities_of,
    details_of,
    look_at,
)
from transom_server.store import Store, StoredModel
from transom_server.upstream.health import Elsewhere

# Long texts, which have fields of their own, or are for nobody: not in `model_info`, as in Ollama.
_NOT_INFO: Final = frozenset({"general.name", "tokenizer.chat_template"})
# What else another server's model can, only that knows.
_ELSEWHERE_CAPABILITIES: Final = ("completion",)
# More models than a list is for; a few words each.
_MOST_KNOWN: Final = 10_000


class Catalogue:
    """Threads may share it."""

    def __init__(self, store: Store, others: Callable[[], Sequence[Elsewhere]] = tuple) -> None:
        """`others`: models that other servers run."""
        self._store, self._others = store, others
        self._known: dict[Digest, tuple[str, ...]] = {}

    def listed(self) -> list[ListedModel]:
        """By name, then those of other servers."""
        elsewhere = self._others()
        taken = {row.name for row in elsewhere}
        own = [model for model in self._store.list_models() if str(model.name) not in taken]
        return [*map(_listed, own), *map(_listed_elsewhere, elsewhere)]

    def find(self, name: ModelName) -> ListedModel:
        """Raises `ModelNotFound`."""
        for row in self._others():
            if row.name == str(name):
                return _listed_elsewhere(row)
        return _listed(self._store.get_index(name))

    def tagged(self) -> list[TaggedModel]:
        """Those of other servers, then the newest first."""
        rows = [_tagged_elsewhere(row) for row in self._others()]
        taken = {ollama.shown_name(row.name) for row in rows}
        for model in sorted(self._store.list_models(), key=lambda row: -row.modified):
            if ollama.shown_name(model.name) in taken:
                continue  # asked by this name, the other server answers
            try:
                rows.append(_tagged(self._store, model, self._capabilities(model)))
            except TransomError:
                continue  # one damaged model must not hide the others; `transom list` names it
        return rows

    def loaded(self, rows: Sequence[LoadedRow[NativeModel]]) -> list[LoadedModel]:
        """Those that are in memory, of which `rows` are this server's."""
        found = [
            LoadedModel(
                name=ModelName.parse(row.key.name),
                size=row.resident_bytes + row.gpu_bytes,
                digest=row.key.digest.hex,
                details=self._details(row.key.tag),
                expires=row.expires,
                gpu_bytes=row.gpu_bytes,
                context_tokens=row.context_tokens,
            )
            for row in rows
        ]
        return found + [_loaded_elsewhere(row) for row in self._others() if row.is_well]

    def shown(self, name: ModelName, verbose: bool) -> dict[str, Any]:
        """All there is to tell of one. Raises as `look_at`."""
        for row in self._others():
            if row.name == str(name):
                return _shown_elsewhere(row)
        most = ollama.MAX_SHOWN_ITEMS if verbose else 0
        return _shown(look_at(self._store, name, most), verbose)

    def _capabilities(self, model: StoredModel) -> tuple[str, ...]:
        """Read once: what a digest names never changes. Empty where its files are damaged."""
        found = self._known.get(model.digest)
        if found is None:
            try:
                found = capabilities_of(self._store, model)
            except TransomError:
                return ()
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[model.digest] = found
        return found

    def _details(self, model: NativeModel) -> dict[str, Any]:
        try:
            return _details(details_of(self._store, model.stored))
        except TransomError:
            return {}  # it was removed meanwhile, and runs on


def _listed(model: StoredModel) -> ListedModel:
    return ListedModel(str(model.name), model.modified, model.name.namespace)


def _listed_elsewhere(row: Elsewhere) -> ListedModel:
    return ListedModel(row.name, row.since, row.place)


def _tagged(store: Store, model: StoredModel, capabilities: Sequence[str]) -> TaggedModel:
    sizes = {part.digest: part.size for part in store.descriptors(model)}
    return TaggedModel(
        name=model.name,
        modified=model.modified,
        size=sum(sizes.values()) + len(model.data),
        digest=model.digest.hex,
        details=_details(details_of(store, model)),
        capabilities=capabilities,
    )


def _tagged_elsewhere(row: Elsewhere) -> TaggedModel:
    """In Ollama's words for models of other hosts. What only the other server knows is empty."""
    return TaggedModel(
        name=ModelName.parse(row.name),
        modified=row.since,
        size=0,
        digest="",
        details=_elsewhere_details(row),
        remote=Remote(row.theirs, row.place),
        capabilities=_ELSEWHERE_CAPABILITIES,
    )


def _loaded_elsewhere(row: Elsewhere) -> LoadedModel:
    """Another server has it ready, in memory of its own."""
    return LoadedModel(
        name=ModelName.parse(row.name),
        size=0,
        digest="",
        details=_elsewhere_details(row),
        expires=None,
        gpu_bytes=0,
        context_tokens=row.context_tokens or 0,
        remote=Remote(row.theirs, row.place),
    )


def _elsewhere_details(row: Elsewhere) -> dict[str, Any]:
    """Details of a model of another server: its context, where that tells it."""
    texts = dict.fromkeys(("format", "family", "parameter_size", "quantization_level"), "")
    return ollama.detail_rows({**texts, "context_length": row.context_tokens}, ())


def _shown_elsewhere(row: Elsewhere) -> dict[str, Any]:
    return {
        "modelfile": f"# {row.name} runs on {row.place}, as {row.theirs}\n",
        "remote_model": row.theirs,
        "remote_host": row.place,
        "details": _elsewhere_details(row),
        "model_info": {},
        "capabilities": list(_ELSEWHERE_CAPABILITIES),
        "modified_at": rfc3339(row.since),
    }


def _details(details: ModelDetails) -> dict[str, Any]:
    rows = asdict(details)
    families = rows.pop("families")
    return ollama.detail_rows(rows, families)


def _shown(view: ModelView, verbose: bool) -> dict[str, Any]:
    """What is not there is left out, as Ollama does."""
    texts = view.texts
    return shown_body(
        license_text=view.licence.text or view.licence.id,
        modelfile=view.modelfile,
        parameters=texts.parameters,
        template=view.template,
        system=texts.system,
        details=_details(view.details),
        messages=texts.messages,
        model_info=_info(view.gguf) if view.gguf else _browser_info(view),
        projector_info=_info(view.projector) if view.projector else None,
        tensors=_tensors(view.gguf) if view.gguf and verbose else None,
        capabilities=view.capabilities,
        modified=view.model.modified,
        requires=view.requires,
    )


def _info(facts: GgufFacts) -> dict[str, Any]:
    """The file's metadata; arrays are null unless they were asked for."""
    info: dict[str, Any] = {"general.parameter_count": facts.parameter_count}
    for key, value in facts.metadata.items():
        if key in _NOT_INFO:
            continue
        if isinstance(value, ArrayValue):
            info[key] = ollama.finite(value.items) if value.items else None
        else:
            info[key] = ollama.finite(value)
    return dict(sorted(info.items()))


def _browser_info(view: ModelView) -> dict[str, Any]:
    """The same from a browser's config, where the model has no GGUF."""
    details = view.details
    return lengths_info(details.family, details.context_length, details.embedding_length)


def _tensors(facts: GgufFacts) -> list[Mapping[str, Any]]:
    return [
        {"name": tensor.name, "type": tensor.type.name, "shape": list(tensor.shape)}
        for tensor in facts.tensors
    ]
