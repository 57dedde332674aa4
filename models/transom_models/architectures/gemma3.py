"""gemma3: norms around attention and MLP, normalized heads, windows in most layers, two ropes.

Gemma 3 from 270M to 27B, text only. Of six layers five see a window and turn by their own, faster
rope. The checkpoint stores norms with their 1 added. Embeddings are scaled by sqrt(width) in full
precision, as llama.cpp does and transformers in f32; bf16 runs of the original round that factor.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transom_models.architecture import (
    CacheSpec,
    Graph,
    HubModel,
    Metadata,
    ParameterSpec,
    UnsupportedModel,
    Value,
    Vectors,
)
from transom_models.architectures._decoder import (
    MAX_ROPE_BASE,
    MAX_SCALE,
    MIN_ROPE_BASE,
    DecoderConfig,
    ParameterList,
    every_but_last,
    gated,
    head_norm,
    linear,
    qkv,
    read_sizes,
    read_windows,
    unembed,
)
from transom_models.architectures._hub import HubConfig, decoder_metadata
from transom_models.metadata_reader import MetadataReader
from transom_models.rope import RopeConfig

NAME = "gemma3"
TASK = "chat"
CONFIG_TENSORS: tuple[str, ...] = ()
HUGGING_FACE = ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration")
# What sees pictures is another model, beside the one for text.
HUB_UNUSED = tuple(
    f"{above}{part}."
    for above in ("", "model.")
    for part in ("vision_tower", "multi_modal_projector")
)
# Of six layers the last sees everything, unless the checkpoint says otherwise.
PERIOD = 6
LOCAL_ROPE_BASE = 10_000.0
# Gemma 3 27B divides scores by sqrt(width / heads), and GGUF does not say so: llama.cpp, too, knows
# it by its number of blocks.
BLOCKS_OF_27B = 62
# What transformers' Gemma3TextConfig takes for fields that a config.json leaves out.
HUB_DEFAULTS = {
    "vocab_size": 262_208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
}


@dataclass(frozen=True, slots=True)
class Gemma3Config(DecoderConfig):
    """`rope` is that of layers that see everything, `local_rope` that of windowed ones.

    Scores are divided by the root of `query_scalar`.
    """

    query_scalar: int
    local_rope: RopeConfig
    window: int
    windowed: tuple[bool, ...]
    final_softcap: float


def read_config(metadata: Metadata, vectors: Vectors) -> Gemma3Config:
    """Typed sizes from the `gemma3.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    sizes = read_sizes(read, metadata, vectors)
    window, windowed = read_windows(read, sizes["block_count"], period=PERIOD)
    local_base = read.real(
        "rope.freq_base_swa", MIN_ROPE_BASE, MAX_ROPE_BASE, default=LOCAL_ROPE_BASE
    )
    config = Gemma3Config(
        **sizes,
        query_scalar=_query_scalar(
            sizes["block_count"], sizes["embedding_length"], sizes["head_count"], sizes["head_dim"]
        ),
        local_rope=RopeConfig(theta=local_base, dims=sizes["rope"].dims),
        window=window,
        windowed=windowed,
        final_softcap=read.real("final_logit_softcapping", 0.0, MAX_SCALE, default=0.0),
    )
    read.finish()
    return config


def parameters(config: Gemma3Config, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them."""
    width = config.embedding_length
    store = ParameterList(block_types)
    store.embedding(config)
    for index in range(config.block_count):
        block = f"blk.{index}"
        store.vector(f"{block}.attn_norm.weight", width)
        store.qkv(block, config)
        store.vector(f"{block}.attn_q_norm.weight", config.head_dim)
        store.vector(f"{block}.attn_k_norm.weight", config.head_dim)
        store.attention_output(block, config)
        store.vector(f"{block}.post_attention_norm.weight", width)
        store.vector(f"{block}.ffn_norm.weight", width)
        store.gated_mlp(block, config)
        store.vector(f"{block}.post_ffw_norm.weight", width)
    store.output(config)
    return tuple(store.specs)


def embed(graph: Graph, config: Gemma3Config, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens, scale=math.sqrt(config.embedding_length))


def hidden(graph: Graph, config: Gemma3Config, x: Value) -> Value:
    """Through all blocks: x + norm(attention(norm(x))), then + norm(gated MLP(norm(x)))."""
    epsilon = config.rms_norm_epsilon
    for layer, windowed in enumerate(config.windowed):
        block = f"blk.{layer}"
        h = graph.rms_norm(f"{block}.attn_norm.weight", x, epsilon)
        h = head_norm(graph, config, block, qkv(graph, block, h))
        h = graph.rope(
            h,
            (config.local_rope if windowed else config.rope).rope(config.context_length),
            heads=config.head_count,
            kv_heads=config.head_count_kv,
            head_dim=config.head_dim,
        )
        h = graph.attention(
            layer,
            h,
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


def logits(graph: Graph, config: Gemma3Config, x: Value) -> Value:
    """What `hidden` gave, for the positions that are asked about, to float32 logits."""
    return unembed(graph, config, x, softcap=config.final_softcap)


def cache_spec(config: Gemma3Config, context_window: int) -> CacheSpec:
    """What the KV cache holds; the graph turns queries and keys itself."""
    return CacheSpec(
        layers=config.block_count,
        query_heads=config.head_count,
        kv_heads=config.head_count_kv,
        head_dim=config.head_dim,
        rope=None,
        window=config.window,
    )


def from_hugging_face(hub: Mapping[str, Any]) -> HubModel:
    """The text part of a Gemma 3 `config.json` as llama.cpp's converter writes it."""
    read = HubConfig(hub, NAME, HUB_DEFAULTS)
    read.only("hidden_activation", "gelu_pytorch_tanh", missing="gelu_pytorch_tanh")
    read.only("attn_logit_softcapping", None)
    read.only("use_bidirectional_attention", False, missing=False)
    read.not_null("sliding_window")
    metadata = decoder_metadata(read)
    blocks, head_dim = metadata["gemma3.block_count"], read.head_dim()
    width, heads = read.integer("hidden_size"), read.integer("num_attention_heads")
    read.only("query_pre_attn_scalar", _query_scalar(blocks, width, heads, head_dim))
    local = read.rope("sliding_attention", theta_key="rope_local_base_freq", theta=LOCAL_ROPE_BASE)
    if local.kind != "default":
        raise UnsupportedModel(
            f"config.json: rope of type {local.kind!r} in windowed layers is not supported yet"
        )
    metadata |= {
        "gemma3.attention.key_length": head_dim,
        "gemma3.attention.value_length": head_dim,
        "gemma3.attention.sliding_window": read.integer("sliding_window"),
        "gemma3.rope.freq_base_swa": local.theta,
        **read.rope(theta=1_000_000.0).metadata(NAME, scaled=("linear",)),
    }
    usual = every_but_last(PERIOD, blocks)
    period = read.integer("sliding_window_pattern", PERIOD)
    windowed = read.layer_kinds(blocks, every_but_last(period, blocks))
    if windowed != usual:
        metadata["gemma3.attention.sliding_window_pattern"] = list(windowed)
    if read.has("final_logit_softcapping"):
        metadata["gemma3.final_logit_softcapping"] = read.real("final_logit_softcapping")
    return HubModel(
        metadata,
        plus_one=True,
        unused=HUB_UNUSED,
        tied_embeddings=read.flag("tie_word_embeddings", True),
    )


def _query_scalar(blocks: int, width: int, heads: int, head_dim: int) -> int:
    return width // heads if blocks == BLOCKS_OF_27B else head_dim
