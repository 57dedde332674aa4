"""A sealed bundle: manifests per platform, every blob found by its digest, the same bytes twice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from transom_compile.bundle import (
    Bundle,
    BundleFile,
    BundleParts,
    Source,
    seal_bundle,
)
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Index, Manifest, Platform
from transom_models.native_config import NativeFacts, count_text, native_config
from transom_models.schema import schemas


def make_parts(folder: Path) -> BundleParts:
    folder.mkdir()
    contents = {
        "native-config.json": b"{}",
        "mlc-chat-config.json": b"{ }",
        "params_shard_0.bin": b"shard",
        "tokenizer.json": b"tokens",
        "library-f32.wasm": b"gpu",
        "library-f32-fallback.wasm": b"fallback",
        "library-f16.wasm": b"half",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    source = folder.parent / "model.gguf"
    source.write_bytes(b"GGUF")

    def library(name: str, schedule: str) -> BundleFile:
        annotations = {media_types.ANNOTATION_SCHEDULE: schedule}
        return BundleFile(folder / name, media_types.LIBRARY, annotations)

    return BundleParts(
        source=Source(source, Digest.of(b"GGUF"), 4),
        native_config=BundleFile(folder / "native-config.json", media_types.OLLAMA_CONFIG),
        chat_config=BundleFile(folder / "mlc-chat-config.json", media_types.CONFIG),
        shared=[
            BundleFile(folder / "params_shard_0.bin", media_types.SHARD),
            BundleFile(folder / "tokenizer.json", media_types.TOKENIZER),
        ],
        libraries={
            "f16": [library("library-f16.wasm", "gpu")],
            "f32": [
                library("library-f32.wasm", "gpu"),
                library("library-f32-fallback.wasm", "fallback"),
            ],
        },
        annotations={media_types.ANNOTATION_ARCHITECTURE: "llama"},
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return seal_bundle(make_parts(tmp_path / "bundle"), tmp_path / "bundle")


def manifest_of(bundle: Bundle, platform: Platform) -> Manifest:
    row = next(row for row in bundle.index.manifests if row.platform == platform)
    return Manifest.from_bytes(bundle.files[row.digest].read_bytes())


def test_the_index_has_a_row_per_platform_and_is_on_disk(bundle: Bundle) -> None:
    data = bundle.index_path.read_bytes()
    assert Index.from_bytes(data) == bundle.index
    assert Digest.of(data) == bundle.index_digest
    assert [str(row.platform) for row in bundle.index.manifests] == [
        "native/gguf",
        "browser/webgpu/f16",
        "browser/webgpu/f32",
    ]
    names = ["native", "f16", "f32"]
    for name, row in zip(names, bundle.index.manifests, strict=True):
        path = bundle.folder / "manifests" / f"{name}.json"
        assert Digest.of_file(path) == row.digest
        assert path.stat().st_size == row.size


def test_index_and_manifests_are_what_their_schemas_say(bundle: Bundle) -> None:
    kinds = {name: Draft202012Validator(schema) for name, schema in schemas().items()}
    kinds["index"].validate(json.loads(bundle.index_path.read_bytes()))
    for row in bundle.index.manifests:
        kinds["manifest"].validate(json.loads(bundle.files[row.digest].read_bytes()))


def test_every_descriptor_names_bytes_that_are_there(bundle: Bundle) -> None:
    for row in bundle.index.manifests:
        manifest = Manifest.from_bytes(bundle.files[row.digest].read_bytes())
        for descriptor in manifest.descriptors:
            path = bundle.files[descriptor.digest]
            assert Digest.of_file(path) == descriptor.digest
            assert path.stat().st_size == descriptor.size
            if path.parent == bundle.folder:
                assert descriptor.title == path.name


def test_both_variants_share_their_shards(bundle: Bundle) -> None:
    half = manifest_of(bundle, Platform("browser", "webgpu", "f16"))
    full = manifest_of(bundle, Platform("browser", "webgpu", "f32"))
    assert half.config == full.config
    assert half.layers[:2] == full.layers[:2]
    schedules = [row.annotations.get(media_types.ANNOTATION_SCHEDULE) for row in full.layers]
    assert schedules == [None, None, "gpu", "fallback"]


def test_the_native_row_is_the_checkpoint_itself(bundle: Bundle) -> None:
    native = manifest_of(bundle, Platform("native", "gguf"))
    (model,) = native.layers
    assert (model.media_type, model.size) == (media_types.OLLAMA_MODEL, 4)
    assert bundle.files[model.digest].name == "model.gguf"


def test_equal_files_in_another_folder_give_the_same_index(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "elsewhere" / "other"
    assert seal_bundle(make_parts(folder), folder).index_digest == bundle.index_digest


def test_a_moved_bundle_still_finds_its_files(tmp_path: Path, bundle: Bundle) -> None:
    moved = bundle.moved_to(bundle.folder.rename(tmp_path / "moved"))
    assert all(path.is_file() for path in moved.files.values())
    assert moved.index_path.is_file()


def test_the_native_config_is_what_ollama_reads() -> None:
    facts = NativeFacts("llama", 134_515_008, "Q4_1", context_length=8192)
    document = json.loads(native_config(facts, [Digest.of(b"x")]))
    assert document["model_format"] == "gguf"
    assert document["model_families"] == ["llama"]
    assert document["model_type"] == "134.52M"
    assert document["context_length"] == 8192
    assert "embedding_length" not in document
    assert document["rootfs"]["diff_ids"] == [str(Digest.of(b"x"))]


@pytest.mark.parametrize(
    ("count", "text"),
    [(840, "840"), (12_345, "12K"), (134_515_008, "134.52M"), (8_030_261_248, "8.0B")],
)
def test_a_number_of_parameters_as_people_say_it(count: int, text: str) -> None:
    assert count_text(count) == text


def test_licence_texts_are_layers_of_every_platform(tmp_path: Path) -> None:
    folder = tmp_path / "licensed"
    parts = make_parts(folder)
    (folder / "LICENSE").write_text("MIT License")
    licence = BundleFile(folder / "LICENSE", media_types.OLLAMA_LICENSE)
    sealed = seal_bundle(replace(parts, licences=[licence]), folder)
    for row in sealed.index.manifests:
        manifest = Manifest.from_bytes(sealed.files[row.digest].read_bytes())
        (layer,) = [x for x in manifest.layers if x.media_type == media_types.OLLAMA_LICENSE]
        assert layer.digest == Digest.of(b"MIT License")
        assert layer.title == "LICENSE"
