"""bert: a bidirectional encoder with learned positions, post-norm blocks and a GELU MLP.

all-MiniLM, BGE, E5 and other sentence embedders that publish GGUF with `general.architecture =
bert`. It does not speak: a text's token vectors become one vector (`pool`), so there is no KV
cache and there are no logits. Read it from top to bottom: sizes, parameters, graph, hub.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transom_models.architecture import (
    Graph,
    HubModel,
    Metadata,
    ParameterSpec,
    SourceTensor,
    UnsupportedModel,
    Value,
    Vectors,
)
from transom_models.architectures._hub import HubConfig
from transom_models.metadata_reader import MetadataReader

NAME = "bert"
TASK = "embedding"
CONFIG_TENSORS: tuple[str, ...] = ()
HUGGING_FACE = ("BertModel", "BertForMaskedLM")
# Caps: well above the largest published encoder (24 blocks of 1 024, 16 heads, 8 192 tokens), so
# that sizes computed from a lying header stay harmless.
MAX_BLOCKS = 512
MAX_WIDTH = 65_536
MAX_FEED_FORWARD = 262_144
MAX_HEADS = 512
# The attention kernel keeps a tile of keys and values in 16 KiB of workgroup memory.
MAX_HEAD_DIM = 256
# The attention kernel walks a head in steps of this many elements.
HEAD_STEP = 8
MAX_VOCABULARY = 1_048_576
MAX_CONTEXT = 1_048_576
# BERT has two (sentence A and sentence B); nobody has published many more.
MAX_TOKEN_TYPES = 256
# A tensor that is not in the checkpoint; the name match reports it.
MISSING = "missing"
# GGUF's `<arch>.pooling_type` (llama.cpp's llama_pooling_type); what is not here gives no one
# vector for a text: 0 keeps every token's, 4 is a reranker's score.
POOLINGS = {1: "mean", 2: "cls", 3: "last"}
MEAN_POOLING = 1
# Token type of every token of a text that stands alone.
SENTENCE_A = 0
TOKEN_TYPES = "token_types.weight"
PROJECTIONS = ("attn_q", "attn_k", "attn_v")
# Modes of sentence-transformers' 1_Pooling/config.json -> GGUF's pooling_type.
HUB_POOLINGS = {"mean_tokens": 1, "cls_token": 2, "lasttoken": 3}
# Beginnings of tensor names that no sentence vector needs: heads for training tasks, a counter.
HUB_UNUSED = (
    "pooler.",
    "cls.",
    "embeddings.position_ids",
    "bert.pooler.",
    "bert.embeddings.position_ids",
)


@dataclass(frozen=True, slots=True)
class BertConfig:
    """Sizes of one encoder, named as in the GGUF metadata.

    `pooling`: how token vectors become the text's: their "mean", that of the first token ("cls"),
    or of the "last" one.
    """

    block_count: int
    context_length: int
    embedding_length: int
    feed_forward_length: int
    head_count: int
    layer_norm_epsilon: float
    token_type_count: int
    pooling: str
    vocab_size: int

    @property
    def head_dim(self) -> int:
        """Elements of one head."""
        return self.embedding_length // self.head_count


def read_config(metadata: Metadata, vectors: Vectors) -> BertConfig:
    """Typed sizes from the `bert.*` metadata; raises `UnsupportedModel` naming the key."""
    read = MetadataReader(metadata, NAME)
    tokens = metadata.get("tokenizer.ggml.tokens", ())
    config = BertConfig(
        block_count=read.integer("block_count", MAX_BLOCKS),
        context_length=read.integer("context_length", MAX_CONTEXT),
        embedding_length=read.integer("embedding_length", MAX_WIDTH),
        feed_forward_length=read.integer("feed_forward_length", MAX_FEED_FORWARD),
        head_count=read.integer("attention.head_count", MAX_HEADS),
        layer_norm_epsilon=read.real("attention.layer_norm_epsilon", 0.0, 1.0),
        token_type_count=MetadataReader(metadata, "tokenizer.ggml").integer(
            "token_type_count", MAX_TOKEN_TYPES, default=1
        ),
        pooling=_pooling(read),
        vocab_size=read.integer("vocab_size", MAX_VOCABULARY, default=len(tokens)),
    )
    _check(config, len(tokens))
    read.neutral("attention.causal", lambda value: value is False, "an encoder with a causal mask")
    read.neutral(
        "attention.head_count_kv",
        lambda value: value == config.head_count,
        "an encoder with grouped heads",
    )
    read.finish()
    return config


def parameters(config: BertConfig, block_types: Mapping[str, str]) -> tuple[ParameterSpec, ...]:
    """Stored parameters in the order the graph uses them.

    Queries, keys and values are stored as one matrix and one bias when the block types of their
    matrices agree, for one kernel instead of three.
    """
    width, feed = config.embedding_length, config.feed_forward_length

    def single(name: str, *shape: int) -> list[ParameterSpec]:
        source = SourceTensor(name, shape)
        return [ParameterSpec(name, (source,), block_types.get(name, MISSING), shape)]

    def norm(name: str) -> list[ParameterSpec]:
        return single(f"{name}.weight", width) + single(f"{name}.bias", width)

    def projection(name: str, rows: int, cols: int) -> list[ParameterSpec]:
        return single(f"{name}.weight", rows, cols) + single(f"{name}.bias", rows)

    def queries_keys_values(block: str) -> list[ParameterSpec]:
        names = [f"{block}.{part}" for part in PROJECTIONS]
        kinds = {block_types.get(f"{name}.weight", MISSING) for name in names}
        if len(kinds) > 1:
            return [spec for name in names for spec in projection(name, width, width)]
        matrices = tuple(SourceTensor(f"{name}.weight", (width, width)) for name in names)
        biases = tuple(SourceTensor(f"{name}.bias", (width,)) for name in names)
        kind = block_types.get(biases[0].name, MISSING)
        return [
            ParameterSpec(f"{block}.attn_qkv.weight", matrices, kinds.pop(), (3 * width, width)),
            ParameterSpec(f"{block}.attn_qkv.bias", biases, kind, (3 * width,)),
        ]

    specs = single("token_embd.weight", config.vocab_size, width)
    specs += single("position_embd.weight", config.context_length, width)
    if TOKEN_TYPES in block_types:
        specs += single(TOKEN_TYPES, config.token_type_count, width)
    specs += norm("token_embd_norm")
    for index in range(config.block_count):
        block = f"blk.{index}"
        specs += queries_keys_values(block)
        specs += projection(f"{block}.attn_output", width, width)
        specs += norm(f"{block}.attn_output_norm")
        specs += projection(f"{block}.ffn_up", feed, width)
        specs += projection(f"{block}.ffn_down", width, feed)
        specs += norm(f"{block}.layer_output_norm")
    return tuple(specs)


def embed(graph: Graph, config: BertConfig, tokens: Value) -> Value:
    """Token ids to the input of `hidden`."""
    return graph.embedding("token_embd.weight", tokens)


def hidden(graph: Graph, config: BertConfig, x: Value) -> Value:
    """Add positions and token type, then all blocks: norm(x + attention(x)), norm(x + MLP(x))."""
    x = graph.add_positions("position_embd.weight", x)
    if graph.has(TOKEN_TYPES):
        x = graph.add_row(TOKEN_TYPES, SENTENCE_A, x)
    x = _norm(graph, config, "token_embd_norm", x)
    for layer in range(config.block_count):
        block = f"blk.{layer}"
        h = _attention(graph, config, block, x)
        h = _project(graph, f"{block}.attn_output", h, residual=x)
        x = _norm(graph, config, f"{block}.attn_output_norm", h)
        h = _project(graph, f"{block}.ffn_up", x, activation="gelu")
        h = _project(graph, f"{block}.ffn_down", h, residual=x)
        x = _norm(graph, config, f"{block}.layer_output_norm", h)
    return x


def pool(graph: Graph, config: BertConfig, x: Value) -> Value:
    """What `hidden` gave, (1, n, width), to the text's vector: float32 (1, width), any length."""
    return graph.pool(x, config.pooling)


