"""A tiny random BERT as a GGUF, and the same one for `transformers`: embeds, and scores pairs."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor

Weights = dict[str, npt.NDArray[np.float32]]

WIDTH: Final = 32
FEED: Final = 64
HEADS: Final = 4
BLOCKS: Final = 2
POSITIONS: Final = 64
# As llama.cpp's converter writes WordPiece: a mark before words, none before their parts.
WORDS: Final = ("the", "cat", "dog", "sat", "on", "mat", "runs", "fast", "a", "sea", "is", "blue")
PARTS: Final = ("s", "ing", "er")
SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TOKENS: Final = (*SPECIAL, *(f"▁{word}" for word in WORDS), *PARTS)


def weights(seed: int = 0) -> Weights:
    """By GGUF's names, rows first as NumPy and `transformers` have them."""
    generator = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(TOKENS), WIDTH),
        "position_embd.weight": (POSITIONS, WIDTH),
        "token_types.weight": (2, WIDTH),
    }
    norms = ["token_embd_norm"]
    for block in range(BLOCKS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            shapes[f"blk.{block}.{name}.weight"] = (WIDTH, WIDTH)
            shapes[f"blk.{block}.{name}.bias"] = (WIDTH,)
        shapes[f"blk.{block}.ffn_up.weight"] = (FEED, WIDTH)
        shapes[f"blk.{block}.ffn_up.bias"] = (FEED,)
        shapes[f"blk.{block}.ffn_down.weight"] = (WIDTH, FEED)
        shapes[f"blk.{block}.ffn_down.bias"] = (WIDTH,)
        norms += [f"blk.{block}.attn_output_norm", f"blk.{block}.layer_output_norm"]
    made = {name: generator.normal(0, 0.3, shape) for name, shape in shapes.items()}
    for name in norms:
        made[f"{name}.weight"] = generator.normal(1, 0.1, WIDTH)
        made[f"{name}.bias"] = generator.normal(0, 0.1, WIDTH)
    return {name: array.astype("<f4") for name, array in made.items()}


def classifier(seed: int = 1) -> Weights:
    """What makes a cross-encoder of it."""
    generator = np.random.default_rng(seed)
    shapes: Mapping[str, tuple[int, ...]] = {
        "cls.weight": (WIDTH, WIDTH),
        "cls.bias": (WIDTH,),
        "cls.output.weight": (1, WIDTH),
        "cls.output.bias": (1,),
    }
    return {name: generator.normal(0, 0.5, shape).astype("<f4") for name, shape in shapes.items()}


def tiny_bert(*, pooling: int = 1, scores: bool = False) -> TinyGguf:
    """`pooling`: 1 is the mean, 4 (with `scores`) a classifier on the first token."""
    arrays = {**weights(), **(classifier() if scores else {})}
    metadata: dict[str, Any] = {
        "general.architecture": "bert",
        "general.name": "Tiny BERT",
        "bert.block_count": BLOCKS,
        "bert.context_length": POSITIONS,
        "bert.embedding_length": WIDTH,
        "bert.feed_forward_length": FEED,
        "bert.attention.head_count": HEADS,
        "bert.attention.layer_norm_epsilon": 1e-12,
        "bert.attention.causal": False,
        "bert.pooling_type": pooling,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.tokens": list(TOKENS),
        "tokenizer.ggml.token_type": [3 if token in SPECIAL else 1 for token in TOKENS],
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.eos_token_id": 3,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.mask_token_id": 4,
    }
    return TinyGguf(
        metadata=list(metadata.items()),
        tensors=[
            TinyTensor(name, tuple(reversed(array.shape)), data=array.tobytes())
            for name, array in arrays.items()
        ],
    )
