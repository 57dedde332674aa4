"""llama: grouped-query attention with full rotary embedding, gated SiLU MLP, RMS norms.

Llama 1 to 3, Mistral, SmolLM, SmolLM2, TinyLlama and whoever else publishes GGUF with
`general.architecture = llama`. Read it from top to bottom: sizes, parameters, graph, hub.
"""

from collections.abc import Mapping
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

NAME = "llama"
TASK = "chat"
CONFIG_TENSORS = ROPE_TENSORS
HUGGING_FACE = ("LlamaForCausalLM", "MistralForCausalLM")


def read_config(metadata: Metadata, vectors: Vectors) -> DecoderConfig:
    """Typed sizes from the `llama.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    read.neutral(
        "tensor_data_layout", lambda value: value == "Meta AI original pth", "another tensor layout"
    )
    # The converter interleaves the rows of whole heads only.
    config = DecoderConfig(**read_sizes(read, metadata, vectors, partial_rope=False))
    read.finish()
    return config


def parameters(config: DecoderConfig, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
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


def embed(graph: Graph, config: DecoderConfig, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens)


def hidden(graph: Graph, config: DecoderConfig, x: Value) -> Value:
    """Through all blocks: x + attention(norm(x)), then + gated MLP(norm(x))."""
    for layer in range(config.block_count):
        block = f"blk.{layer}"
        h = graph.rms_norm(f"{block}.attn_norm.weight", x, config.rms_norm_epsilon)
        h = qkv(graph, block, h)
        h = graph.attention(layer, h, heads=config.head_count, head_dim=config.head_dim)
        x = linear(graph, f"{block}.attn_output", h, residual=x)
        h = graph.rms_norm(f"{block}.ffn_norm.weight", x, config.rms_norm_epsilon)
        x = linear(graph, f"{block}.ffn_down", gated(graph, block, h), residual=x)
    return x


def logits(graph: Graph, config: DecoderConfig, x: Value) -> Value:
    """What `hidden` gave, for the positions that are asked about, to float32 logits."""
    return unembed(graph, config, x)


def cache_spec(config: DecoderConfig, context_window: int) -> CacheSpec:
    """What the KV cache holds, and by which angles queries and keys turn."""
    return decoder_cache(config, context_window)


def from_hugging_face(hub: Mapping[str, Any]) -> HubModel:
    """A Llama or Mistral `config.json` as llama.cpp's converter writes it."""
    read = HubConfig(hub, NAME)
    read.only("hidden_act", "silu", missing="silu")
    metadata = decoder_metadata(read)
    head_dim, rope = read.head_dim(), read.rope()
    metadata |= {
        "llama.vocab_size": read.integer("vocab_size"),
        "llama.rope.dimension_count": rope.dims(head_dim),
        "llama.attention.key_length": head_dim,
        "llama.attention.value_length": head_dim,
        **rope.metadata(NAME, scaled=("linear", "yarn", "llama3")),
        # llama.cpp has no window for Mistral; within the window it needs none.
        "llama.context_length": read.unwindowed_context(read.architecture == "MistralForCausalLM"),
    }
    return HubModel(
        metadata,
        rope_heads={
            "attn_q": metadata["llama.attention.head_count"],
            "attn_k": metadata["llama.attention.head_count_kv"],
        },
        vectors=rope.divisors(head_dim),
        tied_embeddings=read.flag("tie_word_embeddings", False),
    )
