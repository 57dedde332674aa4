"""A library request for a llama of two small blocks, without a checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transom_compile.library_request import LibraryRequest
from transom_models.architectures import llama
from transom_models.architectures._decoder import DecoderConfig
from transom_models.rope import RopeConfig

SCHEDULES = ["gpu", "fallback"]
# Heads as large as real ones, whose tiles are what workgroup memory is needed for.
CONFIG = DecoderConfig(
    block_count=2,
    context_length=256,
    embedding_length=64,
    feed_forward_length=96,
    head_count=2,
    head_count_kv=1,
    head_dim=64,
    rms_norm_epsilon=1e-5,
    vocab_size=269,
    rope=RopeConfig(theta=10_000.0, dims=64),
)
NORMS = ("attn_norm", "ffn_norm")
MATRICES = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)


def request_of(
    *,
    schedule: str = "gpu",
    compute_dtype: str = "float32",
    matrices: str = "Q4_1",
    embedding: str | None = None,
    kinds: Mapping[str, str] | None = None,
    **sizes: Any,
) -> LibraryRequest:
    """`sizes` replaces fields of CONFIG; `embedding` is like the other matrices unless given;
    `kinds` are block types of single parameters."""
    config = replace(CONFIG, **sizes)
    block_types = {"token_embd.weight": embedding or matrices, "output_norm.weight": "F32"}
    for layer in range(config.block_count):
        block_types |= {f"blk.{layer}.{name}.weight": "F32" for name in NORMS}
        block_types |= {f"blk.{layer}.{name}.weight": matrices for name in MATRICES}
    parameters = llama.parameters(config, block_types | dict(kinds or {}))
    return LibraryRequest("llama", config, parameters, compute_dtype, schedule, 256, 16)
