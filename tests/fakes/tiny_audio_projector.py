"""A tiny random sound encoder as a GGUF file (Whisper's with Ultravox's projector behind it).

Hears half a minute as a few vectors as wide as `tiny_llama`'s; what is shorter is filled up with
silence.
"""

import numpy as np
from gguf.constants import GGMLQuantizationType

from tests.fakes.tiny_gguf import TinyGguf, TinyTensor, llama_metadata

WIDTH, FEED_FORWARD, HEADS = 32, 48, 2
MEL_BINS = 80
# Half a minute at 100 frames a second, every other one kept.
POSITIONS = 1500
STACK = 50
VECTORS = POSITIONS // STACK


def tiny_audio_projector(seed: int = 0) -> TinyGguf:
    """The file as a value."""
    generator = np.random.default_rng(seed)
    out = int(llama_metadata()["llama.embedding_length"])
    dims: dict[str, tuple[int, ...]] = {
        "a.conv1d.1.weight": (3, MEL_BINS, WIDTH),
        "a.conv1d.1.bias": (1, WIDTH),
        "a.conv1d.2.weight": (3, WIDTH, WIDTH),
        "a.conv1d.2.bias": (1, WIDTH),
        "a.position_embd.weight": (WIDTH, POSITIONS),
        "a.post_ln.weight": (WIDTH,),
        "a.post_ln.bias": (WIDTH,),
        "mm.a.norm_pre.weight": (WIDTH * STACK,),
        "mm.a.mlp.1.weight": (WIDTH * STACK, 2 * FEED_FORWARD),
        "mm.a.norm_mid.weight": (FEED_FORWARD,),
        "mm.a.mlp.2.weight": (FEED_FORWARD, out),
    }
    for block in range(2):
        dims |= {
            f"a.blk.{block}.{name}": shape
            for name, shape in {
                "attn_q.weight": (WIDTH, WIDTH),
                "attn_q.bias": (WIDTH,),
                "attn_k.weight": (WIDTH, WIDTH),
                "attn_v.weight": (WIDTH, WIDTH),
                "attn_v.bias": (WIDTH,),
                "attn_out.weight": (WIDTH, WIDTH),
                "attn_out.bias": (WIDTH,),
                "ln1.weight": (WIDTH,),
                "ln1.bias": (WIDTH,),
                "ln2.weight": (WIDTH,),
                "ln2.bias": (WIDTH,),
                "ffn_up.weight": (WIDTH, FEED_FORWARD),
                "ffn_up.bias": (FEED_FORWARD,),
                "ffn_down.weight": (FEED_FORWARD, WIDTH),
                "ffn_down.bias": (WIDTH,),
            }.items()
        }
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_audio_encoder": True,
        "clip.projector_type": "ultravox",
        "clip.use_gelu": True,
        "clip.audio.embedding_length": WIDTH,
        "clip.audio.feed_forward_length": FEED_FORWARD,
        "clip.audio.projection_dim": out,
        "clip.audio.block_count": 2,
        "clip.audio.attention.head_count": HEADS,
        "clip.audio.attention.layer_norm_epsilon": 1e-5,
        "clip.audio.num_mel_bins": MEL_BINS,
        "clip.audio.projector.stack_factor": STACK,
    }
    tensors = []
    for name, shape in dims.items():
        # llama.cpp's convolution takes halves.
        halves = name.startswith("a.conv1d") and name.endswith(".weight")
        kind = GGMLQuantizationType.F16 if halves else GGMLQuantizationType.F32
        numbers = generator.normal(0, 0.3, shape).astype("<f2" if halves else "<f4")
        tensors.append(TinyTensor(name, shape, kind, data=numbers.tobytes()))
    return TinyGguf(metadata=list(metadata.items()), tensors=tensors)
