"""What every decoder file shares: refusals, fusing, windows. Sizes come from tiny configs."""

from typing import Any

import numpy as np
import pytest

from transom_models.architecture import UnsupportedModel, load_architecture
from transom_models.architectures._decoder import DecoderConfig, ParameterList, read_windows
from transom_models.metadata_reader import MetadataReader

SIZES = {
    "block_count": 4,
    "context_length": 64,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
DECODERS = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "olmo2", "granite")
MORE = {"granite": {"logit_scale": 8.0}}


def config(name: str, **changes: Any) -> Any:
    """A config of that architecture with keys changed (dots as __); None removes a key."""
    keys = {**SIZES, **MORE.get(name, {})}
    keys |= {key.replace("__", "."): value for key, value in changes.items()}
    metadata = {f"{name}.{key}": value for key, value in keys.items() if value is not None}
    return load_architecture(name).read_config(
        {**metadata, "tokenizer.ggml.tokens": ["a"] * 32}, {}
    )


def names(name: str, found: Any, **kinds: str) -> list[str]:
    specs = load_architecture(name).parameters(
        found, {k.replace("__", "."): v for k, v in kinds.items()}
    )
    return [spec.name for spec in specs]


@pytest.mark.parametrize("name", DECODERS)
def test_the_smallest_truth(name: str) -> None:
    found = config(name)
    assert (found.block_count, found.head_dim, found.vocab_size) == (4, 16, 32)
    cache = load_architecture(name).cache_spec(found, 64)
    assert (cache.layers, cache.query_heads, cache.kv_heads, cache.head_dim) == (4, 4, 2, 16)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block_count": None}, "the checkpoint has no {}.block_count"),
        ({"block_count": 2**31}, "{}.block_count is 2147483648, not from 1 to 512"),
        ({"attention__head_count": [4, 4, 4, 4]}, "{}.attention.head_count is .*not one integer"),
        ({"attention__head_count_kv": 3}, "{}.attention.head_count 4 is no multiple"),
        ({"attention__key_length": 12, "attention__value_length": 12}, "{}'s heads of 12"),
        ({"attention__value_length": 8}, "{}.attention.value_length 8 differs"),
        ({"expert_count": 8}, "{}.expert_count is 8: a mixture of experts"),
        ({"attention__causal": False}, "{}.attention.causal is False"),
        ({"rope__scaling__type": "ntk"}, "{}.rope.scaling.type is 'ntk'"),
        ({"rope__dimension_count": 17}, "{}.rope.dimension_count is 17 of head size 16"),
        ({"rope__freq_base": 1.0}, "{}.rope.freq_base is 1.0, not from 2"),
        ({"attention__layer_norm_rms_epsilon": "1e-5"}, "epsilon is '1e-5', not one number"),
        ({"unheard_of": 1}, "does not understand: {}.unheard_of"),
    ],
)
def test_a_lie_or_an_unknown_key_is_named(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message.format(name)):
        config(name, **changes)


