"""The encoder's sizes, parameters and Hugging Face config; and what is refused."""

from collections.abc import Mapping
from typing import Any

import pytest

from transom_models.architecture import UnsupportedModel, load_architecture

bert: Any = load_architecture("bert")
WIDTH, FEED, TOKENS = 64, 96, 40
METADATA: Mapping[str, Any] = {
    "bert.block_count": 2,
    "bert.context_length": 128,
    "bert.embedding_length": WIDTH,
    "bert.feed_forward_length": FEED,
    "bert.attention.head_count": 4,
    "bert.attention.layer_norm_epsilon": 1e-12,
    "bert.attention.causal": False,
    "bert.pooling_type": 1,
    "tokenizer.ggml.token_type_count": 2,
    "tokenizer.ggml.tokens": ["x"] * TOKENS,
}
HUB: Mapping[str, Any] = {
    "architectures": ["BertModel"],
    "hidden_act": "gelu",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "vocab_size": 30_522,
}
MEAN = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}


def config(**changes: Any) -> Any:
    """`bert.*` keys changed (dots as __); None removes one."""
    changed = {f"bert.{key.replace('__', '.')}": value for key, value in changes.items()}
    metadata = {**METADATA, **changed}
    return bert.read_config({key: item for key, item in metadata.items() if item is not None}, {})


def test_sizes() -> None:
    found = config()
    assert (found.block_count, found.context_length, found.head_dim) == (2, 128, 16)
    assert (found.vocab_size, found.token_type_count, found.pooling) == (TOKENS, 2, "mean")
    assert config(pooling_type=2).pooling == "cls"
    assert config(pooling_type=3).pooling == "last"


def test_a_file_that_names_no_pooling_is_pooled_by_the_mean() -> None:
    assert config(pooling_type=None).pooling == "mean"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling_type": 0}, r"bert\.pooling_type is 0, not from 1 to 3"),
        ({"pooling_type": 4}, r"bert\.pooling_type is 4, not from 1 to 3"),
        ({"attention__causal": True}, r"an encoder with a causal mask is not supported yet"),
        ({"attention__head_count_kv": 2}, r"an encoder with grouped heads is not supported yet"),
        ({"attention__head_count": 3}, r"64 is no multiple of head_count 3"),
        ({"attention__head_count": 16}, r"heads of 4 are not supported"),
        ({"embedding_length": 2048}, r"heads of 512 are not supported"),
        ({"block_count": None}, r"no bert\.block_count"),
        ({"block_count": 2**31}, r"bert\.block_count is \d+, not from 1"),
        ({"attention__layer_norm_epsilon": float("nan")}, r"layer_norm_epsilon is nan"),
        ({"rope__freq_base": 1e4}, r"does not understand: bert\.rope\.freq_base"),
        ({"vocab_size": TOKENS - 1}, r"but the tokenizer has 40 tokens"),
    ],
)
def test_what_would_change_numbers_is_refused(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        config(**changes)


def kinds(**changes: str) -> dict[str, str]:
    """Block types of a whole checkpoint, by its own names."""
    sources = [source for spec in bert.parameters(config(), {}) for source in spec.sources]
    found = {one.name: "F32" if len(one.shape) == 1 else "Q8_0" for one in sources}
    found["token_types.weight"] = "F32"
    return found | {name.replace("__", "."): kind for name, kind in changes.items()}


def test_every_tensor_is_stored_once() -> None:
    specs = bert.parameters(config(), kinds())
    sources = [source.name for spec in specs for source in spec.sources]
    assert sorted(sources) == sorted(kinds())
    shapes = {spec.name: spec.shape for spec in specs}
    assert shapes["token_types.weight"] == (2, WIDTH)
    assert shapes["position_embd.weight"] == (128, WIDTH)
    assert shapes["blk.1.attn_qkv.weight"] == (3 * WIDTH, WIDTH)
    assert shapes["blk.1.attn_qkv.bias"] == (3 * WIDTH,)
    assert shapes["blk.0.ffn_up.bias"] == (FEED,)


def test_projections_of_other_block_types_keep_their_own_biases() -> None:
    specs = bert.parameters(config(), kinds(**{"blk__1__attn_v__weight": "Q6_K"}))
    names = {spec.name for spec in specs}
    assert {"blk.0.attn_qkv.weight", "blk.1.attn_v.weight", "blk.1.attn_v.bias"} <= names
    assert not {"blk.1.attn_qkv.weight", "blk.1.attn_qkv.bias"} & names


def test_what_is_not_in_the_checkpoint_is_asked_for() -> None:
    """All but token types, which some encoders have not."""
    specs = bert.parameters(config(), {})
    assert {spec.block_type for spec in specs} == {"missing"}
    assert "token_types.weight" not in {spec.name for spec in specs}


def test_minilm_in_the_words_of_gguf() -> None:
    hub = bert.from_hugging_face({**HUB, "pooling": MEAN})
    assert hub.metadata == {
        "bert.block_count": 6,
        "bert.context_length": 512,
        "bert.embedding_length": 384,
        "bert.feed_forward_length": 1536,
        "bert.attention.head_count": 12,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": 1,
        "tokenizer.ggml.token_type_count": 2,
    }
    left_out = ("pooler.dense.bias", "embeddings.position_ids", "cls.predictions.bias")
    assert all(name.startswith(hub.unused) for name in left_out)
    assert not "encoder.layer.0.output.dense.bias".startswith(hub.unused)


@pytest.mark.parametrize(
    ("pooling", "kind"),
    [
        (None, 1),
        (MEAN, 1),
        ({"pooling_mode_cls_token": True}, 2),
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, 3),
    ],
)
def test_pooling(pooling: Mapping[str, Any] | None, kind: int) -> None:
    hub = {**HUB} if pooling is None else {**HUB, "pooling": pooling}
    assert bert.from_hugging_face(hub).metadata["bert.pooling_type"] == kind


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu_new"}, r"hidden_act is 'gelu_new'"),
        ({"position_embedding_type": "relative_key"}, r"position_embedding_type"),
        ({"is_decoder": True}, r"is_decoder"),
        ({"hidden_size": None}, r"no hidden_size"),
        ({"pooling": {"pooling_mode_max_tokens": True}}, r"asks for pooling_mode_max_tokens"),
        (
            {"pooling": {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}},
            r"asks for mean_tokens, cls_token: only one",
        ),
        ({"pooling": {}}, r"asks for no pooling"),
    ],
)
def test_a_config_that_means_something_else_is_refused(
    changes: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        bert.from_hugging_face({**HUB, **changes})
