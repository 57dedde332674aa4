"""GGUF files built in memory, byte by byte, so that a test can lie about any single field.

Knows the format from its specification, not from our reader. `tiny_llama` is a whole small
checkpoint with random blocks; it is what the compile tests walk.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from tests.fakes.ggml_fields import E8M0_FIELD, E8M0_SMALL, HALF_FIELDS, SUB_SCALE

TYPES = {
    bool: GGUFValueType.BOOL,
    int: GGUFValueType.UINT32,
    float: GGUFValueType.FLOAT32,
    str: GGUFValueType.STRING,
}
SCALAR_FORMATS = {
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
}


def string(text: str | bytes) -> bytes:
    """Length as u64, then the bytes."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def typed(kind: int, payload: bytes) -> bytes:
    """A metadata value: its type number, then its bytes."""
    return struct.pack("<I", kind) + payload


def value(item: Any) -> bytes:
    """A metadata value of the natural type; a list is an array of its first item's type."""
    if isinstance(item, bytes):
        return item
    if isinstance(item, list | tuple):
        kind = GGUFValueType.INT32 if isinstance(item[0], int) else TYPES[type(item[0])]
        payload = b"".join(_payload(kind, part) for part in item)
        return typed(GGUFValueType.ARRAY, struct.pack("<IQ", kind, len(item)) + payload)
    kind = TYPES[type(item)]
    return typed(kind, _payload(kind, item))


def _payload(kind: GGUFValueType, item: Any) -> bytes:
    return string(item) if kind is GGUFValueType.STRING else struct.pack(SCALAR_FORMATS[kind], item)


@dataclass
class TinyTensor:
    """One row of the tensor table; any field may be made to lie."""

    name: str | bytes = "t"
    dims: Sequence[int] = (4,)
    kind: int = GGMLQuantizationType.F32
    offset: int | None = None
    data: bytes = bytes(16)


@dataclass
class TinyGguf:
    """A GGUF file as a value. Unset counts and offsets are computed truthfully."""

    metadata: Sequence[tuple[str | bytes, Any]] = ()
    tensors: Sequence[TinyTensor] = ()
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    key_count: int | None = None
    alignment: int = 32
    tail: bytes = field(default=b"")

    def to_bytes(self) -> bytes:
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        key_count = len(self.metadata) if self.key_count is None else self.key_count
        header = self.magic + struct.pack("<IQQ", self.version, tensor_count, key_count)
        header += b"".join(string(key) + value(item) for key, item in self.metadata)
        data = b""
        for tensor in self.tensors:
            offset = len(data) if tensor.offset is None else tensor.offset
            header += string(tensor.name) + struct.pack("<I", len(tensor.dims))
            header += b"".join(struct.pack("<Q", extent) for extent in tensor.dims)
            header += struct.pack("<IQ", tensor.kind, offset)
            data += tensor.data + bytes(-len(tensor.data) % self.alignment)
        if not self.tensors:
            return header + self.tail
        return header + bytes(-len(header) % self.alignment) + data + self.tail


def random_blocks(
    generator: np.random.Generator, kind: GGMLQuantizationType, dims: Sequence[int]
) -> bytes:
    """Blocks of one tensor; `dims` in GGUF order. Scales are small and finite, quants any bits."""
    elements, block_bytes = GGML_QUANT_SIZES[kind]
    count = int(np.prod(dims)) // elements
    if kind is GGMLQuantizationType.F32:
        return generator.normal(size=count).astype("<f4").tobytes()
    if kind is GGMLQuantizationType.F16:
        return generator.normal(size=count).astype("<f2").tobytes()
    if kind is GGMLQuantizationType.BF16:
        return (
            (generator.normal(size=count).astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        )
    blocks = generator.integers(0, 256, (count, block_bytes), dtype=np.uint8)
    if kind is GGMLQuantizationType.MXFP4:
        blocks[:, E8M0_FIELD] = generator.integers(*E8M0_SMALL, count)
        return blocks.tobytes()
    offsets = HALF_FIELDS[kind.name]
    size = 0.02 / SUB_SCALE.get(kind.name, 1)
    scales = generator.normal(scale=size, size=(count, len(offsets))).astype("<f2")
    for column, offset in enumerate(offsets):
        blocks[:, offset : offset + 2] = scales[:, column : column + 1].view(np.uint8)
    return blocks.tobytes()


def byte_alphabet() -> list[str]:
    """GPT-2's character for each byte; with a token for each, any text can be encoded."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable}
    table |= {byte: chr(256 + number) for number, byte in enumerate(rest)}
    return [table[byte] for byte in range(256)]


CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w"]
TOKENS = [*SPECIAL, *byte_alphabet(), "he", "ll", "hell", "hello", "Ġw"]


def tokenizer_metadata() -> dict[str, Any]:
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [3, 3, 3, *([1] * (len(TOKENS) - 3))],
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHATML,
    }


def llama_metadata() -> dict[str, Any]:
    return {
        "general.architecture": "llama",
        "general.name": "Tiny",
        "general.license": "apache-2.0",
        "llama.block_count": 2,
        "llama.context_length": 256,
        "llama.embedding_length": 64,
        "llama.feed_forward_length": 96,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": 16,
        "llama.vocab_size": len(TOKENS),
        **tokenizer_metadata(),
    }


def llama_dims() -> dict[str, tuple[int, ...]]:
    """Tensor name -> dims in GGUF order (the input dimension first)."""
    dims: dict[str, tuple[int, ...]] = {"token_embd.weight": (64, len(TOKENS))}
    for block in range(2):
        dims |= {
            f"blk.{block}.{name}.weight": shape
            for name, shape in {
                "attn_norm": (64,),
                "attn_q": (64, 64),
                "attn_k": (64, 32),
                "attn_v": (64, 32),
                "attn_output": (64, 64),
                "ffn_norm": (64,),
                "ffn_gate": (64, 96),
                "ffn_up": (64, 96),
                "ffn_down": (96, 64),
            }.items()
        }
    return dims | {"output_norm.weight": (64,)}


def tiny_llama(
    *,
    metadata: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    extra: Sequence[TinyTensor] = (),
    kinds: Mapping[str, GGMLQuantizationType] | None = None,
    seed: int = 0,
) -> TinyGguf:
    """A llama of two blocks. `metadata` replaces or adds keys (None removes one), `without` leaves
    tensors out, `kinds` overrides block types (default: norms F32, matrices Q4_1, embedding
    Q8_0)."""
    generator = np.random.default_rng(seed)
    tensors = []
    for name, dims in llama_dims().items():
        kind = GGMLQuantizationType.F32 if len(dims) == 1 else GGMLQuantizationType.Q4_1
        if name == "token_embd.weight":
            kind = GGMLQuantizationType.Q8_0
        kind = (kinds or {}).get(name, kind)
        tensors.append(TinyTensor(name, dims, kind, data=random_blocks(generator, kind, dims)))
    keys = {**llama_metadata(), **(metadata or {})}
    return TinyGguf(
        metadata=[(key, item) for key, item in keys.items() if item is not None],
        tensors=[*(tensor for tensor in tensors if tensor.name not in without), *extra],
    )
