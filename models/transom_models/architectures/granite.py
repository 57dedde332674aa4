"""granite: a llama with multipliers on embeddings, attention scores, residual branches and logits.

The dense Granite 3 and 4 models. Read it from top to bottom: sizes, parameters, graph, hub.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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
    ROPE_TENSORS,
    DecoderConfig,
    ParameterList,
    decoder_cache,
    gated,
    linear,
    qkv,
    read_sizes,
    unembed,
)
from transom_models.architectures._hub import HubConfig, decoder_metadata
from transom_models.metadata_reader import MetadataReader

NAME = "granite"
TASK = "chat"
CONFIG_TENSORS = ROPE_TENSORS
HUGGING_FACE = ("GraniteForCausalLM",)
# Published divisors of logits are 1 to 16; a smaller one than this would be a lie or a slip.
LEAST_DIVISOR = 1e-6
# What the converter adds to a Granite 4 without any state-space layer, which is a `granite` too:
# sizes of layers that it has not, and of MLPs whose tensors say it themselves.
MEANINGLESS = (
    "ssm.conv_kernel",
    "ssm.state_size",
    "ssm.group_count",
    "ssm.inner_size",
    "ssm.time_step_rank",
    "expert_shared_feed_forward_length",
)


@dataclass(frozen=True, slots=True)
class GraniteConfig(DecoderConfig):
    """What is multiplied by what; logits are divided by theirs."""

    attention_scale: float
    embedding_scale: float
    residual_scale: float
    logit_scale: float


def read_config(metadata: Metadata, vectors: Vectors) -> GraniteConfig:
    """Typed sizes from the `granite.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    # The converter interleaves the rows of whole heads only.
    sizes = read_sizes(read, metadata, vectors, partial_rope=False)

    def scale(key: str, usual: float = 1.0) -> float:
        # llama.cpp takes 0 for a multiplier that is not there.
        return read.real(key, 0.0, MAX_SCALE, default=0.0) or usual

    config = GraniteConfig(
        **sizes,
        attention_scale=scale("attention.scale", sizes["head_dim"] ** -0.5),
        embedding_scale=scale("embedding_scale"),
        residual_scale=scale("residual_scale"),
        logit_scale=read.real("logit_scale", LEAST_DIVISOR, MAX_SCALE),
    )
    for key in MEANINGLESS:
        read.neutral(key, lambda value: True, "")
    read.finish()
    return config


def parameters(config: GraniteConfig, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them."""
    store = ParameterList(block_types)
    store.embedding(config)
    for index in range(config.block_count):
        block = f"blk.{index}"
        store.vector(f"{block}.attn_norm.weight", config.embedding_length)
        store.qkv(block, config, interleaved=True)
        store.attention_output(block, config)
        store.vector(f"{block}.ffn_norm.weight", config.embedding_length)
        store.gated_mlp(block, config)
    store.output(config)
    return tuple(store.specs)


def embed(graph: Graph, config: GraniteConfig, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens, scale=config.embedding_scale)


def hidden(graph: Graph, config: GraniteConfig, x: Value) -> Value:
    """Through all blocks: x + s attention(norm(x)), then + s gated MLP(norm(x))."""
    scale = config.residual_scale
    for layer in range(config.block_count):
        block = f"blk.{layer}"
        h = graph.rms_norm(f"{block}.attn_norm.weight", x, config.rms_norm_epsilon)
        h = graph.attention(
            layer,
            qkv(graph, block, h),
            heads=config.head_count,
            head_dim=config.head_dim,
            scale=config.attention_scale,
        )
        x = linear(graph, f"{block}.attn_output", h, scale=scale, residual=x)
        h = graph.rms_norm(f"{block}.ffn_norm.weight", x, config.rms_norm_epsilon)
        h = gated(graph, block, h)
        x = linear(graph, f"{block}.ffn_down", h, scale=scale, residual=x)
    return x


def logits(graph: Graph, config: GraniteConfig, x: Value) -> Value:
    """What `hidden` gave, for the positions that are asked about, to float32 logits."""
    return unembed(graph, config, x, scale=1.0 / config.logit_scale)


def cache_spec(config: GraniteConfig, context_window: int) -> CacheSpec:
    """What the KV cache holds, and by which angles queries and keys turn."""
    return decoder_cache(config, context_window)


def from_hugging_face(hub: Mapping[str, Any]) -> HubModel:
    """A Granite `config.json` as llama.cpp's converter writes it."""
    read = HubConfig(hub, NAME)
    read.only("hidden_act", "silu", missing="silu")
    metadata = decoder_metadata(read)
    heads, kv_heads = (
        metadata["granite.attention.head_count"],
        read.integer("num_key_value_heads", metadata["granite.attention.head_count"]),
    )
    head_dim = read.integer("hidden_size") // heads
    # llama.cpp's converter ignores this field, so it must say nothing new.
    read.only("head_dim", head_dim, missing=head_dim)
    rope = read.rope()
    metadata |= {
        "granite.vocab_size": read.integer("vocab_size"),
        "granite.rope.dimension_count": rope.dims(head_dim),
        "granite.attention.scale": read.real("attention_multiplier", 1.0),
        "granite.embedding_scale": read.real("embedding_multiplier", 1.0),
        "granite.residual_scale": read.real("residual_multiplier", 1.0),
        "granite.logit_scale": read.real("logits_scaling", 1.0),
        **rope.metadata(NAME, scaled=("linear", "yarn", "llama3")),
    }
    return HubModel(
        metadata,
        rope_heads={"attn_q": heads, "attn_k": kv_heads},
        vectors=rope.divisors(head_dim),
        tied_embeddings=read.flag("tie_word_embeddings", False),
    )
