"""Frequencies and magnitudes of every rope scaling, against transformers' own functions."""

import math
from typing import Any

import numpy as np
import pytest

from transom_models.architecture import UnsupportedModel
from transom_models.architectures._hub import HubConfig
from transom_models.metadata_reader import MetadataReader
from transom_models.rope import (
    RopeConfig,
    Yarn,
    llama3_divisors,
    longrope_magnitude,
    rope_frequencies,
    yarn_frequencies,
)

# The oracle computes in f32.
RELATIVE = 2e-6
PUBLISHED = {
    "llama 3.2": (
        64,
        131_072,
        {
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    ),
    "qwen 2.5 long": (
        128,
        131_072,
        {
            "rope_type": "yarn",
            "rope_theta": 1_000_000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 32_768,
        },
    ),
    "olmo 3": (
        128,
        65_536,
        {
            "rope_type": "yarn",
            "rope_theta": 500_000.0,
            "factor": 8.0,
            "attention_factor": 1.2079441541679836,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "original_max_position_embeddings": 8192,
        },
    ),
    "other betas": (
        96,
        32_768,
        {
            "rope_type": "yarn",
            "rope_theta": 10_000.0,
            "factor": 16.0,
            "beta_fast": 48.0,
            "beta_slow": 2.0,
            "mscale": 0.707,
            "mscale_all_dim": 1.2,
            "original_max_position_embeddings": 2048,
        },
    ),
    "gemma 3 4b": (
        256,
        131_072,
        {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0},
    ),
}


def transformers_rope(
    head_dim: int, context: int, rope: dict[str, Any], seq_len: int | None = None
) -> tuple[Any, float]:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(
        hidden_size=head_dim * 2,
        num_attention_heads=2,
        max_position_embeddings=context,
        rope_parameters=dict(rope),
    )
    frequencies, magnitude = ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu", seq_len=seq_len)
    return frequencies.numpy(), magnitude


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_scaling_is_that_of_transformers_through_gguf(name: str) -> None:
    head_dim, context, rope = PUBLISHED[name]
    hub = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "vocab_size": 32,
        "hidden_size": 2 * head_dim,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-5,
        "rope_parameters": rope,
    }
    from transom_models.architectures import llama

    converted = llama.from_hugging_face(hub)
    metadata = {**converted.metadata, "tokenizer.ggml.tokens": ["a"] * 32}
    found = llama.read_config(metadata, converted.vectors).rope.rope(context)
    expected, magnitude = transformers_rope(head_dim, context, rope)
    np.testing.assert_allclose(found.frequencies, expected, rtol=RELATIVE)
    assert math.isclose(found.magnitude, magnitude, rel_tol=1e-12)


@pytest.mark.parametrize("window", [4096, 4097, 131_072])
def test_longrope_changes_over_with_the_context_window(window: int) -> None:
    factors = {"short_factor": [1.0 + i / 8 for i in range(48)]}
    factors["long_factor"] = [1.0 + i for i in range(48)]
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "original_max_position_embeddings": 4096,
        **factors,
    }
    expected, magnitude = transformers_rope(96, 131_072, rope, window)
    config = RopeConfig(
        theta=10_000.0,
        dims=96,
        divisors=tuple(factors["short_factor"]),
        long_divisors=tuple(factors["long_factor"]),
        original_context=4096,
        magnitude=longrope_magnitude(131_072 / 4096, 4096),
    )
    found = config.rope(window)
    np.testing.assert_allclose(found.frequencies, expected, rtol=RELATIVE)
    assert math.isclose(found.magnitude, magnitude)


def test_llama3_by_hand() -> None:
    # theta 4, 4 pairs: 1, 1/sqrt 2, 1/2, ... radians; 100 tokens: 15.9, 11.3, 8.0, 5.6 turns.
    found = llama3_divisors(
        4.0, 8, factor=8.0, low_freq_factor=6.0, high_freq_factor=10.0, original_context=100
    )
    kept = (100 * 0.5 / (2 * math.pi) - 6) / 4
    assert found == pytest.approx((1.0, 1.0, 1 / ((1 - kept) / 8 + kept), 8.0))


def test_yarn_by_hand() -> None:
    # theta 100, 4 pairs of 8: pair p turns 1000 * 100^(-p/4) / 2 pi times; a turn count of 50 is at
    # pair 1.005, of 1 at pair 4.4: the ramp goes from 1 to 5.
    found = yarn_frequencies(100.0, 8, 4.0, Yarn(1000, beta_fast=50.0, beta_slow=1.0))
    plain = rope_frequencies(100.0, 8)
    slowed = [0.0, 0.0, 0.25, 0.5]
    assert found == pytest.approx([f * (s / 4 + 1 - s) for f, s in zip(plain, slowed, strict=True)])


def test_a_ramp_of_no_width_is_a_step() -> None:
    found = yarn_frequencies(100.0, 8, 4.0, Yarn(6, beta_fast=1.0, beta_slow=1.0))
    plain = rope_frequencies(100.0, 8)
    assert found == pytest.approx([plain[0], *(f / 4 for f in plain[1:])])


