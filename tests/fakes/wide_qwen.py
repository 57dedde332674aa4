"""A Qwen2 that is a quarter of a gigabyte, of repeated random numbers: weighs as a real one does.

Written straight to a file, made in a second; what it says is nonsense.
"""

from pathlib import Path
from typing import Final

import numpy as np
from gguf.constants import GGMLQuantizationType

from tests.fakes.tiny_gguf import TOKENS, TinyGguf, TinyTensor, tokenizer_metadata

WIDTH: Final = 1024
FEED: Final = 4096
BLOCKS: Final = 8
HEADS: Final = 16
KV_HEADS: Final = 4
CONTEXT: Final = 32768


def write_wide_qwen(path: Path) -> Path:
    """Matrices in F16, vectors in F32; gives `path`."""
    narrow = WIDTH // HEADS * KV_HEADS
    dims: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (WIDTH, len(TOKENS)),
        "output_norm.weight": (WIDTH,),
    }
    for block in range(BLOCKS):
        dims |= {
            f"blk.{block}.{name}": shape
            for name, shape in {
                "attn_norm.weight": (WIDTH,),
                "attn_q.weight": (WIDTH, WIDTH),
                "attn_q.bias": (WIDTH,),
                "attn_k.weight": (WIDTH, narrow),
                "attn_k.bias": (narrow,),
                "attn_v.weight": (WIDTH, narrow),
                "attn_v.bias": (narrow,),
                "attn_output.weight": (WIDTH, WIDTH),
                "ffn_norm.weight": (WIDTH,),
                "ffn_gate.weight": (WIDTH, FEED),
                "ffn_up.weight": (WIDTH, FEED),
                "ffn_down.weight": (FEED, WIDTH),
            }.items()
        }
    metadata = {
        "general.architecture": "qwen2",
        "general.name": "Wide",
        "qwen2.block_count": BLOCKS,
        "qwen2.context_length": CONTEXT,
        "qwen2.embedding_length": WIDTH,
        "qwen2.feed_forward_length": FEED,
        "qwen2.attention.head_count": HEADS,
        "qwen2.attention.head_count_kv": KV_HEADS,
        "qwen2.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen2.rope.freq_base": 1e6,
        **tokenizer_metadata(),
        "tokenizer.ggml.pre": "qwen2",
    }
    some = np.random.default_rng(0).normal(0, 0.02, 8191)
    tensors = []
    for name, shape in dims.items():
        is_matrix = len(shape) > 1
        kind = GGMLQuantizationType.F16 if is_matrix else GGMLQuantizationType.F32
        numbers = np.resize(some.astype("<f2" if is_matrix else "<f4"), int(np.prod(shape)))
        tensors.append(TinyTensor(name, shape, kind, data=numbers.tobytes()))
    path.write_bytes(TinyGguf(metadata=list(metadata.items()), tensors=tensors).to_bytes())
    return path
