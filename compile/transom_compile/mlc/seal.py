"""An MLC model as one of ours: a bundle with one browser platform, its bytes where they lie.

Digests are made here, so that from now on every byte is checked; what MLC wrote is kept as it is.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from transom_compile.bundle import Bundle, write_index
from transom_compile.chat_config import CHAT_CONFIG_NAME, CHAT_TEMPLATE_NAME, TOKENIZER_NAME
from transom_compile.durable import write_durably
from transom_compile.hub.folder import read_object
from transom_compile.hub.model_card import read_card
from transom_compile.mlc.folder import CONFIG_NAME, MlcModel, check_md5, read_mlc_folder
from transom_compile.progress import Progress
from transom_compile.shards import TENSOR_CACHE_NAME
from transom_models import media_types
from transom_models.digest import Digest, Hasher
from transom_models.licence import stated_licence
from transom_models.manifest import Descriptor, Manifest, Platform

HASH_PIECE_BYTES = 4 * 1024 * 1024


def mlc_bundle(
    folder: Path,
    library: Path | None,
    workspace: Path,
    progress: Progress,
    template: str | None = None,
) -> tuple[Bundle, tuple[str, ...]]:
    """The model in `folder` as a bundle, and what people should know of it.

    `library` and `template` as `read_mlc_folder` has them. Raises `InvalidMlcModel`.
    """
    model = read_mlc_folder(folder, library, template)
    noted = sum(shard.size for shard in model.shards if shard.md5 is not None)
    if noted:
        progress.step("md5", noted)
        check_md5(model, progress)
    progress.step("digest", sealed_bytes(model))
    return seal_mlc(model, workspace, progress), model.notes


def seal_mlc(model: MlcModel, workspace: Path, progress: Progress) -> Bundle:
    """Write manifests, index and chat template into the empty folder `workspace`.

    The other files stay where they are: `Bundle.files` names them.
    """
    files: dict[Digest, Path] = {}

    def describe(path: Path, media_type: str, title: str, **more: str) -> Descriptor:
        hasher = Hasher()
        with path.open("rb") as file:
            while piece := file.read(HASH_PIECE_BYTES):
                hasher.update(piece)
                progress.advance(len(piece))
        files[hasher.digest()] = path
        annotations = {media_types.ANNOTATION_TITLE: title, **more}
        return Descriptor(media_type, hasher.digest(), hasher.size, annotations)

    template = workspace / CHAT_TEMPLATE_NAME
    write_durably(template, model.template.encode())
    library = f"library-{model.variant}.wasm"
    layers = (
        *(describe(shard.path, media_types.SHARD, shard.path.name) for shard in model.shards),
        describe(model.tensor_cache, media_types.TENSOR_CACHE, TENSOR_CACHE_NAME),
        describe(model.tokenizer, media_types.TOKENIZER, TOKENIZER_NAME),
        describe(template, media_types.OLLAMA_TEMPLATE, CHAT_TEMPLATE_NAME),
        describe(
            model.library,
            media_types.LIBRARY,
            library,
            # MLC schedules for graphics cards; a page on a CPU takes it too, there is no other.
            **{media_types.ANNOTATION_SCHEDULE: "gpu"},
        ),
    )
    config = describe(_config_path(model, workspace), media_types.CONFIG, CHAT_CONFIG_NAME)
    annotations = _annotations(model, progress)
    manifest = Manifest(config, layers, annotations)
    platform = Platform("browser", "webgpu", model.variant)
    return write_index(workspace, {model.variant: (platform, manifest)}, annotations, files)


def sealed_bytes(model: MlcModel) -> int:
    """How much `seal_mlc` reads, within some kilobytes."""
    others = (model.tensor_cache, model.tokenizer, model.library)
    return sum(shard.size for shard in model.shards) + sum(path.stat().st_size for path in others)


def _config_path(model: MlcModel, workspace: Path) -> Path:
    """The publisher's own file, unless stop tokens had to be added to it."""
    published = model.folder / CONFIG_NAME
    if model.config == read_object(published):
        return published
    path = workspace / CHAT_CONFIG_NAME
    write_durably(path, json.dumps(model.config, ensure_ascii=False, indent=1).encode())
    return path


def _annotations(model: MlcModel, progress: Progress) -> Mapping[str, str]:
    annotations = {
        media_types.ANNOTATION_ARCHITECTURE: str(model.config["model_type"]),
        media_types.ANNOTATION_SCHEME: str(model.config["quantization"]),
    }
    licence = stated_licence(read_card(model.folder, progress))
    if licence is not None:
        annotations[media_types.ANNOTATION_LICENSES] = licence
    return annotations