@pytest.mark.parametrize("name", ["llama", "granite"])
def test_interleaved_rows_are_of_whole_heads(name: str) -> None:
    with pytest.raises(UnsupportedModel, match="only a whole head can turn"):
        config(name, rope__dimension_count=8)
    assert config("qwen2", rope__dimension_count=8).rope.dims == 8


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gemma2", {"attn_logit_softcapping": 0.0}, "attn_logit_softcapping is 0.0, not from"),
        ("gemma2", {"final_logit_softcapping": -1.0}, "final_logit_softcapping is -1.0"),
        ("gemma3", {"rope__freq_base_swa": 0.0}, "freq_base_swa is 0.0"),
        ("gemma3", {"attention__sliding_window": -1}, "sliding_window is -1, not from 0"),
        ("gemma3", {"attention__sliding_window_pattern": [True]}, "not 4 booleans"),
        ("gemma3", {"attention__sliding_window_pattern": 0}, "pattern is 0, not from 1"),
        ("granite", {"logit_scale": None}, "has no granite.logit_scale"),
        ("granite", {"logit_scale": 0.0}, "logit_scale is 0.0, not from"),
        ("granite", {"residual_scale": -1.0}, "residual_scale is -1.0, not from"),
        ("granite", {"rope__scaling__finetuned": False}, "a model without rope"),
    ],
)
def test_lies_of_one_architecture(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        config(name, **changes)


def test_windows_as_llama_cpp_reads_them() -> None:
    def windows(**keys: Any) -> tuple[int, tuple[bool, ...]]:
        metadata = {f"x.attention.sliding_window{key}": value for key, value in keys.items()}
        return read_windows(MetadataReader(metadata, "x"), 4, period=2, window=7)

    every_other = (True, False, True, False)
    assert windows() == (7, every_other)
    assert windows(**{"": 5}) == (5, every_other)
    assert windows(**{"": 0}) == (0, (False,) * 4)
    assert windows(_pattern=3) == (7, (True, True, False, True))
    assert windows(_pattern=1) == (7, (False,) * 4)
    assert windows(_pattern=[True, False, False, True]) == (7, (True, False, False, True))


def test_gemma_without_a_window_turns_by_one_rope() -> None:
    assert config("gemma3").windowed == (False,) * 4
    assert config("gemma3", attention__sliding_window=8).windowed == (True,) * 4
    assert config("gemma2").windowed == (True, False) * 2


def test_what_llama_cpp_knows_by_the_number_of_blocks() -> None:
    sizes = {"embedding_length": 96, "attention__key_length": 16, "attention__value_length": 16}
    assert config("gemma2", **sizes).query_scalar == 16
    assert config("gemma2", **sizes, block_count=46).query_scalar == 24
    assert config("gemma3", **sizes, block_count=62).query_scalar == 24


def test_a_granite_4_that_is_all_attention() -> None:
    found = config("granite", attention__head_count_kv=np.full(4, 2, np.int32), ssm__state_size=128)
    assert found == config("granite")
    assert type(found.head_count_kv) is int
    assert config("granite", residual_scale=0.0, attention__scale=0.0) == found


def test_a_window_as_long_as_the_context_hides_nothing() -> None:
    assert config("phi3", attention__sliding_window=64).window == 0
    assert config("phi3", attention__sliding_window=63).window == 63


def test_biases_go_with_their_matrices() -> None:
    found = config("llama", block_count=1)
    weights = {f"blk.0.attn_{part}.weight": "Q8_0" for part in "qkv"}
    biases = {f"blk.0.attn_{part}.bias": "F32" for part in "qkv"}

    def stored(kinds: dict[str, str]) -> list[str]:
        specs = load_architecture("llama").parameters(found, kinds)
        return [spec.name for spec in specs if ".attn_" in spec.name][1:-1]

    assert stored(weights) == ["blk.0.attn_qkv.weight"]
    assert stored(weights | biases) == ["blk.0.attn_qkv.weight", "blk.0.attn_qkv.bias"]
    apart = weights | biases | {"blk.0.attn_v.weight": "F16"}
    assert stored(apart)[:2] == ["blk.0.attn_q.weight", "blk.0.attn_q.bias"]
    one = weights | {"blk.0.attn_v.bias": "F32"}
    assert stored(one) == [*weights, "blk.0.attn_v.bias"]


def test_biases_are_interleaved_as_their_matrices_are() -> None:
    store = ParameterList({f"blk.0.attn_{part}.bias": "F32" for part in "qkv"})
    found: DecoderConfig = config("llama")
    store.qkv("blk.0", found, interleaved=True)
    _, bias = store.specs
    assert [(source.shape, source.rope_heads) for source in bias.sources] == [
        ((64,), 4),
        ((32,), 2),
        ((32,), 0),
    ]
    assert bias.shape == (128,)


def test_missing_biases_of_qwen2_are_asked_for() -> None:
    assert "blk.0.attn_qkv.bias" in names("qwen2", config("qwen2"))
    assert "blk.0.attn_qkv.bias" not in names("llama", config("llama"))


def test_queries_keys_and_values_may_be_published_as_one() -> None:
    specs = load_architecture("qwen3").parameters(
        config("qwen3"), {"blk.0.attn_qkv.weight": "Q4_K"}
    )
    (spec,) = [spec for spec in specs if spec.name == "blk.0.attn_qkv.weight"]
    assert [(source.name, source.shape) for source in spec.sources] == [(spec.name, (128, 64))]
