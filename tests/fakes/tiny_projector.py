"""A tiny random image encoder as a GGUF file (CLIP with an MLP behind it, as LLaVA has it).

Sees pictures of 28 x 28 pixels in four patches, and makes vectors as wide as `tiny_llama`'s.
"""

import numpy as np

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, llama_metadata

WIDTH, FEED_FORWARD, HEADS = 32, 48, 2
IMAGE, PATCH = 28, 14
PATCHES = (IMAGE // PATCH) ** 2


def tiny_projector(seed: int = 0) -> TinyGguf:
    """The file as a value."""
    generator = np.random.default_rng(seed)
    out = int(llama_metadata()["llama.embedding_length"])
    dims: dict[str, tuple[int, ...]] = {
        "v.class_embd": (WIDTH,),
        "v.patch_embd.weight": (PATCH, PATCH, 3, WIDTH),
        "v.position_embd.weight": (WIDTH, PATCHES + 1),
        "v.pre_ln.weight": (WIDTH,),
        "v.pre_ln.bias": (WIDTH,),
        "mm.0.weight": (WIDTH, out),
        "mm.0.bias": (out,),
        "mm.2.weight": (out, out),
        "mm.2.bias": (out,),
    }
    for block in range(2):
        dims |= {f"v.blk.{block}.attn_{part}.weight": (WIDTH, WIDTH) for part in "qkv"}
        dims |= {f"v.blk.{block}.attn_{part}.bias": (WIDTH,) for part in "qkv"}
        dims |= {
            f"v.blk.{block}.{name}": shape
            for name, shape in {
                "attn_out.weight": (WIDTH, WIDTH),
                "attn_out.bias": (WIDTH,),
                "ln1.weight": (WIDTH,),
                "ln1.bias": (WIDTH,),
                "ln2.weight": (WIDTH,),
                "ln2.bias": (WIDTH,),
                "ffn_down.weight": (WIDTH, FEED_FORWARD),
                "ffn_down.bias": (FEED_FORWARD,),
                "ffn_up.weight": (FEED_FORWARD, WIDTH),
                "ffn_up.bias": (WIDTH,),
            }.items()
        }
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": True,
        "clip.vision.image_size": IMAGE,
        "clip.vision.patch_size": PATCH,
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.feed_forward_length": FEED_FORWARD,
        "clip.vision.projection_dim": out,
        "clip.vision.block_count": 2,
        "clip.vision.attention.head_count": HEADS,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
    }
    tensors = [
        TinyTensor(name, shape, data=generator.normal(size=shape).astype("<f4").tobytes())
        for name, shape in dims.items()
    ]
    return TinyGguf(metadata=list(metadata.items()), tensors=tensors)
