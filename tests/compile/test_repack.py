"""Repacking moves bits and loses none: random blocks, hand-written ones, and all of SmolLM2."""

import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from transom_compile.repack import BlockRepacker, StoredTensor, dequantize, repack, unpack
from transom_compile.sources.checkpoint import Blocks
from transom_compile.sources.gguf import open_checkpoint
from transom_models.block_type import BLOCK_TYPES, UnsupportedBlockType

TYPES = list(BLOCK_TYPES)
# Rows x cols: one block, an odd number of blocks (a padded scale), and more than one slab.
SHAPES = [(1, 32), (3, 96), (2, 64), (1100, 480)]


def random_bytes(name: str, shape: tuple[int, int], seed: int = 0) -> Blocks:
    """Any bit pattern at all: scales may be NaN or infinite."""
    elements, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    row_bytes = shape[1] // elements * block_bytes
    return np.random.default_rng(seed).integers(0, 256, (shape[0], row_bytes), dtype=np.uint8)


def planes(stored: list[StoredTensor]) -> dict[str, np.ndarray]:
    return {tensor.suffix: tensor.array for tensor in stored}


def test_every_block_type_has_its_class() -> None:
    assert {name for name in BlockRepacker.registry if name} == set(BLOCK_TYPES)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_unpack_undoes_repack_for_any_bits(name: str, shape: tuple[int, int]) -> None:
    blocks = random_bytes(name, shape)
    stored = repack(blocks, name, shape)
    assert np.array_equal(unpack(stored, name, shape), blocks)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_stored_tensors_have_the_shapes_of_the_table(name: str, shape: tuple[int, int]) -> None:
    stored = repack(random_bytes(name, shape), name, shape)
    found = [(tensor.suffix, tensor.array.shape, tensor.array.dtype.name) for tensor in stored]
    planned = BLOCK_TYPES[name].planes(shape)
    assert found == [(plane.suffix, plane.shape, plane.dtype) for plane in planned]


@pytest.mark.parametrize("name", TYPES)
def test_every_byte_pattern_survives_at_every_place(name: str) -> None:
    _, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    elements = 32 if block_bytes > 4 else 1
    patterns = np.arange(256, dtype=np.uint8)[:, None]
    blocks: Blocks = np.add(patterns, np.arange(block_bytes, dtype=np.uint8), dtype=np.uint8)
    shape = (256, elements)
    assert np.array_equal(unpack(repack(blocks, name, shape), name, shape), blocks)


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_dequantizes_as_ggml_does(name: str, shape: tuple[int, int]) -> None:
    blocks = random_bytes(name, shape, seed=1)
    fields = {"Q4_0": 1, "Q4_1": 2, "Q8_0": 1}.get(name, 0)
    if fields:
        # Finite scales: what NaN times anything is differs in its payload bits.
        view = blocks.reshape(-1, BLOCK_TYPES[name].block_bytes)
        scales = np.random.default_rng(2).normal(size=(len(view), fields)).astype(np.float16)
        view[:, : 2 * fields] = scales.view(np.uint8)
    found = dequantize(repack(blocks, name, shape), name, shape)
    expected = quants.dequantize(blocks, GGMLQuantizationType[name]).reshape(shape)
    assert found.dtype == np.float32
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_q4_0_by_hand() -> None:
    # Element j is j % 16: GGML keeps element i low and element i + 16 high in byte i.
    nibbles = bytes((i | i << 4) for i in range(16))
    blocks = np.frombuffer(struct.pack("<e", 0.5) + nibbles, np.uint8).reshape(1, 18)
    stored = planes(repack(blocks, "Q4_0", (1, 32)))
    assert stored[".q"].tolist() == [[0x76543210, 0xFEDCBA98, 0x76543210, 0xFEDCBA98]]
    assert stored[".s"].tolist() == [0x3800]
    values = dequantize(repack(blocks, "Q4_0", (1, 32)), "Q4_0", (1, 32))
    assert values[0].tolist() == [0.5 * (j % 16 - 8) for j in range(32)]


def test_q4_1_by_hand() -> None:
    # Elements 0 to 15 are 1, elements 16 to 31 are 2.
    block = struct.pack("<ee", 2.0, -1.0) + bytes([0x21] * 16)
    blocks = np.frombuffer(block * 3, np.uint8).reshape(1, 60)
    stored = planes(repack(blocks, "Q4_1", (1, 96)))
    assert stored[".q"].tolist() == [[0x11111111, 0x11111111, 0x22222222, 0x22222222] * 3]
    assert stored[".s"].tolist() == [0x40004000, 0x00004000]
    assert stored[".m"].tolist() == [0xBC00BC00, 0x0000BC00]
    values = dequantize(repack(blocks, "Q4_1", (1, 96)), "Q4_1", (1, 96))
    assert values[0].tolist() == ([1.0] * 16 + [3.0] * 16) * 3


def test_q8_0_by_hand() -> None:
    quants_bytes = bytes((j - 16) & 0xFF for j in range(32))
    blocks = np.frombuffer(struct.pack("<e", 0.25) + quants_bytes, np.uint8).reshape(1, 34)
    stored = planes(repack(blocks, "Q8_0", (1, 32)))
    assert stored[".q"][0, 0] == 0xF3F2F1F0
    assert stored[".q"][0, 4] == 0x03020100
    assert stored[".s"].tolist() == [0x3400]
    values = dequantize(repack(blocks, "Q8_0", (1, 32)), "Q8_0", (1, 32))
    assert values[0].tolist() == [0.25 * (j - 16) for j in range(32)]


@pytest.mark.parametrize(
    ("shape", "stored_shape"), [((3, 4), (3, 2)), ((3, 3), (5,)), ((5,), (3,))]
)
def test_f16_by_hand(shape: tuple[int, ...], stored_shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape))
    halves = np.arange(count, dtype=np.float16).view(np.uint8)
    blocks = halves.reshape(int(np.prod(shape[:-1])), -1)
    (stored,) = repack(blocks, "F16", shape)
    assert (stored.suffix, stored.array.shape) == ("", stored_shape)
    assert stored.array.reshape(-1)[0] == 0x3C000000  # 0.0 low, 1.0 high
    assert np.array_equal(unpack([stored], "F16", shape), blocks)
    assert dequantize([stored], "F16", shape).reshape(-1).tolist() == list(range(count))


def test_f32_is_a_view_of_the_file() -> None:
    blocks = np.array([1.5, -2.0], np.float32).view(np.uint8).reshape(1, 8)
    (stored,) = repack(blocks, "F32", (2,))
    assert stored.array.tolist() == [1.5, -2.0]
    assert np.shares_memory(stored.array, blocks)


def test_an_unknown_block_type_is_named_with_the_way_out() -> None:
    with pytest.raises(UnsupportedBlockType, match=r"Q6_K.*quantize the model to one of"):
        repack(np.zeros((1, 210), np.uint8), "Q6_K", (1, 256))


def test_every_tensor_of_smollm2_survives_and_dequantizes_as_ggml_does(smollm2: Path) -> None:
    checkpoint = open_checkpoint(smollm2)
    for name, info in checkpoint.tensors.items():
        blocks = checkpoint.read_blocks(name)
        stored = repack(blocks, info.block_type, info.shape)
        assert np.array_equal(unpack(stored, info.block_type, info.shape), blocks), name
        found = dequantize(stored, info.block_type, info.shape)
        expected = quants.dequantize(blocks, GGMLQuantizationType[info.block_type])
        expected = expected.reshape(info.shape)
        assert np.array_equal(found.view(np.uint32), expected.view(np.uint32)), name
        checkpoint.release(name)
