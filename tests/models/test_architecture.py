"""Loading an architecture by its file name, and llama's sizes and parameters from metadata."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.tiny_gguf import llama_dims, llama_metadata
from transom_models import architectures
from transom_models.architecture import (
    UnknownArchitecture,
    UnsupportedModel,
    known_architectures,
    load_architecture,
)
from transom_models.rope import RopeConfig

llama = load_architecture("llama")


def config(**changes: Any) -> Any:
    """llama's config with `llama.*` keys changed (dots as __); None removes a key."""
    metadata = llama_metadata()
    for key, value in changes.items():
        metadata[f"llama.{key.replace('__', '.')}"] = value
    return llama.read_config({key: item for key, item in metadata.items() if item is not None}, {})


def block_types(**changes: str) -> Mapping[str, str]:
    kinds = {name: "F32" if len(dims) == 1 else "Q4_1" for name, dims in llama_dims().items()}
    return kinds | {name.replace("__", "."): kind for name, kind in changes.items()}


def test_the_folder_is_the_list() -> None:
    assert "llama" in known_architectures()
    assert not any(name.startswith("_") for name in known_architectures())


@pytest.mark.parametrize(
    "name", ["gemma9", "", "../llama", "Llama", "llama.x", "_layers", "l" * 99]
)
def test_an_unknown_name_lists_what_exists(name: str) -> None:
    with pytest.raises(UnknownArchitecture, match=r"this version runs .*llama"):
        load_architecture(name)


def test_a_broken_file_is_a_bug_not_an_unknown_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.setattr(architectures, "__path__", [*architectures.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match=r"no_such_module_anywhere"):
        load_architecture("broken")


def test_llama_reads_its_sizes() -> None:
    found = config()
    assert (found.block_count, found.embedding_length, found.head_count) == (2, 64, 4)
    assert (found.head_count_kv, found.head_dim, found.vocab_size) == (2, 16, 264)
    assert found.rope == RopeConfig(theta=10_000.0, dims=16, original_context=256)


def test_llama_falls_back_as_ggml_does() -> None:
    found = config(attention__head_count_kv=None, rope__dimension_count=None, vocab_size=None)
    assert (found.head_count_kv, found.head_dim, found.vocab_size) == (4, 16, 264)


def test_llama_takes_a_head_size_of_its_own() -> None:
    found = config(attention__key_length=32, attention__value_length=32, rope__dimension_count=32)
    assert found.head_dim == 32
    specs = {spec.name: spec.shape for spec in llama.parameters(found, block_types())}
    assert specs["blk.0.attn_qkv.weight"] == ((4 + 2 + 2) * 32, 64)
    assert specs["blk.0.attn_output.weight"] == (64, 128)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_count": None}, "has no llama.block_count"),
        ({"block_count": 0}, "llama.block_count is 0, not from 1 to"),
        ({"block_count": 2**31}, "llama.block_count is 2147483648"),
        ({"block_count": True}, "not one integer"),
        ({"attention__head_count_kv": [2, 1]}, "head_count_kv is .* 2 layers that are alike"),
        ({"attention__head_count_kv": [2]}, "head_count_kv is .* 2 layers that are alike"),
        ({"attention__head_count_kv": "22"}, "head_count_kv is .*not one integer"),
        ({"attention__head_count_kv": 3}, "no multiple of head_count_kv 3"),
        ({"attention__head_count": 3, "attention__head_count_kv": 3}, "no multiple of head_count"),
        ({"attention__value_length": 8}, "value_length 8 differs"),
        ({"rope__dimension_count": 8}, "rope.dimension_count is 8 of head size 16"),
        (
            {"attention__key_length": 20, "rope__dimension_count": 20},
            "heads of 20 are no multiple of 8",
        ),
        ({"attention__layer_norm_rms_epsilon": float("nan")}, "epsilon is nan"),
        ({"rope__freq_base": 0.0}, "freq_base is 0.0"),
        ({"rope__scaling__type": "dynamic"}, "rope.scaling.type is 'dynamic': only none, linear"),
        ({"rope__scaling__type": "longrope"}, "needs both rope_factors_short.weight and"),
        ({"rope__scaling__factor": -1.0}, "rope.scaling.factor is -1.0"),
        ({"rope__scaling__alpha": 2.0}, "does not understand: llama.rope.scaling.alpha"),
        ({"expert_count": 8}, "expert_count is 8"),
        ({"attention__sliding_window": 4096}, "does not understand: llama.attention.sliding"),
        ({"vocab_size": 10}, "vocab_size is 10, but the tokenizer has 264"),
    ],
)
def test_llama_names_what_it_cannot_run(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        config(**changes)


def test_llama_accepts_neutral_values_of_what_it_cannot_run() -> None:
    neutral = {"rope__scaling__type": "none", "expert_count": 0, "rope__scaling__factor": 1.0}
    assert config(**neutral) == config()


def test_llama_fuses_what_reads_the_same_input() -> None:
    specs = llama.parameters(config(), block_types())
    assert [spec.name for spec in specs][:7] == [
        "token_embd.weight",
        "blk.0.attn_norm.weight",
        "blk.0.attn_qkv.weight",
        "blk.0.attn_output.weight",
        "blk.0.ffn_norm.weight",
        "blk.0.ffn_gate_up.weight",
        "blk.0.ffn_down.weight",
    ]
    assert specs[-1].name == "output_norm.weight"
    qkv = specs[2]
    assert qkv.shape == (128, 64)
    assert [(part.name, part.rope_heads) for part in qkv.sources] == [
        ("blk.0.attn_q.weight", 4),
        ("blk.0.attn_k.weight", 2),
        ("blk.0.attn_v.weight", 0),
    ]


def test_llama_keeps_matrices_of_different_block_types_apart() -> None:
    kinds = block_types(**{"blk__0__attn_v__weight": "Q8_0"})
    specs = {spec.name: spec for spec in llama.parameters(config(), kinds)}
    assert "blk.0.attn_qkv.weight" not in specs
    assert specs["blk.0.attn_v.weight"].block_type == "Q8_0"
    assert specs["blk.0.attn_q.weight"].sources[0].rope_heads == 4
    assert "blk.1.attn_qkv.weight" in specs


def test_llama_has_an_output_matrix_only_when_the_checkpoint_has() -> None:
    tied = [spec.name for spec in llama.parameters(config(), block_types())]
    untied = [spec.name for spec in llama.parameters(config(), block_types(output__weight="Q8_0"))]
    assert untied == [*tied, "output.weight"]
