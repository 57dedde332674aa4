"""What the decoder architectures share: sizes, parameters that may be fused, and their use.

An architecture file stays readable from top to bottom because reading, capping and fusing are said
here once. Must not know one architecture's keys, order of norms, or scales: those are its file's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transom_models.architecture import (
    CacheSpec,
    Graph,
    Metadata,
    ParameterSpec,
    SourceTensor,
    UnsupportedModel,
    Value,
    Vectors,
)
from transom_models.metadata_reader import MetadataReader, positive_vector
from transom_models.rope import RopeConfig, Yarn, yarn_magnitude

# Caps: about four times the largest published decoder (405B: 126 blocks of 16 384, 128 heads), so
# that sizes computed from a lying header stay harmless.
MAX_BLOCKS = 512
MAX_WIDTH = 65_536
MAX_FEED_FORWARD = 262_144
MAX_HEADS = 512
MAX_HEAD_DIM = 1_024
MAX_VOCABULARY = 1_048_576
MAX_CONTEXT = 16_777_216
# Published bases go from 10 000 to 10 million; at 1 nothing would turn slower than anything.
MIN_ROPE_BASE = 2.0
MAX_ROPE_BASE = 1e12
# Published scalings go to 64; multipliers of embeddings, residuals, logits and scores to about 100.
MAX_SCALE = 65_536.0
# The attention kernels walk a head in steps of this many elements.
HEAD_STEP = 8
# A tensor that is not in the checkpoint; the name match reports it.
MISSING = "missing"
# Checkpoint tensors that slow the pairs of rope one by one, as llama.cpp names them.
ROPE_DIVISORS = "rope_freqs.weight"
LONG_DIVISORS = "rope_factors_long.weight"
SHORT_DIVISORS = "rope_factors_short.weight"
ROPE_TENSORS = (ROPE_DIVISORS, LONG_DIVISORS, SHORT_DIVISORS)


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes that every decoder has, named as in the GGUF metadata."""

    block_count: int
    context_length: int
    embedding_length: int
    feed_forward_length: int
    head_count: int
    head_count_kv: int
    head_dim: int
    rms_norm_epsilon: float
    vocab_size: int
    rope: RopeConfig


def read_sizes(
    read: MetadataReader, metadata: Metadata, vectors: Vectors, *, partial_rope: bool = True
) -> dict[str, Any]:
    """The fields of `DecoderConfig`. Raises `UnsupportedModel` naming the key.

    `partial_rope`: whether rope may leave the end of each head alone.
    """
    name = read.prefix
    embedding_length = read.integer("embedding_length", MAX_WIDTH)
    head_count = read.integer("attention.head_count", MAX_HEADS)
    block_count = read.integer("block_count", MAX_BLOCKS)
    head_count_kv = read.same("attention.head_count_kv", MAX_HEADS, block_count, head_count)
    if head_count % head_count_kv:
        raise UnsupportedModel(
            f"{name}.attention.head_count {head_count} is no multiple "
            f"of head_count_kv {head_count_kv}"
        )
    head_dim = _head_dim(read, embedding_length, head_count)
    context_length = read.integer("context_length", MAX_CONTEXT)
    tokens: Sequence[str] = metadata.get("tokenizer.ggml.tokens", ())
    vocab_size = read.integer("vocab_size", MAX_VOCABULARY, default=len(tokens))
    if len(tokens) > vocab_size:
        raise UnsupportedModel(
            f"{name}.vocab_size is {vocab_size}, but the tokenizer has {len(tokens)} tokens"
        )
    read.neutral("expert_count", lambda value: value == 0, "a mixture of experts")
    read.neutral("expert_used_count", lambda value: value == 0, "a mixture of experts")
    read.neutral("attention.causal", lambda value: value is True, "attention to later tokens")
    return {
        "block_count": block_count,
        "context_length": context_length,
        "embedding_length": embedding_length,
        "feed_forward_length": read.integer("feed_forward_length", MAX_FEED_FORWARD),
        "head_count": head_count,
        "head_count_kv": head_count_kv,
        "head_dim": head_dim,
        "rms_norm_epsilon": read.real("attention.layer_norm_rms_epsilon", 0.0, 1.0),
        "vocab_size": vocab_size,
        "rope": _rope(read, vectors, head_dim, context_length, partial_rope),
    }


