"""olmo2: norms after attention and MLP instead of before, queries and keys normalized whole.

OLMo 2, and OLMo 3, which llama.cpp publishes under the same name: there three of four layers see a
window, and only the others' rope is scaled. Read it from top to bottom: sizes, parameters, graph,
hub.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    MIN_ROPE_BASE,
    DecoderConfig,
    ParameterList,
    decoder_cache,
    every_but_last,
    gated,
    linear,
    read_sizes,
    read_windows,
    unembed,
)
from transom_models.architectures._hub import HubConfig, decoder_metadata
from transom_models.metadata_reader import MetadataReader
from transom_models.rope import RopeConfig

NAME = "olmo2"
TASK = "chat"
CONFIG_TENSORS: tuple[str, ...] = ()
HUGGING_FACE = ("Olmo2ForCausalLM", "Olmo3ForCausalLM")
# Of four layers of an OLMo 3 the last sees everything, unless the checkpoint says otherwise.
PERIOD = 4
# What transformers' Olmo2Config and Olmo3Config take for fields that a config.json leaves out.
HUB_DEFAULTS = {"rms_norm_eps": 1e-5}
OLMO3_WINDOW = 4096
OLMO3_ROPE_BASE = 500_000.0


@dataclass(frozen=True, slots=True)
class Olmo2Config(DecoderConfig):
    """`rope` is that of layers that see everything, `local_rope` that of windowed ones."""

    local_rope: RopeConfig
    window: int
    windowed: tuple[bool, ...]


def read_config(metadata: Metadata, vectors: Vectors) -> Olmo2Config:
    """Typed sizes from the `olmo2.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    sizes = read_sizes(read, metadata, vectors)
    rope = sizes["rope"]
    window, windowed = read_windows(read, sizes["block_count"], period=PERIOD)
    base = read.real("rope.freq_base_swa", MIN_ROPE_BASE, MAX_ROPE_BASE, default=rope.theta)
    config = Olmo2Config(
        **sizes,
        local_rope=RopeConfig(theta=base, dims=rope.dims),
        window=window,
        windowed=windowed,
    )
    read.finish()
    return config


def parameters(config: Olmo2Config, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them."""
    width = config.embedding_length
    queries, keys = config.head_count * config.head_dim, config.head_count_kv * config.head_dim
    store = ParameterList(block_types)
    store.embedding(config)
    for index in range(config.block_count):
        block = f"blk.{index}"
        store.matrix(f"{block}.attn_q", queries, width)
        store.vector(f"{block}.attn_q_norm.weight", queries)
        store.matrix(f"{block}.attn_k", keys, width)
        store.vector(f"{block}.attn_k_norm.weight", keys)
        store.matrix(f"{block}.attn_v", keys, width)
        store.attention_output(block, config)
        store.vector(f"{block}.post_attention_norm.weight", width)
        store.gated_mlp(block, config)
        store.vector(f"{block}.post_ffw_norm.weight", width)
    store.output(config)
    return tuple(store.specs)


def embed(graph: Graph, config: Olmo2Config, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens)


def hidden(graph: Graph, config: Olmo2Config, x: Value) -> Value:
    """Through all blocks: x + norm(attention(x)), then + norm(gated MLP(x))."""
    epsilon = config.rms_norm_epsilon
    for layer, windowed in enumerate(config.windowed):
        block = f"blk.{layer}"
        h = _attention(graph, config, layer, windowed, x)
        h = linear(graph, f"{block}.attn_output", h)
        x = graph.rms_norm(f"{block}.post_attention_norm.weight", h, epsilon, residual=x)
        h = linear(graph, f"{block}.ffn_down", gated(graph, block, x))
        x = graph.rms_norm(f"{block}.post_ffw_norm.weight", h, epsilon, residual=x)
    return x


def logits(graph: Graph, config: Olmo2Config, x: Value) -> Value:
    """What `hidden` gave, for the positions that are asked about, to float32 logits."""
    return unembed(graph, config, x)


def cache_spec(config: Olmo2Config, context_window: int) -> CacheSpec:
    """What the KV cache holds; where layers differ the graph turns queries and keys itself."""
    cache = decoder_cache(config, context_window)
    return replace(cache, rope=None, window=config.window) if config.window else cache


def _attention(graph: Graph, config: Olmo2Config, layer: int, windowed: bool, x: Value) -> Value:
    block, epsilon = f"blk.{layer}", config.rms_norm_epsilon
    q, k, v = (linear(graph, f"{block}.attn_{part}", x) for part in "qkv")
    q = graph.rms_norm(f"{block}.attn_q_norm.weight", q, epsilon)
    k = graph.rms_norm(f"{block}.attn_k_norm.weight", k, epsilon)
    h = graph.concat([q, k, v])
    if config.window:
        h = graph.rope(
            h,
            (config.local_rope if windowed else config.rope).rope(config.context_length),
            heads=config.head_count,
            kv_heads=config.head_count_kv,
            head_dim=config.head_dim,
        )
    return graph.attention(
        layer, h, heads=config.head_count, head_dim=config.head_dim, windowed=windowed
    )


def from_hugging_face(hub: Mapping[str, Any]) -> HubModel:
    """An OLMo 2 or 3 `config.json` as llama.cpp's converter writes it."""
    read = HubConfig(hub, NAME, HUB_DEFAULTS)
    read.only("hidden_act", "silu", missing="silu")
    windows = read.architecture == "Olmo3ForCausalLM"
    metadata = decoder_metadata(read)
    rope = read.rope(theta=OLMO3_ROPE_BASE if windows else 10_000.0)
    metadata |= rope.metadata(NAME, scaled=("linear", "yarn"))
    if windows:
        local = read.rope("sliding_attention", theta=OLMO3_ROPE_BASE)
        if local.kind != "default":
            raise UnsupportedModel(
                f"config.json: rope of type {local.kind!r} in windowed layers is not supported yet"
            )
        read.not_null("sliding_window")
        blocks = metadata["olmo2.block_count"]
        windowed = read.layer_kinds(blocks, every_but_last(PERIOD, blocks))
        metadata |= {
            "olmo2.attention.sliding_window": read.integer("sliding_window", OLMO3_WINDOW),
            "olmo2.attention.sliding_window_pattern": list(windowed),
            "olmo2.rope.freq_base_swa": local.theta,
        }
    return HubModel(metadata, tied_embeddings=read.flag("tie_word_embeddings", False))
