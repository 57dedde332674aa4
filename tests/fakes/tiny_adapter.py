"""A tiny random LoRA for `tiny_llama`, as a GGUF file."""

import numpy as np

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor

RANK = 4


def tiny_adapter(seed: int = 0) -> bytes:
    """Changes one matrix enough that another token is the likeliest."""
    generator = np.random.default_rng(seed)
    metadata = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 8.0,
    }
    tensors = [
        TinyTensor(
            f"blk.0.attn_output.weight.lora_{part}",
            shape,
            data=generator.normal(size=shape).astype("<f4").tobytes(),
        )
        for part, shape in (("a", (64, RANK)), ("b", (RANK, 64)))
    ]
    return TinyGguf(metadata=list(metadata.items()), tensors=tensors).to_bytes()
