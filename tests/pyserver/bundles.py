"""Tiny bundles for tests: the shape that `transom compile` writes, a few bytes each."""

import json
from dataclasses import dataclass
from pathlib import Path

from transom_models import media_types
from transom_models.digest import Digest
from transom_models.manifest import Descriptor, Index, Manifest, Platform

SOURCE = b"GGUF and so on"
# The smallest module that WebAssembly knows.
WASM = b"\0asm\1\0\0\0"


@dataclass(frozen=True)
class TinyBundle:
    """A bundle folder, and where the blobs are that it lacks."""

    folder: Path
    index: Index
    files: dict[Digest, Path]
    contents: dict[str, bytes]
    """Title -> bytes, of everything that has a title."""


def write_bundle(folder: Path, seed: bytes = b"") -> TinyBundle:
    """Two browser platforms that share their shards, and a native one with its source outside."""
    folder.mkdir(parents=True)
    source = folder.with_suffix(".gguf")
    source.write_bytes(SOURCE + seed)
    shard = bytes(range(256)) * 16 + seed
    contents = {
        "mlc-chat-config.json": b'{"context_window_size":2048}',
        "params_shard_0.bin": shard,
        "tensor-cache.json": json.dumps({"records": [{"dataPath": "params_shard_0.bin"}]}).encode(),
        "tokenizer.json": b"{}",
        "chat_template.jinja": "{{ messages }} é".encode(),
        "library-f32.wasm": WASM,
        "library-f32-fallback.wasm": WASM + b"\0\1\0",
        "library-f16.wasm": WASM + b"\0\2\0\0",
        "native-config.json": b'{"model_format":"gguf"}',
    }
    for title, data in contents.items():
        (folder / title).write_bytes(data)

    def row(media_type: str, title: str, **annotations: str) -> Descriptor:
        data = contents[title]
        keys = {media_types.ANNOTATION_TITLE: title, **annotations}
        return Descriptor(media_type, Digest.of(data), len(data), keys)

    shared = (
        row(media_types.SHARD, "params_shard_0.bin"),
        row(media_types.TENSOR_CACHE, "tensor-cache.json"),
        row(media_types.TOKENIZER, "tokenizer.json"),
        row(media_types.OLLAMA_TEMPLATE, "chat_template.jinja"),
    )
    config = row(media_types.CONFIG, "mlc-chat-config.json")
    source_row = Descriptor(media_types.OLLAMA_MODEL, Digest.of_file(source), source.stat().st_size)
    f32 = (
        row(media_types.LIBRARY, "library-f32.wasm"),
        row(media_types.LIBRARY, "library-f32-fallback.wasm"),
    )
    f16 = (row(media_types.LIBRARY, "library-f16.wasm"),)
    manifests = {
        "native": Manifest(row(media_types.CONFIG, "native-config.json"), (source_row,)),
        "f16": Manifest(config, (*shared, *f16)),
        "f32": Manifest(config, (*shared, *f32)),
    }
    (folder / "manifests").mkdir()
    rows = []
    for variant, manifest in manifests.items():
        data = manifest.to_bytes()
        (folder / "manifests" / f"{variant}.json").write_bytes(data)
        platform = (
            Platform("native", "gguf")
            if variant == "native"
            else Platform("browser", "webgpu", variant)
        )
        rows.append(
            Descriptor(media_types.OCI_MANIFEST, Digest.of(data), len(data), platform=platform)
        )
    index = Index(tuple(rows))
    (folder / "index.json").write_bytes(index.to_bytes())
    return TinyBundle(folder, index, {source_row.digest: source}, contents)
