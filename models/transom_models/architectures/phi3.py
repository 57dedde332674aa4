"""phi3: a llama whose matrices are published fused, with LongRoPE, and rope over part of a head.

Phi-3 and 3.5 mini and medium, Phi-4 and Phi-4-mini. A context window over the original one takes
the long factors, as in llama.cpp; transformers changes over in mid-text. Read it from top to
bottom: sizes, parameters, graph, hub.
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
    LONG_DIVISORS,
    MAX_CONTEXT,
    ROPE_TENSORS,
    SHORT_DIVISORS,
    DecoderConfig,
    ParameterList,
    decoder_cache,
    linear,
    qkv,
    read_sizes,
    unembed,
)
from transom_models.architectures._hub import HubConfig, HubRope, decoder_metadata
from transom_models.metadata_reader import MetadataReader
from transom_models.rope import longrope_magnitude

NAME = "phi3"
TASK = "chat"
CONFIG_TENSORS = ROPE_TENSORS
HUGGING_FACE = ("Phi3ForCausalLM",)
# What transformers' Phi3Config takes for fields that a config.json leaves out.
HUB_DEFAULTS = {"original_max_position_embeddings": 4096, "rms_norm_eps": 1e-5}


@dataclass(frozen=True, slots=True)
class Phi3Config(DecoderConfig):
    """`window`: keys that a query sees, itself included; 0: all of them."""

    window: int


def read_config(metadata: Metadata, vectors: Vectors) -> Phi3Config:
    """Typed sizes from the `phi3.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    sizes = read_sizes(read, metadata, vectors)
    window = read.integer("attention.sliding_window", MAX_CONTEXT, default=0, least=0)
    # llama.cpp ignores the window; transformers, whose answers count here, does not.
    config = Phi3Config(**sizes, window=window if window < sizes["context_length"] else 0)
    read.finish()
    return config


def parameters(config: Phi3Config, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them."""
    width, feed = config.embedding_length, config.feed_forward_length
    rows = (config.head_count + 2 * config.head_count_kv) * config.head_dim
    store = ParameterList(block_types)
    store.embedding(config)
    for index in range(config.block_count):
        block = f"blk.{index}"
        store.vector(f"{block}.attn_norm.weight", width)
        store.matrix(f"{block}.attn_qkv", rows, width)
        store.attention_output(block, config)
        store.vector(f"{block}.ffn_norm.weight", width)
        # Gate rows over up rows.
        store.matrix(f"{block}.ffn_up", 2 * feed, width)
        store.matrix(f"{block}.ffn_down", width, feed)
    store.output(config)
    return tuple(store.specs)


def embed(graph: Graph, config: Phi3Config, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens)


def hidden(graph: Graph, config: Phi3Config, x: Value) -> Value:
    """Through all blocks: x + attention(norm(x)), then + gated MLP(norm(x))."""
    for layer in range(config.block_count):
        block = f"blk.{layer}"
        h = graph.rms_norm(f"{block}.attn_norm.weight", x, config.rms_norm_epsilon)
        h = graph.attention(
            layer,
            qkv(graph, block, h),
            heads=config.head_count,
            head_dim=config.head_dim,
            windowed=config.window > 0,
        )
        x = linear(graph, f"{block}.attn_output", h, residual=x)
        h = graph.rms_norm(f"{block}.ffn_norm.weight", x, config.rms_norm_epsilon)
        h = linear(graph, f"{block}.ffn_up", h, gated=True)
        x = linear(graph, f"{block}.ffn_down", h, residual=x)
    return x


def logits(graph: Graph, config: Phi3Config, x: Value) -> Value:
    """What `hidden` gave, for the positions that are asked about, to float32 logits."""
    return unembed(graph, config, x)


def cache_spec(config: Phi3Config, context_window: int) -> CacheSpec:
    """What the KV cache holds, by which angles queries and keys turn, and what layers see."""
    return replace(decoder_cache(config, context_window), window=config.window)


def from_hugging_face(hub: Mapping[str, Any]) -> HubModel:
    """A Phi-3 or Phi-4-mini `config.json` as llama.cpp's converter writes it."""
    read = HubConfig(hub, NAME, HUB_DEFAULTS)
    read.only("hidden_act", "silu", missing="silu")
    metadata = decoder_metadata(read)
    head_dim, rope = read.head_dim(), read.rope()
    window = read.integer("sliding_window", 0, least=0)
    metadata |= {
        "phi3.rope.dimension_count": rope.dims(head_dim),
        "phi3.rope.scaling.original_context_length": rope.original_context,
        "phi3.attention.sliding_window": window,
        "phi3.rope.freq_base": rope.theta,
    }
    vectors = {}
    if rope.kind in ("longrope", "yarn"):
        # transformers takes "yarn" in a Phi-3 for the name that LongRoPE had before.
        metadata["phi3.rope.scaling.attn_factor"] = _magnitude(rope)
        vectors = {LONG_DIVISORS: rope.numbers("long_factor")}
        vectors |= {SHORT_DIVISORS: rope.numbers("short_factor")}
    elif rope.kind != "default":
        raise UnsupportedModel(
            f"config.json: rope of type {rope.kind!r} is not supported yet for phi3"
        )
    return HubModel(
        metadata, vectors=vectors, tied_embeddings=read.flag("tie_word_embeddings", False)
    )


def _magnitude(rope: HubRope) -> float:
    factor = rope.real("factor", rope.context / rope.original_context)
    return rope.attention_factor(longrope_magnitude(factor, rope.original_context))
