"""llama: grouped-query attention with full rotary embedding, gated SiLU MLP, RMS norms.

Llama 1 to 3 (without rope scaling), SmolLM, SmolLM2, TinyLlama and whoever else publishes GGUF with
`general.architecture = llama`. Read it from top to bottom: sizes, parameters, graph.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transom_models.architecture import (
    CacheSpec,
    Graph,
    Metadata,
    MetadataReader,
    ParameterSpec,
    SourceTensor,
    UnsupportedModel,
    Value,
    Vectors,
)
from transom_models.rope import Rope, rope_frequencies

NAME = "llama"
TASK = "chat"
CONFIG_TENSORS = ()
# Caps: about four times the largest published llama (405B: 126 blocks of 16 384, 128 heads), so
# that sizes computed from a lying header stay harmless.
MAX_BLOCKS = 512
MAX_WIDTH = 65_536
MAX_FEED_FORWARD = 262_144
MAX_HEADS = 512
MAX_HEAD_DIM = 1_024
# The attention kernels walk a head in steps of this many elements.
HEAD_STEP = 8
MAX_VOCABULARY = 1_048_576
MAX_CONTEXT = 16_777_216
# A tensor that is not in the checkpoint; the name match reports it.
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes of one llama, named as in the GGUF metadata."""

    block_count: int
    context_length: int
    embedding_length: int
    feed_forward_length: int
    head_count: int
    head_count_kv: int
    head_dim: int
    rope_freq_base: float
    rms_norm_epsilon: float
    vocab_size: int


def read_config(metadata: Metadata, vectors: Vectors) -> LlamaConfig:
    """Typed sizes from the `llama.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    embedding_length = read.integer("embedding_length", MAX_WIDTH)
    head_count = read.integer("attention.head_count", MAX_HEADS)
    head_count_kv = read.integer("attention.head_count_kv", MAX_HEADS, default=head_count)
    if head_count % head_count_kv:
        raise UnsupportedModel(
            f"llama.attention.head_count {head_count} is no multiple "
            f"of head_count_kv {head_count_kv}"
        )
    head_dim = _head_dim(read, embedding_length, head_count)
    tokens: Sequence[str] = metadata.get("tokenizer.ggml.tokens", ())
    config = LlamaConfig(
        block_count=read.integer("block_count", MAX_BLOCKS),
        context_length=read.integer("context_length", MAX_CONTEXT),
        embedding_length=embedding_length,
        feed_forward_length=read.integer("feed_forward_length", MAX_FEED_FORWARD),
        head_count=head_count,
        head_count_kv=head_count_kv,
        head_dim=head_dim,
        # ggml's own default for files that do not say it.
        rope_freq_base=read.real("rope.freq_base", 1.0, 1e12, default=10_000.0),
        rms_norm_epsilon=read.real("attention.layer_norm_rms_epsilon", 0.0, 1.0),
        vocab_size=read.integer("vocab_size", MAX_VOCABULARY, default=len(tokens)),
    )
    if len(tokens) > config.vocab_size:
        raise UnsupportedModel(
            f"llama.vocab_size is {config.vocab_size}, but the tokenizer has {len(tokens)} tokens"
        )
    _refuse_what_changes_numbers(read)
    return config


def parameters(config: LlamaConfig, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them.

    Matrices that read the same input are stored as one when their block types agree, for one
    kernel instead of three. No `output.weight` in the checkpoint: `token_embd.weight` serves both.
    """
    width, vocabulary = config.embedding_length, config.vocab_size
    queries = config.head_count * config.head_dim
    keys = config.head_count_kv * config.head_dim

    def single(name: str, shape: tuple[int, ...]) -> tuple[ParameterSpec, ...]:
        source = SourceTensor(name, shape)
        return (ParameterSpec(name, (source,), block_types.get(name, MISSING), shape),)

    def fused(name: str, sources: tuple[SourceTensor, ...]) -> tuple[ParameterSpec, ...]:
        kinds = [block_types.get(source.name, MISSING) for source in sources]
        if len(set(kinds)) > 1:
            return tuple(
                ParameterSpec(source.name, (source,), kind, source.shape)
                for source, kind in zip(sources, kinds, strict=True)
            )
        rows = sum(source.shape[0] for source in sources)
        return (ParameterSpec(name, sources, kinds[0], (rows, *sources[0].shape[1:])),)

    specs = [*single("token_embd.weight", (vocabulary, width))]
    for index in range(config.block_count):
        block = f"blk.{index}"
        feed = (config.feed_forward_length, width)
        specs += single(f"{block}.attn_norm.weight", (width,))
        specs += fused(
            f"{block}.attn_qkv.weight",
            (
                SourceTensor(f"{block}.attn_q.weight", (queries, width), config.head_count),
                SourceTensor(f"{block}.attn_k.weight", (keys, width), config.head_count_kv),
                SourceTensor(f"{block}.attn_v.weight", (keys, width)),
            ),
        )
        specs += single(f"{block}.attn_output.weight", (width, queries))
        specs += single(f"{block}.ffn_norm.weight", (width,))
        specs += fused(
            f"{block}.ffn_gate_up.weight",
            (
                SourceTensor(f"{block}.ffn_gate.weight", feed),
                SourceTensor(f"{block}.ffn_up.weight", feed),
            ),
        )
        specs += single(f"{block}.ffn_down.weight", (width, config.feed_forward_length))
    specs += single("output_norm.weight", (width,))
    if "output.weight" in block_types:
        specs += single("output.weight", (vocabulary, width))
    return tuple(specs)


