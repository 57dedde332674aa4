"""What `transom create` makes of a Modelfile: a base in the store, compiled where it has to be.

A model of the store is used as it is, and never compiled again unless its weights change. A file
or a folder becomes a GGUF, is compiled for the browser unless PLATFORM says native only, and the
blobs of a GGUF that was compiled before are found in the store. Knows the compile room and the
store; arguments and printing are the verb's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transom_cli.output import LongWork
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.errors import TransomError
from transom_models.manifest import Descriptor, Manifest
from transom_models.modelfile import Modelfile
from transom_models.name import DEFAULT_HOST, InvalidName, ModelName
from transom_server.model.base import Base, Part, base_from_model, fresh_base_from_gguf
from transom_server.model.browser_config import Reconverse
from transom_server.model.creation import CannotCreate, create_model
from transom_server.model.model_texts import ModelTexts, layers_of, read_texts
from transom_server.store import Lease, ModelNotFound, Store
from transom_server.store.work import work_folder
from transom_server.transfer.pull import pull
from transom_server.transfer.status import SUCCESS, Status, TransferOptions

if TYPE_CHECKING:
    from transom_compile.prepare import Recipe


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be made. Relative paths of the Modelfile count from `folder`."""

    name: ModelName
    modelfile: Modelfile
    folder: Path
    quantize: str | None = None
    force: bool = False
    registry: str = ""
    transfer: TransferOptions = field(default_factory=TransferOptions)
    """For a base that has to be pulled."""


@dataclass(slots=True)
class Created:
    """What came of it; `notes` are for people."""

    index: Digest
    notes: list[str] = field(default_factory=list)


def create(store: Store, wish: Wish, work: LongWork) -> Created:
    """Make the model. Raises a `TransomError` naming what is wrong; no name is given then."""
    return _Creation(store, wish, work).run()


