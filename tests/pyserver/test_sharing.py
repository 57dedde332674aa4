"""pytest tests/pyserver/test_sharing.py -s: two fine-tunes and both variants of one base, by bytes.

The real walk on a tiny checkpoint; only the compiler's process is a stand-in. Prints what
`transom du` counts; the same on a model of 135 million parameters stands in docs/store.md.
"""

import struct
from collections import Counter
from pathlib import Path

import pytest
from gguf.constants import GGMLQuantizationType

from tests.fakes.fake_compiler import FAKE_COMPILER
from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, tiny_llama
from transom_cli import compile as compile_verb
from transom_cli.creating import Wish, create
from transom_cli.output import long_work
from transom_compile import library_builds
from transom_models import media_types
from transom_models.digest import Digest
from transom_models.modelfile import parse_modelfile
from transom_models.name import ModelName
from transom_server.store import Store

F32 = GGMLQuantizationType.F32
MODELS = {
    "base": "FROM base.gguf",
    # A fine-tune by words, one by a low-rank change, and one whose weights came as a file.
    "brief": "FROM base\nSYSTEM Be brief.\nPARAMETER temperature 0.2",
    "lora": "FROM base\nADAPTER lora.gguf",
    "tuned": "FROM tuned.gguf",
}


def low_rank() -> TinyGguf:
    tensors = [
        TinyTensor("blk.0.attn_q.weight.lora_a", (64, 1), data=struct.pack("<64f", *[0.01] * 64)),
        TinyTensor("blk.0.attn_q.weight.lora_b", (1, 64), data=struct.pack("<64f", *[0.01] * 64)),
    ]
    keys = [("general.architecture", "llama"), ("general.type", "adapter")]
    more = [("adapter.type", "lora"), ("adapter.lora.alpha", 1.0)]
    return TinyGguf(metadata=[*keys, *more], tensors=tensors)


@pytest.fixture
def made(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    (tmp_path / "runtime.json").touch()
    monkeypatch.setenv("TRANSOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library_builds, "COMPILER", FAKE_COMPILER)
    monkeypatch.setattr(compile_verb, "built_runtime", lambda: tmp_path)
    kinds = {"blk.0.attn_q.weight": F32}
    (tmp_path / "base.gguf").write_bytes(tiny_llama(kinds=kinds).to_bytes())
    (tmp_path / "tuned.gguf").write_bytes(tiny_llama(kinds=kinds, seed=1).to_bytes())
    (tmp_path / "lora.gguf").write_bytes(low_rank().to_bytes())
    for name, text in MODELS.items():
        with long_work() as work:
            create(store, Wish(ModelName.parse(name), parse_modelfile(text), tmp_path), work)
    return store


def digests(store: Store, name: str, kind: str) -> list[set[Digest]]:
    """The blobs of one kind, by platform."""
    rows = store.get_index(ModelName.parse(name)).index.manifests
    layers = [store.get_manifest(row).layers for row in rows]
    return [{row.digest for row in part if row.media_type == kind} for part in layers]


def test_what_is_equal_is_stored_once(made: Store) -> None:
    usage = made.usage()
    for row in usage.models:
        print(f"\n{row.name!s:8} total {row.total:8} shared {row.shared:8} own {row.own:8}", end="")
    together = sum(row.total for row in usage.models)
    print(f"\none by one {together}, stored {usage.stored}")

    # f16 and f32 take their weights from the same shards.
    for name in MODELS:
        _, f16, f32 = digests(made, name, media_types.SHARD)
        assert f16 == f32
        assert f16
    # All four run by the same libraries, and three on the same GGUF.
    libraries = [digests(made, name, media_types.LIBRARY) for name in MODELS]
    assert all(found == libraries[0] for found in libraries)
    checkpoints = Counter(
        digest for name in MODELS for digest in digests(made, name, media_types.OLLAMA_MODEL)[0]
    )
    assert sorted(checkpoints.values()) == [1, 3]
    # A fine-tune by words is words; whatever is counted as shared is on the disk once.
    own = {str(row.name): row.own for row in usage.models}
    gguf = made.blob_size(next(iter(digests(made, "base", media_types.OLLAMA_MODEL)[0])))
    assert own["brief"] < 12_000
    assert own["lora"] < own["tuned"] - gguf / 2
    assert together - usage.stored > 3 * gguf
    assert usage.stored == sum(entry.size for entry in made.storage.entries("blobs"))
    # The merged GGUF of `lora`, which nobody names, never came into the store.
    assert usage.unused == 0