def read_windows(
    read: MetadataReader, blocks: int, *, period: int, window: int = 0
) -> tuple[int, tuple[bool, ...]]:
    """Keys that a windowed layer sees (0: all), and which layers are windowed.

    `period`: of that many layers the last sees everything, if the checkpoint does not say;
    `window`: likewise. Source: llama.cpp `llama_hparams::set_swa_pattern`.
    """
    key = "attention.sliding_window_pattern"
    window = read.integer("attention.sliding_window", MAX_CONTEXT, default=window, least=0)
    if not read.has(key) or read.is_number(key):
        period = read.integer(key, MAX_BLOCKS, default=period)
        windowed = every_but_last(period, blocks)
    else:
        windowed = read.flags(key, blocks)
    return window, windowed if window else (False,) * blocks


def every_but_last(period: int, blocks: int) -> tuple[bool, ...]:
    """True for every layer but the last of each `period`."""
    return tuple(layer % period < period - 1 for layer in range(blocks))


def _head_dim(read: MetadataReader, embedding_length: int, head_count: int) -> int:
    name = read.prefix
    even, rest = divmod(embedding_length, head_count)
    if rest and not read.has("attention.key_length"):
        raise UnsupportedModel(
            f"{name}.embedding_length {embedding_length} is no multiple of head_count {head_count}"
        )
    head_dim = read.integer("attention.key_length", MAX_HEAD_DIM, default=even)
    value_dim = read.integer("attention.value_length", MAX_HEAD_DIM, default=head_dim)
    if value_dim != head_dim:
        raise UnsupportedModel(
            f"{name}.attention.value_length {value_dim} differs from key_length {head_dim}"
        )
    if head_dim % HEAD_STEP:
        raise UnsupportedModel(
            f"{name}'s heads of {head_dim} are no multiple of {HEAD_STEP}: not supported yet"
        )
    return head_dim