@dataclass(slots=True)
class _Creation:
    store: Store
    wish: Wish
    work: LongWork
    notes: list[str] = field(default_factory=list)
    _stored: dict[Path, Digest] = field(default_factory=dict)
    """Files that are blobs of the store."""
    _kept: list[Digest] = field(default_factory=list)
    """Blobs that compiling put."""
    _metadata: Mapping[str, Any] | None = None
    """Of the GGUF that was compiled."""

    def run(self) -> Created:
        modelfile = self.wish.modelfile
        self.notes += modelfile.notes
        adapters = [self._path(text) for text in modelfile.adapters]
        for text, path in zip(modelfile.adapters, adapters, strict=True):
            if path is None:
                raise CannotCreate(f"ADAPTER {text}: there is no such file or folder")
        found = [path for path in adapters if path is not None]
        source = self._path(modelfile.base)
        with self.store.adding() as lease:
            draft = None if modelfile.draft is None else self._draft(modelfile.draft, lease)
            if source is None:
                base, modelfile, layers = self._from_model(found, lease)
            else:
                base, layers = self._from_path(source, found, lease)
            index = create_model(
                self.store,
                self.wish.name,
                modelfile,
                base,
                self.work.report,
                adapters=layers,
                # Whatever was compiled here has them in its weights.
                adapters_merged=True,
                draft=draft,
                reconverse=self._reconverse(base),
            )
        # What was compiled and then changed: configs and manifests that no model names.
        self.store.remove_unused(self._kept)
        return Created(index, self.notes)

    # Bases

    def _from_model(
        self, adapters: Sequence[Path], lease: Lease
    ) -> tuple[Base, Modelfile, list[Digest]]:
        modelfile = self.wish.modelfile
        try:
            name = ModelName.parse(modelfile.base)
        except InvalidName:
            raise CannotCreate(
                f"FROM {modelfile.base}: there is no such file, and it is no model's name"
            ) from None
        base = self._known_or_pulled(name)
        lacks_browser = not any(part.is_browser for part in base.parts)
        compiles = "webgpu" in modelfile.platforms and lacks_browser
        merges = bool(adapters) and not lacks_browser and self._wants_browser
        if not (compiles or merges or self.wish.quantize):
            return base, modelfile, self._adapter_layers(adapters, lease)
        # Its weights change, or are to run where they did not: the walk again, from its GGUF.
        native = _native_part(base)
        if native is None:
            raise CannotCreate(f"FROM {name}: this takes a GGUF, and the model has none")
        model = layers_of(native.manifest, media_types.OLLAMA_MODEL)[0]
        lease.keep(model.digest)
        said = _under(modelfile, read_texts(self.store, native.manifest))
        path = self.store.blob_path(model.digest)
        self._stored[path] = model.digest
        fresh, layers = self._from_path(path, adapters, lease)
        return fresh, said, layers

    def _known_or_pulled(self, name: ModelName) -> Base:
        """A model of the store; one that it lacks is pulled first, where its registry is known."""
        if self.store.resolve(name) is None:
            if name.host == DEFAULT_HOST and not self.wish.registry:
                raise ModelNotFound(
                    f"FROM {self.wish.modelfile.base}: no such file, and no such model in the "
                    f"store; `transom pull` brings one"
                )
            pull(self.store, name, self.wish.transfer, self._quiet, registry=self.wish.registry)
        return base_from_model(self.store, name)

    def _quiet(self, status: Status) -> None:
        """The pull's own success is not the end."""
        if status.text != SUCCESS:
            self.work.report(status)

    def _from_path(
        self, source: Path, adapters: Sequence[Path], lease: Lease
    ) -> tuple[Base, list[Digest]]:
        if not self._wants_browser:
            return self._native_base(source, adapters, lease)
        if len(adapters) > 1:
            raise CannotCreate(
                "several adapters cannot be merged for the browser; say PLATFORM native, or "
                "merge them one after the other"
            )
        is_gguf = source.is_file() and not self.wish.quantize
        is_layer = bool(adapters) and adapters[0].is_file() and is_gguf
        try:
            compiled = self._compiled_base(source, adapters, is_layer, lease)
        except self._unsupported() as error:
            if self.wish.modelfile.platforms:
                raise
            self.notes.append(f"not for browsers: {error}")
            return self._native_base(source, adapters, lease)
        if not is_layer:
            return compiled, []
        # llama.cpp applies the adapter as it runs: the base's own file serves both models.
        native, layers = self._native_base(source, adapters, lease)
        browsers = tuple(part for part in compiled.parts if part.is_browser)
        return replace(native, parts=(*native.parts, *browsers)), layers

    def _draft(self, text: str, lease: Lease) -> Digest:
        """The model of a DRAFT line: a GGUF file's, or that of a model of the store."""
        path = self._path(text)
        if path is not None and path.is_file():
            return self._put(path, lease)
        if path is not None:
            raise CannotCreate(f"DRAFT {text}: a folder has to become a GGUF first")
        try:
            native = _native_part(self._known_or_pulled(ModelName.parse(text)))
        except InvalidName:
            raise CannotCreate(
                f"DRAFT {text}: there is no such file, and it is no model's name"
            ) from None
        if native is None:
            raise CannotCreate(f"DRAFT {text}: this takes a GGUF, and the model has none")
        digest = layers_of(native.manifest, media_types.OLLAMA_MODEL)[0].digest
        lease.keep(digest)
        return digest

    @property
    def _wants_browser(self) -> bool:
        platforms = self.wish.modelfile.platforms
        return not platforms or "webgpu" in platforms

    def _native_base(
        self, source: Path, adapters: Sequence[Path], lease: Lease
    ) -> tuple[Base, list[Digest]]:
        """A native platform alone. An adapter that is no GGUF is merged, the others are layers."""
        merged = [path for path in adapters if path.is_dir()]
        if len(merged) > 1:
            raise CannotCreate("several adapter folders cannot be merged at once")
        recipe = self._recipe(merged)
        with self._gguf(source, recipe) as path:
            digest = self._put(path, lease)
        base = fresh_base_from_gguf(self.store, digest)
        rest = [path for path in adapters if not path.is_dir()]
        return self._with_licences(base, source, lease), self._adapter_layers(rest, lease)

    def _compiled_base(
        self, source: Path, adapters: Sequence[Path], is_layer: bool, lease: Lease
    ) -> Base:
        """Compiled, and in the store as far as it will be named: not the merged GGUF, where the
        adapter stays a layer (`is_layer`), nor one that is for browsers only."""
        from transom_cli.compile import built_runtime
        from transom_cli.compiled_before import compiled_before
        from transom_compile.pipeline import CompileOptions, compile_bundle
        from transom_compile.prepare import made_steps
        from transom_compile.sources.gguf import open_checkpoint

        recipe = self._recipe(adapters)
        if not made_steps(source, recipe) and source.is_file():
            digest = Digest.of_file(source)
            lease.keep(digest)
            if (known := compiled_before(self.store, digest, lease)) is not None:
                self.notes.append("compiled before: nothing had to be compiled")
                return known
        # A template of the Modelfile's is looked at in its own time.
        force = self.wish.force or self.wish.modelfile.template is not None
        options = CompileOptions(built_runtime(), recipe=recipe, force=force)
        with work_folder(self.store.scratch) as folder:
            report = compile_bundle(source, folder / "bundle", options, self.work.progress)
            self.notes += report.notes
            bundle = report.bundle
            checkpoint = bundle.files[
                Digest.parse(bundle.index.annotations[media_types.ANNOTATION_SOURCE_DIGEST])
            ]
            self._metadata = open_checkpoint(checkpoint).metadata
            platforms = self.wish.modelfile.platforms
            native = not is_layer and (not platforms or "native" in platforms)
            parts = []
            for row in bundle.index.manifests:
                manifest = Manifest.from_bytes(bundle.files[row.digest].read_bytes())
                part = Part(row.platform, manifest, row)
                if native or part.is_browser:
                    parts.append(part)
            rows = {row.digest: row for part in parts for row in part.manifest.descriptors}
            rows |= {part.row.digest: part.row for part in parts if part.row is not None}
            lease.keep(*rows)
            self._kept += rows
            self.work.progress.step("keep", sum(row.size for row in rows.values()))
            for digest in rows:
                self.store.put_file(bundle.files[digest], digest, self.work.progress.advance)
        return Base(tuple(parts), bundle.index.annotations)

    # Files

    def _path(self, text: str) -> Path | None:
        """What FROM or ADAPTER names, if it is there; else it can only be a model's name."""
        try:
            path = (self.wish.folder / Path(text).expanduser()).absolute()
            exists, is_read = path.exists(), path.is_file() or path.is_dir()
        except (OSError, RuntimeError, ValueError):
            return None  # too long, no such home, NUL
        if exists and not is_read:
            raise CannotCreate(f"{text} is neither a file nor a folder")
        return path if exists else None

    def _recipe(self, adapters: Sequence[Path]) -> "Recipe":
        from transom_compile.prepare import Recipe

        adapter = adapters[0] if adapters else None
        return Recipe(quantize=self.wish.quantize, adapter=adapter)

    @contextmanager
    def _gguf(self, source: Path, recipe: "Recipe") -> Iterator[Path]:
        """The GGUF that a source is, or becomes in a folder of its own."""
        if source.is_file() and recipe.quantize is None and recipe.adapter is None:
            yield source
            return
        from transom_compile.prepare import check_recipe, prepare_checkpoint
        from transom_compile.progress import Phases

        check_recipe(source, recipe)
        with work_folder(self.store.scratch) as folder:
            yield prepare_checkpoint(source, recipe, folder, Phases(self.work.progress))

    def _put(self, path: Path, lease: Lease) -> Digest:
        if path in self._stored:
            return self._stored[path]
        digest = Digest.of_file(path)
        lease.keep(digest)
        self.work.progress.step("keep", path.stat().st_size)
        return self.store.put_file(path, digest, self.work.progress.advance)

    def _adapter_layers(self, adapters: Sequence[Path], lease: Lease) -> list[Digest]:
        for path in adapters:
            if path.is_dir():
                raise CannotCreate(
                    f"ADAPTER {path}: a folder is merged into the weights, and FROM names a "
                    "model that keeps its own; give FROM the GGUF file, or a GGUF adapter"
                )
        return [self._put(path, lease) for path in adapters]

    def _with_licences(self, base: Base, source: Path, lease: Lease) -> Base:
        """A native platform with the licence texts that lie beside the weights."""
        if not source.is_dir():
            return base
        from transom_compile.hub.licences import read_licences

        (part,) = base.parts
        layers, fresh = part.manifest.layers, dict(base.fresh)
        for text in read_licences(source).values():
            data = text.encode()
            fresh[Digest.of(data)] = data
            layers = (
                *layers,
                Descriptor(media_types.OLLAMA_LICENSE, Digest.of(data), len(data)),
            )
        manifest = replace(part.manifest, layers=layers)
        lease.keep(*fresh)
        return Base((Part(part.platform, manifest),), base.annotations, fresh)

    # Templates

    def _reconverse(self, base: Base) -> Reconverse | None:
        """How WebLLM's prompt format of a new template is found: with the model's tokenizer."""
        if self.wish.modelfile.template is None or not any(part.is_browser for part in base.parts):
            return None
        native = _native_part(base)
        if native is None and self._metadata is None:
            return None

        def reconverse(document: dict[str, Any], template: str) -> dict[str, Any]:
            from transom_compile.chat_config import with_template
            from transom_compile.sources.gguf import open_checkpoint
            from transom_compile.template_lint import TEMPLATE_KEY, check_template
            from transom_compile.tokenizers import convert_tokenizer

            metadata = self._metadata
            if metadata is None:
                assert native is not None
                model = layers_of(native.manifest, media_types.OLLAMA_MODEL)[0]
                metadata = open_checkpoint(self.store.blob_path(model.digest)).metadata
            tokenizer = convert_tokenizer(metadata)
            said = {**metadata, TEMPLATE_KEY: template}
            report = check_template(said, tokenizer, force=self.wish.force)
            changed = with_template(document, template, tokenizer, report)
            status = changed["transom"]["conv_template"]
            if (
                status != "exact"
                and (note := f"prompt format for WebLLM: {status}") not in self.notes
            ):
                self.notes.append(note)
            return changed

        return reconverse

    def _unsupported(self) -> tuple[type[TransomError], ...]:
        """Errors that say: this model runs, but not in a browser."""
        from transom_compile.tokenizers import UnsupportedTokenizer
        from transom_models.architecture import UnknownArchitecture, UnsupportedModel
        from transom_models.block_type import UnsupportedBlockType

        return (UnknownArchitecture, UnsupportedModel, UnsupportedBlockType, UnsupportedTokenizer)


def _native_part(base: Base) -> Part | None:
    for part in base.parts:
        if not part.is_browser and layers_of(part.manifest, media_types.OLLAMA_MODEL):
            return part
    return None


def _under(modelfile: Modelfile, texts: ModelTexts) -> Modelfile:
    """The Modelfile over what the base says already, for a base that is made anew."""
    return replace(
        modelfile,
        template=texts.template if modelfile.template is None else modelfile.template,
        system=texts.system if modelfile.system is None else modelfile.system,
        parameters={**texts.parameters, **modelfile.parameters},
        messages=modelfile.messages or texts.messages,
        licenses=tuple(dict.fromkeys((*texts.licences, *modelfile.licenses))),
    )
