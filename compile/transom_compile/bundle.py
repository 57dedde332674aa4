"""Seal a bundle: describe every file by its digest, one OCI manifest per platform, the index last.

Deterministic: equal files give equal manifests and an equal index, whatever the folder, the time or
the tag. Must not know how any file was made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transom_compile.durable import sync_folder, write_durably
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest, Platform

INDEX_NAME = "index.json"
MANIFEST_FOLDER = "manifests"
NATIVE_CONFIG_NAME = "native-config.json"


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A file of the bundle before it is sealed; its title is its name."""

    path: Path
    media_type: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """The checkpoint that everything was made from; `title` when it lies in the bundle's folder."""

    path: Path
    digest: Digest
    size: int
    title: str | None = None


@dataclass(frozen=True, slots=True)
class BundleParts:
    """What goes into a bundle. `libraries`: variant ("f32", "f16") -> its model libraries;
    `licences`: their texts, for every platform."""

    source: Source
    native_config: BundleFile
    chat_config: BundleFile
    shared: Sequence[BundleFile]
    libraries: Mapping[str, Sequence[BundleFile]]
    annotations: Mapping[str, str]
    licences: Sequence[BundleFile] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A sealed bundle: the index, and where the bytes of every descriptor lie.

    `files` has all blobs of all platforms, the source checkpoint and the manifests included; the
    index itself is `index_path`.
    """

    folder: Path
    index: Index
    index_digest: Digest
    files: Mapping[Digest, Path]

    @property
    def index_path(self) -> Path:
        return self.folder / INDEX_NAME

    def moved_to(self, folder: Path) -> "Bundle":
        """The same bundle after its folder was renamed."""
        files = {
            digest: folder / path.relative_to(self.folder)
            if path.is_relative_to(self.folder)
            else path
            for digest, path in self.files.items()
        }
        return Bundle(folder, self.index, self.index_digest, files)


def seal_bundle(parts: BundleParts, folder: Path) -> Bundle:
    """Write `manifests/*.json`, then `index.json`: whoever sees the index sees everything."""
    files: dict[Digest, Path] = {parts.source.digest: parts.source.path}

    def describe(file: BundleFile) -> Descriptor:
        digest = Digest.of_file(file.path)
        files[digest] = file.path
        title = {media_types.ANNOTATION_TITLE: file.path.name}
        size = file.path.stat().st_size
        return Descriptor(file.media_type, digest, size, {**title, **file.annotations})

    licences = [describe(file) for file in parts.licences]
    shared = [*(describe(file) for file in parts.shared), *licences]
    chat_config = describe(parts.chat_config)
    source = parts.source
    title = {} if source.title is None else {media_types.ANNOTATION_TITLE: source.title}
    model = Descriptor(media_types.OLLAMA_MODEL, source.digest, source.size, title)
    manifests = {
        "native": (
            Platform("native", "gguf"),
            Manifest(describe(parts.native_config), (model, *licences), parts.annotations),
        )
    }
    for variant, libraries in parts.libraries.items():
        layers = (*shared, *(describe(file) for file in libraries))
        platform = Platform("browser", "webgpu", variant)
        manifests[variant] = (platform, Manifest(chat_config, layers, parts.annotations))
    return write_index(folder, manifests, parts.annotations, files)


def write_index(
    folder: Path,
    manifests: Mapping[str, tuple[Platform, Manifest]],
    annotations: Mapping[str, str],
    files: Mapping[Digest, Path],
) -> Bundle:
    """Write the manifests (by the name of their file) and the index; `files`: where blobs lie."""
    files = dict(files)
    rows = []
    manifest_folder = folder / MANIFEST_FOLDER
    manifest_folder.mkdir()
    for name, (platform, manifest) in manifests.items():
        data = manifest.to_bytes()
        path = manifest_folder / f"{name}.json"
        write_durably(path, data)
        digest = Digest.of(data)
        files[digest] = path
        rows.append(Descriptor(media_types.OCI_MANIFEST, digest, len(data), platform=platform))
    index = Index(tuple(rows), annotations)
    data = index.to_bytes()
    sync_folder(manifest_folder)
    write_durably(folder / INDEX_NAME, data)
    sync_folder(folder)
    return Bundle(folder, index, Digest.of(data), files)