def _rope(
    read: MetadataReader, vectors: Vectors, head_dim: int, context_length: int, partial: bool
) -> RopeConfig:
    """Every rope key that llama.cpp reads for any decoder, with its defaults.

    Source: ggml-org/llama.cpp src/llama-model.cpp `load_hparams`, src/llama-context.cpp.
    """
    name = read.prefix
    dims = read.integer("rope.dimension_count", MAX_HEAD_DIM, default=head_dim)
    if dims > head_dim or dims % 2 or (dims < head_dim and not partial):
        allowed = "only an even part of a head" if partial else "only a whole head"
        raise UnsupportedModel(
            f"{name}.rope.dimension_count is {dims} of head size {head_dim}: {allowed} can turn"
        )
    theta = read.real("rope.freq_base", MIN_ROPE_BASE, MAX_ROPE_BASE, default=10_000.0)
    # A file that gives a factor and no type means "linear"; 0 means that there is none.
    kind = read.choice("rope.scaling.type", ("none", "linear", "yarn", "longrope"), "linear")
    older = read.real("rope.scale_linear", 0.0, MAX_SCALE, default=1.0)
    factor = read.real("rope.scaling.factor", 0.0, MAX_SCALE, default=older) or 1.0
    original = read.integer(
        "rope.scaling.original_context_length", MAX_CONTEXT, default=context_length
    )
    magnitude = read.real("rope.scaling.attn_factor", 0.01, MAX_SCALE, default=1.0)
    read.neutral("rope.scaling.finetuned", lambda value: value is True, "a model without rope")
    yarn = None
    if kind == "yarn":
        yarn = _yarn(read, original, factor)
        magnitude *= yarn_magnitude(factor)
    divisors = positive_vector(vectors, ROPE_DIVISORS, dims // 2)
    short = positive_vector(vectors, SHORT_DIVISORS, dims // 2)
    long = positive_vector(vectors, LONG_DIVISORS, dims // 2)
    if bool(short) != bool(long) or (kind == "longrope" and not long):
        raise UnsupportedModel(f"{name}'s rope needs both {SHORT_DIVISORS} and {LONG_DIVISORS}")
    if divisors and long:
        raise UnsupportedModel(f"the checkpoint has both {ROPE_DIVISORS} and {LONG_DIVISORS}")
    return RopeConfig(
        theta=theta,
        dims=dims,
        factor=1.0 if kind in ("none", "longrope") else factor,
        yarn=yarn,
        divisors=divisors or short,
        long_divisors=long,
        original_context=original,
        magnitude=magnitude,
    )


def _yarn(read: MetadataReader, original: int, factor: float) -> Yarn:
    usual = yarn_magnitude(factor)
    read.neutral("rope.scaling.yarn_ext_factor", lambda value: value == 1.0, "YaRN in part")
    read.neutral("rope.scaling.yarn_log_multiplier", lambda value: value == 0.0, "this YaRN")
    # llama.cpp ignores this key, transformers would obey it: only where both agree.
    read.neutral(
        "rope.scaling.yarn_attn_factor",
        lambda value: isinstance(value, float) and abs(value - usual) < 1e-4 * usual,
        f"an attention factor that is not {usual:.4f}",
    )
    return Yarn(
        original_context=original,
        beta_fast=read.real("rope.scaling.yarn_beta_fast", 0.01, MAX_SCALE, default=32.0),
        beta_slow=read.real("rope.scaling.yarn_beta_slow", 0.01, MAX_SCALE, default=1.0),
    )


@dataclass(slots=True)
class ParameterList:
    """Stored parameters in the order the graph uses them.

    Matrices that read the same input are stored as one when their block types agree, for one
    kernel instead of three; their biases go with them.
    """

    block_types: Mapping[str, str]
    specs: list[ParameterSpec] = field(default_factory=list)

    def vector(self, name: str, size: int) -> None:
        """A norm's weight."""
        self._store(name, [SourceTensor(name, (size,))])

    def matrix(self, name: str, rows: int, cols: int) -> None:
        """`name.weight`, and `name.bias` where the checkpoint has one."""
        self.fused(name, [SourceTensor(name, (rows, cols))])

    def fused(self, name: str, parts: Sequence[SourceTensor], *, biased: bool = False) -> None:
        """The rows of all `parts` (named without `.weight`) as `name`, or each part as itself.

        `biased`: the architecture always has biases, so that a missing one is reported.
        """
        kinds = {self.block_types.get(f"{part.name}.weight", MISSING) for part in parts}
        has_bias = [biased or f"{part.name}.bias" in self.block_types for part in parts]
        together = len(kinds) == 1 and len(set(has_bias)) == 1
        for group_name, group in [(name, parts)] if together else [(p.name, [p]) for p in parts]:
            weights = [
                SourceTensor(f"{part.name}.weight", part.shape, part.rope_heads) for part in group
            ]
            self._store(f"{group_name}.weight", weights)
            if biased or f"{group[0].name}.bias" in self.block_types:
                biases = [
                    SourceTensor(f"{part.name}.bias", part.shape[:1], part.rope_heads)
                    for part in group
                ]
                self._store(f"{group_name}.bias", biases)

    def qkv(
        self, block: str, config: DecoderConfig, *, interleaved: bool = False, biased: bool = False
    ) -> None:
        """Queries, keys and values; `interleaved`: llama.cpp's converter has moved their rows."""
        width = config.embedding_length
        queries = config.head_count * config.head_dim
        keys = config.head_count_kv * config.head_dim
        if f"{block}.attn_qkv.weight" in self.block_types and not interleaved:
            self.matrix(f"{block}.attn_qkv", queries + 2 * keys, width)
            return
        heads, kv_heads = (config.head_count, config.head_count_kv) if interleaved else (0, 0)
        parts = [
            SourceTensor(f"{block}.attn_q", (queries, width), heads),
            SourceTensor(f"{block}.attn_k", (keys, width), kv_heads),
            SourceTensor(f"{block}.attn_v", (keys, width)),
        ]
        self.fused(f"{block}.attn_qkv", parts, biased=biased)

    def attention_output(self, block: str, config: DecoderConfig) -> None:
        queries = config.head_count * config.head_dim
        self.matrix(f"{block}.attn_output", config.embedding_length, queries)

    def gated_mlp(self, block: str, config: DecoderConfig) -> None:
        """Gate over up, and down."""
        width, feed = config.embedding_length, config.feed_forward_length
        parts = [
            SourceTensor(f"{block}.ffn_gate", (feed, width)),
            SourceTensor(f"{block}.ffn_up", (feed, width)),
        ]
        self.fused(f"{block}.ffn_gate_up", parts)
        self.matrix(f"{block}.ffn_down", width, feed)

    def embedding(self, config: DecoderConfig) -> None:
        name = "token_embd.weight"
        self._store(name, [SourceTensor(name, (config.vocab_size, config.embedding_length))])

    def output(self, config: DecoderConfig) -> None:
        """The last norm, and the output matrix where the checkpoint has one of its own."""
        self.vector("output_norm.weight", config.embedding_length)
        name = "output.weight"
        if name in self.block_types:
            self._store(name, [SourceTensor(name, (config.vocab_size, config.embedding_length))])

    def _store(self, name: str, sources: Sequence[SourceTensor]) -> None:
        rows = sum(source.shape[0] for source in sources)
        kind = self.block_types.get(sources[0].name, MISSING)
        shape = (rows, *sources[0].shape[1:])
        self.specs.append(ParameterSpec(name, tuple(sources), kind, shape))


def linear(graph: Graph, name: str, x: Value, **options: Any) -> Value:
    """`Graph.linear` with the bias that the model may have; `name` without `.weight`."""
    bias = f"{name}.bias"
    return graph.linear(f"{name}.weight", x, bias=bias if graph.has(bias) else None, **options)


def qkv(graph: Graph, block: str, x: Value) -> Value:
    """Queries, keys and values side by side."""
    if graph.has(f"{block}.attn_qkv.weight"):
        return linear(graph, f"{block}.attn_qkv", x)
    parts = ("attn_q", "attn_k", "attn_v")
    return graph.concat([linear(graph, f"{block}.{part}", x) for part in parts])


def head_norm(graph: Graph, config: DecoderConfig, block: str, x: Value) -> Value:
    """Each query and each key head normalized, by weights of one head."""
    return graph.head_norm(
        f"{block}.attn_q_norm.weight",
        f"{block}.attn_k_norm.weight",
        x,
        config.rms_norm_epsilon,
        heads=config.head_count,
        kv_heads=config.head_count_kv,
        head_dim=config.head_dim,
    )


def gated(graph: Graph, block: str, x: Value, activation: str = "silu") -> Value:
    """activation(gate(x)) * up(x)."""
    if graph.has(f"{block}.ffn_gate_up.weight"):
        return linear(graph, f"{block}.ffn_gate_up", x, gated=True, activation=activation)
    gate = linear(graph, f"{block}.ffn_gate", x)
    return graph.multiply(gate, linear(graph, f"{block}.ffn_up", x), activation)


def unembed(
    graph: Graph, config: DecoderConfig, x: Value, *, scale: float = 1.0, softcap: float = 0.0
) -> Value:
    """The last norm and the output matrix (the token embedding where there is no other)."""
    x = graph.rms_norm("output_norm.weight", x, config.rms_norm_epsilon)
    name = "output.weight" if graph.has("output.weight") else "token_embd.weight"
    return graph.linear(name, x, scale=scale, softcap=softcap, dtype="float32")


def decoder_cache(config: DecoderConfig, context_window: int) -> CacheSpec:
    """A cache in which all layers turn alike and see everything."""
    return CacheSpec(
        layers=config.block_count,
        query_heads=config.head_count,
        kv_heads=config.head_count_kv,
        head_dim=config.head_dim,
        rope=config.rope.rope(context_window),
    )
