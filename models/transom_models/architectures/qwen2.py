"""qwen2: a llama with biases on queries, keys and values, and half-split rope rows.

Qwen 1.5, 2 and 2.5 and what is fine-tuned from them (DeepSeek-R1-Distill-Qwen). Read it from top to
bottom: sizes, parameters, graph, hub.
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

NAME = "qwen2"
TASK = "chat"
CONFIG_TENSORS: tuple[str, ...] = ()
HUGGING_FACE = ("Qwen2ForCausalLM",)


def read_config(metadata: Metadata, vectors: Vectors) -> DecoderConfig:
    """Typed sizes from the `qwen2.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    config = DecoderConfig(**read_sizes(read, metadata, vectors))
    read.finish()
    return config


def parameters(config: DecoderConfig, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them."""
    store = ParameterList(block_types)
    store.embedding(config)
    for index in range(config.block_count):
        block = f"blk.{index}"
        store.vector(f"{block}.attn_norm.weight", config.embedding_length)
        store.qkv(block, config, biased=True)
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
    """A Qwen2 `config.json` as llama.cpp's converter writes it."""
    read = HubConfig(hub, NAME)
    read.only("hidden_act", "silu", missing="silu")
    metadata = decoder_metadata(read, kv_heads=32)
    metadata |= read.rope().metadata(NAME, scaled=("linear", "yarn"))
    # Only some of its layers would have the window, and GGUF cannot say which.
    windowed = read.flag("use_sliding_window", False)
    metadata["qwen2.context_length"] = read.unwindowed_context(windowed)
    return HubModel(metadata, tied_embeddings=read.flag("tie_word_embeddings", False))