def embed(graph: Graph, config: LlamaConfig, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens)


def hidden(graph: Graph, config: LlamaConfig, x: Value) -> Value:
    """Through all blocks: x + attention(norm(x)), then + gated MLP(norm(x))."""
    for layer in range(config.block_count):
        block = f"blk.{layer}"
        h = graph.rms_norm(f"{block}.attn_norm.weight", x, config.rms_norm_epsilon)
        h = _attention(graph, config, layer, h)
        x = graph.linear(f"{block}.attn_output.weight", h, residual=x)
        h = graph.rms_norm(f"{block}.ffn_norm.weight", x, config.rms_norm_epsilon)
        x = graph.linear(f"{block}.ffn_down.weight", _gated(graph, block, h), residual=x)
    return x


def logits(graph: Graph, config: LlamaConfig, x: Value) -> Value:
    """What `hidden` gave, for the positions that are asked about, to float32 logits."""
    x = graph.rms_norm("output_norm.weight", x, config.rms_norm_epsilon)
    tied = not graph.has("output.weight")
    return graph.linear("token_embd.weight" if tied else "output.weight", x, dtype="float32")


def cache_spec(config: LlamaConfig, context_window: int) -> CacheSpec:
    """What the KV cache holds, and by which angles queries and keys turn."""
    return CacheSpec(
        layers=config.block_count,
        query_heads=config.head_count,
        kv_heads=config.head_count_kv,
        head_dim=config.head_dim,
        rope=Rope(rope_frequencies(config.rope_freq_base, config.head_dim)),
    )


def _attention(graph: Graph, config: LlamaConfig, layer: int, x: Value) -> Value:
    block = f"blk.{layer}"
    if graph.has(f"{block}.attn_qkv.weight"):
        qkv = graph.linear(f"{block}.attn_qkv.weight", x)
    else:
        parts = ("attn_q", "attn_k", "attn_v")
        qkv = graph.concat([graph.linear(f"{block}.{part}.weight", x) for part in parts])
    return graph.attention(layer, qkv, heads=config.head_count, head_dim=config.head_dim)


def _gated(graph: Graph, block: str, x: Value) -> Value:
    if graph.has(f"{block}.ffn_gate_up.weight"):
        return graph.linear(f"{block}.ffn_gate_up.weight", x, gated=True)
    gate = graph.linear(f"{block}.ffn_gate.weight", x)
    return graph.multiply(gate, graph.linear(f"{block}.ffn_up.weight", x))


def _head_dim(read: MetadataReader, embedding_length: int, head_count: int) -> int:
    even, rest = divmod(embedding_length, head_count)
    if rest and not read.has("attention.key_length"):
        raise UnsupportedModel(
            f"llama.embedding_length {embedding_length} is no multiple of head_count {head_count}"
        )
    head_dim = read.integer("attention.key_length", MAX_HEAD_DIM, default=even)
    value_dim = read.integer("attention.value_length", MAX_HEAD_DIM, default=head_dim)
    rotated = read.integer("rope.dimension_count", MAX_HEAD_DIM, default=head_dim)
    if value_dim != head_dim:
        raise UnsupportedModel(
            f"llama.attention.value_length {value_dim} differs from key_length {head_dim}"
        )
    if rotated != head_dim or head_dim % 2:
        raise UnsupportedModel(
            f"llama.rope.dimension_count is {rotated} of head size {head_dim}: "
            "only rope over a whole, even head is supported yet"
        )
    if head_dim % HEAD_STEP:
        raise UnsupportedModel(
            f"llama's heads of {head_dim} are no multiple of {HEAD_STEP}: not supported yet"
        )
    return head_dim


def _refuse_what_changes_numbers(read: MetadataReader) -> None:
    read.neutral("expert_count", lambda value: value == 0, "a mixture of experts")
    read.neutral("expert_used_count", lambda value: value == 0, "a mixture of experts")
    read.neutral("rope.scaling.type", lambda value: value == "none", "rope scaling")
    read.neutral("rope.scaling.factor", lambda value: value == 1.0, "rope scaling")
    read.neutral("rope.scale_linear", lambda value: value == 1.0, "rope scaling")
    read.neutral(
        "tensor_data_layout", lambda value: value == "Meta AI original pth", "another tensor layout"
    )
    read.finish()
