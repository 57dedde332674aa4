"""llama: grouped-query attention with full rotary embedding, gated SiLU MLP, RMS norms.

Llama 1 to 3 (without rope scaling), SmolLM, SmolLM2, TinyLlama and whoever else publishes GGUF with
`general.architecture = llama`. Read it from top to bottom: sizes, parameters, graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm.relax.frontend import nn
from tvm.relax.frontend.nn.llm.kv_cache import PagedKVCache

from transom_models.architecture import (
    Metadata,
    MetadataReader,
    ParameterSpec,
    SourceTensor,
    UnsupportedModel,
)
from transom_models.architectures._layers import (
    CacheSpec,
    Embedding,
    Linear,
    RMSNorm,
    Tensor,
    linear,
    rope_frequencies,
    take_last,
)

NAME = "llama"
# Caps: about four times the largest published llama (405B: 126 blocks of 16 384, 128 heads), so
# that sizes computed from a lying header stay harmless.
MAX_BLOCKS = 512
MAX_WIDTH = 65_536
MAX_FEED_FORWARD = 262_144
MAX_HEADS = 512
MAX_HEAD_DIM = 1_024
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


def read_config(metadata: Metadata) -> LlamaConfig:
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


class Block(nn.Module):
    """One decoder block: x + attention(norm(x)), then + gated MLP(norm(x)).

    Attribute names are GGUF's tensor names, so that parameters need no second naming.
    """

    def __init__(self, config: LlamaConfig, kinds: Mapping[str, str], layer: int) -> None:
        self.config, self.layer = config, layer
        width, hidden = config.embedding_length, config.feed_forward_length
        query_rows = config.head_count * config.head_dim
        kv_rows = config.head_count_kv * config.head_dim

        def linear(part: str, rows: int, cols: int) -> Linear:
            name = f"blk.{layer}.{part}.weight"
            return Linear(name, kinds[name], rows, cols)

        self.fused_qkv = f"blk.{layer}.attn_qkv.weight" in kinds
        self.fused_gate_up = f"blk.{layer}.ffn_gate_up.weight" in kinds
        self.attn_norm = RMSNorm(width, config.rms_norm_epsilon)
        if self.fused_qkv:
            self.attn_qkv = linear("attn_qkv", query_rows + 2 * kv_rows, width)
        else:
            self.attn_q = linear("attn_q", query_rows, width)
            self.attn_k = linear("attn_k", kv_rows, width)
            self.attn_v = linear("attn_v", kv_rows, width)
        self.attn_output = linear("attn_output", width, query_rows)
        self.ffn_norm = RMSNorm(width, config.rms_norm_epsilon)
        if self.fused_gate_up:
            self.ffn_gate_up = linear("ffn_gate_up", 2 * hidden, width)
        else:
            self.ffn_gate = linear("ffn_gate", hidden, width)
            self.ffn_up = linear("ffn_up", hidden, width)
        self.ffn_down = linear("ffn_down", width, hidden)

    def forward(self, x: Tensor, cache: PagedKVCache) -> Tensor:
        """x: (1, n, embedding_length) -> the same shape."""
        x = self.attn_output(self._attend(self.attn_norm(x), cache), residual=x)
        h = self.ffn_norm(x)
        if self.fused_gate_up:
            h = self.ffn_gate_up(h, gated=True)
        else:
            h = nn.op.silu(self.ffn_gate(h)) * self.ffn_up(h)
        return self.ffn_down(h, residual=x)

    def _attend(self, x: Tensor, cache: PagedKVCache) -> Tensor:
        config = self.config
        if self.fused_qkv:
            qkv = self.attn_qkv(x)
        else:
            qkv = nn.op.concat([self.attn_q(x), self.attn_k(x), self.attn_v(x)], dim=2)
        n = x.shape[1]
        heads = config.head_count + 2 * config.head_count_kv
        qkv = nn.op.reshape(qkv, (1, n, heads, config.head_dim))
        scale = config.head_dim**-0.5
        out = cache.attention_with_fused_qkv(self.layer, qkv, config.head_count, scale)
        return nn.op.reshape(out, (1, n, config.head_count * config.head_dim))


class Graph(nn.Module):
    """The functions that the engine calls; `compute_dtype` is that of activations and KV cache."""

    def __init__(self, config: LlamaConfig, kinds: Mapping[str, str], compute_dtype: str) -> None:
        self.compute_dtype = compute_dtype
        embd, width, vocab = "token_embd.weight", config.embedding_length, config.vocab_size
        self.token_embd = Embedding(embd, kinds[embd], vocab, width)
        self.blk = nn.ModuleList([Block(config, kinds, i) for i in range(config.block_count)])
        self.output_norm = RMSNorm(width, config.rms_norm_epsilon)
        # Tied embeddings: the output projection is the embedding matrix itself.
        self.tied = "output.weight" not in kinds
        if not self.tied:
            self.output = Linear("output.weight", kinds["output.weight"], vocab, width)

    def embed(self, tokens: Tensor) -> Tensor:
        """tokens: int32 (n,) -> (n, embedding_length)."""
        return self.token_embd(tokens, self.compute_dtype)

    def prefill(self, embeddings: Tensor, cache: PagedKVCache) -> tuple[Tensor, PagedKVCache]:
        """embeddings: (1, n, embedding_length) -> the last token's float32 logits (1, 1, vocab)."""
        return self._logits(take_last(self._hidden(embeddings, cache))), cache

    def decode(self, embeddings: Tensor, cache: PagedKVCache) -> tuple[Tensor, PagedKVCache]:
        """embeddings: (1, 1, embedding_length) -> float32 logits (1, 1, vocab)."""
        return self._logits(self._hidden(embeddings, cache)), cache

    def _hidden(self, x: Tensor, cache: PagedKVCache) -> Tensor:
        for block in self.blk:
            x = block(x, cache)
        return x

    def _logits(self, x: Tensor) -> Tensor:
        x = self.output_norm(x)
        if self.tied:
            return linear(x, self.token_embd.weight, dtype="float32")
        return self.output(x, dtype="float32")


def cache_spec(config: LlamaConfig) -> CacheSpec:
    """What the paged KV cache of this architecture holds."""
    return CacheSpec(
        layers=config.block_count,
        query_heads=config.head_count,
        kv_heads=config.head_count_kv,
        head_dim=config.head_dim,
        frequencies=tuple(rope_frequencies(config.rope_freq_base, config.head_dim)),
    )


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
