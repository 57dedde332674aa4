"""gemma2: norms around attention and MLP, capped scores and logits, a window in every other layer.

Gemma 2 from 2B to 27B. The checkpoint stores norms with their 1 added. Embeddings are scaled by
sqrt(width) in full precision, as llama.cpp does and transformers in f32; bf16 runs of the original
round that factor. Read it from top to bottom: sizes, parameters, graph, hub.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from transom_models.architecture import (
    CacheSpec,
    Graph,
    HubModel,
    Metadata,
    ParameterSpec,
    Value,
    Vectors,
)
from transom_models.architectures._decoder import (
    MAX_SCALE,
    DecoderConfig,
    ParameterList,
    decoder_cache,
    every_but_last,
    gated,
    linear,
    qkv,
    read_sizes,
    read_windows,
    unembed,
)
from transom_models.architectures._hub import HubConfig, decoder_metadata
from transom_models.metadata_reader import MetadataReader

NAME = "gemma2"
TASK = "chat"
CONFIG_TENSORS: tuple[str, ...] = ()
HUGGING_FACE = ("Gemma2ForCausalLM",)
# The second of two layers sees everything, and the others this many keys, unless the checkpoint
# says otherwise.
PERIOD = 2
WINDOW = 4096
# The published models' caps, which llama.cpp takes for files that say none.
ATTENTION_SOFTCAP = 50.0
FINAL_SOFTCAP = 30.0
# A cap under this would be no cap but a switch; 0 would mean none, which GGUF cannot say.
LEAST_SOFTCAP = 0.01
# Gemma 2 27B divides scores by sqrt(width / heads), and GGUF does not say so: llama.cpp, too, knows
# it by its number of blocks.
BLOCKS_OF_27B = 46
# What transformers' Gemma2Config takes for fields that a config.json leaves out.
HUB_DEFAULTS = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 256,
    "sliding_window": WINDOW,
    "attn_logit_softcapping": ATTENTION_SOFTCAP,
    "final_logit_softcapping": FINAL_SOFTCAP,
}


@dataclass(frozen=True, slots=True)
class Gemma2Config(DecoderConfig):
    """Scores are divided by the root of `query_scalar`, then capped."""

    query_scalar: int
    attention_softcap: float
    final_softcap: float
    window: int
    windowed: tuple[bool, ...]


def read_config(metadata: Metadata, vectors: Vectors) -> Gemma2Config:
    """Typed sizes from the `gemma2.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    sizes = read_sizes(read, metadata, vectors)
    window, windowed = read_windows(read, sizes["block_count"], period=PERIOD, window=WINDOW)
    config = Gemma2Config(
        **sizes,
        query_scalar=_query_scalar(
            sizes["block_count"], sizes["embedding_length"], sizes["head_count"], sizes["head_dim"]
        ),
        attention_softcap=read.real(
            "attn_logit_softcapping", LEAST_SOFTCAP, MAX_SCALE, default=ATTENTION_SOFTCAP
        ),
        final_softcap=read.real(
            "final_logit_softcapping", LEAST_SOFTCAP, MAX_SCALE, default=FINAL_SOFTCAP
        ),
        window=window,
        windowed=windowed,
    )
    read.finish()
    return config


def parameters(config: Gemma2Config, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them."""
    width = config.embedding_length
    store = ParameterList(block_types)
    store.embedding(config)
    for index in range(config.block_count):
        block = f"blk.{index}"
        store.vector(f"{block}.attn_norm.weight", width)
        store.qkv(block, config)
        store.attention_output(block, config)
        store.vector(f"{block}.post_attention_norm.weight", width)
        store.vector(f"{block}.ffn_norm.weight", width)
        store.gated_mlp(block, config)
        store.vector(f"{block}.post_ffw_norm.weight", width)
    store.output(config)
    return tuple(store.specs)


def embed(graph: Graph, config: Gemma2Config, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens, scale=math.sqrt(config.embedding_length))


def hidden(graph: Graph, config: Gemma2Config, x: Value) -> Value:
    """Through all blocks: x + norm(attention(norm(x))), then + norm(gated MLP(norm(x)))."""
    epsilon = config.rms_norm_epsilon
    for layer, windowed in enumerate(config.windowed):
        block = f"blk.{layer}"
        h = graph.rms_norm(f"{block}.attn_norm.weight", x, epsilon)
        h = graph.attention(
            layer,
            qkv(graph, block, h),
            heads=config.head_count,
            head_dim=config.head_dim,
            scale=config.query_scalar**-0.5,
            windowed=windowed,
        )
        h = linear(graph, f"{block}.attn_output", h)
        x = graph.rms_norm(f"{block}.post_attention_norm.weight", h, epsilon, residual=x)
        h = graph.rms_norm(f"{block}.ffn_norm.weight", x, epsilon)
        h = linear(graph, f"{block}.ffn_down", gated(graph, block, h, "gelu_tanh"))
        x = graph.rms_norm(f"{block}.post_ffw_norm.weight", h, epsilon, residual=x)
    return x


def logits(graph: Graph, config: Gemma2Config, x: Value) -> Value:
    """What `hidden` gave, for the positions that are asked about, to float32 logits."""
    return unembed(graph, config, x, softcap=config.final_softcap)


def cache_spec(config: Gemma2Config, context_window: int) -> CacheSpec:
    """What the KV cache holds, by which angles queries and keys turn, and what layers see."""
    cache = decoder_cache(config, context_window)
    return replace(cache, window=config.window, softcap=config.attention_softcap)


def from_hugging_face(hub: Mapping[str, Any]) -> HubModel:
    """A Gemma 2 `config.json` as llama.cpp's converter writes it."""
    read = HubConfig(hub, NAME, HUB_DEFAULTS)
    read.only("hidden_activation", "gelu_pytorch_tanh", missing="gelu_pytorch_tanh")
    read.only("use_bidirectional_attention", False, missing=False)
    read.not_null("sliding_window", "attn_logit_softcapping", "final_logit_softcapping")
    metadata = decoder_metadata(read)
    blocks, head_dim = metadata["gemma2.block_count"], read.head_dim()
    width, heads = read.integer("hidden_size"), read.integer("num_attention_heads")
    read.only("query_pre_attn_scalar", _query_scalar(blocks, width, heads, head_dim))
    usual = every_but_last(PERIOD, blocks)
    windowed = read.layer_kinds(blocks, usual)
    metadata |= {
        "gemma2.attention.key_length": head_dim,
        "gemma2.attention.value_length": head_dim,
        "gemma2.attention.sliding_window": read.integer("sliding_window"),
        "gemma2.attn_logit_softcapping": read.real("attn_logit_softcapping"),
        "gemma2.final_logit_softcapping": read.real("final_logit_softcapping"),
        **read.rope().metadata(NAME, scaled=()),
    }
    if windowed != usual:
        metadata["gemma2.attention.sliding_window_pattern"] = list(windowed)
    return HubModel(metadata, plus_one=True, tied_embeddings=read.flag("tie_word_embeddings", True))


def _query_scalar(blocks: int, width: int, heads: int, head_dim: int) -> int:
    return width // heads if blocks == BLOCKS_OF_27B else head_dim