def from_hugging_face(hub: Mapping[str, Any]) -> HubModel:
    """`config.json` in GGUF's words, as llama.cpp's BertModel converter writes them.

    `hub["pooling"]` is the folder's `1_Pooling/config.json`, where it has one; a folder without
    pools by the mean, as sentence-transformers does then. Raises `UnsupportedModel`.
    """
    read = HubConfig(hub, NAME)
    read.only("hidden_act", "gelu", "gelu")
    read.only("position_embedding_type", "absolute", "absolute")
    read.only("is_decoder", False, False)
    read.only("add_cross_attention", False, False)
    metadata = {
        f"{NAME}.block_count": read.integer("num_hidden_layers"),
        f"{NAME}.context_length": read.integer("max_position_embeddings"),
        f"{NAME}.embedding_length": read.integer("hidden_size"),
        f"{NAME}.feed_forward_length": read.integer("intermediate_size"),
        f"{NAME}.attention.head_count": read.integer("num_attention_heads"),
        f"{NAME}.attention.layer_norm_epsilon": read.real("layer_norm_eps", 1e-12),
        f"{NAME}.attention.causal": False,
        f"{NAME}.pooling_type": _hub_pooling(hub.get("pooling")),
        "tokenizer.ggml.token_type_count": read.integer("type_vocab_size", 2),
    }
    return HubModel(metadata=metadata, unused=HUB_UNUSED)


