"""Published `config.json` files, shortened to what counts, in GGUF's words; and what is refused."""

from collections.abc import Mapping
from typing import Any

import pytest

from transom_models.architecture import (
    HubModel,
    UnsupportedModel,
    known_architectures,
    load_architecture,
)

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 131_072,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500_000.0,
    "tie_word_embeddings": True,
    "vocab_size": 128_256,
    # Changes nothing once a model is trained.
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "torch_dtype": "bfloat16",
    "use_cache": True,
}
MISTRAL = {
    "architectures": ["MistralForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "max_position_embeddings": 32_768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10_000.0,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
    "vocab_size": 32_000,
}
QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "max_position_embeddings": 32_768,
    "max_window_layers": 21,
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1_000_000.0,
    "sliding_window": 32_768,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151_936,
}
QWEN3 = {
    **QWEN2,
    "architectures": ["Qwen3ForCausalLM"],
    "head_dim": 128,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "rope_scaling": None,
    "sliding_window": None,
}
GEMMA2 = {
    "architectures": ["Gemma2ForCausalLM"],
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "max_position_embeddings": 8192,
    "num_attention_heads": 8,
    "num_hidden_layers": 26,
    "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10_000.0,
    "sliding_window": 4096,
    "vocab_size": 256_000,
}
GEMMA2_27B = {
    **GEMMA2,
    "head_dim": 128,
    "hidden_size": 4608,
    "intermediate_size": 36_864,
    "num_attention_heads": 32,
    "num_hidden_layers": 46,
    "num_key_value_heads": 16,
    "query_pre_attn_scalar": 144,
}
GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "intermediate_size": 6912,
    "max_position_embeddings": 32_768,
    "num_attention_heads": 4,
    "num_hidden_layers": 26,
    "num_key_value_heads": 1,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10_000,
    "rope_scaling": None,
    "rope_theta": 1_000_000,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "vocab_size": 262_144,
}
# Published with a vision tower; most of the text's fields are left to their defaults.
GEMMA3_4B = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {
        "hidden_size": 2560,
        "intermediate_size": 10_240,
        "model_type": "gemma3_text",
        "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
}
GEMMA3_27B = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {
        "head_dim": 128,
        "hidden_size": 5376,
        "intermediate_size": 21_504,
        "num_attention_heads": 32,
        "num_hidden_layers": 62,
        "num_key_value_heads": 16,
        "query_pre_attn_scalar": 168,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    },
}
PHI3 = {
    "architectures": ["Phi3ForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "original_max_position_embeddings": 4096,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10_000.0,
    "sliding_window": 2047,
    "tie_word_embeddings": False,
    "vocab_size": 32_064,
}
PHI4_MINI = {
    **PHI3,
    "max_position_embeddings": 131_072,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "partial_rotary_factor": 0.75,
    "rope_scaling": {
        "long_factor": [2.0] * 48,
        "short_factor": [1.0] * 48,
        "type": "longrope",
    },
    "sliding_window": 262_144,
    "tie_word_embeddings": True,
    "vocab_size": 200_064,
}
OLMO2 = {
    "architectures": ["Olmo2ForCausalLM"],
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 16,
    "num_key_value_heads": 16,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 500_000,
    "tie_word_embeddings": False,
    "vocab_size": 100_352,
}
OLMO3 = {
    **OLMO2,
    "architectures": ["Olmo3ForCausalLM"],
    "layer_types": [*["sliding_attention"] * 3, "full_attention"] * 4,
    "max_position_embeddings": 65_536,
    "rope_scaling": {
        "attention_factor": 1.2079441541679836,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 8.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "yarn",
    },
    "sliding_window": 4096,
}
GRANITE = {
    "architectures": ["GraniteForCausalLM"],
    "attention_multiplier": 0.015625,
    "embedding_multiplier": 12.0,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "logits_scaling": 8.0,
    "max_position_embeddings": 131_072,
    "num_attention_heads": 32,
    "num_hidden_layers": 40,
    "num_key_value_heads": 8,
    "residual_multiplier": 0.22,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10_000_000.0,
    "tie_word_embeddings": True,
    "vocab_size": 49_159,
}
PUBLISHED = [
    LLAMA,
    MISTRAL,
    QWEN2,
    QWEN3,
    GEMMA2,
    GEMMA2_27B,
    GEMMA3,
    GEMMA3_4B,
    GEMMA3_27B,
    PHI3,
    PHI4_MINI,
    OLMO2,
    OLMO3,
    GRANITE,
]


def convert(hub: Mapping[str, Any], **changes: Any) -> tuple[HubModel, Any]:
    """The conversion, and the config that is read back from it."""
    hub = {**hub, **changes}
    found = [load_architecture(name) for name in known_architectures()]
    (one,) = [a for a in found if hub["architectures"][0] in a.HUGGING_FACE]
    model = one.from_hugging_face(hub)
    vocabulary = hub.get("vocab_size", 262_144)
    metadata = {**model.metadata, "tokenizer.ggml.tokens": range(vocabulary)}
    return model, one.read_config(metadata, model.vectors)


@pytest.mark.parametrize("hub", PUBLISHED)
def test_the_sizes_come_back(hub: dict[str, Any]) -> None:
    text = hub.get("text_config", hub)
    _, config = convert(hub)
    assert config.block_count == text["num_hidden_layers"]
    assert config.embedding_length == text["hidden_size"]
    assert config.feed_forward_length == text["intermediate_size"]
    assert config.head_count == text.get("num_attention_heads", 8)
    assert config.head_count_kv == text.get("num_key_value_heads", 4)


def test_llama_3_2() -> None:
    model, config = convert(LLAMA)
    assert model.metadata == {
        "llama.vocab_size": 128_256,
        "llama.context_length": 131_072,
        "llama.embedding_length": 2048,
        "llama.block_count": 16,
        "llama.feed_forward_length": 8192,
        "llama.rope.dimension_count": 64,
        "llama.rope.freq_base": 500_000.0,
        "llama.attention.head_count": 32,
        "llama.attention.head_count_kv": 8,
        "llama.attention.layer_norm_rms_epsilon": 1e-05,
        "llama.attention.key_length": 64,
        "llama.attention.value_length": 64,
    }
    assert model.rope_heads == {"attn_q": 32, "attn_k": 8}
    assert model.tied_embeddings
    divisors = model.vectors["rope_freqs.weight"]
    assert (len(divisors), divisors[0], divisors[-1]) == (32, 1.0, 32.0)
    assert config.rope.divisors == divisors


def test_mistral_is_cut_to_its_window() -> None:
    assert convert(MISTRAL)[1].context_length == 4096
    assert convert(MISTRAL, sliding_window=None)[1].context_length == 32_768
    # A Llama has no window whatever its config says.
    assert convert(LLAMA, sliding_window=4096)[1].context_length == 131_072


def test_qwen2_is_cut_to_its_window_when_that_is_used() -> None:
    assert convert(QWEN2, sliding_window=64)[1].context_length == 32_768
    assert convert(QWEN2, sliding_window=64, use_sliding_window=True)[1].context_length == 64
    yarn = {"factor": 4.0, "original_max_position_embeddings": 32_768, "type": "yarn"}
    assert convert(QWEN2, rope_scaling=yarn)[1].rope.yarn.original_context == 32_768


def test_qwen3_has_heads_of_their_own_size() -> None:
    model, config = convert(QWEN3)
    assert config.head_dim == 128
    assert not model.rope_heads
    assert convert({key: value for key, value in QWEN3.items() if key != "head_dim"})[1] == config


def test_gemma2() -> None:
    model, config = convert(GEMMA2)
    assert model.plus_one
    assert model.tied_embeddings
    assert (config.query_scalar, config.window, config.windowed[:3]) == (
        256,
        4096,
        (True, False, True),
    )
    assert convert(GEMMA2_27B)[1].query_scalar == 144


def test_gemma3() -> None:
    model, config = convert(GEMMA3)
    assert model.plus_one
    assert "gemma3.attention.sliding_window_pattern" not in model.metadata
    assert [index for index, windowed in enumerate(config.windowed) if not windowed] == [
        5,
        11,
        17,
        23,
    ]
    assert (config.window, config.rope.theta, config.local_rope.theta) == (512, 1e6, 1e4)
    large = convert(GEMMA3_4B)[1]
    assert (large.head_dim, large.rope.factor, large.local_rope.factor) == (256, 8.0, 1.0)
    assert large.context_length == 131_072
    assert convert(GEMMA3_27B)[1].query_scalar == 168


def test_gemma3_layers_by_name() -> None:
    kinds = ["full_attention", *["sliding_attention"] * 25]
    model, config = convert(GEMMA3, layer_types=kinds)
    assert model.metadata["gemma3.attention.sliding_window_pattern"] == [False] + [True] * 25
    assert config.windowed == (False, *[True] * 25)
    assert convert(GEMMA3, sliding_window_pattern=2)[1].windowed == (True, False) * 13


def test_phi3() -> None:
    model, config = convert(PHI3)
    assert (config.window, config.rope.dims, model.vectors) == (2047, 96, {})
    mini, config = convert(PHI4_MINI)
    assert (config.window, config.head_dim, config.rope.dims) == (0, 128, 96)
    assert config.rope.long_divisors == (2.0,) * 48
    assert config.rope.original_context == 4096
    assert mini.metadata["phi3.rope.scaling.attn_factor"] == pytest.approx(1.1902380714238083)


def test_olmo() -> None:
    model, config = convert(OLMO2)
    assert (config.window, any(config.windowed)) == (0, False)
    model, config = convert(OLMO3)
    assert config.windowed == (True, True, True, False) * 4
    assert (config.window, config.local_rope.theta, config.local_rope.yarn) == (4096, 5e5, None)
    # What it says is what YaRN takes anyhow.
    assert "olmo2.rope.scaling.attn_factor" not in model.metadata
    assert config.rope.magnitude == pytest.approx(1.2079441541679836)


def test_granite() -> None:
    model, config = convert(GRANITE)
    assert model.rope_heads == {"attn_q": 32, "attn_k": 8}
    assert (config.attention_scale, config.embedding_scale) == (0.015625, 12.0)
    assert (config.residual_scale, config.logit_scale) == (0.22, 8.0)


@pytest.mark.parametrize(
    ("hub", "changes", "message"),
    [
        (LLAMA, {"hidden_act": "gelu"}, "hidden_act is 'gelu'; Transom's llama knows only 'silu'"),
        (LLAMA, {"quantization_config": {"bits": 4}}, "has a quantization_config"),
        (LLAMA, {"hidden_size": None}, "config.json has no hidden_size"),
        (LLAMA, {"hidden_size": "2048"}, "hidden_size is '2048', not an integer"),
        (LLAMA, {"num_attention_heads": 0}, "num_attention_heads is not from 1"),
        (LLAMA, {"rms_norm_eps": float("nan")}, "rms_norm_eps is not over 0"),
        (LLAMA, {"rms_norm_eps": 10**400}, "rms_norm_eps is not over 0"),
        (LLAMA, {"tie_word_embeddings": 1}, "tie_word_embeddings is 1, not true or false"),
        (LLAMA, {"rope_theta": 0.5, "rope_scaling": None}, "rope_theta is 0.5"),
        (LLAMA, {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "type 'dynamic'"),
        (
            LLAMA,
            {"rope_scaling": {**LLAMA["rope_scaling"], "high_freq_factor": 1.0}},  # type: ignore
            "low_freq_factor is not under",
        ),
        (LLAMA, {"partial_rotary_factor": 0.5}, "dimension_count is 32 of head size 64"),
        (QWEN2, {"rope_scaling": {"type": "mrope", "mrope_section": [1]}}, "sections"),
        (GEMMA2, {"query_pre_attn_scalar": 224}, "query_pre_attn_scalar is 224; .* only 256"),
        (GEMMA2, {"attn_logit_softcapping": None}, "attn_logit_softcapping null"),
        (GEMMA2, {"hidden_activation": "gelu"}, "hidden_activation is 'gelu'"),
        (GEMMA3, {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0"),
        (GEMMA3, {"use_bidirectional_attention": True}, "use_bidirectional_attention is True"),
        (GEMMA3, {"layer_types": ["full_attention"]}, "layer_types is not a list of 26"),
        (GEMMA3, {"layer_types": ["chunked_attention"] * 26}, "has 'chunked_attention'"),
        (
            GEMMA3,
            {"rope_parameters": {"sliding_attention": {"rope_type": "linear", "factor": 2.0}}},
            "type 'linear' in windowed layers",
        ),
        (PHI3, {"rope_scaling": {"type": "linear", "factor": 2.0}}, "type 'linear' is not"),
        (PHI3, {"rope_scaling": {"type": "su", "long_factor": [1.0]}}, "short_factor is not a"),
        (
            PHI4_MINI,
            {"rope_scaling": {"type": "su", "long_factor": [1.0], "short_factor": [1.0]}},
            "has 1 numbers, not 48",
        ),
        (GRANITE, {"head_dim": 128}, "head_dim is 128"),
        (GRANITE, {"logits_scaling": 0.0}, "logits_scaling is not over 0"),
        (OLMO3, {"sliding_window": None}, "sliding_window null"),
    ],
)
def test_a_config_that_would_change_the_numbers_is_refused(
    hub: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        convert(hub, **changes)


def test_every_class_becomes_one_architecture() -> None:
    classes = [
        one for name in known_architectures() for one in load_architecture(name).HUGGING_FACE
    ]
    assert len(classes) == len(set(classes))
