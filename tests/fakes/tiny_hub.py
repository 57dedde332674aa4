"""Tiny random checkpoints of each architecture, made with `transformers`: config and weights.

`MODELS` names each one; the first part of a name is its `general.architecture`. Windows and layer
patterns are small enough to show in `LENGTH` tokens. Needs torch and transformers.
"""

import json
from collections.abc import Mapping
from typing import Any

from tests.fakes.tiny_gguf import TOKENS

# Long enough that windows hide something.
LENGTH = 40
WINDOW = 12
CONTEXT = 64
SIZES: Mapping[str, Any] = {
    "vocab_size": len(TOKENS),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
# Of 8 pairs of a head of 16, and of the 6 that turn in a Phi-4-mini's.
SHORT = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
LONG = [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0]
THREE_LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
GEMMA = {
    "num_hidden_layers": 3,
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "sliding_window": WINDOW,
    "layer_types": THREE_LAYERS,
}


def longrope(pairs: int, original: int) -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": SHORT[:pairs],
        "long_factor": LONG[:pairs],
        "original_max_position_embeddings": original,
    }


# Name -> (class in transformers without "Config" and "ForCausalLM", fields that differ from SIZES).
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": True}),
    "llama-biased": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama-linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0}}),
    "llama-llama3": ("Llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama-yarn": ("Llama", {"rope_parameters": {**YARN_ROPE, "attention_factor": 0.9}}),
    "llama-mistral": ("Mistral", {"head_dim": 32, "sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2-yarn": ("Qwen2", {"rope_parameters": YARN_ROPE}),
    "qwen3": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
    "gemma2": ("Gemma2", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}),
    "gemma3": ("Gemma3Text", GEMMA),
    "gemma3-linear": (
        "Gemma3Text",
        {
            **GEMMA,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
            },
        },
    ),
    "phi3": ("Phi3", {"sliding_window": WINDOW, "original_max_position_embeddings": CONTEXT}),
    "phi3-short": (
        "Phi3",
        {"rope_parameters": longrope(8, 48), "original_max_position_embeddings": 48},
    ),
    "phi3-long": (
        "Phi3",
        {"rope_parameters": longrope(8, 24), "original_max_position_embeddings": 24},
    ),
    "phi3-partial": (
        "Phi3",
        {
            "rope_parameters": {**longrope(6, 24), "partial_rotary_factor": 0.75},
            "original_max_position_embeddings": 24,
            "tie_word_embeddings": True,
        },
    ),
    "olmo2": ("Olmo2", {}),
    "olmo2-olmo3": (
        "Olmo3",
        {
            "num_hidden_layers": 4,
            "sliding_window": WINDOW,
            "rope_parameters": {
                "full_attention": YARN_ROPE,
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
        },
    ),
    "granite": (
        "Granite",
        {
            "embedding_multiplier": 6.0,
            "attention_multiplier": 0.2,
            "residual_multiplier": 0.22,
            "logits_scaling": 0.5,
            "tie_word_embeddings": True,
        },
    ),
}


def tiny_model(name: str, seed: int = 0) -> Any:
    """The model in f32, in evaluation mode; every weight random and large enough to matter."""
    return random_model(*MODELS[name], seed=seed)


def random_model(
    kind: str,
    fields: Mapping[str, Any],
    *,
    sizes: Mapping[str, Any] = SIZES,
    embedding_scale: float = 1.0,
    seed: int = 0,
) -> Any:
    """`tiny_model` for a row of another table. `embedding_scale`: deviation of its embeddings."""
    import torch
    import transformers

    config = getattr(transformers, f"{kind}Config")(**{**sizes, **fields})
    model = getattr(transformers, f"{kind.removesuffix('Text')}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                # Rows of about unit length keep activations of one size through the layers.
                scale = embedding_scale if "embed" in key else parameter.shape[1] ** -0.5
                parameter.copy_(noise * scale)
            elif key.endswith("norm.weight"):
                parameter.add_(noise * 0.2)
            else:
                parameter.copy_(noise * 0.2)
    model.tie_weights()
    return model.float().eval()


def hub_config(model: Any) -> dict[str, Any]:
    """Its `config.json`, as `save_pretrained` writes it."""
    config: dict[str, Any] = json.loads(model.config.to_json_string())
    return {**config, "architectures": [type(model).__name__]}