def _project(
    graph: Graph,
    name: str,
    x: Value,
    *,
    activation: str | None = None,
    residual: Value | None = None,
) -> Value:
    return graph.linear(
        f"{name}.weight", x, bias=f"{name}.bias", activation=activation, residual=residual
    )


def _norm(graph: Graph, config: BertConfig, name: str, x: Value) -> Value:
    return graph.layer_norm(f"{name}.weight", f"{name}.bias", x, config.layer_norm_epsilon)


def _attention(graph: Graph, config: BertConfig, block: str, x: Value) -> Value:
    if graph.has(f"{block}.attn_qkv.weight"):
        qkv = _project(graph, f"{block}.attn_qkv", x)
    else:
        qkv = graph.concat([_project(graph, f"{block}.{part}", x) for part in PROJECTIONS])
    return graph.self_attention(qkv, heads=config.head_count)


def _pooling(read: MetadataReader) -> str:
    """A file that does not say is pooled by the mean, as sentence-transformers does then."""
    kind = read.integer("pooling_type", max(POOLINGS), default=MEAN_POOLING)
    return POOLINGS[kind]


def _check(config: BertConfig, tokens: int) -> None:
    width, heads = config.embedding_length, config.head_count
    if width % heads:
        raise UnsupportedModel(
            f"bert.embedding_length {width} is no multiple of head_count {heads}"
        )
    if config.head_dim % HEAD_STEP or config.head_dim > MAX_HEAD_DIM:
        raise UnsupportedModel(
            f"bert's heads of {config.head_dim} are not supported yet: "
            f"only multiples of {HEAD_STEP} up to {MAX_HEAD_DIM}"
        )
    if tokens > config.vocab_size:
        raise UnsupportedModel(
            f"bert.vocab_size is {config.vocab_size}, but the tokenizer has {tokens} tokens"
        )


def _hub_pooling(config: Mapping[str, Any] | None) -> int:
    """GGUF's number for a `1_Pooling/config.json`."""
    if config is None:
        return MEAN_POOLING
    chosen = [mode for mode, kind in HUB_POOLINGS.items() if config.get(f"pooling_mode_{mode}")]
    others = [
        key
        for key, value in config.items()
        if key.startswith("pooling_mode_")
        and value is True
        and key.removeprefix("pooling_mode_") not in HUB_POOLINGS
    ]
    if len(chosen) != 1 or others:
        raise UnsupportedModel(
            f"1_Pooling/config.json asks for {', '.join(chosen + others) or 'no pooling'}: "
            f"only one of {', '.join(HUB_POOLINGS)} is supported"
        )
    return HUB_POOLINGS[chosen[0]]