def read_rope(**keys: Any) -> RopeConfig:
    """llama's rope with `llama.rope.*` keys (dots as __)."""
    from tests.fakes.tiny_gguf import llama_metadata
    from transom_models.architectures import llama

    named = {f"llama.rope.{key.replace('__', '.')}": value for key, value in keys.items()}
    return llama.read_config({**llama_metadata(), **named}, {}).rope


def test_gguf_keys_of_yarn() -> None:
    rope = read_rope(
        scaling__type="yarn",
        scaling__factor=4.0,
        scaling__original_context_length=64,
        scaling__yarn_beta_fast=16.0,
        scaling__yarn_attn_factor=1.1386,
        scaling__attn_factor=2.0,
    )
    assert rope.yarn == Yarn(64, beta_fast=16.0, beta_slow=1.0)
    assert rope.magnitude == pytest.approx(2.0 * (1 + 0.1 * math.log(4.0)))


def test_a_factor_without_a_type_is_linear_and_none_is_none() -> None:
    assert read_rope(scaling__factor=4.0).factor == 4.0
    assert read_rope(scale_linear=4.0).factor == 4.0
    assert read_rope(scaling__type="none", scaling__factor=4.0).factor == 1.0
    assert read_rope(scaling__factor=0.0).factor == 1.0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"yarn_attn_factor": 1.0},
            "yarn_attn_factor is 1.0: an attention factor that is not 1.13",
        ),
        ({"yarn_attn_factor": "1"}, "yarn_attn_factor is '1'"),
        ({"yarn_ext_factor": 0.5}, "yarn_ext_factor is 0.5"),
        ({"yarn_log_multiplier": 0.1}, "yarn_log_multiplier is 0.1"),
        ({"yarn_beta_fast": 0.0}, "yarn_beta_fast is 0.0"),
        ({"finetuned": False}, "finetuned is False: a model without rope"),
        ({"original_context_length": 0}, "original_context_length is 0"),
    ],
)
def test_yarn_that_readers_do_not_agree_about_is_refused(
    keys: dict[str, Any], message: str
) -> None:
    named = {f"scaling__{key}": value for key, value in keys.items()}
    with pytest.raises(UnsupportedModel, match=message):
        read_rope(scaling__type="yarn", scaling__factor=4.0, **named)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0] * 7, "rope_freqs.weight has 7 numbers, not 8"),
        ([1.0] * 7 + [0.0], "not finite and over 0"),
        ([1.0] * 7 + [math.nan], "not finite and over 0"),
        ([1.0] * 7 + [math.inf], "not finite and over 0"),
    ],
)
def test_rope_tensors_that_lie(values: list[float], message: str) -> None:
    from tests.fakes.tiny_gguf import llama_metadata
    from transom_models.architectures import llama

    with pytest.raises(UnsupportedModel, match=message):
        llama.read_config(llama_metadata(), {"rope_freqs.weight": values})
    assert llama.read_config(llama_metadata(), {"rope_freqs.weight": [1.0] * 8}).rope.divisors


def test_long_without_short_factors() -> None:
    from tests.fakes.tiny_gguf import llama_metadata
    from transom_models.architectures import llama

    with pytest.raises(UnsupportedModel, match="needs both"):
        llama.read_config(llama_metadata(), {"rope_factors_long.weight": [1.0] * 8})


def hub_rope(rope: dict[str, Any], **fields: Any) -> dict[str, Any]:
    hub = {"architectures": ["X"], "max_position_embeddings": 64, "rope_scaling": rope, **fields}
    return HubConfig(hub, "x").rope().metadata("x", scaled=("linear", "yarn", "llama3"))


def test_transformers_4_and_5_say_the_same() -> None:
    new = hub_rope({}, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5})
    assert new == hub_rope({"type": "linear", "factor": 2.0}, rope_theta=5e5)
    assert new == {
        "x.rope.freq_base": 5e5,
        "x.rope.scaling.type": "linear",
        "x.rope.scaling.factor": 2.0,
    }


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({"type": "dynamic", "factor": 2.0}, "rope of type 'dynamic' is not supported"),
        ({"rope_type": "longrope"}, "rope of type 'longrope' is not supported"),
        ({"rope_type": "linear"}, "rope of type 'linear' has no factor"),
        ({"rope_type": "linear", "factor": "2"}, "factor is '2', not a number"),
        ({"rope_type": "yarn", "factor": 2.0, "truncate": False}, "YaRN without truncate"),
        ({"type": "mrope", "mrope_section": [1, 1]}, "sections"),
        ([2.0], "rope_scaling is not an object"),
    ],
)
def test_a_rope_scaling_that_is_not_understood_is_refused(rope: Any, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        hub_rope(rope)


def test_flags_must_be_one_for_each_layer() -> None:
    for lie in ([True], [True, 2], "ab", 5):
        with pytest.raises(UnsupportedModel, match=r"x.pattern is .*not 2 booleans"):
            MetadataReader({"x.pattern": lie}, "x").flags("pattern", 2)
    assert MetadataReader({"x.pattern": [1, False]}, "x").flags("pattern", 2) == (True, False)
