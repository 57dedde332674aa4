"""Junk in one field of a header or a config.json is a named error or a number, never a crash."""

import math
from typing import Any

import numpy as np
import pytest

from tests.models.test_decoders import DECODERS, MORE, SIZES
from tests.models.test_hugging_face import PUBLISHED, convert
from transom_models.architecture import UnsupportedModel, load_architecture
from transom_models.architectures._decoder import LONG_DIVISORS, ROPE_TENSORS, SHORT_DIVISORS

JUNK: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    10**400,
    0.0,
    -0.5,
    1e-300,
    1e300,
    math.inf,
    math.nan,
    "",
    "yarn",
    [],
    [1],
    ["a"] * 4,
    {},
    {"type": "yarn", "factor": 1e300},
    {"rope_type": "llama3", "factor": 1, "low_freq_factor": 1, "high_freq_factor": 2},
    {"rope_type": "yarn", "factor": 1e-300, "beta_fast": 1e-12, "beta_slow": 1e12},
    {"full_attention": 5, "sliding_attention": []},
]
# As our reader gives them.
ARRAYS = [np.full(4, 2, np.int32), np.ones(4, np.bool_), np.full(3, math.nan, np.float32)]
LONGEST_MESSAGE = 250
KEYS = (
    *SIZES,
    "attention.key_length",
    "attention.value_length",
    "attention.causal",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "embedding_scale",
    "residual_scale",
    "logit_scale",
    "expert_count",
    "vocab_size",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
)
FIELDS = (
    "layer_types",
    "rope_parameters",
    "rope_scaling",
    "rope_local_base_freq",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "use_sliding_window",
    "sliding_window_pattern",
    "head_dim",
    "text_config",
    "quantization_config",
)


def ropes_are_finite(config: Any) -> None:
    for field in ("rope", "local_rope"):
        rope = getattr(config, field, None)
        if rope:
            found = rope.rope(config.context_length)
            assert all(math.isfinite(f) and f >= 0.0 for f in found.frequencies)
            assert math.isfinite(found.magnitude)


@pytest.mark.parametrize("yarn", [False, True])
@pytest.mark.parametrize("name", DECODERS)
def test_junk_in_a_header(name: str, yarn: bool) -> None:
    keys: dict[str, Any] = {**SIZES, **MORE.get(name, {})}
    if yarn:
        keys |= {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}
    architecture = load_architecture(name)
    read = longest = 0
    for key in KEYS:
        for junk in [*JUNK, *ARRAYS]:
            metadata = {f"{name}.{k}": v for k, v in {**keys, key: junk}.items()}
            try:
                config = architecture.read_config(
                    {**metadata, "tokenizer.ggml.tokens": ["a"] * 32}, {}
                )
            except UnsupportedModel as refusal:
                longest = max(longest, len(str(refusal)))
            else:
                ropes_are_finite(config)
                hash(config)
                read += 1
    assert read > 0
    assert 0 < longest < LONGEST_MESSAGE


@pytest.mark.parametrize("hub", PUBLISHED)
def test_junk_in_a_config_json(hub: dict[str, Any]) -> None:
    longest = 0
    for field in {*hub, *FIELDS} - {"architectures", "vocab_size"}:
        for junk in JUNK:
            try:
                _, config = convert(hub, **{field: junk})
            except UnsupportedModel as refusal:
                longest = max(longest, len(str(refusal)))
            else:
                ropes_are_finite(config)
    assert 0 < longest < LONGEST_MESSAGE


def test_junk_in_rope_tensors() -> None:
    metadata = {f"phi3.{key}": value for key, value in SIZES.items()}
    for numbers in ([], [1.0] * 8, [math.nan] * 8, [1e-45] * 8, [3e38] * 8):
        for names in (ROPE_TENSORS, (LONG_DIVISORS, SHORT_DIVISORS), (LONG_DIVISORS,)):
            vectors = dict.fromkeys(names, numbers)
            try:
                config = load_architecture("phi3").read_config(
                    {**metadata, "tokenizer.ggml.tokens": ["a"] * 32}, vectors
                )
            except UnsupportedModel:
                continue
            ropes_are_finite(config)
